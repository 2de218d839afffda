"""A file as it stands at its source."""

import hashlib
from dataclasses import dataclass
from pathlib import Path


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


def file_digest(path: Path) -> str:
    """Of a file's content; raises ``OSError`` where it cannot be read."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


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
