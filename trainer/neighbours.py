"""Nearest neighbours by cosine: what mining needs of a search, and the exact one.

The product's index can stand in for it, and is handed in by whoever composes the two: the trainer knows no index.
"""

from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from embedder.hardware import pick_device
from embedder.protocol import Vectors

Ids = NDArray[np.int64]
"""Numbers of documents in the order they were added, from 0; shape (Q, K)."""

_DOCUMENTS, _QUERIES = 16_384, 512
"""Rows of one product: some 100 MB with what is made of it."""

_LOW_BITS = (1 << 32) - 1


class NeighbourSearch(Protocol):
    """Documents in, their numbers out."""

    def add(self, vectors: Vectors) -> None:
        """Take documents, unit rows of shape (N, D); the array may be kept and must not change."""
        ...

    def search(self, queries: Vectors, k: int) -> tuple[Vectors, Ids]:
        """The nearest documents, best first.

        Args:
            queries: Unit rows, shape (Q, D).
            k: How many.

        Returns:
            Cosines and numbers, each of shape (Q, K), K being the smaller of ``k`` and the number of documents.
            An approximate search that found fewer fills up with the number -1 and the cosine -inf.
        """
        ...


class VectorFile:
    """Vectors on disk, of which any rows can be read: a memory map, so that only what is in use takes memory."""

    def __init__(self, path: Path, count: int, dim: int) -> None:
        """Make the file for ``count`` vectors of width ``dim``, which must both be above 0."""
        self._rows = np.memmap(path, dtype=np.float32, mode="w+", shape=(count, dim))

    def write(self, start: int, vectors: Vectors) -> Vectors:
        """Put rows at a place; returns them as they lie in the file, shape (N, D)."""
        part = self._rows[start : start + len(vectors)]
        part[:] = vectors
        return np.asarray(part)

    def read(self, rows: Ids) -> Vectors:
        """A copy of some rows, (N,) to (N, D)."""
        return np.asarray(self._rows[rows], dtype=np.float32)


class ExactSearch:
    """Compares with every document, a block at a time; of equally near ones the first added is first.

    Memory is bounded by the blocks, not by the number of queries times documents, as long as what is added is
    itself a memory map.
    """

    def __init__(self, device: str = "auto") -> None:
        """Choose where products are made: ``auto``, ``cpu``, ``cuda``."""
        self._device = pick_device(device)
        self._blocks: list[Vectors] = []

    def add(self, vectors: Vectors) -> None:
        """Take documents, unit rows of shape (N, D); the array is kept."""
        for start in range(0, len(vectors), _DOCUMENTS):
            self._blocks.append(vectors[start : start + _DOCUMENTS])

    def search(self, queries: Vectors, k: int) -> tuple[Vectors, Ids]:
        """The nearest documents, best first: cosines and numbers, each of shape (Q, min(k, N))."""
        tiles = [torch.tensor(part).to(self._device) for part in _tiles(queries)]
        best = [torch.empty((len(tile), 0), dtype=torch.int64, device=self._device) for tile in tiles]
        start = 0
        for block in self._blocks:
            documents = torch.tensor(block).to(self._device)
            numbers = start + torch.arange(len(block), device=self._device)
            for number, tile in enumerate(tiles):
                keys = torch.cat([best[number], _keys(tile @ documents.T, numbers)], dim=1)
                best[number] = keys.topk(min(k, keys.shape[1]), dim=1).values
            start += len(block)
        found = torch.cat(best).cpu() if best else torch.empty((0, min(k, start)), dtype=torch.int64)
        return _cosines(found), (_LOW_BITS - (found & _LOW_BITS)).numpy()


def _tiles(queries: Vectors) -> list[Vectors]:
    return [queries[start : start + _QUERIES] for start in range(0, len(queries), _QUERIES)]


def _keys(cosines: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
    """Integers that sort as (cosine, then the smaller number) does; no two of a row are equal.

    The bits of a float sort like an integer, negative ones the other way round; the number goes into the lower half.
    """
    bits = (cosines + 0.0).view(torch.int32)  # + 0.0: no negative zero
    ordered = torch.where(bits < 0, bits ^ 0x7FFFFFFF, bits).long()
    return (ordered << 32) | (_LOW_BITS - numbers)


def _cosines(keys: torch.Tensor) -> Vectors:
    """The cosines that :func:`_keys` was made from."""
    ordered = (keys >> 32).int()
    return np.asarray(torch.where(ordered < 0, ordered ^ 0x7FFFFFFF, ordered).view(torch.float32).numpy())
