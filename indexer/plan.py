"""What a build has to do: decided purely, before anything is done."""

import hashlib
import os
import re
import stat
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from embedder.errors import AppError
from indexer.readers import is_readable
from indexer.records import Corpus, FileState


class FolderUnreadable(AppError):
    """A folder that cannot be looked through to its end."""


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A file as it stands now.

    Attributes:
        path: Where it is; for an address, what the address and its name there make together.
        mtime_ns: When it was changed; at an address, a number that is another one for every version of it.
        is_folder: Whether it is a folder that may not be opened. What the index has of its files stays.
    """

    path: Path
    size: int
    mtime_ns: int
    is_folder: bool = False


@dataclass(frozen=True, slots=True)
class Move:
    """A file that stood elsewhere when the index was built."""

    before: str
    now: str


@dataclass(frozen=True, slots=True)
class Plan:
    """Files by what has to happen to them, each list sorted by uri.

    Attributes:
        add: New files.
        update: Files whose size or time changed; whether their content did is seen when they are read.
        move: New files with the content of one that is gone. They are read again, and cost no embedding.
        gone: Files of the index that are no longer there, those that moved among them.
        unchanged: Files left alone, those in folders that may not be opened among them.
        failed_before: Unchanged files that could not be read; part of ``unchanged``.
        size_bytes: Size of all files in ``look``.
    """

    add: tuple[str, ...]
    update: tuple[str, ...]
    move: tuple[Move, ...]
    gone: tuple[str, ...]
    unchanged: tuple[str, ...]
    failed_before: tuple[str, ...]
    size_bytes: int

    @property
    def look(self) -> tuple[str, ...]:
        """Files to be looked at, sorted by uri."""
        return tuple(sorted((*self.add, *self.update, *(move.now for move in self.move))))

    @property
    def delete(self) -> tuple[str, ...]:
        """Files that are gone and did not move."""
        moved = {move.before for move in self.move}
        return tuple(uri for uri in self.gone if uri not in moved)

    @property
    def is_empty(self) -> bool:
        """Whether the index already says what the folder says."""
        return not self.look and not self.gone


def plan(
    known: Mapping[str, FileState], found: Mapping[str, FoundFile], digests: Mapping[str, str] | None = None
) -> Plan:
    """Compare the files of an index with the files on disk.

    Args:
        known: Files of the index, by uri.
        found: Files on disk, by uri.
        digests: Of the content of new files, as far as they were taken; without them a file that moved is one that
            is gone and one that is new.
    """
    both = found.keys() & known.keys()
    gone = _gone(known, found)
    unchanged = {uri for uri in both if _stamp(known[uri]) == _stamp(found[uri])}
    unchanged |= known.keys() - both - set(gone)
    new = sorted(found.keys() - known.keys())
    moves = _moves({uri: known[uri].digest for uri in gone}, {uri: (digests or {}).get(uri, "") for uri in new})
    moved = {move.now for move in moves}
    return Plan(
        add=tuple(uri for uri in new if uri not in moved),
        update=tuple(sorted(both - unchanged)),
        move=moves,
        gone=tuple(gone),
        unchanged=tuple(sorted(unchanged)),
        failed_before=tuple(sorted(uri for uri in unchanged if known[uri].error)),
        size_bytes=sum(file.size for uri, file in found.items() if uri not in unchanged),
    )


def may_have_moved(known: Mapping[str, FileState], found: Mapping[str, FoundFile]) -> list[str]:
    """New files of the size of one that is gone: those whose digests ``plan`` can use, sorted."""
    sizes = {known[uri].size for uri in _gone(known, found)}
    return sorted(uri for uri in found.keys() - known.keys() if found[uri].size in sizes)


def _gone(known: Mapping[str, FileState], found: Mapping[str, FoundFile]) -> list[str]:
    """Files of the index that are no longer there, sorted; of a folder that may not be opened nobody knows."""
    closed = tuple(f"{uri}/" for uri, file in found.items() if file.is_folder)
    return sorted(uri for uri in known.keys() - found.keys() if not uri.startswith(closed))


def file_digest(path: Path) -> str:
    """Of a file's content; raises ``OSError`` where it cannot be read."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def _moves(gone: Mapping[str, str], new: Mapping[str, str]) -> tuple[Move, ...]:
    """Pairs of equal content, each file in one pair at most."""
    sources: dict[str, list[str]] = {}
    for uri in sorted(gone, reverse=True):
        sources.setdefault(gone[uri], []).append(uri)
    return tuple(
        Move(sources[digest].pop(), uri) for uri, digest in sorted(new.items()) if digest and sources.get(digest)
    )


