"""Backup and restore: the catalog and the finished generations of all corpora as one archive, verified both ways.

The archive holds a list of its files with their digests. It counts only once all of them have been read back from it;
what is restored is compared with the list before it takes the place of anything. The vector cache stays out: an index
holds its vectors, and what was never indexed can be embedded again.
"""

import gzip
import hashlib
import io
import json
import os
import shutil
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from embedder.errors import AppError
from indexer.catalog import Catalog
from indexer.locks import AlreadyLocked, locked
from indexer.store import EMBEDDED

LIST = "backup.json"
CATALOG = "catalog.sqlite"
INDEXES = "indexes"
_FORMAT = 1
_LEVEL = 1
"""Of compression: most of what it saves are the engine's preallocated holes."""

_BLOCK = 2**20
_RESTORING = ".restored"
_MOVING = "moving"
"""A file that says that what was unpacked is whole and on its way to its place."""

_LOCK = "lock"
_UNREADABLE = (OSError, EOFError, tarfile.TarError, zlib.error)
"""What a disk and a damaged archive raise."""


class BackupRefused(AppError):
    """A backup that cannot be made, or cannot be restored."""


@dataclass(frozen=True, slots=True)
class BackupReport:
    """What a backup holds."""

    files: int
    bytes: int
    corpora: tuple[str, ...]


def make_backup(catalog: Catalog, data_folder: Path, lock_folder: Path, target: Path) -> BackupReport:
    """Write an archive and read it back.

    Builds of the corpora wait until the files are read; searches do not notice.

    Args:
        catalog: The one of the installation.
        data_folder: Where the installation keeps its files.
        lock_folder: The one of the builds.
        target: The archive, which must not be there yet.

    Raises:
        BackupRefused: If the catalog or an index is kept elsewhere, a build is being finished, or the archive cannot
            be written.
    """
    if target.exists():
        raise BackupRefused(f"{target} is there already; choose another name.")
    if not catalog.database.is_file:
        raise BackupRefused("The catalog is on a database server; back it up with pg_dump and the indexes with it.")
    corpora = [corpus.name for corpus in catalog.corpora()]
    _check_engines(catalog, corpora)
    try:
        with _workplace(target.with_name(target.name + ".partial")) as place:
            partial = place / "archive"
            with _nobody_finishes_a_build(lock_folder, corpora):
                catalog.database.copy_to(place / CATALOG)
                files = {CATALOG: place / CATALOG} | dict(_generation_files(catalog, data_folder, corpora))
                listed = _write(partial, files, corpora)
            _verify(partial)
            partial.rename(target)
        _sync(target.parent)
    except _UNREADABLE as error:
        raise BackupRefused(f"{target} cannot be written, or not read back ({error}); nothing was changed.") from error
    return BackupReport(len(listed), sum(size for size, _ in listed.values()), tuple(corpora))


def restore_backup(source: Path, data_folder: Path) -> BackupReport:
    """Bring an archive back into a data folder that holds no installation.

    Args:
        source: The archive.
        data_folder: Made if it is not there.

    Raises:
        BackupRefused: If it is no archive of ours, is damaged, or the folder is in use. Nothing has changed then.
    """
    data_folder.mkdir(parents=True, exist_ok=True)
    work = data_folder / _RESTORING
    _undo_half_a_restore(data_folder, work)
    taken = [name for name in (CATALOG, INDEXES) if (data_folder / name).exists()]
    if taken:
        raise BackupRefused(
            f"{data_folder} holds an installation ({', '.join(taken)}); restore into an empty folder by KALM_DATA_DIR, "
            "or move those away."
        )
    with _workplace(work) as place:
        content = place / "content"
        try:
            with tarfile.open(source, "r:gz") as archive:
                archive.extractall(content, filter="data")
            report = _compared(content)
        except (*_UNREADABLE, ValueError, KeyError, TypeError) as error:
            raise BackupRefused(
                f"{source} is no backup that can be restored ({error}); nothing was changed."
            ) from error
        if (content / INDEXES).exists():
            (place / _MOVING).touch()
            (content / INDEXES).rename(data_folder / INDEXES)
        (content / CATALOG).rename(data_folder / CATALOG)  # last: without it there is no installation
        _sync(data_folder)
    return report


@contextmanager
def _workplace(folder: Path) -> Iterator[Path]:
    """An empty folder for the length of the block, for one process at a time; what a dead one left in it goes.

    Raises:
        BackupRefused: If another process is at work there.
    """
    folder.mkdir(exist_ok=True)
    try:
        with locked(folder / _LOCK, wait=False):
            for path in folder.iterdir():
                if path.is_dir():
                    shutil.rmtree(path)
                elif path.name != _LOCK:
                    path.unlink()
            try:
                yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)
    except AlreadyLocked as error:
        raise BackupRefused(f"Another process is at work in {folder}; wait until it is done.") from error


