"""Which items belong together: k-means, HDBSCAN or Ward's agglomeration, and who counts as an outlier.

k-means and Ward work on the principal components; HDBSCAN on the layout, so that its clusters are the islands people
see, and because density means little in fifty dimensions. Everything runs in one thread, for equal results.
"""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import HDBSCAN, AgglomerativeClustering, KMeans
from threadpoolctl import threadpool_limits

from app.services.maps.items import Floats

OUTLIER = -1
MOST_CLUSTERS = 100
_MOST_WARD = 2_000
"""Ward's method compares every two: more items are first gathered into so many small groups."""

_WARD_ROUNDS = 10

Labels = NDArray[np.int64]


class Method(StrEnum):
    """How clusters are found."""

    KMEANS = "kmeans"
    HDBSCAN = "hdbscan"
    WARD = "ward"


@dataclass(frozen=True, slots=True)
class Recipe:
    """How clusters are to be found.

    Attributes:
        count: Number of clusters of k-means and Ward; at most as many as there are different items are made.
        least: Smallest cluster of HDBSCAN.
        seed: Of k-means; the others draw nothing.
    """

    method: Method
    count: int
    least: int
    seed: int


@dataclass(frozen=True, slots=True)
class Clustering:
    """Clusters before outliers are decided on.

    Attributes:
        nearest: The cluster of each item, 0 for the largest; of what the method left out, the one it is nearest to.
            Shape (items,).
        fit: How well each item fits, 0 to 1: the share of its cluster's own members that lie no nearer to the middle.
            Shape (items,).
    """

    nearest: Labels
    fit: Floats

    def labels(self, threshold: float) -> Labels:
        """The cluster of each item that fits at least so well, ``OUTLIER`` for others. 0 leaves no outlier."""
        return np.where(self.fit >= threshold, self.nearest, OUTLIER)


def cluster(components: Floats, places: Floats, recipe: Recipe) -> Clustering:
    """Find clusters.

    Args:
        components: Shape (items, width).
        places: The layout, shape (items, 2).
        recipe: How.
    """
    if len(components) == 0:
        return Clustering(np.zeros(0, np.int64), np.zeros(0, np.float32))
    with threadpool_limits(limits=1):
        return _settled(components, raw_labels(components, places, recipe))


def raw_labels(components: Floats, places: Floats, recipe: Recipe) -> Labels:
    """Clusters as the method numbers them, ``OUTLIER`` where it leaves something out; arguments as ``cluster``."""
    if recipe.method is Method.HDBSCAN:
        return _hdbscan(places, recipe.least)
    count = min(recipe.count, len(np.unique(components, axis=0)))
    if recipe.method is Method.KMEANS or count < 2:
        return _kmeans(components, count, recipe.seed, tries=4)
    return _ward(components, count, recipe.seed)


def _kmeans(components: Floats, count: int, seed: int, tries: int, rounds: int = 300) -> Labels:
    found = KMeans(count, n_init=tries, max_iter=rounds, random_state=seed).fit_predict(components)
    return np.asarray(found, np.int64)


def _hdbscan(places: Floats, least: int) -> Labels:
    if len(places) < 2 * least:
        return np.zeros(len(places), np.int64)
    found = HDBSCAN(min_cluster_size=least, min_samples=min(least, 10), copy=True).fit_predict(places)
    labels = np.asarray(found, np.int64)
    return labels if (labels != OUTLIER).any() else np.zeros(len(places), np.int64)


def _ward(components: Floats, count: int, seed: int) -> Labels:
    if len(components) <= _MOST_WARD:
        return np.asarray(AgglomerativeClustering(count).fit_predict(components), np.int64)
    small = _kmeans(components, _MOST_WARD, seed, tries=1, rounds=_WARD_ROUNDS)
    present, small = np.unique(small, return_inverse=True)
    middles = _middles(components, small, len(present))
    return np.asarray(AgglomerativeClustering(count).fit_predict(middles), np.int64)[small]


def _settled(components: Floats, raw: Labels) -> Clustering:
    """Number clusters by size, and give what was left out to the nearest middle."""
    found, sizes = np.unique(raw[raw != OUTLIER], return_counts=True)
    by_size = found[np.lexsort((found, -sizes))]
    number = {int(old): new for new, old in enumerate(by_size)}
    core = np.asarray([number.get(int(old), OUTLIER) for old in raw], np.int64)
    middles = _middles(components[core != OUTLIER], core[core != OUTLIER], len(by_size))
    nearest, distances = core.copy(), np.empty(len(core), np.float32)
    left = core == OUTLIER
    if left.any():
        nearest[left] = _nearest_middle(components[left], middles)
    distances[:] = np.linalg.norm(components - middles[nearest], axis=1)
    fit = np.ones(len(core), np.float32)
    for each in range(len(by_size)):
        members = np.sort(distances[core == each])
        mine = nearest == each
        nearer = np.searchsorted(members, distances[mine], side="left")
        fit[mine] = 1 - nearer / len(members)
    return Clustering(nearest, fit)


def _nearest_middle(components: Floats, middles: Floats) -> Labels:
    """The middle nearest to each, without the matrix of all differences."""
    squares = (middles**2).sum(axis=1) - 2 * components @ middles.T
    return np.asarray(squares.argmin(axis=1), np.int64)


def _middles(components: Floats, labels: Labels, count: int) -> Floats:
    sums = np.zeros((count, components.shape[1]), np.float64)
    np.add.at(sums, labels, components)
    return (sums / np.maximum(np.bincount(labels, minlength=count), 1)[:, None]).astype(np.float32)
