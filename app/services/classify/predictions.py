"""What a classifier says of texts."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from app.services.classify.classifiers import MAX_LABELS, ClassifierRefused, Label
from app.services.classify.heads import Matrix
from app.services.classify.tables import Table, write_csv

_LABEL_CHARACTERS = 200
_DESCRIPTION_CHARACTERS = 2_000


@dataclass(frozen=True, slots=True)
class Score:
    """How probable a label is, 0 to 1; all labels of a text add up to 1."""

    label: str
    score: float


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a classifier says of one text.

    Attributes:
        label: The most probable label; None where it is less probable than the threshold.
        score: How probable the most probable one is.
        margin: By how much it is more probable than the next.
        scores: All labels, the most probable first.
    """

    label: str | None
    score: float
    margin: float
    scores: tuple[Score, ...]

    @property
    def is_abstained(self) -> bool:
        """Whether no label was given."""
        return self.label is None


def predictions_of(probabilities: Matrix, labels: Sequence[str], threshold: float) -> list[Prediction]:
    """What rows of probabilities ``(N, C)`` say, at a threshold below which no label is given."""
    found = []
    orders = np.argsort(-probabilities, axis=1, kind="stable")
    for row, order in zip(probabilities, orders, strict=True):
        scores = tuple(Score(labels[place], float(row[place])) for place in order)
        best, second = scores[0].score, scores[1].score if len(scores) > 1 else 0.0
        found.append(Prediction(scores[0].label if best >= threshold else None, best, best - second, scores))
    return found


def predicted_table(table: Table, predictions: Sequence[Prediction]) -> bytes:
    """A table with three more columns, as CSV: label, score, margin; the label is empty where none was given."""
    more = []
    for name in ("predicted_label", "predicted_score", "predicted_margin"):
        while name in table.columns:
            name += "_new"
        more.append(name)
    rows = (
        [*row, one.label or "", f"{one.score:.4f}", f"{one.margin:.4f}"]
        for row, one in zip(table.rows, predictions, strict=True)
    )
    return write_csv([*table.columns, *more], rows)


def checked_labels(labels: Sequence[Label]) -> tuple[Label, ...]:
    """Labels with their names on one line.

    Raises:
        ClassifierRefused: If there are fewer than two, too many, two of one name, or one is too long.
    """
    whole = tuple(Label(" ".join(one.name.split()), one.description.strip()) for one in labels)
    whole = tuple(one for one in whole if one.name)
    if len(whole) < 2:
        raise ClassifierRefused("A classifier needs at least two labels; name another one.")
    if len(whole) > MAX_LABELS:
        raise ClassifierRefused(f"These are {len(whole):,} labels and the limit is {MAX_LABELS}; join some of them.")
    names = [one.name for one in whole]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ClassifierRefused(f"The label {twice} is there twice; give each a name of its own.")
    longest = max(whole, key=lambda one: len(one.name))
    if len(longest.name) > _LABEL_CHARACTERS:
        raise ClassifierRefused(
            f"The label {longest.name[:40]}… has {len(longest.name):,} characters; shorten it to {_LABEL_CHARACTERS}, "
            "or choose another column."
        )
    if any(len(one.description) > _DESCRIPTION_CHARACTERS for one in whole):
        raise ClassifierRefused(f"A description is longer than {_DESCRIPTION_CHARACTERS:,} characters; shorten it.")
    return whole


def check_threshold(threshold: float) -> None:
    """Refuse what is no probability.

    Raises:
        ClassifierRefused: If it is not between 0 and 1.
    """
    if not 0 <= threshold <= 1:
        raise ClassifierRefused(f"The threshold {threshold} is not between 0 and 1; choose one that is.")