def find_files(corpus: Corpus) -> dict[str, FoundFile]:
    """Readable files under a corpus's root, by path relative to it; where that is an address, those listed there.

    Hidden files and links are passed over: a link could lead out of the folder the user named, or in a circle. So
    are pipes and devices, which never end. A folder under the root that may not be opened stands for what is in it.

    Raises:
        FolderUnreadable: If the root may not be opened, or a disk or a network fails while it is looked through.
        RemoteError: If an address does not answer, or lists nothing that is readable.
    """
    if corpus.url:
        from indexer.remote import RemoteFolder  # few need it, and it takes long to load

        return RemoteFolder(corpus.url).find(file_filter(corpus.include))
    try:
        return _files_under(corpus)
    except OSError as error:
        raise FolderUnreadable(
            f"{corpus.root} cannot be looked through ({error.strerror}); see to its disk, network or permissions, then "
            "try again."
        ) from error


def _files_under(corpus: Corpus) -> dict[str, FoundFile]:
    if corpus.root.is_file():
        status = corpus.root.stat()
        return {corpus.root.name: FoundFile(corpus.root, status.st_size, status.st_mtime_ns)}
    wanted = file_filter(corpus.include)
    found: dict[str, FoundFile] = {}

    def pass_over(error: OSError, folder: Path) -> None:
        """What is gone is passed over. What is out of reach is not: its files would go from the index."""
        if folder == corpus.root or not isinstance(error, FileNotFoundError | PermissionError):
            raise error
        uri = printable(folder.relative_to(corpus.root).as_posix())
        if isinstance(error, PermissionError) and _may_hold(uri, corpus.include):
            found[uri] = FoundFile(folder, 0, 0, is_folder=True)

    def refused(error: OSError) -> None:
        pass_over(error, Path(error.filename or corpus.root))

    for folder, folders, names in os.walk(corpus.root, onerror=refused):
        folders[:] = [name for name in folders if not name.startswith(".")]
        try:
            found |= _files_in(Path(folder), names, corpus.root, wanted)
        except PermissionError as error:  # a folder that may be listed, and nothing else
            pass_over(error, Path(folder))
            folders.clear()
    return found


def _files_in(folder: Path, names: Sequence[str], root: Path, wanted: Callable[[str], bool]) -> dict[str, FoundFile]:
    """Those of these files of a folder that are wanted; raises PermissionError if they may not be looked at."""
    found: dict[str, FoundFile] = {}
    for name in names:
        path = folder / name
        uri = printable(path.relative_to(root).as_posix())
        if not wanted(uri) or name.startswith("."):
            continue
        try:
            status = path.lstat()
        except FileNotFoundError:  # gone since the folder was listed
            continue
        if stat.S_ISREG(status.st_mode):
            found[uri] = FoundFile(path, status.st_size, status.st_mtime_ns)
    return found


def _may_hold(folder: str, include: tuple[str, ...]) -> bool:
    """Whether a file in a folder may be of one of these patterns, as far as they begin alike."""
    starts = [re.split(r"[*?\[]", pattern, maxsplit=1)[0] for pattern in include]
    return not include or any(start.startswith(f"{folder}/") or f"{folder}/".startswith(start) for start in starts)


def file_filter(include: tuple[str, ...]) -> Callable[[str], bool]:
    """Whether a file of a path relative to the root is one of the corpus: readable, and of one of these patterns."""
    if not include:
        return is_readable
    return lambda uri: is_readable(uri) and any(fnmatchcase(uri, pattern) for pattern in include)


def printable(uri: str) -> str:
    """A file name is bytes. One that is not UTF-8 is spelled as well as can be, with a digest of what it really is."""
    return "/".join(map(_spelled, uri.split("/")))


def _spelled(name: str) -> str:
    """A part of a path; what comes after its first dot says of which type it is, and stays where it is."""
    raw = name.encode("utf-8", "surrogateescape")
    try:
        return raw.decode()
    except UnicodeDecodeError:
        pass
    try:
        shown = raw.decode("gbk")  # most of them are names from a Chinese Windows
    except UnicodeDecodeError:
        shown = raw.decode("utf-8", "replace")
    start, dot, end = shown.partition(".")
    return f"{start}~{hashlib.blake2b(raw, digest_size=5).hexdigest()}{dot}{end}"


def _stamp(file: FileState | FoundFile) -> tuple[int, int]:
    return file.size, file.mtime_ns
