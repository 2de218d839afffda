"""What a classifier gets right and wrong, from probabilities of texts it never saw. Pure functions."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.services.classify.heads import Matrix, Places

_Z = 1.959964
"""Two-sided 95 % of the normal distribution."""

_BINS = 10
_STEPS = 20


@dataclass(frozen=True, slots=True)
class ClassFigures:
    """One label.

    Attributes:
        label: Its name.
        examples: How many texts have it.
        precision: Share of the texts given it that have it; None where none was.
        recall: Share of the texts that have it that were given it.
        f1: Harmonic mean of the two; 0 where nothing was right.
    """

    label: str
    examples: int
    precision: float | None
    recall: float
    f1: float


@dataclass(frozen=True, slots=True, eq=False)
class Figures:
    """All labels.

    Attributes:
        accuracy: Share of right labels among the texts that were given one; None where none was.
        interval: Its 95 % confidence interval (Wilson).
        chance: What giving everything the most frequent label would reach.
        macro_f1: Mean F1 of the labels, each counting the same.
        coverage: Share of the texts that were given a label.
        calibration_error: Mean distance between how sure it was and how often it was right (ECE, ten bins).
        classes: In the order of the labels.
        confusion: ``(C, C + 1)`` counts: rows are what texts have, columns what they were given, the last nothing.
    """

    accuracy: float | None
    interval: tuple[float, float]
    chance: float
    macro_f1: float
    coverage: float
    calibration_error: float
    classes: tuple[ClassFigures, ...]
    confusion: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """What would hold at a threshold: the share of texts given a label, and how many of those labels are right."""

    threshold: float
    coverage: float
    accuracy: float | None


@dataclass(frozen=True, slots=True)
class Doubt:
    """An example whose label is probably wrong.

    Attributes:
        place: Of the example.
        given: Place of the label it has.
        likely: Place of the one it probably should have.
        margin: By how much the one is more probable than the other, above 0.
    """

    place: int
    given: int
    likely: int
    margin: float


def decided(probabilities: Matrix, threshold: float) -> Places:
    """The most probable label of each row, or C where it is less probable than the threshold."""
    best: Places = probabilities.argmax(axis=1).astype(np.int64)
    best[probabilities.max(axis=1) < threshold] = probabilities.shape[1]
    return best


def figures(probabilities: Matrix, targets: Places, labels: Sequence[str], threshold: float = 0.0) -> Figures:
    """Figures over held-out probabilities ``(N, C)``, at a threshold below which no label is given."""
    count = len(labels)
    given = decided(probabilities, threshold)
    confusion = np.zeros((count, count + 1), dtype=np.int64)
    np.add.at(confusion, (targets, given), 1)
    right, total = int(np.trace(confusion)), int((given < count).sum())
    classes = tuple(_class(confusion, place, label) for place, label in enumerate(labels))
    return Figures(
        accuracy=right / total if total else None,
        interval=wilson(right, total),
        chance=float(np.bincount(targets, minlength=count).max() / len(targets)),
        macro_f1=float(np.mean([one.f1 for one in classes])),
        coverage=total / len(targets),
        calibration_error=calibration_error(probabilities, targets),
        classes=classes,
        confusion=confusion,
    )


def wilson(right: int, total: int) -> tuple[float, float]:
    """The 95 % confidence interval of a share (Wilson, 1927); all of 0 to 1 where nothing is known."""
    if not total:
        return 0.0, 1.0
    share, z = right / total, _Z**2 / total
    middle, half = share + z / 2, _Z * float(np.sqrt(share * (1 - share) / total + z / (4 * total)))
    return max(0.0, (middle - half) / (1 + z)), min(1.0, (middle + half) / (1 + z))


def calibration_error(probabilities: Matrix, targets: Places) -> float:
    """Expected calibration error over ten bins of equal width (Naeini et al., AAAI 2015)."""
    sure, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == targets
    bins = np.minimum((sure * _BINS).astype(np.int64), _BINS - 1)
    error = 0.0
    for one in np.unique(bins):
        mine = bins == one
        error += float(mine.mean()) * abs(float(sure[mine].mean()) - float(right[mine].mean()))
    return error


def threshold_curve(probabilities: Matrix, targets: Places) -> tuple[CurvePoint, ...]:
    """Coverage and accuracy at thresholds from 0 to 1, in steps of 0.05."""
    sure, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == targets
    points = []
    for step in range(_STEPS + 1):
        kept = sure >= step / _STEPS
        points.append(CurvePoint(step / _STEPS, float(kept.mean()), float(right[kept].mean()) if kept.any() else None))
    return tuple(points)


def likely_errors(probabilities: Matrix, targets: Places, limit: int) -> list[Doubt]:
    """Examples whose label is probably wrong, the surest first.

    Confident learning (Northcutt et al., arXiv 1911.00068): another label is more probable than the given one, and
    at least as probable as it is on average for the texts that have it. Held-out probabilities, or every label
    would have been learnt by heart.
    """
    rows = np.arange(len(targets))
    own = probabilities[rows, targets]
    others = probabilities.copy()
    others[rows, targets] = -1.0
    likely = others.argmax(axis=1)
    examples = np.bincount(targets, minlength=probabilities.shape[1])
    usual = np.bincount(targets, weights=own, minlength=probabilities.shape[1]) / np.maximum(examples, 1)
    margins = others.max(axis=1) - own
    suspects = np.flatnonzero((margins > 0) & (others.max(axis=1) >= usual[likely]))
    order = suspects[np.argsort(-margins[suspects], kind="stable")][:limit]
    return [Doubt(int(n), int(targets[n]), int(likely[n]), float(margins[n])) for n in order]


def _class(confusion: NDArray[np.int64], place: int, label: str) -> ClassFigures:
    right, examples, given = int(confusion[place, place]), int(confusion[place].sum()), int(confusion[:, place].sum())
    return ClassFigures(
        label=label,
        examples=examples,
        precision=right / given if given else None,
        recall=right / examples if examples else 0.0,
        f1=2 * right / (examples + given) if examples + given else 0.0,
    )
