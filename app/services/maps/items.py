"""What a map is made of: the passages of a generation, or its documents as the mean of their passages."""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from indexer.catalog.label_tables import Unit
from indexer.stores.protocol import Point, VectorStore

MOST = 100_000
"""Items of one map; of a larger corpus the first so many in the order of their ids, which are as good as random."""

_EXCERPT = 600
_FEWEST_OF_A_LANGUAGE = 20
_LENGTH_FLOOR = 1e-12

Floats = NDArray[np.float32]


class Item(NamedTuple):
    """One point of a map: a passage, or a document with the beginning of its text."""

    id: str
    document_id: str
    title: str
    uri: str
    language: str
    text: str


@dataclass(frozen=True, slots=True)
class Items:
    """The points of a map before it is made.

    Attributes:
        items: In the order of their ids.
        vectors: Unit rows, shape (items, dim).
        total: How many there were before the map's limit.
    """

    items: Sequence[Item]
    vectors: Floats
    total: int

    def fingerprint(self) -> str:
        """A hash of ids and vectors: equal inputs make equal maps."""
        digest = hashlib.blake2b(digest_size=8)
        for item in self.items:
            digest.update(item.id.encode())
        digest.update(np.ascontiguousarray(self.vectors).tobytes())
        return digest.hexdigest()


def read_items(
    store: VectorStore, unit: Unit, only: Collection[str] | None = None, on_read: Callable[[int], None] = lambda _: None
) -> Items:
    """The items of a generation.

    Args:
        store: The generation.
        unit: Passages or documents.
        only: Ids of the items wanted; None for all.
        on_read: Called with the number of passages read so far.
    """
    items: list[Item] = []
    vectors: list[Floats] = []
    gathered = _Documents()
    total = read = 0
    for batch in store.points():
        for point in batch:
            if unit is Unit.DOCUMENT:
                gathered.add(point)
            elif only is None or point.id in only:
                total += 1
                if len(items) < MOST:
                    items.append(_item(point.id, point))
                    vectors.append(point.dense)
        read += len(batch)
        on_read(read)
    if unit is Unit.DOCUMENT:
        return gathered.items(only)
    return Items(items, _stacked(vectors), total)


class _Documents:
    """Sums of the vectors of passages, by document."""

    def __init__(self) -> None:
        self._first: dict[str, tuple[int, Item]] = {}
        self._sums: defaultdict[str, Floats | float] = defaultdict(float)

    def add(self, point: Point) -> None:
        document, start = point.metadata["document_id"], point.metadata["start"]
        self._sums[document] = self._sums[document] + point.dense
        if document not in self._first or start < self._first[document][0]:
            self._first[document] = (start, _item(document, point))

    def items(self, only: Collection[str] | None) -> Items:
        wanted = sorted(document for document in self._first if only is None or document in only)
        chosen = wanted[:MOST]
        sums = [np.asarray(self._sums[document], np.float32) for document in chosen]
        return Items([self._first[document][1] for document in chosen], _unit_rows(_stacked(sums)), len(wanted))


def without_language(vectors: Floats, languages: Sequence[str]) -> Floats:
    """Vectors without what is common to all texts of their language, so that topics and not languages cluster.

    Args:
        vectors: Unit rows, shape (items, dim).
        languages: Of each; one with few items keeps its vectors.

    Returns:
        Unit rows of the same shape: of each language that has enough items its mean is taken away.
    """
    centred = vectors.copy()
    codes = np.asarray(languages)
    for language in np.unique(codes):
        mine = codes == language
        if np.count_nonzero(mine) >= _FEWEST_OF_A_LANGUAGE:
            centred[mine] -= vectors[mine].mean(axis=0)
    return _unit_rows(centred)


def _item(item_id: str, point: Point) -> Item:
    about = point.metadata
    return Item(item_id, about["document_id"], about["title"], about["uri"], about["language"], point.text[:_EXCERPT])


def _stacked(vectors: Sequence[Floats]) -> Floats:
    return np.stack(vectors).astype(np.float32) if vectors else np.zeros((0, 1), np.float32)


def _unit_rows(vectors: Floats) -> Floats:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, _LENGTH_FLOOR), np.float32)
