"""How near passages of a corpus are to a question by chance: what a cosine has to be compared with.

A cosine has no scale of its own. Ids of passages are hashes, so the first in their order are a random sample; where a
cosine stands among those of the sample says how unusual it is.
"""

from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from indexer.stores.protocol import VectorStore

SAMPLE_PASSAGES = 1024
"""Enough to tell one in a thousand; a corpus with fewer is compared as a whole."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """Where a cosine stands among those of random passages of its corpus.

    Attributes:
        share: Share of them that are less near to the question, 0 to 1.
        deviations: Standard deviations that it stands above their mean.
        passages: How many it was compared with.
    """

    share: float
    deviations: float
    passages: int


@dataclass(frozen=True, slots=True)
class Background:
    """Cosines of random passages with one question, ascending, shape (N,)."""

    cosines: NDArray[np.float32]

    def place(self, cosine: float) -> Calibration | None:
        """Where a cosine stands; None where there is nothing to compare with."""
        count = len(self.cosines)
        if count < 2:
            return None
        deviation = float(self.cosines.std())
        above = (cosine - float(self.cosines.mean())) / deviation if deviation else 0.0
        return Calibration(int(np.searchsorted(self.cosines, cosine)) / count, above, count)


def random_vectors(store: VectorStore) -> NDArray[np.float32]:
    """Vectors of a random sample of passages, shape (at most ``SAMPLE_PASSAGES``, dim)."""
    points = (point.dense for batch in store.points() for point in batch)
    sample = list(islice(points, SAMPLE_PASSAGES))
    return np.stack(sample) if sample else np.empty((0, 0), np.float32)


def background(sample: NDArray[np.float32], question: NDArray[np.float32]) -> Background:
    """What a question has by chance.

    Args:
        sample: Unit rows, shape (N, dim).
        question: Unit rows, shape (parts, dim); a passage is as near as it is to the nearest part.
    """
    if not len(sample):
        return Background(np.empty(0, np.float32))
    return Background(np.sort((sample @ question.T).max(axis=1)))
