"""Hard-negative mining with the product's own parts: its vector cache, and its index where comparing is too slow."""

import tempfile
import uuid
from contextlib import ExitStack
from pathlib import Path
from typing import Literal

import numpy as np

from embedder.cache import CachedEncoder
from embedder.protocol import Vectors
from indexer.lexical import SparseVector
from indexer.stores.edge import EdgeEngine
from indexer.stores.protocol import Point, Query, VectorStore
from trainer.mining import MiningReport, MiningSettings, Progress, mine
from trainer.neighbours import ExactSearch, Ids, NeighbourSearch

_EXACT_UP_TO = 100_000
"""Documents up to which comparing every query with every document is quick enough."""

_NAME, _GENERATION = "mining", 1
_NO_TERMS = SparseVector((), ())

SearchKind = Literal["auto", "exact", "index"]
"""How candidates are found; ``auto`` compares exactly while that is quick."""


class EdgeNeighbours:
    """Nearest neighbours by the graph of Qdrant Edge: approximate, and quick however many documents there are."""

    def __init__(self, folder: Path, dim: int) -> None:
        """Begin an index.

        Args:
            folder: For its files; whoever made it removes it.
            dim: Width of the vectors.
        """
        self._engine = EdgeEngine(folder)
        self._store: VectorStore = self._engine.create(_NAME, _GENERATION, dim, None)
        self._count = 0
        self._is_sealed = False

    def add(self, vectors: Vectors) -> None:
        """Take documents, unit rows of shape (N, D); all of them before the first search."""
        numbers = range(self._count, self._count + len(vectors))
        self._store.upsert(
            [Point(str(uuid.UUID(int=n)), row, _NO_TERMS, "", {}) for n, row in zip(numbers, vectors, strict=True)]
        )
        self._count += len(vectors)

    def search(self, queries: Vectors, k: int) -> tuple[Vectors, Ids]:
        """The nearest documents, best first: cosines and numbers, each of shape (Q, min(k, N)).

        The first search builds the graph, which takes a while.
        """
        if not self._is_sealed:
            self._store.seal()
            self._store = self._engine.open(_NAME, _GENERATION)
            self._is_sealed = True
        shape = (len(queries), min(k, self._count))
        cosines, numbers = np.full(shape, -np.inf, dtype=np.float32), np.full(shape, -1, dtype=np.int64)
        for place, query in enumerate(queries):
            hits = self._store.search(Query(limit=shape[1], dense=query))
            cosines[place, : len(hits)] = [hit.score for hit in hits]
            numbers[place, : len(hits)] = [uuid.UUID(hit.id).int for hit in hits]
        return cosines, numbers

    def close(self) -> None:
        """Let go of the index."""
        self._store.close()


def mine_table(
    source: Path,
    target: Path,
    encoder: CachedEncoder,
    settings: MiningSettings,
    *,
    pool: Path | None,
    search: SearchKind,
    progress: Progress,
    force: bool,
) -> MiningReport:
    """As :func:`trainer.mining.mine`, comparing exactly or through an index as ``search`` says.

    Raises:
        AppError: As it does.
    """
    with ExitStack() as stack:

        def make(count: int, dim: int) -> NeighbourSearch:
            if search == "exact" or (search == "auto" and count <= _EXACT_UP_TO):
                return ExactSearch()
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix=".mining-", dir=target.parent))
            neighbours = EdgeNeighbours(Path(folder), dim)
            stack.callback(neighbours.close)
            return neighbours

        return mine(source, target, encoder, settings, pool=pool, make_search=make, progress=progress, force=force)
