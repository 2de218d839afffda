"""LangChain's own way to keep an index up to date: ``index()``, with its records and its store in memory."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from app.benchmarks.errors import BenchRefused
from app.benchmarks.hashed import HashedEncoder

try:
    from langchain_core.documents import Document
    from langchain_core.embeddings import Embeddings
    from langchain_core.indexing import InMemoryRecordManager, index
    from langchain_core.vectorstores import InMemoryVectorStore
except ImportError as error:
    raise BenchRefused(
        "The peer of this measurement is not installed; run pip install 'kalm-retrieval[langchain]'."
    ) from error

_BATCH = 1_000
"""Documents that ``index()`` takes at a time; with its own default of 100 it is slower."""


class _Embeddings(Embeddings):
    def __init__(self, encoder: HashedEncoder) -> None:
        self._encoder = encoder

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        vectors: list[list[float]] = self._encoder.encode_documents(texts).tolist()
        return vectors

    def embed_query(self, text: str) -> list[float]:
        return self.embed_documents([text])[0]


class LangChainIndex:
    """A folder of texts, indexed."""

    def __init__(self, texts: Path) -> None:
        self._texts = texts
        self._encoder = HashedEncoder()
        self._store = InMemoryVectorStore(_Embeddings(self._encoder))
        self._records = InMemoryRecordManager("bench")
        self._records.create_schema()

    def bring_up_to_date(self) -> dict[str, Any]:
        """Index all of the folder, as is its way; what has gone from it goes from the store."""
        encoded, began = self._encoder.encoded, time.perf_counter()
        index(
            self._documents(),
            self._records,
            self._store,
            batch_size=_BATCH,
            cleanup="full",
            cleanup_batch_size=_BATCH,
            source_id_key="source",
            key_encoder="blake2b",
        )
        return {
            "total": round(time.perf_counter() - began, 2),
            "embedded": self._encoder.encoded - encoded,
            "documents": len(self._store.store),
        }

    def _documents(self) -> Iterator[Document]:
        for path in sorted(self._texts.rglob("*.txt")):
            text = path.read_text(encoding="utf-8")
            yield Document(text, metadata={"source": path.relative_to(self._texts).as_posix()})
