"""Folds for honest cross-validation: stratified, and near-duplicates never on both sides.

A text that stands in the training part in nearly the same words is no test: it would be remembered, not judged.
"""

import warnings
from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from app.services.classify.heads import Places
from indexer.duplicates import THRESHOLD, Signature, bands, signature

Groups = NDArray[np.int64]
"""A number for each text, shape (N,); near-duplicates have the same."""

FOLDS = 5


def near_duplicate_groups(texts: Sequence[str]) -> Groups:
    """Which texts say nearly the same, by chains of MinHash signatures as alike as ``indexer.duplicates`` asks."""
    signatures, place_of = _different(texts)
    parents = list(range(len(set(place_of))))
    buckets: defaultdict[tuple[int, int], list[int]] = defaultdict(list)
    for place, sign in signatures.items():
        for band in enumerate(bands(sign)):
            _join_alike(place, buckets[band], signatures, parents)
            buckets[band].append(place)
    return np.array([_root(place_of[number], parents) for number in range(len(texts))], dtype=np.int64)


def stratified_folds(targets: Places, groups: Groups, count: int = FOLDS, seed: int = 0) -> Places:
    """The fold of each text, shape (N,): every label spread over all folds, every group within one.

    Args:
        targets: Label of each text.
        groups: Texts of one number stay together.
        count: Folds; fewer where no label has that many groups.
        seed: Of the shuffle.
    """
    from sklearn.model_selection import StratifiedGroupKFold  # takes a second to load

    folds = np.zeros(len(targets), dtype=np.int64)
    count = min(count, len(np.unique(groups)), int(np.bincount(targets).max(initial=0)))
    if count < 2:
        return folds
    splitter = StratifiedGroupKFold(count, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        # A label with fewer examples than folds is judged all the same: each of them is left out once.
        warnings.filterwarnings("ignore", "The least populated class", UserWarning)
        for fold, (_, held_out) in enumerate(splitter.split(targets, targets, groups)):
            folds[held_out] = fold
    return folds


def _different(texts: Sequence[str]) -> tuple[dict[int, Signature], list[int]]:
    """Each different signature under a place of its own, and the place of each text.

    A text without a word, such as an emoji, has a place but no signature: it is like no other but itself.
    """
    signatures: dict[int, Signature] = {}
    places: dict[bytes, int] = {}
    place_of: list[int] = []
    for text in texts:
        sign = signature(text)
        key = sign.tobytes() if sign is not None else b"text" + text.strip().encode("utf-8", "surrogatepass")
        place = places.setdefault(key, len(places))
        if sign is not None:
            signatures[place] = sign
        place_of.append(place)
    return signatures, place_of


def _join_alike(place: int, others: Sequence[int], signatures: Mapping[int, Signature], parents: list[int]) -> None:
    root = _root(place, parents)
    strangers = [other for other in others if _root(other, parents) != root]
    if not strangers:
        return
    agreement = (np.stack([signatures[other] for other in strangers]) == signatures[place]).mean(axis=1)
    for other in np.array(strangers)[agreement >= THRESHOLD]:
        parents[_root(int(other), parents)] = _root(place, parents)


def _root(place: int, parents: list[int]) -> int:
    while parents[place] != place:
        parents[place] = parents[parents[place]]
        place = parents[place]
    return place
