"""A run folder: one config, its checkpoints, what it measured, and a manifest that says where the result came from.

::

    config.json     the settings; the same settings mean the same run, others are refused
    manifest.json   seed, data, code, machine, times, scores
    checkpoints/    training states to go on from
    metrics.jsonl   a line per log step; tensorboard/ mirrors it; plot.png and plot.html draw it
    model/          the finished checkpoint
    README.md       the model card, also inside model/
"""

import fcntl
import json
import logging
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from embedder.errors import AppError
from trainer import metrics
from trainer.checkpoints import CheckpointStore
from trainer.config import SoupConfig, StageConfig, read_config
from trainer.durable import write_json
from trainer.provenance import code, hardware, now, versions

_LOCK = ".lock"

_logger = logging.getLogger(__name__)


class UnusableRun(AppError):
    """A folder that is not a run, is another run than was asked for, or is being trained in."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class SourceFacts(_Frozen):
    """A source as it was used."""

    name: str
    rows: int
    """Rows used, after a cap."""
    weight: float = 1.0
    licence: str = ""
    languages: tuple[str, ...] = ()


class Facts(_Frozen):
    """What a manifest holds."""

    config: dict[str, Any]
    seed: int | None
    """None for a soup, in which nothing is drawn."""
    command: str
    """What was typed; empty if the run was started from Python."""
    base_model: str
    """Hub id of the model the first stage started from; empty if it has none."""
    base_licence: str
    base_notes: tuple[str, ...] = ()
    """What was done to that model before the stage began, a sentence each."""
    sources: tuple[SourceFacts, ...]
    digests: dict[str, str]
    """Digest of the data by source."""
    code: dict[str, str | None]
    hardware: dict[str, Any]
    versions: dict[str, str | None]
    started: str
    resumed: tuple[str, ...] = ()
    finished: str | None = None
    steps: int = 0
    tokens: int = 0
    """Encoded, padding left out."""
    seconds: float = 0.0
    """On the wall clock, summed over all starts."""
    scores_before: dict[str, float] = {}
    scores: dict[str, float] = {}

    @property
    def stage(self) -> str:
        """``pretrain``, ``finetune``, ``distill`` or ``soup``."""
        return str(self.config["name"])


class Manifest:
    """The manifest of a run that goes on: every update is on the disk, whole, when it returns."""

    def __init__(self, path: Path, facts: Facts) -> None:
        self._path = path
        self._facts = facts
        self._earlier = facts.seconds
        self._began = time.monotonic()
        self.update()

    @property
    def facts(self) -> Facts:
        """As last written."""
        return self._facts

    def update(self, **changes: object) -> Facts:
        """Set fields of the facts by name and write them; the seconds are kept here.

        Raises:
            ValidationError: If a field does not exist or the value does not fit.
        """
        seconds = round(self._earlier + time.monotonic() - self._began, 3)
        values = self._facts.model_dump() | {"seconds": seconds} | changes
        self._facts = Facts.model_validate(values)
        write_json(self._path, self._facts.model_dump(mode="json"))
        return self._facts

    def finish(self, **changes: object) -> Facts:
        """Update for the last time, with the time of day."""
        return self.update(finished=now(), **changes)


class Run:
    """One run folder."""

    def __init__(self, folder: Path, config: StageConfig | SoupConfig) -> None:
        """Name a folder that is known to hold the config; see ``create`` and ``open``."""
        self.folder = folder
        self.config = config
        self.metrics = folder / metrics.FILE
        self.model = folder / "model"
        self.plot_png = folder / "plot.png"
        self.plot_html = folder / "plot.html"
        self.card = folder / "README.md"

    @classmethod
    def create(cls, folder: Path, config: StageConfig | SoupConfig) -> "Run":
        """Make a run folder, or find the run with these settings that it holds already.

        Raises:
            UnusableRun: If it holds another run or something else, or cannot be made.
        """
        if (folder / "config.json").is_file():
            found = cls.open(folder)
            difference = _first_difference(_dump(found.config), _dump(config))
            if difference is not None and found.facts() is None:  # it was refused before it began: nothing hangs on it
                write_json(folder / "config.json", _dump(config))
                return cls(folder, config)
            if difference is not None:
                key, there, wanted = difference
                raise UnusableRun(
                    f"The folder {folder} holds a run with {key} = {there} and not {wanted}; choose another folder, "
                    "or the same settings to go on with that run."
                )
            return found
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if any(not path.name.startswith(".") for path in folder.iterdir()):
                raise UnusableRun(f"The folder {folder} holds files that are not a run; choose a new or empty one.")
            write_json(folder / "config.json", _dump(config))
        except OSError as error:
            raise UnusableRun(f"The run folder {folder} cannot be made: {error.strerror}.") from error
        return cls(folder, config)

    @classmethod
    def open(cls, folder: Path) -> "Run":
        """The run a folder holds.

        Raises:
            UnusableRun: If it holds none.
            InvalidConfig: If its settings are of another version.
        """
        values = _read(folder / "config.json")
        if not isinstance(values, dict) or "name" not in values:
            raise UnusableRun(f"The folder {folder} holds no run: it has no config.json of one.")
        if values["name"] == "soup":
            return cls(folder, read_config(SoupConfig, values))
        return cls(folder, read_config(StageConfig, values))

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keep other processes from training in this folder; the system lets go when this one dies.

        Raises:
            UnusableRun: If another process has it.
        """
        handle = os.open(self.folder / _LOCK, os.O_CREAT | os.O_RDWR)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise UnusableRun(
                    f"Another process is training in {self.folder}; wait until it is done, or choose another folder."
                ) from error
            yield
        finally:
            os.close(handle)

    def begin(
        self,
        *,
        sources: Sequence[SourceFacts] = (),
        digests: Mapping[str, str] | None = None,
        world_size: int = 1,
        command: str = "",
        base_model: str = "",
        base_licence: str = "",
        base_notes: Sequence[str] = (),
    ) -> Manifest:
        """Start the manifest, or go on with the one there is. Call it under the lock.

        Args:
            sources: What is trained on.
            digests: Digest of the data by source: a run goes on only with the data it began with.
            world_size: Processes that train together.
            command: What was typed.
            base_model: Hub id of the model at the start of all stages.
            base_licence: Its licence.
            base_notes: What was done to the model the stage starts from.

        Raises:
            UnusableRun: If the manifest cannot be read or the data is not that of the first start.
        """
        earlier = self.facts()
        if earlier is not None:
            return self._resume(earlier, digests or {}, world_size)
        facts = Facts(
            config=_dump(self.config),
            seed=self.config.seed if isinstance(self.config, StageConfig) else None,
            command=command,
            base_model=base_model,
            base_licence=base_licence,
            base_notes=tuple(base_notes),
            sources=tuple(sources),
            digests=dict(digests or {}),
            code=code(),
            hardware=hardware(world_size),
            versions=versions(),
            started=now(),
        )
        return Manifest(self._manifest, facts)

    def facts(self) -> Facts | None:
        """What the manifest says, or None if the run was never begun.

        Raises:
            UnusableRun: If it cannot be read.
        """
        values = _read(self._manifest)
        if values is None:
            return None
        try:
            return Facts.model_validate(values)
        except ValidationError as error:
            raise _unreadable(self._manifest) from error

    def checkpoints(self) -> CheckpointStore:
        """The run's training states; empty for a soup."""
        kept = self.config.checkpoints_kept if isinstance(self.config, StageConfig) else 1
        return CheckpointStore(self.folder / "checkpoints", kept)

    @property
    def _manifest(self) -> Path:
        return self.folder / "manifest.json"

    def _resume(self, earlier: Facts, digests: Mapping[str, str], world_size: int) -> Manifest:
        difference = _first_difference(earlier.digests, dict(digests))
        if difference is not None:
            raise UnusableRun(
                f"The data of {difference[0]} has changed since the run in {self.folder} was started; put it back, or "
                "train in another folder."
            )
        here = {"code": code(), "hardware": hardware(world_size), "versions": versions()}
        if earlier.code != here["code"]:
            _logger.warning("The code has changed since the run in %s was started; it goes on.", self.folder)
        again = {"resumed": (*earlier.resumed, now()), "finished": None}
        return Manifest(self._manifest, earlier.model_copy(update=here | again))


def _dump(config: StageConfig | SoupConfig) -> dict[str, Any]:
    return config.model_dump(mode="json")


def _read(path: Path) -> Any:  # noqa: ANN401 - whatever JSON holds
    """The parsed file, or None if it is not there."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, OSError) as error:
        raise _unreadable(path) from error


def _unreadable(path: Path) -> UnusableRun:
    return UnusableRun(f"{path} is not what a trainer writes; train in another folder, or put the file back.")


def _first_difference(there: object, wanted: object, key: str = "") -> tuple[str, str, str] | None:
    """The first key at which two JSON values differ, and both values there, written as in ``--set``."""
    if isinstance(there, dict) and isinstance(wanted, dict):
        for name in [*there, *(name for name in wanted if name not in there)]:
            found = _first_difference(there.get(name), wanted.get(name), f"{key}.{name}" if key else name)
            if found is not None:
                return found
        return None
    if isinstance(there, list) and isinstance(wanted, list) and len(there) == len(wanted):
        for index, (one, other) in enumerate(zip(there, wanted, strict=True)):
            found = _first_difference(one, other, f"{key}.{index}")
            if found is not None:
                return found
        return None
    return None if there == wanted else (key, _short(there), _short(wanted))


def _short(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."
