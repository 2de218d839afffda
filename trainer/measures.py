"""What an evaluation counts: each measure a pure function, and the two small models that some of them need.

The definitions are those of MTEB (arXiv 2210.07316); everything is NumPy and float64 after the vectors, apart from
the classifier, which torch fits.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch.nn import functional as F

from embedder.protocol import Vectors

_KMEANS_ITERATIONS = 100
_FIT_ITERATIONS = 200
_FIT_TOLERANCE = 1e-5

Labels = NDArray[np.int64]
"""Classes as numbers from 0, shape (N,)."""


def ndcg(ranked: Sequence[float], judged: Sequence[float], k: int = 10) -> float:
    """Normalised discounted cumulative gain at ``k``, in [0, 1], with the gain 2^grade - 1.

    Args:
        ranked: Grades of the documents found, best first; 0 for one that is not relevant.
        judged: Grades of all the relevant documents of the query.
        k: How far down the ranking counts.

    >>> ndcg([0, 1], [1])
    0.6309297535714575
    """
    best = _dcg(sorted(judged, reverse=True)[:k])
    return _dcg(ranked[:k]) / best if best else 0.0


def average_precision(relevant: ArrayLike, scores: ArrayLike) -> float:
    """Area under the precision-recall curve as a sum of steps, in [0, 1].

    Equal scores are one step, so the result does not depend on the order of the input.

    Args:
        relevant: Whether each item is wanted, shape (N,).
        scores: Higher is better, shape (N,).

    >>> average_precision([True, False, True], [0.9, 0.8, 0.7])
    0.8333333333333333
    """
    wanted, by = np.asarray(relevant, dtype=bool), np.asarray(scores)
    if not wanted.any():
        return 0.0
    order = np.argsort(-by, kind="stable")
    hits = np.cumsum(wanted[order])
    last = np.flatnonzero(np.append(np.diff(by[order]) != 0, True))  # the end of each run of equal scores
    found = hits[last]
    return float((np.diff(found, prepend=0) * found / (last + 1)).sum() / found[-1])


def spearman(first: ArrayLike, second: ArrayLike) -> float:
    """Spearman's rank correlation in [-1, 1]; 0 where one side is constant, for which it is not defined.

    >>> round(spearman([1, 2, 3, 4], [1, 3, 2, 4]), 3)
    0.8
    """
    ranks = [_ranks(np.asarray(values)) for values in (first, second)]
    centred = [values - values.mean() for values in ranks]
    lengths = [float(np.sqrt(values @ values)) for values in centred]
    return float(centred[0] @ centred[1] / (lengths[0] * lengths[1])) if all(lengths) else 0.0


def v_measure(classes: ArrayLike, clusters: ArrayLike) -> float:
    """Harmonic mean of homogeneity and completeness, in [0, 1] (Rosenberg and Hirschberg, EMNLP 2007).

    Args:
        classes: True class of each item, shape (N,).
        clusters: Cluster it was put into, shape (N,); their names do not matter.
    """
    _, of_class = np.unique(np.asarray(classes), return_inverse=True)
    _, of_cluster = np.unique(np.asarray(clusters), return_inverse=True)
    counts = np.zeros((of_class.max() + 1, of_cluster.max() + 1))
    np.add.at(counts, (of_class, of_cluster), 1)
    joint, by_class, by_cluster = (_entropy(part) for part in (counts, counts.sum(1), counts.sum(0)))
    shared = by_class + by_cluster - joint
    homogeneity = shared / by_class if by_class else 1.0
    completeness = shared / by_cluster if by_cluster else 1.0
    both = homogeneity + completeness
    return float(2 * homogeneity * completeness / both) if both else 0.0


def kmeans(vectors: Vectors, clusters: int, seed: int) -> Labels:
    """Cluster of every row by Lloyd's algorithm from a k-means++ start (Arthur and Vassilvitskii, SODA 2007).

    Args:
        vectors: Shape (N, D).
        clusters: At most N.
        seed: Of the start; nothing else is random.

    Returns:
        Shape (N,).
    """
    random = np.random.default_rng(seed)
    centres = _spread_start(vectors, clusters, random)
    assigned = np.full(len(vectors), -1)
    for _ in range(_KMEANS_ITERATIONS):
        distances = _distances(vectors, centres)
        nearest = distances.argmin(1)
        if np.array_equal(nearest, assigned):
            break
        assigned = nearest
        sums = np.zeros_like(centres)
        np.add.at(sums, assigned, vectors)
        sizes = np.bincount(assigned, minlength=clusters)
        centres = np.asarray(sums / np.maximum(sizes, 1)[:, None], dtype=np.float32)
        if empty := np.flatnonzero(sizes == 0).tolist():  # such a cluster starts again at what is worst served
            centres[empty] = vectors[np.argsort(-distances.min(1), kind="stable")[: len(empty)]]
    return assigned.astype(np.int64)


def classify(train: Vectors, labels: Labels, test: Vectors, penalty: float = 1.0) -> Labels:
    """Classes of ``test`` by softmax regression, fitted to the minimum of its convex objective.

    The objective is the sum of the negative log-likelihoods plus ``penalty``/2 times the squared weights, the
    intercept free: what scikit-learn's ``LogisticRegression(C=1 / penalty)`` minimises.

    Args:
        train: Shape (N, D).
        labels: Class of each row, from 0, every class at least once, shape (N,).
        test: Shape (M, D).
        penalty: Strength of the regularisation.

    Returns:
        Shape (M,).
    """
    x, y = torch.from_numpy(train).double(), torch.from_numpy(labels)
    classes = int(labels.max()) + 1
    if classes == 2:
        # The binary model has one vector, the difference of the two here, of which each is half: their squares
        # add up to half of its square.
        penalty *= 2
    weights = torch.zeros(classes, x.shape[1], dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(classes, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [weights, bias], max_iter=_FIT_ITERATIONS, tolerance_grad=_FIT_TOLERANCE, line_search_fn="strong_wolfe"
    )

    def objective() -> torch.Tensor:
        optimizer.zero_grad()
        loss = (F.cross_entropy(x @ weights.T + bias, y, reduction="sum") + penalty / 2 * weights.square().sum()) / len(
            x
        )
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    with torch.enable_grad():
        optimizer.step(objective)  # type: ignore[no-untyped-call]
    with torch.no_grad():
        logits = torch.from_numpy(test).double() @ weights.T + bias
    return np.asarray(logits.argmax(1).numpy(), dtype=np.int64)


def _dcg(grades: Sequence[float]) -> float:
    gains = 2.0 ** np.asarray(grades, dtype=np.float64) - 1
    return float((gains / np.log2(np.arange(len(gains)) + 2)).sum())


def _ranks(values: NDArray[np.generic]) -> NDArray[np.float64]:
    """Ranks from 1; equal values share the mean of theirs."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return np.asarray((ends - (counts - 1) / 2)[inverse], dtype=np.float64)


def _entropy(counts: NDArray[np.float64]) -> float:
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log(shares)).sum())


def _distances(vectors: Vectors, centres: Vectors) -> Vectors:
    """Squared Euclidean distances, (N, D) and (K, D) to (N, K)."""
    squares = (vectors * vectors).sum(1)[:, None] + (centres * centres).sum(1)
    return np.asarray(np.maximum(squares - 2 * vectors @ centres.T, 0), dtype=np.float32)


def _spread_start(vectors: Vectors, clusters: int, random: np.random.Generator) -> Vectors:
    """Rows to start from, each drawn in proportion to its squared distance from those before it."""
    chosen = [int(random.integers(len(vectors)))]
    nearest = _distances(vectors, vectors[chosen])[:, 0].astype(np.float64)
    for _ in range(clusters - 1):
        total = nearest.sum()
        # Where all rows are chosen or equal to one that is, any will do.
        chosen.append(int(random.choice(len(vectors), p=nearest / total if total else None)))
        nearest = np.minimum(nearest, _distances(vectors, vectors[chosen[-1:]])[:, 0])
    return vectors[chosen].astype(np.float32)
