"""How a generation gets into its store: read from the catalog, written, read back, and only then the old deleted.

Vectors come out of the cache, where reading the files has put them; what the cache has dropped since is encoded
again. Doing all of it over is harmless, and what a worker that dies here leaves behind is thrown away.
"""

import hashlib
import json
import uuid
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any, NamedTuple

from embedder.protocol import TextEncoder
from indexer.catalog.corpora import Catalog
from indexer.catalog.documents import Documents
from indexer.chunking import passage_for_embedding
from indexer.dates import parse_day
from indexer.lexical import LexicalEncoder
from indexer.records import NAMESPACE, Chunk, ChunkPlace, Document, IndexedDocument
from indexer.stores.protocol import DAY, Point, StoreError, VectorStore

FLUSH_CHUNKS = 1024
"""Passages embedded or written at a time: enough for even batches, little enough to lose."""


class _Passage(NamedTuple):
    """A passage and where it comes from."""

    indexed: IndexedDocument
    id: str
    chunk: Chunk


@dataclass(frozen=True, slots=True)
class GenerationSink:
    """Fills the store of one generation."""

    catalog: Catalog
    store: VectorStore
    encoder: TextEncoder
    lexical: LexicalEncoder

    def fill(self, corpus: str, number: int, base: int | None, on_batch: Callable[[], None]) -> int:
        """Write what is new in a generation, then delete what it replaced.

        Args:
            corpus: Its name.
            number: The generation.
            base: The generation the store is a copy of, or None where it is empty.
            on_batch: Called before every batch; what it raises ends the work.

        Returns:
            How many passages the store holds.

        Raises:
            StoreError: If what was written is not there.
        """
        stale = set() if base is None else self.catalog.replaced_chunks(corpus, number)
        expected = self.store.count()
        passages = _passages(Documents(self.catalog.database).staged(corpus, number))
        while batch := list(islice(passages, FLUSH_CHUNKS)):
            on_batch()
            self._write(batch)
            ids = {passage.id for passage in batch}
            expected += len(ids - stale)
            stale -= ids
        on_batch()
        self.store.delete(sorted(stale))
        expected -= len(stale)
        if self.store.count() != expected:
            raise StoreError(
                f"The store holds {self.store.count()} passages where {expected} were written; nothing was changed, "
                "run the build again."
            )
        return expected

    def _write(self, batch: Sequence[_Passage]) -> None:
        texts = [passage_for_embedding(passage.indexed.document, passage.chunk) for passage in batch]
        vectors = self.encoder.encode_documents(texts)
        points = [
            Point(id, vector, self.lexical.encode_document(text), chunk.text, _metadata(indexed, chunk))
            for (indexed, id, chunk), text, vector in zip(batch, texts, vectors, strict=True)
        ]
        self.store.upsert(points)
        lost = {point.id for point in points} - self.store.present([point.id for point in points])
        if lost:
            raise StoreError(f"The store lost {len(lost)} of {len(points)} passages just written; run the build again.")


def indexed_document(corpus: str, document: Document, chunks: Sequence[Chunk]) -> IndexedDocument:
    """A document with its passages, as the catalog keeps it."""
    document_id = document.id(corpus)
    ids = chunk_ids(document_id, chunks)
    places = tuple(ChunkPlace(id, chunk.start, chunk.end) for id, chunk in zip(ids, chunks, strict=True))
    return IndexedDocument(document_id, document, document_digest(document), places)


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


def chunk_at(document: Document, place: ChunkPlace) -> Chunk:
    """The passage at a place, with headings and page of the section it begins in."""
    number = bisect_right(document.sections, place.start, key=lambda section: section.start) - 1
    section = document.sections[number]
    return Chunk(place.start, place.end, document.text[place.start : place.end], section.headings, section.page)


def _passages(documents: Iterator[IndexedDocument]) -> Iterator[_Passage]:
    for indexed in documents:
        for place in indexed.chunks:
            yield _Passage(indexed, place.id, chunk_at(indexed.document, place))


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
