"""Training states on disk: saved at once or not at all, and never loaded without a look at their digest.

A checkpoint is a folder ``step-00000123`` with ``tensors.safetensors`` and ``state.json``, which holds the digest
and the size of the former. It is written under a hidden name, forced to the disk and renamed; only then do older ones
go. A process killed at any moment leaves the checkpoints there were, or one more.
"""

import errno
import hashlib
import json
import logging
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from embedder.errors import AppError
from trainer.durable import sync, write_json

_TENSORS = "tensors.safetensors"
_STATE = "state.json"
_ROOM = 1.05
"""Free space asked for, as a multiple of the tensors: the header and what the file system adds."""

_FULL = (errno.ENOSPC, errno.EDQUOT)

_logger = logging.getLogger(__name__)


class DiskFull(AppError):
    """There is no room for a checkpoint; those that are there are untouched."""


@dataclass(frozen=True, slots=True)
class Saved:
    """A checkpoint whose digest was found right.

    Attributes:
        step: Steps done when it was saved.
        folder: Where it lies.
        state: What was saved beside the tensors.
    """

    step: int
    folder: Path
    state: Mapping[str, Any]

    def tensors(self, prefix: str = "") -> dict[str, Tensor]:
        """The tensors by name, in memory of the CPU.

        Args:
            prefix: Only names that begin with it are read; they keep it.
        """
        with safe_open(self.folder / _TENSORS, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys() if name.startswith(prefix)}


class CheckpointStore:
    """The checkpoints of one run. Any process may read it; one, the holder of the run's lock, may save."""

    def __init__(self, folder: Path, kept: int) -> None:
        """Look at a folder, which need not be there yet; nothing is written.

        Args:
            folder: Where the checkpoints lie.
            kept: How many of the newest stay; at least one.
        """
        if kept < 1:
            raise ValueError(f"kept is {kept}: the newest checkpoint always stays")
        self.folder = folder
        self._kept = kept

    def save(self, step: int, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> Path:
        """Keep a training state, then let go of the oldest.

        A step that is already there and whole is left as it is. One beyond ``step`` can only be a damaged one
        that ``latest`` has passed over, and goes.

        Args:
            step: Steps done.
            tensors: By name, any shape and device; views and tensors that share memory are stored one by one.
            state: Values that JSON holds.

        Returns:
            The checkpoint's folder.

        Raises:
            DiskFull: If there is no room for it.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        for leftover in self.folder.glob(".step-*.tmp"):  # of a save that was killed
            shutil.rmtree(leftover)
        place = self.folder / f"step-{step:08d}"
        if place.exists():
            if self._read(place) is not None:
                return place
            shutil.rmtree(place)
        needed = int(_ROOM * sum(tensor.numel() * tensor.element_size() for tensor in tensors.values()))
        if shutil.disk_usage(self.folder).free < needed:
            raise self._disk_full(needed)
        beside = self.folder / f".{place.name}.tmp"
        try:
            _write(beside, tensors, state)
            beside.rename(place)
            sync(self.folder)
        except (OSError, SafetensorError) as error:
            if not _is_full(error):
                raise
            raise self._disk_full(needed) from error
        finally:
            if beside.exists():
                shutil.rmtree(beside)
        self._prune(step)
        return place

    def latest(self) -> Saved | None:
        """The newest checkpoint that is whole, or None; damaged ones are passed over and named in the log."""
        return next(self._whole(), None)

    def all(self) -> list[Saved]:
        """Every checkpoint that is whole, oldest first."""
        return list(self._whole())[::-1]

    def _whole(self) -> Iterator[Saved]:
        """Newest first."""
        for step, folder in sorted(self._folders().items(), reverse=True):
            state = self._read(folder)
            if state is None:
                _logger.warning("The checkpoint %s is damaged and is not used.", folder)
            else:
                yield Saved(step, folder, state)

    def _folders(self) -> dict[int, Path]:
        return {int(folder.name.removeprefix("step-")): folder for folder in self.folder.glob("step-*")}

    def _prune(self, step: int) -> None:
        folders = self._folders()
        kept = sorted(other for other in folders if other <= step)[-self._kept :]
        for other in folders.keys() - set(kept):
            shutil.rmtree(folders[other])

    def _read(self, folder: Path) -> Mapping[str, Any] | None:
        """What was saved beside the tensors, or None if either file is not what was written."""
        try:
            written = json.loads((folder / _STATE).read_text(encoding="utf-8"))
            tensors = folder / _TENSORS
            is_whole = written["bytes"] == tensors.stat().st_size and written["digest"] == _digest(tensors)
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return written["state"] if is_whole else None

    def _disk_full(self, needed: int) -> DiskFull:
        free = shutil.disk_usage(self.folder).free
        last = next(self._whole(), None)
        safe = f"the run can go on from {last.folder}" if last else "no checkpoint has been saved yet"
        return DiskFull(
            f"A checkpoint needs {needed:,} bytes and the disk of {self.folder} has {free:,} free; make room and "
            f"start the command again: {safe}."
        )


def _write(folder: Path, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
    """Both files, on the disk when this returns."""
    folder.mkdir()
    path = folder / _TENSORS
    save_file(_own_memory(tensors), path)
    sync(path)
    written = {"bytes": path.stat().st_size, "digest": _digest(path), "state": dict(state)}
    write_json(folder / _STATE, written)


def _own_memory(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors on the CPU, each packed and in a memory of its own: safetensors stores no aliases."""
    seen: set[int] = set()
    packed: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        value = tensor.detach().to("cpu").contiguous()
        if value.untyped_storage().data_ptr() in seen:
            value = value.clone()
        seen.add(value.untyped_storage().data_ptr())
        packed[name] = value
    return packed


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def _is_full(error: Exception) -> bool:
    """Whether the disk is; safetensors tells the number of an error in its text only."""
    if isinstance(error, OSError):
        return error.errno in _FULL
    return any(f"os error {number})" in str(error) for number in _FULL)
