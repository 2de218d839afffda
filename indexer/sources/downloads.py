"""A bounded cache of files that were fetched: a rebuild reads them again without the network."""

import hashlib
import os
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_PARTS = 16
"""What is kept is looked through after every such part of the bound; so much may be beyond it for each worker."""

_FORGOTTEN_SECONDS = 24 * 3600.0
"""After this long what a worker had in hand is of one that was killed."""


class Downloads:
    """Files on disk by what they are; those used longest ago go first. Safe between processes."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        """Take a folder, made on first use.

        Args:
            folder: For these files alone.
            max_bytes: Bound on what is kept, beside what is in use.
        """
        self._folder = folder
        self._max_bytes = max_bytes
        self._unseen = max_bytes  # so that the first use looks

    @contextmanager
    def file(self, key: tuple[str, ...], size: int, fetch: Callable[[Path], None]) -> Iterator[Path]:
        """A file for the length of a block, under a name of this block's own: what is thrown out stays readable.

        Args:
            key: What it is, its version included.
            size: Its bytes as far as they are known, or 0. What has come to another size is not kept.
            fetch: Puts it at a path; what it raises is raised.
        """
        kept = self._folder / hashlib.blake2b("\0".join(key).encode(), digest_size=16).hexdigest()
        in_use = self._folder / "in-use"
        in_use.mkdir(parents=True, exist_ok=True)
        mine = in_use / uuid.uuid4().hex
        try:
            try:
                os.link(kept, mine)
                os.utime(mine)  # one file under two names: it was used now
            except FileNotFoundError:
                fetch(mine)
                self._keep(mine, kept, size)
            yield mine
        finally:
            mine.unlink(missing_ok=True)

    def _keep(self, mine: Path, kept: Path, size: int) -> None:
        fetched = mine.stat().st_size
        if size != fetched or fetched > self._max_bytes:
            return
        _flush(mine)
        try:
            os.link(mine, kept)
        except FileExistsError:
            return  # another worker was as quick
        self._unseen += fetched
        if self._unseen >= self._max_bytes / _PARTS:
            self._unseen = 0
            self._make_room()

    def _make_room(self) -> None:
        files = []
        for path in self._folder.rglob("*"):
            try:
                status = path.stat()
            except FileNotFoundError:  # another worker makes room, or has just ended
                continue
            if path.parent != self._folder:
                if status.st_mtime < time.time() - _FORGOTTEN_SECONDS:
                    path.unlink(missing_ok=True)
            elif path.is_file():
                files.append((status.st_mtime_ns, status.st_size, path))
        size = sum(file[1] for file in files)
        for _, bytes_freed, path in sorted(files):
            if size <= self._max_bytes:
                return
            path.unlink(missing_ok=True)
            size -= bytes_freed


def _flush(path: Path) -> None:
    """Force a file to the disk before it counts as whole."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
