"""Locks between processes: a file that is held, and let go of by the system when its holder dies."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FOLDER_LOCK = ".lock"
"""File in a folder that is locked while several of its files change together."""


class AlreadyLocked(Exception):
    """Somebody else holds it."""


def acquire(path: Path, *, wait: bool = True) -> int:
    """Take a file's lock; the number returned is its handle, to be closed with ``os.close``.

    Raises:
        AlreadyLocked: If ``wait`` is off and somebody else holds it.
        FileNotFoundError: If its folder is not there.
    """
    handle = os.open(path, os.O_CREAT | os.O_RDWR)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(handle)
        raise AlreadyLocked(str(path)) from error
    return handle


@contextmanager
def locked(path: Path, *, wait: bool = True) -> Iterator[None]:
    """Hold a file's lock for the length of a block; raises as ``acquire``."""
    handle = acquire(path, wait=wait)
    try:
        yield
    finally:
        os.close(handle)
