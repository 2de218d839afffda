"""Work in hand: examples and what was learnt from them, a folder each, so that a refresh of the page loses nothing.

What nobody has touched for a month goes.
"""

import hashlib
import json
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.services.classify.classifiers import Source
from app.services.classify.folds import Groups
from app.services.classify.heads import Head, Places
from app.services.classify.tables import Example
from app.services.classify.training import Method, Trained
from embedder.errors import AppError

_ID = re.compile(r"[0-9a-f]{16}")
_EXAMPLES, _TRAINING, _TABLE, _PREDICTIONS = "examples.json", "training.safetensors", "table.csv", "predictions.csv"
_KEPT_SECONDS = 30 * 24 * 3600


class NoWork(AppError):
    """Work that is not there, or not any more."""


@dataclass(frozen=True, slots=True, eq=False)
class Training:
    """What was learnt, and from what.

    Attributes:
        labels: In the order of the head's rows.
        targets: Place of each example's label.
        groups: Near-duplicates among the examples share a number.
        trained: The head and its held-out probabilities.
        source: The model and the instruction.
        next: Places of the texts without a label that should be given one first.
        digest: Of the examples it was learnt from.
    """

    labels: tuple[str, ...]
    targets: Places
    groups: Groups
    trained: Trained
    source: Source
    next: tuple[int, ...]
    digest: str


@dataclass(frozen=True, slots=True, eq=False)
class Work:
    """Examples, and what was learnt from them if anything was.

    Attributes:
        id: What it is found by.
        unlabelled: Texts without a label.
        instruction: Somebody's own in place of the task's; empty for that.
        training: None before the first.
    """

    id: str
    examples: tuple[Example, ...]
    unlabelled: tuple[str, ...]
    instruction: str
    training: Training | None

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels of the examples, sorted."""
        return tuple(sorted({example.label for example in self.examples}))

    @property
    def digest(self) -> str:
        """Changes when an example does."""
        return digest_of(self.examples, self.instruction)

    @property
    def is_stale(self) -> bool:
        """Whether the examples have changed since the training."""
        return self.training is not None and self.training.digest != self.digest


class Desk:
    """All work in hand. Safe between threads and between processes: files are replaced whole."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def begin(self, examples: Sequence[Example], unlabelled: Sequence[str], instruction: str = "") -> str:
        """Lay out new work and return its id."""
        return self._put_examples(self._new(), examples, unlabelled, instruction)

    def change(self, id: str, examples: Sequence[Example], unlabelled: Sequence[str]) -> None:
        """Replace the examples of a piece of work.

        Raises:
            NoWork: If it is not there.
        """
        self._put_examples(id, examples, unlabelled, self.work(id).instruction)

    def work(self, id: str) -> Work:
        """A piece of work.

        Raises:
            NoWork: If it is not there.
        """
        try:
            kept = json.loads(self._read(id, _EXAMPLES))
            examples = tuple(Example(text, label) for text, label in kept["examples"])
            training = self._home(id) / _TRAINING
            learnt = _read_training(training) if training.exists() else None
            return Work(id, examples, tuple(kept["unlabelled"]), kept["instruction"], learnt)
        except (ValueError, KeyError, TypeError) as error:
            raise NoWork("The files of this work are damaged; begin again with your examples.") from error

    def put_training(self, id: str, training: Training) -> None:
        """Write down what was learnt."""
        from safetensors.numpy import save

        trained = training.trained
        facts = {
            "labels": training.labels,
            "method": trained.method.value,
            "strength": trained.strength,
            "source": asdict(training.source),
            "digest": training.digest,
        }
        numbers: dict[str, NDArray[Any]] = {
            "weights": trained.head.weights,
            "bias": trained.head.bias,
            "probabilities": trained.probabilities,
            "folds": trained.folds,
            "targets": training.targets,
            "groups": training.groups,
            "next": np.array(training.next, dtype=np.int64),
        }
        self._write(id, _TRAINING, save(numbers, {"facts": json.dumps(facts)}))

    def put_table(self, data: bytes) -> str:
        """Keep a table of texts that are to be labelled, and return the id it is found by."""
        id = self._new()
        self._write(id, _TABLE, data)
        return id

    def table(self, id: str) -> bytes:
        """A table as it came; raises NoWork if it is not there."""
        return self._read(id, _TABLE)

    def put_predictions(self, id: str, data: bytes) -> None:
        """Keep what came of a table."""
        self._write(id, _PREDICTIONS, data)

    def predictions(self, id: str) -> bytes:
        """What came of a table; raises NoWork if nothing has."""
        return self._read(id, _PREDICTIONS)

    def _new(self) -> str:
        self._folder.mkdir(parents=True, exist_ok=True)
        _sweep(self._folder.iterdir())
        id = secrets.token_hex(8)
        (self._folder / id).mkdir()
        return id

    def _put_examples(self, id: str, examples: Sequence[Example], unlabelled: Sequence[str], instruction: str) -> str:
        kept = {
            "examples": [[example.text, example.label] for example in examples],
            "unlabelled": list(unlabelled),
            "instruction": instruction,
        }
        self._write(id, _EXAMPLES, json.dumps(kept).encode())
        return id

    def _home(self, id: str) -> Path:
        home = self._folder / id
        if not _ID.fullmatch(id) or not home.is_dir():
            raise NoWork("This work is not there any more; begin again with your examples.")
        return home

    def _read(self, id: str, name: str) -> bytes:
        try:
            return (self._home(id) / name).read_bytes()
        except FileNotFoundError as error:
            raise NoWork("This work is not there any more; begin again with your examples.") from error

    def _write(self, id: str, name: str, data: bytes) -> None:
        home = self._home(id)
        part = home / f".{name}.{secrets.token_hex(4)}"
        try:
            part.write_bytes(data)
            os.replace(part, home / name)
        finally:
            part.unlink(missing_ok=True)
        os.utime(home)


def digest_of(examples: Sequence[Example], instruction: str) -> str:
    """Changes when an example or the instruction does."""
    content: Any = [[[example.text, example.label] for example in examples], instruction]
    return hashlib.blake2b(json.dumps(content).encode(), digest_size=16).hexdigest()


def _sweep(folders: Iterable[Path]) -> None:
    oldest = time.time() - _KEPT_SECONDS
    for folder in folders:
        if _ID.fullmatch(folder.name) and folder.stat().st_mtime < oldest:
            shutil.rmtree(folder, ignore_errors=True)


def _read_training(path: Path) -> Training:
    from safetensors import safe_open

    with safe_open(path, "numpy") as file:
        facts = json.loads(file.metadata()["facts"])
        numbers = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    return Training(
        labels=tuple(facts["labels"]),
        targets=numbers["targets"],
        groups=numbers["groups"],
        trained=Trained(
            Head(numbers["weights"], numbers["bias"]),
            Method(facts["method"]),
            facts["strength"],
            numbers["probabilities"],
            numbers["folds"],
        ),
        source=Source(**facts["source"]),
        next=tuple(int(place) for place in numbers["next"]),
        digest=facts["digest"],
    )
