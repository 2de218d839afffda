"""Learning from examples, and what it is worth: every figure comes from texts the head in question never saw.

Outer folds judge, inner ones choose the regularisation, so that the choice is judged too (nested cross-validation;
Cawley and Talbot, JMLR 11, 2010). One temperature makes the probabilities mean what they say (Guo et al., arXiv
1706.04599); it is learnt from logits of held-out texts, and those it is judged by had no part in it either.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from app.services.classify.folds import Groups, stratified_folds
from app.services.classify.heads import Head, Matrix, Places, logistic, prototypes, softmax
from embedder.protocol import Vectors

FEW = 4
"""Different examples that every label must have before a regression is learnt; prototypes need one."""

STRENGTHS = (1.0, 10.0, 100.0, 1000.0)
_INNER_FOLDS = 3
_INNER_TEXTS = 2_000
"""Texts the regularisation is chosen by; more would take longer and choose the same."""

_MAX_LOG_TEMPERATURE = 4.0

Progress = Callable[[float], None]
"""Told now and then which share of the work is done."""


class Method(StrEnum):
    """How a head came about."""

    DESCRIBED = "described"
    PROTOTYPES = "prototypes"
    LOGISTIC = "logistic"


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """A head, and what it is worth.

    Attributes:
        head: Learnt from all examples, calibrated.
        method: By which way.
        strength: Inverse of the regularisation; 0 for prototypes.
        probabilities: ``(N, C)``: of each example by a head that never saw it nor its near-duplicates, calibrated
            without it.
        folds: Which fold each example was judged in, shape (N,).
    """

    head: Head
    method: Method
    strength: float
    probabilities: Matrix
    folds: Places


def train(
    vectors: Vectors,
    targets: Places,
    groups: Groups,
    classes: int,
    *,
    seed: int = 0,
    progress: Progress = lambda _: None,
) -> Trained:
    """Learn a head from examples and judge it by cross-validation.

    Args:
        vectors: ``(N, D)`` unit rows.
        targets: Their labels.
        groups: Near-duplicates share a number.
        classes: How many labels there are, each with an example, at least two.
        seed: Of the shuffles.
        progress: Told how far it is.
    """
    from threadpoolctl import threadpool_limits  # comes with scikit-learn

    # The products are small: threads would wait for each other more than they work.
    with threadpool_limits(1, user_api="blas"):
        return _train(vectors, targets, groups, classes, seed, progress)


def _train(vectors: Vectors, targets: Places, groups: Groups, classes: int, seed: int, progress: Progress) -> Trained:
    method = choose_method(targets, groups)
    folds = stratified_folds(targets, groups, seed=seed)
    logits = np.zeros((len(targets), classes), dtype=np.float32)
    numbers = np.unique(folds)
    for fold in numbers if len(numbers) > 1 else ():
        held_out = folds == fold
        head, _ = _learn(method, vectors[~held_out], targets[~held_out], groups[~held_out], classes, seed)
        logits[held_out] = head.logits(vectors[held_out])
        progress(float(fold + 1) / (len(numbers) + 1))
    head, strength = _learn(method, vectors, targets, groups, classes, seed)
    progress(1.0)
    return Trained(
        head.cooled(temperature(logits, targets)),
        method,
        strength,
        _calibrated(logits, targets, folds),
        folds,
    )


def choose_method(targets: Places, groups: Groups) -> Method:
    """Prototypes while a label has fewer than ``FEW`` different examples, else a regression."""
    different = [len(np.unique(groups[targets == place])) for place in np.unique(targets)]
    return Method.LOGISTIC if min(different) >= FEW else Method.PROTOTYPES


def temperature(logits: Matrix, targets: Places) -> float:
    """What logits ``(N, C)`` are divided by so that their softmax is as sure as it is right.

    Targets are smoothed as by Platt (1999): a few examples, all right, are no reason to be certain for ever.
    """
    from scipy.optimize import minimize_scalar

    smooth = 1.0 / (len(targets) + 2)
    rows = np.arange(len(targets))

    def loss(log_temperature: float) -> float:
        chances = np.log(np.maximum(softmax(logits / np.float32(np.exp(log_temperature))), 1e-9))
        return -float((1 - smooth) * chances[rows, targets].mean() + smooth * chances.mean())

    found = minimize_scalar(loss, bounds=(-_MAX_LOG_TEMPERATURE, _MAX_LOG_TEMPERATURE), method="bounded")
    return float(np.exp(found.x))


def _learn(
    method: Method, vectors: Vectors, targets: Places, groups: Groups, classes: int, seed: int
) -> tuple[Head, float]:
    """A head and the strength that suited it best, by these examples alone."""
    if method is Method.PROTOTYPES or len(np.unique(targets)) < 2:
        return prototypes(vectors, targets, classes), 0.0
    strength = _best_strength(vectors, targets, groups, classes, seed)
    return logistic(vectors, targets, classes, strength), strength


def _best_strength(vectors: Vectors, targets: Places, groups: Groups, classes: int, seed: int) -> float:
    if len(targets) > _INNER_TEXTS:
        some = np.random.default_rng(seed).choice(len(targets), _INNER_TEXTS, replace=False)
        vectors, targets, groups = vectors[some], targets[some], groups[some]
    folds = stratified_folds(targets, groups, _INNER_FOLDS, seed + 1)
    losses = [_held_out_loss(vectors, targets, folds, classes, strength) for strength in STRENGTHS]
    return STRENGTHS[int(np.argmin(losses))]


def _held_out_loss(vectors: Vectors, targets: Places, folds: Places, classes: int, strength: float) -> float:
    total = 0.0
    for fold in np.unique(folds):
        held_out = folds == fold
        if len(np.unique(targets[~held_out])) < 2:
            continue
        head = logistic(vectors[~held_out], targets[~held_out], classes, strength)
        right = head.probabilities(vectors[held_out])[np.arange(int(held_out.sum())), targets[held_out]]
        total -= float(np.log(np.maximum(right, 1e-9)).sum())
    return total


def _calibrated(logits: Matrix, targets: Places, folds: Places) -> Matrix:
    """Probabilities of held-out texts, each fold by the temperature of the others."""
    probabilities = softmax(logits)
    for fold in np.unique(folds):
        held_out = folds == fold
        if held_out.all():
            break
        others = temperature(logits[~held_out], targets[~held_out])
        probabilities[held_out] = softmax(logits[held_out] / np.float32(others))
    return probabilities
