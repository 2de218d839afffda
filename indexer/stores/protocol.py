"""The seam to a vector engine: what is stored, what is asked, and what an engine must be able to do.

A store holds the passages of one generation of one corpus. Two engines stand behind the protocol: Qdrant Edge in
the process, and a Qdrant server. Both keep LangChain's payload layout (``page_content`` and ``metadata``).
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from embedder.errors import AppError
from indexer.lexical import SparseVector
from indexer.stores.conditions import Condition

EMBEDDED, SERVER = "qdrant-edge", "qdrant-server"
"""What manifests call the two engines."""

ACORN_SELECTIVITY = 0.6
"""A filter that fewer passages meet is followed past those that do not (ACORN, arXiv 2403.04871). Where it is met too
seldom for the graph to hold together and too often for all to be compared, half of the nearest were lost without. A
field that has no index is taken to be met by half."""

OVERSAMPLING = 3.0
"""Where vectors are quantised: how many times as many as asked for are scored again with the full ones."""

SCALAR_QUANTILE = 1.0
"""Share of the values that eight bits reach. All of them: a text embedder's vectors share a direction, along which
their values are by far the largest, and those would be cut off first. Of kalm-nano's 10 nearest, 85 % are among the
30 nearest by codes at 0.99, and 100 % at 1."""

_Request = TypeVar("_Request")

FILTERABLE = ("document_id", "file_type", "language")
"""Payload fields a search may be restricted by; indexed before the graph is built."""

DAY = "date"
"""Payload field of a document's day (ISO 8601, without a time), by which a search may be restricted to a period."""


class StoreError(AppError):
    """The engine cannot do what was asked of it."""


@dataclass(frozen=True, slots=True)
class Point:
    """One passage as it is stored.

    Attributes:
        id: UUID, or an unsigned 64-bit number in decimal digits; writing it twice leaves one point.
        dense: Unit vector, shape (dim,).
        lexical: Term weights of the passage.
        text: The passage (``page_content``).
        metadata: Where it comes from; JSON values.
        key: What its owner calls it, where that can be no ``id``; empty otherwise.
        record: What its owner notes about it beside the metadata (``annotate``); JSON values.
    """

    id: str
    dense: NDArray[np.float32]
    lexical: SparseVector
    text: str
    metadata: Mapping[str, Any]
    key: str = ""
    record: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Query:
    """The nearest passages of one leg, dense or lexical.

    Attributes:
        dense: Unit vector, shape (dim,), where it is the dense leg.
        lexical: Term weights, where it is the lexical one; without terms nothing is found.
        only: Allowed values by field of ``FILTERABLE``; fields that are not named are free.
        after: First allowed day; a document without a date is then left out.
        before: The day after the last allowed one, likewise.
        where: What else the metadata must be.
        exact: Whether every passage is compared instead of following the graph, to measure what the graph misses.
        effort: How many candidates are kept while following the graph; the engine's own number if not given.
    """

    limit: int
    dense: NDArray[np.float32] | None = None
    lexical: SparseVector | None = None
    only: Mapping[str, Collection[str]] = field(default_factory=dict)
    after: date | None = None
    before: date | None = None
    where: Condition | None = None
    exact: bool = False
    effort: int | None = None


@dataclass(frozen=True, slots=True)
class Hit:
    """A passage found.

    Attributes:
        score: Cosine (dense) or BM25 (lexical).
        key: As in ``Point``.
    """

    id: str
    score: float
    text: str
    metadata: Mapping[str, Any]
    key: str = ""


def answered(
    queries: Sequence[Query],
    as_request: Callable[[Query], _Request | None],
    ask: Callable[[list[_Request]], list[list[Hit]]],
) -> list[list[Hit]]:
    """Hits of several queries by one request to an engine, equal scores in an order of their own.

    Args:
        queries: What is asked.
        as_request: A query in the engine's terms; None where it has nothing to go by, and so finds nothing.
        ask: The engine: hits of each request, in their order.
    """
    requests = {place: request for place, query in enumerate(queries) if (request := as_request(query)) is not None}
    found = dict(zip(requests, ask(list(requests.values())), strict=True)) if requests else {}
    return [sorted(found.get(place, []), key=lambda hit: (-hit.score, hit.id)) for place in range(len(queries))]


def point_id(id: str) -> str | int:
    """An id as engines take it: numbers are not written in digits."""
    return int(id) if id.isdecimal() else id


def point_ids(ids: Sequence[str]) -> list[Any]:
    """Several ids as engines take them."""
    return [point_id(id) for id in ids]


