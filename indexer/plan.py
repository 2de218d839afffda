"""What a build has to do: decided purely, before anything is done."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from indexer.readers import is_readable
from indexer.records import Corpus, FileState


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A file as it stands on disk now."""

    path: Path
    size: int
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class Plan:
    """Files by what has to happen to them, each list sorted by uri.

    Attributes:
        look: New files, and files whose size or time changed; whether their content did is seen when they are
            read.
        gone: Files of the index that are no longer there.
        unchanged: Files left alone.
        failed_before: Unchanged files that could not be read; part of ``unchanged``.
        size_bytes: Size of all files in ``look``.
    """

    look: tuple[str, ...]
    gone: tuple[str, ...]
    unchanged: tuple[str, ...]
    failed_before: tuple[str, ...]
    size_bytes: int

    @property
    def is_empty(self) -> bool:
        """Whether the index already says what the folder says."""
        return not self.look and not self.gone


def plan(known: Mapping[str, FileState], found: Mapping[str, FoundFile]) -> Plan:
    """Compare the files of an index with the files on disk."""
    both = found.keys() & known.keys()
    unchanged = {uri for uri in both if _stamp(known[uri]) == _stamp(found[uri])}
    look = found.keys() - unchanged
    return Plan(
        look=tuple(sorted(look)),
        gone=tuple(sorted(known.keys() - found.keys())),
        unchanged=tuple(sorted(unchanged)),
        failed_before=tuple(sorted(uri for uri in unchanged if known[uri].error)),
        size_bytes=sum(found[uri].size for uri in look),
    )


def find_files(corpus: Corpus) -> dict[str, FoundFile]:
    """Readable files under a corpus's root, by path relative to it.

    Hidden files and links are passed over: a link could lead out of the folder the user named, or in a circle. So
    are pipes and devices, which never end.
    """
    if corpus.root.is_file():
        return {corpus.root.name: _found(corpus.root)}
    wanted = _wanted(corpus.include)
    found: dict[str, FoundFile] = {}
    for folder, folders, names in os.walk(corpus.root):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            path = Path(folder, name)
            uri = _printable(path.relative_to(corpus.root).as_posix())
            if wanted(uri) and not name.startswith(".") and not path.is_symlink() and path.is_file():
                found[uri] = _found(path)
    return found


def _wanted(include: tuple[str, ...]) -> Callable[[str], bool]:
    if not include:
        return is_readable
    return lambda uri: is_readable(uri) and any(fnmatchcase(uri, pattern) for pattern in include)


def _printable(uri: str) -> str:
    """A file name is bytes; what is not UTF-8 in it cannot be stored or shown."""
    return uri.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _found(path: Path) -> FoundFile:
    status = path.stat()
    return FoundFile(path, status.st_size, status.st_mtime_ns)


def _stamp(file: FileState | FoundFile) -> tuple[int, int]:
    return file.size, file.mtime_ns
