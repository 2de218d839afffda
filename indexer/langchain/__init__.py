"""The index behind LangChain's interfaces: a vector store over both engines, a retriever, records, and terms.

    store = KaLMVectorStore.from_texts(["Bees make honey."], KaLMEmbeddings(), path="notes")
    KaLMRetriever(store=store).invoke("What do bees make?")

``KaLMSparseEmbeddings`` needs ``langchain-qdrant``, everything else ``langchain-core`` alone.
"""

from typing import TYPE_CHECKING

from indexer.langchain.records import KaLMRecordManager
from indexer.langchain.retriever import KaLMRetriever
from indexer.langchain.store import KaLMVectorStore

if TYPE_CHECKING:
    from indexer.langchain.sparse import KaLMSparseEmbeddings

__all__ = ["KaLMRecordManager", "KaLMRetriever", "KaLMSparseEmbeddings", "KaLMVectorStore"]


def __getattr__(name: str) -> object:
    """What needs a further package, loaded when it is asked for."""
    if name == "KaLMSparseEmbeddings":
        from indexer.langchain.sparse import KaLMSparseEmbeddings

        return KaLMSparseEmbeddings
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
