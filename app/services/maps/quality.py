"""How good a clustering is: silhouette, and whether it comes out the same again."""

from dataclasses import dataclass, replace

import numpy as np
from sklearn.metrics import adjusted_rand_score, silhouette_samples
from threadpoolctl import threadpool_limits

from app.services.maps.clusters import OUTLIER, Labels, Method, Recipe, raw_labels
from app.services.maps.items import Floats

_SAMPLE = 3_000
_STABILITY_SAMPLE = 5_000
_REPEATS = 3
_KEPT_SHARE = 0.8


@dataclass(frozen=True, slots=True)
class Quality:
    """Figures of a clustering; None where there is nothing to measure.

    Attributes:
        silhouette: Mean over a sample, -1 to 1; above 0.25 clusters are more than chance (Rousseeuw 1987).
        stability: Mean adjusted Rand index between clusterings with other seeds of random four fifths of the items;
            1 is the same every time, 0 is chance.
        outliers: Share of items without a cluster.
        by_cluster: Mean silhouette of each cluster; 0 where none of it was in the sample.
    """

    silhouette: float | None
    stability: float | None
    outliers: float
    by_cluster: tuple[float, ...]


def measure(components: Floats, places: Floats, labels: Labels, recipe: Recipe) -> Quality:
    """Measure a clustering; arguments as ``cluster``, ``labels`` of shape (items,)."""
    with threadpool_limits(limits=1):
        mean, by_cluster = _silhouette(components, labels, recipe.seed)
        stability = _stability(components, places, recipe)
    outliers = float((labels == OUTLIER).mean()) if len(labels) else 0.0
    return Quality(mean, stability, outliers, by_cluster)


def _silhouette(components: Floats, labels: Labels, seed: int) -> tuple[float | None, tuple[float, ...]]:
    chosen = np.flatnonzero(labels != OUTLIER)
    if len(chosen) > _SAMPLE:
        chosen = np.sort(np.random.default_rng(seed).choice(chosen, _SAMPLE, replace=False))
    mine = labels[chosen]
    clusters = int(labels.max(initial=OUTLIER)) + 1
    if not 2 <= len(np.unique(mine)) < len(mine):
        return None, (0.0,) * clusters
    values = silhouette_samples(components[chosen], mine)
    sums = np.bincount(mine, weights=values, minlength=clusters)
    means = sums / np.maximum(np.bincount(mine, minlength=clusters), 1)
    return float(values.mean()), tuple(means.tolist())


def _stability(components: Floats, places: Floats, recipe: Recipe) -> float | None:
    """Two clusterings of overlapping parts, compared on what both have; a few times."""
    draws = np.random.default_rng(recipe.seed)
    pool = np.arange(len(components))
    if len(pool) > _STABILITY_SAMPLE:
        pool = np.sort(draws.choice(pool, _STABILITY_SAMPLE, replace=False))
    part = int(len(pool) * _KEPT_SHARE)
    if part < max(10, 2 * (recipe.least if recipe.method is Method.HDBSCAN else recipe.count)):
        return None
    least = max(2, round(recipe.least * part / len(components)))
    scores = []
    for repeat in range(_REPEATS):
        first, second = (np.sort(draws.choice(pool, part, replace=False)) for _ in range(2))
        both = np.intersect1d(first, second)
        mine = []
        for number, chosen in enumerate((first, second)):
            other = replace(recipe, least=least, seed=recipe.seed + 1 + 2 * repeat + number)
            raw = raw_labels(components[chosen], places[chosen], other)
            mine.append(raw[np.searchsorted(chosen, both)])
        scores.append(adjusted_rand_score(*mine))
    return float(np.mean(scores))
