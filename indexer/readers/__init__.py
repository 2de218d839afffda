"""Files into documents: one reader for each format, chosen by the name of the file.

A file that is beyond doubt something else than its name says, such as a web page saved as ``.txt``, is read as
what it is. ``ReaderProcess`` (``process.py``) reads in a child process, which hostile files may bring down.
"""

from collections.abc import Iterator
from pathlib import Path

from indexer.readers.dispatch import read_source
from indexer.readers.errors import PartlyUnreadable, UnreadableFile
from indexer.readers.formats import SUPPORTED, file_type
from indexer.readers.limits import Limits
from indexer.readers.source import file_source
from indexer.records import Document

__all__ = ["READER_VERSION", "SUPPORTED", "Limits", "PartlyUnreadable", "UnreadableFile", "is_readable", "read"]

READER_VERSION = "2"
"""Changed with every change to what any reader makes of a file, so that an index knows it is out of date."""


def is_readable(path_name: str) -> bool:
    """Whether a file of this name, with or without folders, is one that ``read`` reads."""
    return file_type(path_name) != ""


def read(path: Path, uri: str, limits: Limits | None = None) -> Iterator[Document]:
    """Read the documents of a file, in this process: one, or for a table one for each row, as they are asked for.

    Args:
        path: Where the file is.
        uri: Its path relative to the corpus root, with forward slashes.
        limits: Bounds to keep to, but for time and memory; the usual ones where not given.

    Raises:
        UnreadableFile: On iteration; for a table perhaps only after some of its rows. If the file cannot be
            opened, is empty or damaged, is beyond the limits, or is of no supported type. The message is fit for
            the user.
        PartlyUnreadable: At the end, if only some members of an archive cannot be read.
    """
    named = file_type(uri) or file_type(path.name)
    if not named:
        known = ", ".join(suffix for suffix, kind in SUPPORTED.items() if kind != "code")
        raise UnreadableFile(f"The file is of a type that is not supported; convert it to one of {known}.")
    try:
        yield from read_source(file_source(path, uri, limits), named)
    except FileNotFoundError as error:
        raise UnreadableFile("The file is gone; index the folder again.") from error
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise UnreadableFile(f"The file could not be read ({reason}); check it and index again.") from error
