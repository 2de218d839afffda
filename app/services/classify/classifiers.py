"""Classifiers that are kept: one folder each, one sub-folder a version, safetensors and JSON. Nothing is unpickled."""

import json
import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import numpy as np

from app.services.classify.heads import Head
from app.services.classify.training import Method
from app.services.encoders import WrongModel
from embedder.errors import AppError
from embedder.protocol import TextEncoder

TASK = "Classification"
"""The task type whose instruction texts are encoded with."""

MAX_LABELS = 200

_FORMAT = 1
_NAME = re.compile(r"[^\W_][\w-]{0,63}")
_VERSION = re.compile(r"[1-9]\d{0,8}", re.ASCII)
_FACTS, _NUMBERS = "classifier.json", "head.safetensors"


class NoClassifier(AppError):
    """A classifier that is not there."""


class ClassifierRefused(AppError):
    """A name, labels or a threshold that a classifier cannot have."""


class ClassifierDamaged(AppError):
    """Files that should be a classifier and are not."""


@dataclass(frozen=True, slots=True)
class Label:
    """A label, and what a person would say it means; the description may be empty."""

    name: str
    description: str = ""

    @property
    def text(self) -> str:
        """What is encoded where there are no examples."""
        return f"{self.name}: {self.description}" if self.description else self.name


@dataclass(frozen=True, slots=True)
class Source:
    """The model a classifier belongs to, and how its texts are introduced: with another its numbers mean nothing.

    Attributes:
        instruction: Somebody's own in place of that of the task; empty for that.
    """

    model: str
    fingerprint: str
    dim: int
    instruction: str = ""

    @classmethod
    def of(cls, encoder: TextEncoder, instruction: str = "") -> Self:
        """What is true of a model now."""
        return cls(encoder.name, encoder.fingerprint, encoder.dim, instruction)


@dataclass(frozen=True, slots=True, eq=False)
class Classifier:
    """Everything needed to label texts, and what is known of its worth.

    Attributes:
        threshold: Probability below which no label is given.
        examples: Texts it was learnt from; 0 where labels were only described.
        accuracy: On held-out texts, all of them given a label; None where there was nothing to judge by.
        macro_f1: Likewise.
        version: 0 before it is kept.
    """

    name: str
    labels: tuple[Label, ...]
    head: Head
    method: Method
    source: Source
    threshold: float = 0.0
    examples: int = 0
    accuracy: float | None = None
    macro_f1: float | None = None
    version: int = 0
    created: datetime | None = None

    def check(self, encoder: TextEncoder) -> None:
        """Refuse a model that is not the one it was made with.

        Raises:
            WrongModel: If weights, prompts or width are others.
        """
        if (encoder.fingerprint, encoder.dim) != (self.source.fingerprint, self.source.dim):
            raise WrongModel(
                f"The classifier {self.name} was made with other weights or another width than those of "
                f"{encoder.name}, which is served now; serve {self.source.model} as it was then, or train it again."
            )


