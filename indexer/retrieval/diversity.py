"""Variety among results: each next one is relevant, and unlike those before it.

Maximal marginal relevance (Carbonell and Goldstein, *The Use of MMR, Diversity-Based Reranking for Reordering Documents
and Producing Summaries*, SIGIR 1998, equation 1).
"""

import numpy as np
from numpy.typing import NDArray

TRADE_OFF = 0.7
"""What relevance counts; likeness to what is already there counts the rest."""


def maximal_marginal_relevance(
    scores: NDArray[np.float32], vectors: NDArray[np.float32], trade_off: float = TRADE_OFF
) -> list[int]:
    """An order in which each next item has the most of relevance less its likeness to the nearest one before it.

    Relevance is the score brought to 0..1 over all items, since scores of different searches have different scales;
    likeness is the cosine, and 0 where it is negative. The most relevant item comes first.

    Args:
        scores: Higher is more relevant, shape (N,).
        vectors: Unit rows, shape (N, dim).
        trade_off: From 0, variety alone, to 1, relevance alone, which keeps the order of the scores.

    Returns:
        All of 0..N-1.
    """
    if not len(scores):
        return []
    exact = scores.astype(np.float64)  # scores that differ by less than float32's step of their spread keep their order
    spread = float(np.ptp(exact))
    relevance = (exact - exact.min()) / spread if spread else np.zeros_like(exact)
    nearest = np.zeros(len(scores), np.float32)  # cosine with the nearest item chosen so far
    free = np.ones(len(scores), bool)
    order: list[int] = []
    for _ in scores:
        marginal = trade_off * relevance - (1 - trade_off) * nearest
        chosen = int(np.argmax(np.where(free, marginal, -np.inf)))
        order.append(chosen)
        free[chosen] = False
        nearest = np.maximum(nearest, vectors @ vectors[chosen])
    return order