def _undo_half_a_restore(data_folder: Path, work: Path) -> None:
    """Take out indexes whose catalog did not follow, since the process that moved them was killed in between."""
    content = work / "content"
    if not (work / _MOVING).exists() or (content / INDEXES).exists() or not (content / CATALOG).exists():
        return
    try:
        with locked(work / _LOCK, wait=False):
            shutil.rmtree(data_folder / INDEXES, ignore_errors=True)
    except AlreadyLocked as error:
        raise BackupRefused(f"Another process restores into {data_folder}; wait until it is done.") from error


def _check_engines(catalog: Catalog, corpora: Sequence[str]) -> None:
    for corpus in corpora:
        for generation in catalog.generations(corpus):
            if generation.manifest.engine != EMBEDDED:
                raise BackupRefused(
                    f"The index of {corpus} is on a server; back it up there by a snapshot, or bring it here first "
                    f"with kalm index migrate {corpus} --to embedded."
                )


@contextmanager
def _nobody_finishes_a_build(lock_folder: Path, corpora: Sequence[str]) -> Iterator[None]:
    """No generation is sealed or removed meanwhile."""
    lock_folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as held:
        for corpus in corpora:
            try:
                held.enter_context(locked(lock_folder / f"{corpus}.lock", wait=False))
            except AlreadyLocked as error:
                raise BackupRefused(f"A build of {corpus} is being finished; try again in a moment.") from error
        yield


def _generation_files(catalog: Catalog, data_folder: Path, corpora: Sequence[str]) -> Iterator[tuple[str, Path]]:
    for corpus in corpora:
        for generation in catalog.generations(corpus):
            folder = data_folder / INDEXES / corpus / f"generation-{generation.number:04d}"
            for path in sorted(folder.rglob("*")):
                if path.is_file():
                    yield path.relative_to(data_folder).as_posix(), path


def _write(target: Path, files: dict[str, Path], corpora: Sequence[str]) -> dict[str, tuple[int, str]]:
    """Write the archive, its list last: what is not listed was not finished. Returns size and digest by name."""
    listed: dict[str, tuple[int, str]] = {}
    with target.open("xb") as file, gzip.GzipFile(fileobj=file, mode="wb", compresslevel=_LEVEL) as packed:
        with tarfile.open(fileobj=packed, mode="w|") as archive:
            for name, path in files.items():
                listed[name] = (path.stat().st_size, _digest(path))
                archive.add(path, name, recursive=False)
            entry = {
                "format": _FORMAT,
                "made": datetime.now(UTC).isoformat(timespec="seconds"),
                "corpora": list(corpora),
                "files": listed,
            }
            text = json.dumps(entry).encode()
            info = tarfile.TarInfo(LIST)
            info.size = len(text)
            archive.addfile(info, io.BytesIO(text))
        packed.flush()
        file.flush()
        os.fsync(file.fileno())
    return listed


def _verify(path: Path) -> None:
    """Read an archive to its end and hold every file against the list."""
    found: dict[str, tuple[int, str]] = {}
    listed: dict[str, list[object]] = {}
    with tarfile.open(path, "r|gz") as archive:
        for member in archive:
            content = archive.extractfile(member)
            if content is None:
                continue
            if member.name == LIST:
                listed = json.load(content)["files"]
            else:
                found[member.name] = (member.size, _digest_of(content))
    if {name: tuple(entry) for name, entry in listed.items()} != found:
        raise BackupRefused(f"{path} does not read back as it was written; see whether the disk is sound.")


def _compared(place: Path) -> BackupReport:
    """What was unpacked, if all of it is what the list says."""
    entry = json.loads((place / LIST).read_text(encoding="utf-8"))
    if entry["format"] != _FORMAT:
        raise ValueError(f"its format is {entry['format']}, this version reads {_FORMAT}")
    for name, (size, digest) in entry["files"].items():
        path = place / name
        if not path.is_file() or (path.stat().st_size, _digest(path)) != (size, digest):
            raise ValueError(f"{name} is damaged")
    sizes = [size for size, _ in entry["files"].values()]
    return BackupReport(len(sizes), sum(sizes), tuple(entry["corpora"]))


def _sync(folder: Path) -> None:
    """Force the names in a folder to the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return _digest_of(file)


def _digest_of(file: IO[bytes]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    while block := file.read(_BLOCK):
        digest.update(block)
    return digest.hexdigest()
