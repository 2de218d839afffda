"""Backup and restore: all of a data folder that nobody could make again as one archive, verified both ways.

That is the catalog, the finished generations of all corpora, and what the application keeps in files: accounts,
uploads, classifiers, examples that people labelled, maps. The archive holds a list of its files with their digests. It
counts only once all of them have been read back from it; what is restored is compared with the list before it takes the
place of anything. The vector cache stays out: an index holds its vectors, and what was never indexed can be embedded
again. So do locks, logs, downloads, and whatever has a hidden name: that is a lock, or not whole yet.
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
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from embedder.errors import AppError
from indexer.catalog.corpora import Catalog
from indexer.catalog.task_tables import TaskTable
from indexer.locks import FOLDER_LOCK, AlreadyLocked, locked
from indexer.stores.protocol import EMBEDDED

LIST = "backup.json"
CATALOG = "catalog.sqlite"
INDEXES = "indexes"
UPLOADS = "uploads"
KEPT = ("accounts.json", UPLOADS, "classifiers", "classifying", "maps")
"""Files and folders that are packed beside catalog and indexes."""

_TAKEN = (CATALOG, *(f"{CATALOG}-{end}" for end in ("wal", "shm", "journal")), INDEXES, *KEPT)
"""What a restored installation must not meet. SQLite would replay a log left by a crash over the restored catalog."""

_FORMAT = 2
_OLDEST_FORMAT = 1
"""Without what is kept beside catalog and indexes."""

_LEVEL = 1
"""Of compression: most of what it saves are the engine's preallocated holes."""

_BLOCK = 2**20
_RESTORING = ".restored"
_PACKING = ".packed"
_MOVING = "moving"
"""A file that says that what was unpacked is whole and on its way to its place."""

