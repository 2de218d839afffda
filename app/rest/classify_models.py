"""Bodies and answers of classification; what they share with the others is in ``models``."""

from typing import Annotated, Any

import orjson
from pydantic import ConfigDict, Field

from app.rest.limits import Limits
from app.rest.models import Answer, Name, RequestBody, Texts, Whole, bounded
from app.services.classify.classifiers import MAX_LABELS, Label
from app.services.classify.service import ClassifyAnswer, ClassifyRequest
from embedder.protocol import InvalidInput


class LabelBody(RequestBody):
    """A label to choose from."""

    name: Annotated[Name, Field(min_length=1, max_length=200)]
    """What it is called."""
    description: Annotated[Whole, Field(max_length=2000)] = ""
    """What it means, in a few words; the better, the better it is found."""


class ClassifyBody(RequestBody):
    """Texts to label, by a classifier that was saved or by labels described on the spot."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "labels": [
                        {"name": "nature", "description": "animals, plants, weather"},
                        {"name": "economy", "description": "money, trade, companies"},
                    ],
                    "input": ["Bees dry nectar until it becomes honey.", "央行宣布下调存款准备金率。"],
                },
                {
                    "labels": [{"name": "question"}, {"name": "complaint"}],
                    "input": "Where is my card?",
                    "threshold": 0.6,
                },
            ]
        }
    )

    input: Texts
    """One text, or several."""
    classifier: Annotated[Name, Field(min_length=1, max_length=64)] | None = None
    """Name of a classifier that was saved."""
    labels: Annotated[list[LabelBody], Field(min_length=2, max_length=MAX_LABELS, fail_fast=True)] | None = None
    """Labels to choose from, where no classifier is named."""
    threshold: Annotated[float, Field(ge=0, le=1)] | None = None
    """Score below which no label is given; the classifier's own where it is left out, else 0."""
    instruction: Annotated[Whole, Field(max_length=4000)] | None = None
    """With labels: your own instruction for the texts, in place of the one for classification."""

    def request(self, limits: Limits) -> ClassifyRequest:
        """What is asked of the classifier.

        Raises:
            TooMuch: If there are too many texts, or one is too long.
            InvalidInput: If it names both a classifier and labels, or neither.
        """
        if (self.classifier is None) == (self.labels is None):
            raise InvalidInput('Name either a "classifier" or the "labels" to choose from, one of the two.')
        if self.classifier is not None and self.instruction is not None:
            raise InvalidInput("A classifier keeps the instruction it was made with; leave yours out.")
        labels = [Label(label.name, label.description) for label in self.labels or ()]
        return ClassifyRequest(
            bounded(self.input, limits), self.classifier or "", labels, self.threshold, self.instruction or ""
        )


class LabelScore(Answer):
    """A label and how probable it is."""

    label: str
    score: float


class Classification(Answer):
    """What was found of one text."""

    index: int
    """Place of the text in the input, from 0."""
    label: str | None
    """The most probable label; null where it is less probable than the threshold."""
    score: float
    """How probable the most probable label is, 0 to 1."""
    margin: float
    """By how much it is more probable than the next."""
    abstained: bool
    """Whether no label was given."""
    scores: list[LabelScore]
    """Every label, the most probable first; the scores of a text add up to 1."""


class ClassificationsAnswer(Answer):
    """Labels in the order of the texts."""

    results: list[Classification]
    classifier: str | None
    """The classifier named; null for labels described on the spot."""
    version: int | None
    """Which version of it answered."""
    threshold: float
    model: str


def rendered(answer: ClassifyAnswer) -> bytes:
    """An answer as JSON; for the thread that made it, because many texts and labels take a while."""
    results: list[dict[str, Any]] = [
        {
            "index": index,
            "label": one.label,
            "score": one.score,
            "margin": one.margin,
            "abstained": one.is_abstained,
            "scores": one.scores,
        }
        for index, one in enumerate(answer.predictions)
    ]
    whole = {
        "results": results,
        "classifier": answer.classifier or None,
        "version": answer.version or None,
        "threshold": answer.threshold,
        "model": answer.model,
    }
    return orjson.dumps(whole)
