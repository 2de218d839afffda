"""What a classifier is in numbers: one linear layer over unit vectors, and three ways to come by it."""

import warnings
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from embedder.protocol import Vectors

Matrix = NDArray[np.float32]
Places = NDArray[np.int64]
"""Which label each text has, as its place in the list of labels, shape (N,)."""

DESCRIBED_SCALE = 20.0
"""What cosines with descriptions are multiplied by: without examples there is nothing to learn it from."""

_PROTOTYPE_SCALE = 10.0
_NEVER = -1e3
"""Logit of a label that nothing was learnt of."""

_ITERATIONS = 300
_TOLERANCE = 1e-3
_EPSILON = 1e-12


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """One linear layer; the softmax of its logits is what it believes.

    Attributes:
        weights: ``(C, D)``, a row for each label.
        bias: ``(C,)``.
    """

    weights: Matrix
    bias: Matrix

    def logits(self, vectors: Vectors) -> Matrix:
        """Of unit rows ``(N, D)``: ``(N, C)``."""
        return np.asarray(vectors @ self.weights.T + self.bias, dtype=np.float32)

    def probabilities(self, vectors: Vectors) -> Matrix:
        """Of unit rows ``(N, D)``: ``(N, C)``, each row adding up to 1."""
        return softmax(self.logits(vectors))

    def cooled(self, temperature: float) -> Self:
        """The same decisions, as sure as calibration found them to be: all logits divided by a temperature."""
        return type(self)((self.weights / temperature).astype(np.float32), (self.bias / temperature).astype(np.float32))


def softmax(logits: Matrix) -> Matrix:
    """Row by row, ``(N, C)``."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), dtype=np.float32)


def described(labels: Vectors) -> Head:
    """Labels known by their description alone: the nearest one, by cosine.

    Args:
        labels: ``(C, D)`` unit rows, the vectors of what describes each label.
    """
    return Head((DESCRIBED_SCALE * labels).astype(np.float32), np.zeros(len(labels), dtype=np.float32))


def prototypes(vectors: Vectors, targets: Places, classes: int) -> Head:
    """The nearest mean (Snell et al., *Prototypical Networks*, arXiv 1703.05175): sound from one example a label on.

    Means are taken from the middle of all labels, since vectors of one domain share most of their direction.

    Args:
        vectors: ``(N, D)`` unit rows.
        targets: Their labels.
        classes: How many labels there are.
    """
    means = np.zeros((classes, vectors.shape[1]), dtype=np.float32)
    seen = np.bincount(targets, minlength=classes) > 0
    for place in np.flatnonzero(seen):
        means[place] = vectors[targets == place].mean(axis=0)
    middle = means[seen].mean(axis=0)
    directions = means - middle
    directions /= np.maximum(np.linalg.norm(directions, axis=1, keepdims=True), _EPSILON)
    weights = np.where(seen[:, None], _PROTOTYPE_SCALE * directions, 0).astype(np.float32)
    return Head(weights, np.where(seen, -weights @ middle, _NEVER).astype(np.float32))


def logistic(vectors: Vectors, targets: Places, classes: int, strength: float) -> Head:
    """Multinomial logistic regression.

    Args:
        vectors: ``(N, D)`` unit rows.
        targets: Their labels, of which at least two are different.
        classes: How many labels there are; those without an example are never predicted.
        strength: Inverse of the regularisation (scikit-learn's ``C``).
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression  # takes a second to load

    model = LogisticRegression(C=strength, max_iter=_ITERATIONS, tol=_TOLERANCE)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the folds judge what came out
        model.fit(vectors, targets)
    weights = np.zeros((classes, vectors.shape[1]), dtype=np.float32)
    bias = np.full(classes, _NEVER, dtype=np.float32)
    if len(model.classes_) == 2:  # one row, that of the second
        half = np.vstack([-model.coef_, model.coef_]) / 2
        weights[model.classes_], bias[model.classes_] = half, np.concatenate([-model.intercept_, model.intercept_]) / 2
    else:
        weights[model.classes_], bias[model.classes_] = model.coef_, model.intercept_
    return Head(weights, bias)
