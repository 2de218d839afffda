"""Files that people upload: names made safe, content streamed to the disk, and all of an upload there or nothing."""

import os
import re
import shutil
import unicodedata
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol

from embedder.errors import AppError
from indexer.locks import FOLDER_LOCK, AlreadyLocked, acquire, locked
from indexer.readers import is_readable

_CHUNK_BYTES = 2**20
_MAX_DEPTH = 16
_MAX_PART_BYTES = 150
_MAX_SUFFIX_BYTES = 20
_FORBIDDEN = re.compile(r'[<>:"|?*]')
"""In a name on Windows, beside the separators."""

_RESERVED = {"CON", "PRN", "AUX", "NUL", *(f"{port}{n}" for port in ("COM", "LPT") for n in "123456789¹²³")}
"""Devices on Windows, whatever suffix they have."""

_INCOMING = ".incoming-"
_REMOVED = ".removed-"


class UploadRefused(AppError):
    """An upload that is too large, holds nothing to index, or cannot be kept."""


class IncomingFile(Protocol):
    """A file as a browser sends it."""

    @property
    def name(self) -> str:
        """Its name there; of a folder that was sent, with the folders above it."""
        ...

    @property
    def size(self) -> int:
        """In bytes."""
        ...

    def read(self, size: int, /) -> bytes:
        """The next bytes, none at the end."""
        ...


@dataclass(frozen=True, slots=True)
class Received:
    """What came of an upload.

    Attributes:
        files: Files that are kept.
        bytes: Their size.
        skipped: Names of files that no reader reads, and of hidden ones; they are not kept.
    """

    files: int
    bytes: int
    skipped: tuple[str, ...]


def safe_path(name: str) -> str:
    """A relative path that every file system can hold, as near to a name as that allows; empty where nothing is left.

    Folders stay, but none leads up or elsewhere. Characters and names that Windows forbids are changed, invisible
    characters are left out, and what is too long is cut before its suffix.
    """
    parts = [part for part in map(_safe_part, re.split(r"[/\\]", name)) if part]
    return "/".join(parts[-_MAX_DEPTH:])


def numbered(path: str, number: int) -> str:
    """The path of the ``number``-th file of a name: ``a/b (2).txt``."""
    whole = PurePosixPath(path)
    return path if number < 2 else str(whole.with_name(_cut(whole.stem, whole.suffix, f" ({number})")))


