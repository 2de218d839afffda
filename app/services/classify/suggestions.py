"""Which texts to label next: those a classifier is unsure of, and no two of them alike."""

import numpy as np

from app.services.classify.heads import Matrix
from embedder.protocol import Vectors

_POOL = 20
"""Unsure texts to choose from, for each that is wanted."""


def label_next(vectors: Vectors, probabilities: Matrix, count: int) -> list[int]:
    """Places of the texts whose labels would teach most, the first the most.

    Uncertainty is one less the margin between the two best labels; of the least sure, the next is always the one
    for which uncertainty times distance to what was chosen already is greatest (after Zhdanov, *Diverse mini-batch
    active learning*, arXiv 1901.05954, with farthest-first traversal in the place of k-means).

    Args:
        vectors: ``(N, D)`` unit rows.
        probabilities: ``(N, C)``.
        count: How many are wanted.
    """
    if not len(vectors) or count < 1:
        return []
    ordered = np.sort(probabilities, axis=1)
    doubt = 1.0 - (ordered[:, -1] - ordered[:, -2])
    pool = np.argsort(-doubt, kind="stable")[: count * _POOL]
    chosen = [int(pool[0])]
    distance = np.ones(len(pool), dtype=np.float32)
    while len(chosen) < min(count, len(pool)):
        distance = np.minimum(distance, 1.0 - vectors[pool] @ vectors[chosen[-1]])
        worth = np.maximum(distance, 0.0) * doubt[pool]
        worth[np.isin(pool, chosen)] = -1.0
        best = int(worth.argmax())
        if worth[best] <= 1e-6:  # what is left says what was chosen already
            break
        chosen.append(int(pool[best]))
    return chosen
