"""Vectors onto a plane: t-SNE with FFT-accelerated forces (Linderman et al. 2019), from a PCA to begin with.

openTSNE was chosen over umap-learn because it needs no compiler at run time (numba and LLVM are 200 MB), and over
scikit-learn's t-SNE because its cost grows with the number of points alone. Everything runs in one thread: sums are
then made in one order, and the same input has the same layout on any number of cores, while searches have the others.
"""

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors
from threadpoolctl import threadpool_limits

from app.services.maps.items import Floats

_WIDTH = 50
"""Dimensions in which neighbours are looked for and clusters made."""

_NEIGHBOURS = 15
_EARLY, _LATE = (125, 12.0), (250, 1.0)
"""Iterations and exaggeration of the two phases."""

_FEWEST = 5
"""Fewer items have no neighbourhood to speak of."""


def reduced(vectors: Floats) -> Floats:
    """The principal components of the vectors, shape (items, up to 50)."""
    width = min(_WIDTH, *vectors.shape)
    if width == 0 or not np.ptp(vectors, axis=0).any():  # nothing tells them apart
        return np.zeros((len(vectors), 1), np.float32)
    with threadpool_limits(limits=1):
        found = PCA(width, svd_solver="covariance_eigh").fit_transform(vectors)
    return np.ascontiguousarray(found, np.float32)


def layout(components: Floats, seed: int) -> Floats:
    """Places on a plane, shape (items, 2), within -1 to 1.

    Args:
        components: From ``reduced``, shape (items, width).
        seed: Of the few draws there are; the same seed and components have the same places.
    """
    if len(components) < _FEWEST or not components.any():
        return _framed(np.pad(components, ((0, 0), (0, 2)))[:, :2])
    with threadpool_limits(limits=1):
        return _framed(_tsne(components, seed))


def _tsne(components: Floats, seed: int) -> NDArray[np.float64]:
    from openTSNE import TSNEEmbedding, affinity, initialization
    from openTSNE.nearest_neighbors import PrecomputedNeighbors

    indices, distances = _neighbours(components)
    pulls = affinity.Uniform(
        knn_index=PrecomputedNeighbors(indices, distances), k_neighbors=indices.shape[1], symmetrize="mean"
    )
    flat = np.pad(components, ((0, 0), (0, 1)))[:, :2]
    # Texts that are equal begin beside each other: on one spot no force would ever move them apart.
    start = initialization.jitter(initialization.rescale(flat.astype(np.float64)), random_state=seed)
    embedding = TSNEEmbedding(start, pulls, negative_gradient_method="auto", n_jobs=1, random_state=seed)
    for iterations, exaggeration in (_EARLY, _LATE):
        embedding = embedding.optimize(n_iter=iterations, exaggeration=exaggeration, learning_rate="auto")
    return np.asarray(embedding)


def _neighbours(components: Floats) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The nearest others of each, exactly: an approximate index would need draws, and threads, of its own."""
    count = min(_NEIGHBOURS, max(2, len(components) // 4))  # of few items, not so many that all are neighbours
    found = NearestNeighbors(n_neighbors=count, algorithm="brute").fit(components)
    distances, indices = found.kneighbors()
    return indices.astype(np.int64), distances.astype(np.float64)


def _framed(places: NDArray[np.floating]) -> Floats:
    """The middle at the origin, the farthest at 1."""
    if not len(places):
        return np.zeros((0, 2), np.float32)
    centred = places - (places.max(axis=0) + places.min(axis=0)) / 2
    return np.asarray(centred / (np.abs(centred).max() or 1.0), np.float32)