class Uploads:
    """The uploaded files of all corpora, one folder each. Safe between threads and between processes."""

    def __init__(self, folder: Path, *, max_files: int, max_bytes: int) -> None:
        self._folder = folder
        self.max_files = max_files
        self.max_bytes = max_bytes

    def folder_of(self, corpus: str) -> Path:
        """Where the files of a corpus are, if any were uploaded."""
        return self._folder.resolve() / corpus

    def receive(self, corpus: str, files: Sequence[IncomingFile], *, replace: bool = False) -> Received:
        """Keep files for a corpus, all of them or none.

        Args:
            corpus: Its name.
            files: Read from where they stand.
            replace: Whether a file takes the place of one with the same path; else it is kept beside it, numbered.

        Raises:
            UploadRefused: If they are too many or too large, none can be indexed, or the disk does not take them.
        """
        chosen, skipped = self._chosen(files)
        try:
            with self._stage() as stage:
                size = self._stream(chosen, stage)
                with locked(self._folder / FOLDER_LOCK):
                    _install([path for path, _ in chosen], stage, self.folder_of(corpus), replace)
        except OSError as error:
            raise UploadRefused(
                f"The files could not be kept ({error.strerror or error}); nothing was changed. See to the disk of the "
                "data folder, then upload them again."
            ) from error
        return Received(len(chosen), size, skipped)

    def remove(self, corpus: str) -> None:
        """Delete the uploaded files of a corpus, if there are any."""
        folder, doomed = self.folder_of(corpus), self._folder / f"{_REMOVED}{uuid.uuid4().hex}"
        if folder.is_dir():
            folder.rename(doomed)  # so that nobody reads half of them
            shutil.rmtree(doomed, ignore_errors=True)

    def leftovers(self) -> list[Path]:
        """Folders of uploads and removals whose process died before their end."""
        if not self._folder.is_dir():
            return []
        with locked(self._folder / FOLDER_LOCK):
            return self._abandoned()

    def _chosen(self, files: Sequence[IncomingFile]) -> tuple[list[tuple[str, IncomingFile]], tuple[str, ...]]:
        """Files to keep under paths that differ, and the names of the others."""
        self._check(len(files), sum(file.size for file in files))
        chosen: list[tuple[str, IncomingFile]] = []
        skipped: list[str] = []
        taken: set[str] = set()
        for file in files:
            path = safe_path(file.name)
            is_hidden = any(part.startswith(".") for part in path.split("/"))
            if not path or is_hidden or not is_readable(path):
                skipped.append(file.name)
                continue
            path = _free(path, taken)
            taken.add(path.casefold())
            chosen.append((path, file))
        if not chosen:
            raise UploadRefused(
                "None of these files can be indexed; choose documents, tables, mail, code or archives of a format that "
                "is listed in docs/readers.md."
            )
        return chosen, tuple(skipped)

    def _check(self, count: int, size: int) -> None:
        if count > self.max_files:
            raise UploadRefused(
                f"These are {count:,} files, and an upload may have {self.max_files:,}; pack them into a ZIP file, or "
                "enter their folder by its path on the server."
            )
        if size > self.max_bytes:
            raise UploadRefused(
                f"These files have {size / 1e6:,.0f} MB, and an upload may have {self.max_bytes / 1e6:,.0f}; upload "
                "fewer at a time, or enter their folder by its path on the server."
            )

    @contextmanager
    def _stage(self) -> Iterator[Path]:
        """A folder beside those of the corpora for what is not whole yet, gone in the end."""
        self._folder.mkdir(parents=True, exist_ok=True)
        stage = self._folder / f"{_INCOMING}{uuid.uuid4().hex}"
        with locked(
            self._folder / FOLDER_LOCK
        ):  # so that nobody takes one that is just being made for an abandoned one
            for left in self._abandoned():
                shutil.rmtree(left, ignore_errors=True)
            stage.mkdir()
            handle = acquire(stage / FOLDER_LOCK)
        try:
            yield stage
        finally:
            shutil.rmtree(stage, ignore_errors=True)
            os.close(handle)

    def _abandoned(self) -> list[Path]:
        """Folders of uploads and removals that nobody holds."""
        left = [path for path in self._folder.iterdir() if path.name.startswith((_INCOMING, _REMOVED))]
        return [path for path in left if _is_free(path / FOLDER_LOCK)]

    def _stream(self, chosen: Sequence[tuple[str, IncomingFile]], stage: Path) -> int:
        """Write files a chunk at a time; returns their size."""
        total = 0
        for path, file in chosen:
            target = stage / "new" / path
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("xb") as writing:
                while chunk := file.read(_CHUNK_BYTES):
                    total += len(chunk)
                    self._check(len(chosen), total)  # a size that was told need not be true
                    writing.write(chunk)
        return total


def _install(paths: Sequence[str], stage: Path, folder: Path, replace: bool) -> None:
    """Move new files to their places; where one cannot be, all go back."""
    is_new = not folder.exists()
    undo: list[tuple[Path, Path]] = []
    try:
        for path in paths:
            aim = folder / path
            if replace and aim.is_file():
                kept = stage / "old" / path
                kept.parent.mkdir(parents=True, exist_ok=True)
                aim.rename(kept)
                undo.append((kept, aim))
            number = 1
            while aim.exists():
                number += 1
                aim = folder / numbered(path, number)
            aim.parent.mkdir(parents=True, exist_ok=True)
            (stage / "new" / path).rename(aim)
            undo.append((aim, stage / "new" / path))
    except OSError:
        for now, before in reversed(undo):
            now.rename(before)
        if is_new:
            shutil.rmtree(folder, ignore_errors=True)
        raise


def _free(path: str, taken: set[str]) -> str:
    """The path, numbered if one like it is taken: not every system tells capitals apart."""
    number = 1
    while numbered(path, number).casefold() in taken:
        number += 1
    return numbered(path, number)


def _safe_part(part: str) -> str:
    kinds = ((char, unicodedata.category(char)[0]) for char in part)
    visible = "".join(" " if kind == "Z" else char for char, kind in kinds if kind != "C")
    plain = _FORBIDDEN.sub("_", unicodedata.normalize("NFC", visible)).strip(" ").rstrip(". ")
    if plain.split(".")[0].strip().upper() in _RESERVED:
        plain = f"_{plain}"
    whole = PurePosixPath(plain)
    return _cut(whole.stem, whole.suffix) if plain else ""


def _cut(stem: str, suffix: str, number: str = "") -> str:
    """A name of bearable length; what is cut is its stem, unless the suffix is the long part."""
    if len(suffix.encode()) > _MAX_SUFFIX_BYTES:
        stem, suffix = stem + suffix, ""
    most = _MAX_PART_BYTES - len(f"{number}{suffix}".encode())
    return stem.encode()[:most].decode("utf-8", "ignore").rstrip(". ") + number + suffix


def _is_free(lock: Path) -> bool:
    if not lock.exists():
        return True
    try:
        with locked(lock, wait=False):
            return True
    except (AlreadyLocked, FileNotFoundError):  # held, or swept away by somebody else
        return False
