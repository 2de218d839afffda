"""Which reader reads a file: by the type its name says, and its first bytes where these leave no doubt."""

import re
from collections.abc import Callable, Iterator
from functools import partial

from indexer.readers.errors import UnreadableFile
from indexer.readers.limits import in_words
from indexer.readers.source import Source
from indexer.records import Document

Reader = Callable[[Source], Iterator[Document]]
_HEAD_BYTES = 1024
_HTML = re.compile(
    rb"(?:\xef\xbb\xbf)?\s*(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*)*(?:<!doctype\s+html|<html[\s>])",
    re.IGNORECASE | re.DOTALL,
)
# Where an HTML page can be told by its first bytes: a table may well begin with a cell of markup.
_MAY_BE_HTML = ("text", "markdown")
_ZIPPED = ("docx", "pptx", "xlsx", "epub", "zip")


def read_source(source: Source, named: str) -> Iterator[Document]:
    """Read the documents of a file or a member of an archive.

    Args:
        source: What to read.
        named: The type that its name says.

    Raises:
        UnreadableFile: On iteration, as the readers say, or if something is larger than the limits.
        OSError: On iteration, if the file cannot be opened or read.
    """
    limits = source.limits
    if source.size > limits.file_bytes:
        raise UnreadableFile(f"The file is larger than {in_words(limits.file_bytes)}; split it and index the parts.")
    for document in reader(actual_type(source, named))(source):
        if len(document.text) > limits.document_chars:
            raise UnreadableFile(
                f"The text is longer than {limits.document_chars:,} characters; split the file and index the parts."
            )
        yield document


def actual_type(source: Source, named: str) -> str:
    """The type by the first bytes where these leave no doubt, else the one that the name says.

    Raises:
        OSError: If the file cannot be opened or read.
    """
    head = source.head(_HEAD_BYTES)
    if head.startswith(b"%PDF-"):
        return "pdf"
    if named in _MAY_BE_HTML and _HTML.match(head):
        return "html"
    if named in _ZIPPED and head.startswith(b"PK\x03\x04"):
        from indexer.readers.parts import packed_type

        return packed_type(source) or named
    return named


def reader(file_type: str) -> Reader:  # noqa: C901
    """The function that reads files of a type."""
    # Imported on first use: a search never reads a file, and a command that lists corpora need not wait for it.
    match file_type:
        case "text":
            from indexer.readers.text import read_plain_text as read
        case "markdown":
            from indexer.readers.markdown import read_markdown as read
        case "html":
            from indexer.readers.html import read_html as read
        case "pdf":
            from indexer.readers.pdf import read_pdf as read
        case "docx":
            from indexer.readers.docx import read_docx as read
        case "pptx":
            from indexer.readers.pptx import read_pptx as read
        case "xlsx":
            from indexer.readers.xlsx import read_xlsx as read
        case "epub":
            from indexer.readers.epub import read_epub as read
        case "csv":
            from indexer.readers.tables import read_csv as read
        case "jsonl":
            from indexer.readers.tables import read_jsonl as read
        case "json":
            from indexer.readers.json_file import read_json as read
        case "parquet":
            from indexer.readers.parquet import read_parquet as read
        case "email":
            from indexer.readers.email_message import read_email as read
        case "mbox":
            from indexer.readers.email_message import read_mbox as read
        case "code":
            from indexer.readers.code import read_code as read
        case "zip":
            from indexer.readers.archives import read_zip

            return partial(read_zip, read_member=read_source)
        case "tar":
            from indexer.readers.archives import read_tar

            return partial(read_tar, read_member=read_source)
        case _:
            from indexer.readers.package import read_package as read
    return read