_LOCK = "lock"
_TRIES = 5
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

    Builds of the corpora wait until the files are read; searches do not notice. Nobody but the owner may read it: it
    holds what passwords hash to.

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
        raise BackupRefused(
            "The catalog is on a database server, so nothing was packed; back it up with pg_dump, then the indexes and "
            "the data folder, as docs/deploy.md says."
        )
    corpora = [corpus.name for corpus in catalog.corpora()]
    _check_engines(catalog, corpora)
    try:
        partials = target.with_name(target.name + ".partial")
        with _workplace(partials) as place, _workplace(data_folder / _PACKING) as held:
            partial = place / "archive"
            with _nobody_finishes_a_build(lock_folder, corpora):
                catalog.database.copy_to(place / CATALOG)
                files = {CATALOG: place / CATALOG} | dict(_generation_files(catalog, data_folder, corpora))
                files |= _held_still(data_folder, held)  # after the catalog: an upload enters its corpus last
                listed = _write(partial, files, corpora, data_folder)
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
        CatalogAway: If its catalog is of a later version of this application. Likewise.
    """
    data_folder.mkdir(parents=True, exist_ok=True)
    work = data_folder / _RESTORING
    _undo_half_a_restore(data_folder, work)
    taken = [name for name in _TAKEN if os.path.lexists(data_folder / name)]
    if taken:
        raise BackupRefused(
            f"{data_folder} holds an installation, or what was left of one ({', '.join(taken)}); restore into an empty "
            "folder by KALM_DATA_DIR, or move those away."
        )
    with _workplace(work) as place:
        content = place / "content"
        try:
            with tarfile.open(source, "r:gz") as archive:
                archive.extractall(content, filter="data")
            report, uploads = _compared(content)
        except (*_UNREADABLE, ValueError, KeyError, TypeError) as error:
            raise BackupRefused(
                f"{source} is no backup that can be restored ({error}); nothing was changed."
            ) from error
        _settle(content / CATALOG, uploads, data_folder)
        (place / _MOVING).touch()
        for name in _movable(content):
            (content / name).rename(data_folder / name)
        (content / CATALOG).rename(data_folder / CATALOG)  # last: without it there is no installation
        _sync(data_folder)
    return report


@contextmanager
def _workplace(folder: Path) -> Iterator[Path]:
    """An empty folder for the length of the block, for one process at a time; what a dead one left in it goes.

    Raises:
        BackupRefused: If another process is at work there.
    """
    folder.mkdir(mode=0o700, exist_ok=True)
    try:
        with locked(folder / _LOCK, wait=False):
            for path in folder.iterdir():
                if path.name != _LOCK:
                    _remove(path)
            try:
                yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)
    except AlreadyLocked as error:
        raise BackupRefused(f"Another process is at work in {folder}; wait until it is done.") from error


def _undo_half_a_restore(data_folder: Path, work: Path) -> None:
    """Take out what the catalog did not follow, since the process that moved it was killed in between."""
    content = work / "content"
    if not (work / _MOVING).exists():
        return
    try:
        with locked(work / _LOCK, wait=False):
            if (content / CATALOG).exists() and not (data_folder / CATALOG).exists():
                for name in _movable(content):
                    if not (content / name).exists():
                        _remove(data_folder / name)
            (work / _MOVING).unlink(missing_ok=True)
    except (AlreadyLocked, FileNotFoundError) as error:
        raise BackupRefused(f"Another process restores into {data_folder}; wait until it is done.") from error


def _movable(content: Path) -> list[str]:
    """What an archive that was unpacked has beside the catalog."""
    listed = json.loads((content / LIST).read_text(encoding="utf-8"))["files"]
    there = {name.split("/")[0] for name in listed}
    return [name for name in (INDEXES, *KEPT) if name in there]


def _settle(path: Path, uploads: str, data_folder: Path) -> None:
    """Make a catalog that was unpacked that of another folder, with none of the processes of its own.

    Args:
        path: The catalog.
        uploads: Where the folder of uploads was; empty for an archive without them.
        data_folder: Where it is going to be.
    """
    catalog = Catalog(f"sqlite:///{path.resolve()}")
    try:
        if uploads:
            catalog.move_roots(Path(uploads), (data_folder / UPLOADS).resolve())
        tasks = TaskTable(catalog.database)
        for task in tasks.active():  # the backup itself is one if a page asked for it
            tasks.fail(task.id, "It was still under way when the backup was made; start it again.")
    finally:
        catalog.close()


def _check_engines(catalog: Catalog, corpora: Sequence[str]) -> None:
    for corpus in corpora:
        for generation in catalog.generations(corpus):
            if generation.manifest.engine != EMBEDDED:
                raise BackupRefused(
                    f"The index of {corpus} is on a server, so nothing was packed; bring it here first with kalm index "
                    f"migrate {corpus} --to embedded, or back up each part by itself, as docs/deploy.md says."
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


def _held_still(data_folder: Path, place: Path) -> dict[str, Path]:
    """The files of what is kept as they are at one moment, by links: what is replaced or removed later stays there.

    All of them are written elsewhere and moved to their places, never changed in them.
    """
    uploads = data_folder / UPLOADS
    for links in (place / f"links-{number}" for number in range(_TRIES)):
        with suppress(FileNotFoundError):  # somebody removed a map, say, which was half linked
            with locked(uploads / FOLDER_LOCK) if uploads.is_dir() else nullcontext():  # no upload is half there
                return dict(_linked(data_folder, links))
    raise BackupRefused(f"Files are being removed from {data_folder}; try again in a moment.")


def _linked(data_folder: Path, links: Path) -> Iterator[tuple[str, Path]]:
    for path in (path for name in KEPT for path in _files(data_folder / name)):
        link = links / path.relative_to(data_folder)
        link.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(os.path.realpath(path), link)
        except FileNotFoundError:
            raise
        except OSError:  # a file system without links, or another one
            shutil.copy2(path, link)
        yield path.relative_to(data_folder).as_posix(), link


def _files(top: Path) -> Iterator[Path]:
    """A file, or the files of a folder; none where there is neither."""

    def fail(error: OSError) -> None:
        raise error

    if top.is_file():
        yield top
    for folder, folders, names in os.walk(top, onerror=fail) if top.is_dir() else ():
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(folder) / name for name in sorted(names) if not name.startswith("."))


def _write(
    target: Path, files: dict[str, Path], corpora: Sequence[str], data_folder: Path
) -> dict[str, tuple[int, str]]:
    """Write the archive, its list last: what is not listed was not finished. Returns size and digest by name."""
    listed: dict[str, tuple[int, str]] = {}
    target.touch(mode=0o600, exist_ok=False)
    with target.open("wb") as file, gzip.GzipFile(fileobj=file, mode="wb", compresslevel=_LEVEL) as packed:
        with tarfile.open(fileobj=packed, mode="w|", dereference=True) as archive:  # a link would be packed as such
            for name, path in files.items():
                listed[name] = (path.stat().st_size, _digest(path))
                archive.add(path, name, recursive=False)
            entry = {
                "format": _FORMAT,
                "made": datetime.now(UTC).isoformat(timespec="seconds"),
                "corpora": list(corpora),
                "uploads": str((data_folder / UPLOADS).resolve()),
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


def _compared(place: Path) -> tuple[BackupReport, str]:
    """What was unpacked, if all of it is what the list says, and where the folder of uploads was."""
    entry = json.loads((place / LIST).read_text(encoding="utf-8"))
    if not _OLDEST_FORMAT <= entry["format"] <= _FORMAT:
        raise ValueError(f"its format is {entry['format']}, this version reads up to {_FORMAT}")
    for name, (size, digest) in entry["files"].items():
        path = place / name
        if not path.is_file() or (path.stat().st_size, _digest(path)) != (size, digest):
            raise ValueError(f"{name} is damaged")
    sizes = [size for size, _ in entry["files"].values()]
    return BackupReport(len(sizes), sum(sizes), tuple(entry["corpora"])), entry.get("uploads", "")


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


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
