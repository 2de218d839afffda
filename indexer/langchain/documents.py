"""LangChain's documents as points, and back: ids, metadata, and writing that is read back."""

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from langchain_core.documents import Document

from indexer.langchain.sources import StoreRefused
from indexer.lexical import LexicalEncoder
from indexer.records import NAMESPACE
from indexer.stores.conditions import encodable
from indexer.stores.protocol import Hit, Point, StoreError, VectorStore

BATCH = 256
"""Documents that are embedded, written or deleted at a time."""

_I64, _U64 = 2**63, 2**64
_LEXICAL = LexicalEncoder()


@dataclass(frozen=True, slots=True)
class Entry:
    """A document that is to be written.

    Attributes:
        id: Of its point.
        key: Its own id, where a point can have no such id; empty otherwise.
    """

    id: str
    key: str
    text: str
    metadata: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The id that its owner knows it by."""
        return self.key or self.id


def entries_of(
    texts: Sequence[str],
    metadatas: Sequence[Mapping[str, Any] | None] | None,
    ids: Sequence[str | None] | None,
) -> list[Entry]:
    """Documents that are to be written.

    Raises:
        StoreRefused: If the lists differ in length, a text or an id is none, or metadata cannot be stored.
    """
    every = metadatas if metadatas else [None] * len(texts)
    named = ids if ids else [None] * len(texts)
    if not len(texts) == len(every) == len(named):
        raise StoreRefused(
            f"There are {len(texts)} texts, {len(every)} metadatas and {len(named)} ids; give as many of each."
        )
    return [_entry(text, metadata or {}, id) for text, metadata, id in zip(texts, every, named, strict=True)]


def point_key(id: str) -> tuple[str, str]:
    """Id of the point for a document's id, and that id again where a point cannot have it.

    A point has a UUID or a number; of any other id a UUID is made, always the same.

    Raises:
        StoreRefused: If it is no text, or one that no encoding has.
    """
    if not isinstance(id, str):
        raise StoreRefused(f"The id of a document is a text, and not {id!r}.")
    if encodable(id) != id:
        raise StoreRefused(f"The id {id!r} has half a surrogate pair, which cannot be stored; leave that out.")
    if id.isdecimal() and id.isascii() and str(int(id)) == id and int(id) < _U64:
        return id, ""
    try:
        if str(uuid.UUID(id)) == id:
            return id, ""
    except ValueError:
        pass  # no UUID
    return str(uuid.uuid5(NAMESPACE, f"langchain\0{id}")), id


def write(store: VectorStore, points: Sequence[Point]) -> None:
    """Write points and look whether they are there.

    Raises:
        StoreError: If they are not.
    """
    store.upsert(list({point.id: point for point in points}.values()))
    store.flush()
    lost = {point.id for point in points} - store.present([point.id for point in points])
    if lost:
        raise StoreError(f"The store lost {len(lost)} of {len(points)} documents just written; add them again.")


def points_of(entries: Sequence[Entry], vectors: Sequence[Sequence[float]]) -> list[Point]:
    """Documents as they are stored, given their vectors, shape (documents, dim)."""
    return [
        Point(
            id=entry.id,
            dense=np.asarray(vector, dtype=np.float32),
            lexical=_LEXICAL.encode_document(entry.text),
            text=entry.text,
            metadata=entry.metadata,
            key=entry.key,
        )
        for entry, vector in zip(entries, vectors, strict=True)
    ]


def document_of(passage: Point | Hit) -> Document:
    """What was stored, as it was added."""
    return Document(id=passage.key or passage.id, page_content=passage.text, metadata=dict(passage.metadata))


def _entry(text: str, metadata: Mapping[str, Any], id: str | None) -> Entry:
    if not isinstance(text, str):
        raise StoreRefused(f"A document to add has a text, and not {text!r}.")
    if not isinstance(metadata, Mapping):
        raise StoreRefused(f"The metadata of a document are a dictionary, and not {metadata!r}.")
    text = encodable(text)
    try:
        metadata = _storable(metadata)
        written = json.dumps(metadata, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise StoreRefused(
            f"The metadata of the document that begins with {text[:40]!r} cannot be stored ({error}); use texts, "
            "numbers of 64 bits, True, False, None, lists of them, and dictionaries from texts to them."
        ) from error
    if id is None:
        return Entry(str(uuid.uuid5(NAMESPACE, "\0".join(("document", text, written)))), "", text, metadata)
    return Entry(*point_key(id), text, metadata)


def _storable(value: Any) -> Any:  # noqa: ANN401 - any JSON
    """Metadata as both engines give them back.

    Raises:
        TypeError: If a name is no text.
        ValueError: If a number is too large, which engines would round or refuse.
    """
    if isinstance(value, str):
        return encodable(value)
    if isinstance(value, int) and not -_I64 <= value < _U64:
        raise ValueError(f"{value} has more than 64 bits")
    if isinstance(value, list | tuple):
        return [_storable(inner) for inner in value]
    if isinstance(value, Mapping):
        if odd := [name for name in value if not isinstance(name, str)]:
            raise TypeError(f"the name {odd[0]!r} is no text")
        return {encodable(name): _storable(inner) for name, inner in value.items()}
    return value
