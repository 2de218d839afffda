"""Terms for a stock ``langchain_qdrant.QdrantVectorStore``: words that it finds in Chinese too."""

from indexer.lexical import LexicalEncoder
from indexer.lexical import SparseVector as Terms

try:
    from langchain_qdrant import SparseEmbeddings
    from langchain_qdrant.sparse_embeddings import SparseVector
except ImportError as error:
    raise ImportError("KaLMSparseEmbeddings needs langchain-qdrant; run pip install langchain-qdrant.") from error


class KaLMSparseEmbeddings(SparseEmbeddings):
    """The keyword leg of the index (``indexer.lexical``), for ``RetrievalMode.SPARSE`` and ``HYBRID``.

    The weights are the term frequencies of BM25; the server has the other half, the inverse document frequencies, if
    the collection is made with ``sparse_vector_params={"modifier": models.Modifier.IDF}``.
    """

    def __init__(self) -> None:
        self._encoder = LexicalEncoder()

    def embed_documents(self, texts: list[str]) -> list[SparseVector]:
        """Terms of documents, in their order."""
        return [_sparse(self._encoder.encode_document(text)) for text in texts]

    def embed_query(self, text: str) -> SparseVector:
        """Terms of a question."""
        return _sparse(self._encoder.encode_query(text))


def _sparse(terms: Terms) -> SparseVector:
    return SparseVector(indices=list(terms.indices), values=list(terms.values))