class ClassifierStore:
    """All classifiers of an installation. Safe between threads and between processes: versions are only added."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def save(self, classifier: Classifier) -> Classifier:
        """Keep a classifier as the newest version of its name, whole or not at all; returns it with its number.

        Raises:
            ClassifierRefused: If the name is not a name, or the folder cannot be written.
        """
        home = self._home(classifier.name)
        try:
            home.mkdir(parents=True, exist_ok=True)
            while True:
                kept = replace(classifier, version=max(self._versions(home), default=0) + 1, created=datetime.now(UTC))
                if _write(home, kept):
                    return kept
        except OSError as error:
            raise ClassifierRefused(
                f"The classifier {classifier.name} cannot be written ({error.strerror}); check the data folder."
            ) from error

    def all(self) -> list[Classifier]:
        """The newest version of each, by name."""
        return [self.load(name) for name in self._names()]

    def load(self, name: str) -> Classifier:
        """The newest version of a classifier.

        Raises:
            NoClassifier: If there is none of that name.
            ClassifierDamaged: If its files are damaged, or of a later format.
        """
        home = self._existing(name)
        return _read(home / str(max(self._versions(home))), name)

    def remove(self, name: str) -> None:
        """Forget a classifier, all its versions.

        Raises:
            NoClassifier: If there is none of that name.
        """
        home = self._existing(name)
        doomed = Path(tempfile.mkdtemp(prefix=".removed-", dir=self._folder))
        home.rename(doomed / name)  # so that nobody reads half of it
        shutil.rmtree(doomed, ignore_errors=True)

    def _names(self) -> list[str]:
        paths = self._folder.iterdir() if self._folder.is_dir() else ()
        return sorted(path.name for path in paths if _NAME.fullmatch(path.name) and self._versions(path))

    def _existing(self, name: str) -> Path:
        names = self._names()
        if name not in names:
            there = f"there are {', '.join(names)}" if names else "none has been saved yet"
            raise NoClassifier(f"There is no classifier {name}; {there}.")
        return self._folder / name

    def _home(self, name: str) -> Path:
        if not _NAME.fullmatch(name):
            raise ClassifierRefused(
                f"{name!r} cannot be the name of a classifier; use up to 64 letters, digits, hyphens and underscores."
            )
        return self._folder / name

    def _versions(self, home: Path) -> list[int]:
        # A folder that is being written has another name until it is whole.
        return [int(path.name) for path in home.iterdir() if _VERSION.fullmatch(path.name)] if home.is_dir() else []


def _write(home: Path, classifier: Classifier) -> bool:
    """Write a version; False where another process took its number first."""
    from safetensors.numpy import save_file

    part = Path(tempfile.mkdtemp(prefix=".part-", dir=home))
    try:
        save_file({"weights": classifier.head.weights, "bias": classifier.head.bias}, part / _NUMBERS)
        (part / _FACTS).write_text(json.dumps(_facts(classifier), ensure_ascii=False, indent=2), encoding="utf-8")
        target = home / str(classifier.version)
        if target.exists():
            return False
        os.replace(part, target)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return True


def _facts(classifier: Classifier) -> dict[str, Any]:
    source = classifier.source
    return {
        "format": _FORMAT,
        "labels": [{"name": label.name, "description": label.description} for label in classifier.labels],
        "method": classifier.method.value,
        "model": source.model,
        "fingerprint": source.fingerprint,
        "dim": source.dim,
        "instruction": source.instruction,
        "threshold": classifier.threshold,
        "examples": classifier.examples,
        "accuracy": classifier.accuracy,
        "macro_f1": classifier.macro_f1,
        "version": classifier.version,
        "created": classifier.created.isoformat() if classifier.created else None,
    }


def _read(folder: Path, name: str) -> Classifier:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        facts = json.loads((folder / _FACTS).read_text(encoding="utf-8"))
        if facts["format"] != _FORMAT:
            raise ClassifierDamaged(
                f"The classifier {name} was written by a later version of this product; update, or train it again."
            )
        return _classifier(name, facts, load_file(folder / _NUMBERS))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, SafetensorError) as error:
        raise ClassifierDamaged(f"The files of the classifier {name} are damaged; train it again.") from error


def _classifier(name: str, facts: Mapping[str, Any], numbers: Mapping[str, Any]) -> Classifier:
    labels = tuple(Label(str(one["name"]), str(one["description"])) for one in facts["labels"])
    head = Head(numbers["weights"], numbers["bias"])
    shapes = (len(labels), int(facts["dim"])), (len(labels),)
    if (head.weights.shape, head.bias.shape) != shapes or head.weights.dtype != np.float32:
        raise ValueError("its numbers do not fit its labels")
    return Classifier(
        name=name,
        labels=labels,
        head=head,
        method=Method(facts["method"]),
        source=Source(facts["model"], facts["fingerprint"], facts["dim"], facts["instruction"]),
        threshold=float(facts["threshold"]),
        examples=int(facts["examples"]),
        accuracy=facts["accuracy"],
        macro_f1=facts["macro_f1"],
        version=int(facts["version"]),
        created=datetime.fromisoformat(facts["created"]),
    )
