"""Where documents go in a build: embedded, written to the store, read back, entered in the catalog."""

import hashlib
import json
import uuid
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from embedder.protocol import TextEncoder
from indexer.catalog import Catalog
from indexer.chunking import passage_for_embedding
from indexer.lexical import LexicalEncoder
from indexer.query_text import parse_day
from indexer.records import NAMESPACE, Chunk, ChunkPlace, Document, IndexedDocument
from indexer.store import DAY, Point, StoreError, VectorStore

_FLUSH_CHUNKS = 1024
"""Passages embedded at a time: enough for even batches, little enough to lose."""


@dataclass
class GenerationSink:
    """Takes the documents of one generation, a buffer at a time.

    Attributes:
        documents: Documents taken so far.
        chunks: Passages of them.
        growth: By how many points the store has to have grown in the end.
    """

    catalog: Catalog
    store: VectorStore
    encoder: TextEncoder
    lexical: LexicalEncoder
    corpus: str
    number: int
    documents: int = 0
    chunks: int = 0
    growth: int = 0
    _buffer: list[tuple[IndexedDocument, Sequence[Chunk]]] = field(default_factory=list)
    _buffered_chunks: int = 0
    _stale: set[str] = field(default_factory=set)

    def add(self, document: Document, chunks: Sequence[Chunk], replaces: Collection[str]) -> None:
        """Take a document.

        Args:
            document: As it was read.
            chunks: Its passages.
            replaces: Ids of the passages its earlier version had.
        """
        document_id = document.id(self.corpus)
        ids = chunk_ids(document_id, chunks)
        places = tuple(ChunkPlace(id, chunk.start, chunk.end) for id, chunk in zip(ids, chunks, strict=True))
        indexed = IndexedDocument(document_id, document, document_digest(document), places)
        self._buffer.append((indexed, chunks))
        self._buffered_chunks += len(chunks)
        self.documents += 1
        self.chunks += len(chunks)
        self.growth += len(set(ids) - set(replaces))
        self.forget(set(replaces) - set(ids))
        if self._buffered_chunks >= _FLUSH_CHUNKS:
            self.flush()

    def forget(self, chunk_ids: Collection[str]) -> None:
        """Mark passages of the earlier generation for deletion, once everything new is written."""
        self.growth -= len(set(chunk_ids) - self._stale)
        self._stale |= set(chunk_ids)

    def flush(self) -> None:
        """Embed and write what is buffered, then read it back.

        Raises:
            StoreError: If a point that was written is not there.
        """
        points = self._points()
        self.store.upsert(points)
        lost = {point.id for point in points} - self.store.present([point.id for point in points])
        if lost:
            raise StoreError(f"The store lost {len(lost)} of {len(points)} passages just written; run the build again.")
        self.catalog.stage(self.corpus, self.number, [indexed for indexed, _ in self._buffer])
        self._buffer.clear()
        self._buffered_chunks = 0

    def delete_stale(self) -> None:
        """Take out what was marked by ``forget``."""
        self.store.delete(sorted(self._stale))

    def _points(self) -> list[Point]:
        rows = [
            (indexed, place, chunk)
            for indexed, chunks in self._buffer
            for place, chunk in zip(indexed.chunks, chunks, strict=True)
        ]
        passages = [passage_for_embedding(indexed.document, chunk) for indexed, _, chunk in rows]
        vectors = self.encoder.encode_documents(passages)
        return [
            Point(place.id, vector, self.lexical.encode_document(passage), chunk.text, _metadata(indexed, chunk))
            for (indexed, place, chunk), passage, vector in zip(rows, passages, vectors, strict=True)
        ]


def chunk_ids(document_id: str, chunks: Sequence[Chunk]) -> list[str]:
    """UUIDv5 of each passage: the same text of the same document has the same id wherever it moves to."""
    seen: Counter[str] = Counter()
    ids = []
    for chunk in chunks:
        seen[chunk.text] += 1  # a passage may stand in a document twice
        ids.append(str(uuid.uuid5(NAMESPACE, "\0".join(("chunk", document_id, str(seen[chunk.text]), chunk.text)))))
    return ids


def document_digest(document: Document) -> str:
    """Changes when anything of the document does."""
    return hashlib.blake2b(json.dumps(asdict(document), sort_keys=True).encode(), digest_size=16).hexdigest()


def _metadata(indexed: IndexedDocument, chunk: Chunk) -> dict[str, Any]:
    document = indexed.document
    day = parse_day(document.metadata.get("date", ""))
    return {
        "document_id": indexed.id,
        "uri": document.uri,
        "key": document.key,
        "title": document.title,
        "file_type": document.file_type,
        "language": document.language,
        "headings": list(chunk.headings),
        "page": chunk.page,
        "start": chunk.start,
        "end": chunk.end,
        "author": document.metadata.get("author", ""),
        DAY: day.isoformat() if day else None,
    }