class VectorStore(Protocol):
    """The passages of one generation, or of one collection that stands by itself."""

    def upsert(self, points: Sequence[Point]) -> None:
        """Write points; a point of the same id is replaced."""
        ...

    def delete(self, ids: Sequence[str]) -> None:
        """Take points out; ids that are not there are ignored."""
        ...

    def present(self, ids: Sequence[str]) -> set[str]:
        """Which of these ids are there: the read-back after a write."""
        ...

    def get(self, ids: Sequence[str]) -> list[Point]:
        """The points of these ids, vectors included, in no order; ids that are not there are left out."""
        ...

    def annotate(self, ids: Sequence[str], record: Mapping[str, Any]) -> None:
        """Replace the ``record`` of points that are there."""
        ...

    def count(self) -> int:
        """Number of points."""
        ...

    def search(self, query: Query) -> list[Hit]:
        """Best hits first, at most ``query.limit``, and only what the leg matched."""
        ...

    def search_batch(self, queries: Sequence[Query]) -> list[list[Hit]]:
        """The same for several queries in one request, in their order."""
        ...

    def vectors(self, ids: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        """Unit vectors of passages by id, each of shape (dim,); ids that are not there are left out."""
        ...

    def points(self, where: Condition | None = None) -> Iterator[list[Point]]:
        """Everything that meets a condition, vectors included, a batch at a time, in the order of the ids."""
        ...

    def flush(self) -> None:
        """Have what was written so far survive a loss of power."""
        ...

    def optimize(self) -> None:
        """Build the search structures of a collection that goes on being written."""
        ...

    def seal(self) -> None:
        """Build the search structures, write everything down and close: the generation is finished."""
        ...

    def close(self) -> None:
        """Let go of it; a generation that was not sealed is not for use."""
        ...


class CollectionStore(VectorStore, Protocol):
    """A collection that stands by itself, and remembers what makes its vectors."""

    @property
    def maker(self) -> str:
        """What makes them; empty where that is not written down."""
        ...

    def sign(self, maker: str) -> None:
        """Write down what makes them."""
        ...


class VectorEngine(Protocol):
    """Makes, opens and drops the stores of a corpus, one per generation."""

    @property
    def name(self) -> str:
        """What a manifest calls the engine that new generations are made by."""
        ...

    def named(self, name: str) -> "VectorEngine":
        """The engine that a manifest names: this one, or one that it stands for.

        Raises:
            StoreError: If it is not to be had here.
        """
        ...

    def create(self, corpus: str, number: int, dim: int, base: int | None) -> VectorStore:
        """A new generation to write to: empty, or a copy of generation ``base``. Leftovers of it are dropped."""
        ...

    def open(self, corpus: str, number: int) -> VectorStore:
        """A sealed generation, for reading; any number of readers in any number of processes.

        Raises:
            StoreError: If the generation is not there.
        """
        ...

    def publish(self, corpus: str, number: int | None) -> None:
        """Tell programs that do not ask the catalog which generation is live; None for none of this engine's.

        Called after the catalog's commit, and harmless to call again.
        """
        ...

    def drop(self, corpus: str, number: int) -> None:
        """Remove a generation, if it is there.

        In the process, readers that have it open keep theirs; those of a server's are refused from then on. So it is
        only for generations that have not been live for a while.
        """
        ...

    def drop_corpus(self, corpus: str) -> None:
        """Remove everything of a corpus."""
        ...


def missing_generation(corpus: str, number: int, place: object) -> StoreError:
    """What to say where a generation should be and is not."""
    return StoreError(
        f"The index of {corpus} (generation {number}) is missing from {place}; "
        f"run kalm doctor {corpus} --repair to make it again."
    )


def check_width(name: object, found: int, wanted: int) -> None:
    """Refuse vectors of another width than those that a collection holds.

    Raises:
        StoreError: If they are.
    """
    if found != wanted:
        raise StoreError(
            f"The vectors of {name} have {found} dimensions and these {wanted}; open it with the model and the width "
            "that it was made with, or choose another name."
        )


def check_maker(name: object, found: str, wanted: str) -> None:
    """Refuse to mix vectors that have nothing to do with each other.

    Args:
        name: The collection.
        found: What made its vectors; empty where nobody knows.
        wanted: What made those to come, likewise.

    Raises:
        StoreError: If they differ.
    """
    if found and wanted and found != wanted:
        raise StoreError(
            f"The vectors of {name} were made by {found} and these come from {wanted}; open it with the same weights, "
            "width, arithmetic (dtype=) and instructions, or choose another name."
        )


def missing_engine(name: str) -> StoreError:
    """What to say of an engine that a manifest names and this installation does not have."""
    if name == SERVER:
        return StoreError("The index is kept by a Qdrant server and none is configured; set KALM_QDRANT_URL.")
    return StoreError(f"The index is kept by {name}, which this installation does not have; build it anew.")
