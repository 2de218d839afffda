"""Copies of the files of a Qdrant Edge shard: whole ones to write to, cheap ones to read from."""

import errno
import os
from pathlib import Path

_UNTOUCHED = {"matrix.dat", "id_tracker.mappings", "id_tracker.versions", "inverted_index.dat"}
"""Files of a sealed shard, beside ``page_*.dat`` and ``*.bin``, that opening it for reading never writes to."""

_COPY_BYTES = 4 * 2**20
_NOT_HERE = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM, errno.EXDEV)
"""What systems answer that cannot copy by themselves, or not between these two file systems."""

_WAL = "wal"


def copy_shard(source: Path, target: Path, *, link: bool) -> None:
    """Copy a sealed shard, holes kept.

    Args:
        source: Its folder.
        target: A folder for the copy; made where there is none.
        link: Whether the copy is for reading only: it then shares the files that reading leaves untouched, and has no
            log.

    Raises:
        OSError: If a file cannot be read or written.
    """

    def fail(error: OSError) -> None:
        raise error

    for folder, folders, names in os.walk(source, onerror=fail):
        if link:
            folders[:] = [name for name in folders if name != _WAL]
        here = target / Path(folder).relative_to(source)
        here.mkdir(parents=True, exist_ok=True)
        for name in names:
            if link and _is_untouched(name):
                _link_or_copy(Path(folder) / name, here / name)
            else:
                _copy_sparse(Path(folder) / name, here / name)


def _is_untouched(name: str) -> bool:
    is_map = name.endswith(".bin") and name != "deleted.bin"
    return is_map or name.startswith("page_") or name in _UNTOUCHED


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # a file system without hard links
        _copy_sparse(source, target)


def _copy_sparse(source: Path, target: Path) -> None:
    """Copy only what is written: the engine's files are preallocated and mostly holes."""
    with source.open("rb") as reading, target.open("wb") as writing:
        size = os.fstat(reading.fileno()).st_size
        writing.truncate(size)
        at = 0
        while at < size:
            try:
                at = os.lseek(reading.fileno(), at, os.SEEK_DATA)
            except OSError:  # no more data: the rest is a hole
                return
            end = os.lseek(reading.fileno(), at, os.SEEK_HOLE)
            while at < end:
                at += _copy_part(reading.fileno(), writing.fileno(), at, end - at)


def _copy_part(reading: int, writing: int, at: int, size: int) -> int:
    """Copy what a file has at a place, within the system where it can: there it may cost nothing. Returns how much."""
    if hasattr(os, "copy_file_range"):
        try:
            return os.copy_file_range(reading, writing, size, at, at)
        except OSError as error:
            if error.errno not in _NOT_HERE:
                raise
    return os.pwrite(writing, os.pread(reading, min(_COPY_BYTES, size), at), at)
