"""What the server store writes, a stock ``langchain_qdrant.QdrantVectorStore`` reads."""

import pytest
from langchain_core.embeddings import Embeddings
from langchain_qdrant import QdrantVectorStore, RetrievalMode, SparseEmbeddings, SparseVector
from qdrant_client import QdrantClient, models
from qdrant_server import LOCAL_MODE_WARNS

from indexer.lexical import LexicalEncoder
from indexer.server_requests import ServerConfig
from indexer.server_store import ServerEngine

pytestmark = LOCAL_MODE_WARNS


class Dense(Embeddings):
    """Our encoder, in LangChain's words."""

    def __init__(self, encoder):
        self.encoder = encoder

    def embed_documents(self, texts):
        return self.encoder.encode_documents(texts).tolist()

    def embed_query(self, text):
        return self.encoder.encode_queries([text])[0].tolist()


class Lexical(SparseEmbeddings):
    """Our keyword leg, in LangChain's words."""

    def embed_documents(self, texts):
        return [self._vector(LexicalEncoder().encode_document(text)) for text in texts]

    def embed_query(self, text):
        return self._vector(LexicalEncoder().encode_query(text))

    def _vector(self, terms):
        return SparseVector(indices=list(terms.indices), values=list(terms.values))


@pytest.fixture
def client(bench):
    """A server that has the index of the bench, under its alias."""
    bench.write("bees.md", "# Bees\n\nBees make honey from nectar.")
    bench.write("bread.txt", "Yeast makes bread rise.")
    bench.write("zh.md", "# 蜜蜂\n\n蜜蜂用花蜜酿造蜂蜜。")
    local = QdrantClient(":memory:")
    engine = ServerEngine(local, ServerConfig("http://local-mode"))
    engine.publish("books", bench.build(engine=engine).generation)
    yield local
    local.close()


def test_by_meaning_with_text_metadata_and_filters(bench, client):
    store = QdrantVectorStore(client, "books", embedding=Dense(bench.encoder), vector_name="dense")
    (document, score), *others = store.similarity_search_with_score("Yeast makes bread rise.", k=3)
    assert (document.page_content, document.metadata["uri"]) == ("Yeast makes bread rise.", "bread.txt")
    assert score > max(other for _, other in others)
    only = models.Filter(must=[models.FieldCondition(key="metadata.language", match=models.MatchValue(value="zh"))])
    assert [found.metadata["uri"] for found in store.similarity_search("honey", k=3, filter=only)] == ["zh.md"]


def test_by_words_and_by_both(bench, client):
    by_words, by_both = (
        QdrantVectorStore(
            client,
            "books",
            embedding=Dense(bench.encoder),
            vector_name="dense",
            sparse_embedding=Lexical(),
            sparse_vector_name="lexical",
            retrieval_mode=mode,
        )
        for mode in (RetrievalMode.SPARSE, RetrievalMode.HYBRID)
    )
    assert [found.metadata["uri"] for found in by_words.similarity_search("酿造", k=3)] == ["zh.md"]
    assert len(by_both.similarity_search("honey", k=3)) == 3
