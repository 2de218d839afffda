"""Which files a corpus has: those under its root, or listed at its address."""

import os
import re
import stat
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from embedder.errors import AppError
from indexer.readers import is_readable
from indexer.records import Corpus
from indexer.sources.files import FoundFile, printable


class FolderUnreadable(AppError):
    """A folder that cannot be looked through to its end."""


def find_files(corpus: Corpus) -> dict[str, FoundFile]:
    """Readable files under a corpus's root, by path relative to it; where that is an address, those listed there.

    Hidden files and links are passed over: a link could lead out of the folder the user named, or in a circle. So
    are pipes and devices, which never end. A folder under the root that may not be opened stands for what is in it.

    Raises:
        FolderUnreadable: If the root may not be opened, or a disk or a network fails while it is looked through.
        RemoteError: If an address does not answer, or lists nothing that is readable.
    """
    if corpus.url:
        from indexer.sources.remote import RemoteFolder  # few need it, and it takes long to load

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
