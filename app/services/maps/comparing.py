"""Two maps of the same items compared."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score


@dataclass(frozen=True, slots=True)
class Comparison:
    """What two maps say of the items they share.

    Attributes:
        shared: How many items both have.
        rand: Adjusted Rand index: 1 for the same clusters, 0 for what chance would give.
        information: Normalised mutual information, 0 to 1.
        partners: The cluster of the second map that each cluster of the first corresponds to, where there is one.
        moved: Items that are not in the partner of their cluster, with the cluster they were in and the one they are
            in now, by id and in the order of the ids.
    """

    shared: int
    rand: float
    information: float
    partners: Mapping[str, str]
    moved: Mapping[str, tuple[str, str]]


def compare(first: Mapping[str, str], second: Mapping[str, str]) -> Comparison:
    """Compare the clusters of items in two maps, each by item; what only one of them has is left out."""
    shared = sorted(first.keys() & second.keys())
    before, after = [first[item] for item in shared], [second[item] for item in shared]
    if not shared:
        return Comparison(0, 0.0, 0.0, {}, {})
    partners = _partners(before, after)
    moved = {item: (old, new) for item, old, new in zip(shared, before, after, strict=True) if partners.get(old) != new}
    rand = float(adjusted_rand_score(before, after))
    return Comparison(len(shared), rand, float(normalized_mutual_info_score(before, after)), partners, moved)


def _partners(before: list[str], after: list[str]) -> dict[str, str]:
    """The pairing of clusters that keeps most items together; clusters that share nothing are no pair."""
    old_names, old = np.unique(before, return_inverse=True)
    new_names, new = np.unique(after, return_inverse=True)
    table = np.zeros((len(old_names), len(new_names)), np.int64)
    np.add.at(table, (old, new), 1)
    rows, columns = linear_sum_assignment(table, maximize=True)
    pairs = zip(rows.tolist(), columns.tolist(), strict=True)
    return {str(old_names[row]): str(new_names[column]) for row, column in pairs if table[row, column]}
