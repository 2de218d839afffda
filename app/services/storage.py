"""What an installation takes on its disk, and what of that nobody needs."""

import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from app.services.uploads import Uploads
from embedder.errors import AppError
from indexer.catalog.corpora import Catalog
from indexer.catalog.jobs import Jobs
from indexer.locks import AlreadyLocked, locked

_BLOCK_BYTES = 512
"""Unit of ``st_blocks``. The engine's files are mostly holes, so their length says nothing."""

_SETTLED_SECONDS = 3600.0
"""Uploads of no corpus are left alone for so long: theirs may just be entered."""

_READERS = "readers"
_GENERATION = "generation-"
_ARCHIVE = "*.tar.gz"


class NoBackup(AppError):
    """A backup that is not there."""


@dataclass(frozen=True, slots=True)
class Taken:
    """Something that takes room.

    Attributes:
        kind: ``index``, ``copies``, ``uploads``, ``vectors``, ``catalog``, ``backups`` or ``other``.
        subject: The corpus, or empty.
        generation: Number of an index's version, or None.
        state: Of a version: ``live``, ``waits``, ``kept``, ``building`` or ``unused``; else empty.
        bytes: On the disk.
    """

    kind: str
    subject: str
    generation: int | None
    state: str
    bytes: int


@dataclass(frozen=True, slots=True)
class StorageReport:
    """All that is kept.

    Attributes:
        unused: What dropping the unused would free, in bytes.
    """

    taken: tuple[Taken, ...]
    unused: int
    free: int
    total: int


@dataclass(frozen=True, slots=True)
class Backup:
    """An archive that was made here."""

    path: Path
    bytes: int
    made: datetime


class Storage:
    """The data folder."""

    def __init__(self, catalog: Catalog, jobs: Jobs, uploads: Uploads, data_folder: Path) -> None:
        self._catalog = catalog
        self._jobs = jobs
        self._uploads = uploads
        self._data = data_folder.resolve()

    @property
    def backups_folder(self) -> Path:
        """Where backups are written."""
        return self._data / "backups"

    def report(self) -> StorageReport:
        """Measure everything."""
        taken = (*self._indexes(), *self._uploaded(), *self._files())
        disk = shutil.disk_usage(self._data)
        return StorageReport(taken, sum(self.unused().values()), disk.free, disk.total)

    def index_bytes(self, corpus: str) -> int:
        """What the versions of a corpus in the data folder take."""
        return sum(_size(path) for path in self._generations(corpus).values())

    def unused(self) -> dict[Path, int]:
        """Folders that ``drop_unused`` would remove, with the bytes each takes."""
        return {path: _size(path) for path in self._unused()}

    def drop_unused(self) -> int:
        """Remove what belongs to no corpus, and what builds and uploads that died left. Returns the bytes freed."""
        freed = 0
        for path, size in self.unused().items():
            doomed = path.with_name(f"dropped-{path.name}")
            path.rename(doomed)  # so that nobody opens half of it
            shutil.rmtree(doomed, ignore_errors=True)
            freed += size
        return freed

    def backups(self) -> list[Backup]:
        """Archives in the folder of backups, newest first."""
        found = [(path, path.stat()) for path in self.backups_folder.glob(_ARCHIVE)]
        made = [Backup(path, stat.st_size, datetime.fromtimestamp(stat.st_mtime, UTC)) for path, stat in found]
        return sorted(made, key=lambda backup: backup.made, reverse=True)

    def new_backup(self) -> Path:
        """Path for a backup made now."""
        self.backups_folder.mkdir(parents=True, exist_ok=True)
        return self.backups_folder / f"kalm-{datetime.now(UTC):%Y-%m-%d-%H%M%S}.tar.gz"

    def drop_backup(self, name: str) -> None:
        """Delete a backup.

        Raises:
            NoBackup: If there is none of that name.
        """
        path = next((backup.path for backup in self.backups() if backup.path.name == name), None)
        if path is None:
            raise NoBackup(f"There is no backup {name}; look at the list again.")
        path.unlink()

    def _indexes(self) -> Iterator[Taken]:
        for corpus in self._catalog.corpora():
            states = self._states(corpus.name, corpus.live)
            for number, folder in sorted(self._generations(corpus.name).items()):
                yield Taken("index", corpus.name, number, states.get(number, "unused"), _size(folder))
            copies = _size(self._data / "indexes" / corpus.name / _READERS)
            if copies:
                yield Taken("copies", corpus.name, None, "", copies)

    def _states(self, corpus: str, live: int | None) -> Mapping[int, str]:
        """What each version is for that somebody may still need."""
        run = self._jobs.active(corpus)
        states = {run.generation: "building"} if run else {}
        for generation in self._catalog.generations(corpus):
            is_later = live is None or generation.number > live
            states[generation.number] = (
                "live" if generation.number == live else states.get(generation.number, "waits") if is_later else "kept"
            )
        return states

    def _generations(self, corpus: str) -> Mapping[int, Path]:
        folders = (self._data / "indexes" / corpus).glob(f"{_GENERATION}*")
        numbered = ((path.name.removeprefix(_GENERATION), path) for path in folders)
        return {int(number): path for number, path in numbered if number.isdecimal()}

    def _uploaded(self) -> Iterator[Taken]:
        for folder in sorted(_folders(self._data / "uploads")):
            if not folder.name.startswith("."):
                yield Taken("uploads", folder.name, None, "", _size(folder))

    def _files(self) -> Iterator[Taken]:
        known = {"indexes", "uploads", "backups"}
        vectors, catalog, other = 0, 0, 0
        for path in self._data.iterdir():
            if path.name.startswith("vectors.sqlite"):
                vectors += _size(path)
            elif path.name.startswith("catalog.sqlite"):
                catalog += _size(path)
            elif path.name not in known:
                other += _size(path)
        sizes = {"vectors": vectors, "catalog": catalog, "backups": _size(self.backups_folder), "other": other}
        return (Taken(kind, "", None, "", size) for kind, size in sizes.items() if size)

    def _unused(self) -> list[Path]:
        """Folders nobody needs. Of a corpus whose index is just being written, none."""
        names = {corpus.name: corpus.live for corpus in self._catalog.corpora()}
        parents = (self._data / "indexes", self._data / "maps")
        found = [path for parent in parents for path in _folders(parent) if path.name not in names]
        found += [
            path
            for path in _folders(self._data / "uploads")
            if path.name not in names and path.name[0] != "." and path.stat().st_mtime < time.time() - _SETTLED_SECONDS
        ]
        found += self._uploads.leftovers()
        locks = self._data / "locks"
        locks.mkdir(parents=True, exist_ok=True)
        for name, live in names.items():
            try:
                with locked(locks / f"{name}.lock", wait=False):
                    states = self._states(name, live)
                    found += [path for number, path in self._generations(name).items() if number not in states]
                    found += (self._data / "indexes" / name).glob("dropped-*")
            except AlreadyLocked:
                continue
        return found


def _folders(parent: Path) -> Iterator[Path]:
    if parent.is_dir():
        yield from (path for path in parent.iterdir() if path.is_dir())


def _size(path: Path) -> int:
    """Room that a file or a folder takes; what vanishes meanwhile takes none."""
    total = 0
    for each in (path, *path.rglob("*")) if path.is_dir() else (path,):
        try:
            total += each.lstat().st_blocks * _BLOCK_BYTES
        except FileNotFoundError:
            continue
    return total
