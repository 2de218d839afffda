"""Files into documents: one reader for each format, chosen by the name of the file.

A file that is beyond doubt something else than its name says, such as a web page saved as ``.txt``, is read as
what it is.
"""

import re
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

from indexer.readers.errors import UnreadableFile
from indexer.records import Document

__all__ = ["READER_VERSION", "SUPPORTED", "UnreadableFile", "is_readable", "read"]

READER_VERSION = "1"
"""Changed with every change to what any reader makes of a file, so that an index knows it is out of date."""

SUPPORTED = {
    ".txt": "text",
    ".md": "markdown",
    ".markdown": "markdown",
    ".html": "html",
    ".htm": "html",
    ".pdf": "pdf",
    ".csv": "csv",
    ".jsonl": "jsonl",
}
"""File type by suffix in lower case."""

Reader = Callable[[Path, str], Iterator[Document]]
_HEAD_BYTES = 1024
_HTML = re.compile(
    rb"(?:\xef\xbb\xbf)?\s*(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*)*(?:<!doctype\s+html|<html[\s>])",
    re.IGNORECASE | re.DOTALL,
)
# Where an HTML page can be told by its first bytes: a table may well begin with a cell of markup.
_MAY_BE_HTML = ("text", "markdown")


def is_readable(path_name: str) -> bool:
    """Whether a file of this name, with or without folders, is one that ``read`` reads."""
    return _file_type(path_name) != ""


def read(path: Path, uri: str) -> Iterator[Document]:
    """Read the documents of a file: one, or for a table one for each row, as they are asked for.

    Args:
        path: Where the file is.
        uri: Its path relative to the corpus root, with forward slashes.

    Raises:
        UnreadableFile: On iteration; for a table perhaps only after some of its rows. If the file cannot be
            opened, is empty or damaged, or is of no supported type. The message is fit for the user.
    """
    file_type = _file_type(uri) or _file_type(path.name)
    if not file_type:
        known = ", ".join(SUPPORTED)
        raise UnreadableFile(f"The file is of a type that is not supported; convert it to one of {known}.")
    try:
        yield from _reader(_actual_type(path, file_type))(path, uri)
    except FileNotFoundError as error:
        raise UnreadableFile("The file is gone; index the folder again.") from error
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise UnreadableFile(f"The file could not be read ({reason}); check it and index again.") from error


def _reader(file_type: str) -> Reader:
    # Imported on first use: a search never reads a file, and a command that lists corpora need not wait for it.
    match file_type:
        case "text":
            from indexer.readers.text import read_plain_text as reader
        case "markdown":
            from indexer.readers.markdown import read_markdown as reader
        case "html":
            from indexer.readers.html import read_html as reader
        case "pdf":
            from indexer.readers.pdf import read_pdf as reader
        case "csv":
            from indexer.readers.tables import read_csv as reader
        case "jsonl":
            from indexer.readers.tables import read_jsonl as reader
        case _:
            from indexer.readers.package import read_package as reader
    return reader


def _file_type(path_name: str) -> str:
    name = PurePosixPath(path_name)
    if name.name == "METADATA" and name.parent.suffix == ".dist-info":
        return "package"
    if name.name.startswith(("._", "~$")):
        return ""  # what macOS and Office leave beside the file of that name
    return SUPPORTED.get(name.suffix.lower(), "")


def _actual_type(path: Path, file_type: str) -> str:
    """The file's type by its first bytes where these leave no doubt, else by its name."""
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if head.startswith(b"%PDF-"):
        return "pdf"
    if file_type in _MAY_BE_HTML and _HTML.match(head):
        return "html"
    return file_type
