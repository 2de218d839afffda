"""E-mail: one message, or a mailbox of them; what is written, not what is attached."""

import binascii
import email
import re
from collections.abc import Iterator
from dataclasses import replace
from email.errors import HeaderParseError, MessageError
from email.header import decode_header, make_header
from email.message import Message
from email.utils import parsedate_to_datetime
from typing import BinaryIO

from indexer.readers.decoding import EMPTY, decode
from indexer.readers.errors import UnreadableFile
from indexer.readers.html import html_parts
from indexer.readers.layout import Part, about, make_document, one_line
from indexer.readers.source import Source
from indexer.readers.text import outline_text
from indexer.records import Document

_NO_EMAIL = "The file is not an e-mail message; give it the suffix of what it is and index again."
_DAMAGED = "The message is damaged or nests too deep; save it again and index."
_NO_MAILBOX = "The file is named .mbox but holds no messages; give it the suffix of what it is and index again."
_QUOTED_FROM = re.compile(rb"^>(>*From )", re.MULTILINE)
_LINE_BYTES = 1 << 20
_SUBJECT_CHARS = 200
_BROKEN = (ValueError, LookupError, TypeError, AttributeError, MessageError, binascii.Error, RecursionError)
"""What the email package raises on broken headers and bodies."""


def read_email(source: Source) -> Iterator[Document]:
    """Read a message as one document: its plain text, else its HTML; its subject is the title.

    Metadata: ``author``, ``date``, ``to`` and ``attachments``, the names of these. Attachments are not read.

    Raises:
        UnreadableFile: If the file is empty, too large, damaged, not a message, or has neither subject nor text.
        OSError: If the file cannot be opened or read.
    """
    data = source.read()
    if not data.strip():
        raise UnreadableFile(EMPTY)
    yield _document(source, data)


def read_mbox(source: Source) -> Iterator[Document]:
    """Read each message of a mailbox as one document; its key is its Message-ID.

    Messages without subject and text, and damaged ones, are left out. Of a message that is longer than a document
    may be, the beginning is read; what follows there are attachments.

    Raises:
        UnreadableFile: If the file is empty, not a mailbox, or no message has any text.
        OSError: If the file cannot be opened or read.
    """
    keys: set[str] = set()
    with source.open() as file:
        for number, data in enumerate(_messages(file, source.limits.document_bytes), start=1):
            try:
                document = _document(source, data)
            except UnreadableFile:
                continue
            key = document.key or f"message-{number}"
            while key in keys:
                key += f"-message-{number}"
            keys.add(key)
            yield replace(document, key=key, file_type="mbox")
    if not keys:
        raise UnreadableFile("No message of the mailbox has any text; there is nothing to index.")


def _messages(file: BinaryIO, limit: int) -> Iterator[bytes]:
    """The messages of a mailbox, which lines that begin with "From " after an empty one divide."""
    message: list[bytes] | None = None
    length, blank = 0, True
    while line := file.readline(_LINE_BYTES):
        if blank and line.startswith(b"From "):
            if message is not None:
                yield _unquoted(message)
            message, length = [], 0
        elif message is None and line.strip():
            raise UnreadableFile(_NO_MAILBOX)
        elif message is not None and length < limit:
            message.append(line)
            length += len(line)
        blank = not line.strip()
    if message is None:
        raise UnreadableFile(EMPTY)
    yield _unquoted(message)


def _unquoted(lines: list[bytes]) -> bytes:
    return _QUOTED_FROM.sub(rb"\1", b"".join(lines))


def _document(source: Source, data: bytes) -> Document:
    try:
        message = email.message_from_bytes(data)
        subject = _field(message, "Subject")
        metadata = about(
            _field(message, "From"),
            _moment(_field(message, "Date")),
            to=_field(message, "To"),
            attachments="; ".join(_attachments(message)),
        )
        parts = _parts(message)
        key = one_line(_field(message, "Message-ID")).strip("<>")
    except _BROKEN as error:
        raise UnreadableFile(_DAMAGED) from error
    if not message.keys() or not (metadata or subject):
        raise UnreadableFile(_NO_EMAIL)
    if not any(part.body.strip() or part.heading for part in parts):
        parts = [Part(0, "", subject)]
    document = make_document(source.uri, "email", one_line(subject, _SUBJECT_CHARS), parts, metadata)
    return replace(document, key=key) if source.uri.lower().endswith(".mbox") else document


def _field(message: Message, name: str) -> str:
    """A header as text; empty where there is none."""
    raw = message.get(name)
    if raw is None:
        return ""
    try:
        return one_line(str(make_header(decode_header(raw))))
    except (ValueError, LookupError, HeaderParseError, binascii.Error):
        return one_line(str(raw))


def _moment(text: str) -> str:
    try:
        return parsedate_to_datetime(text).isoformat()
    except (ValueError, TypeError, IndexError, OverflowError):
        return ""


def _attachments(message: Message) -> list[str]:
    names = (part.get_filename() for part in message.walk())
    return [one_line(str(make_header(decode_header(name)))) for name in names if name]


def _parts(message: Message) -> list[Part]:
    """The plain text of a message, else its HTML; no parts where it has neither."""
    bodies = [part for part in message.walk() if not part.is_multipart() and not part.get_filename()]
    for kind in ("text/plain", "text/html"):
        texts = [data for part in bodies if part.get_content_type() == kind and (data := _payload(part)).strip()]
        if texts and kind == "text/plain":
            return outline_text("\n\n".join(texts))
        if texts:
            return [part for text in texts for part in html_parts(text.encode())[1]]
    return []


def _payload(part: Message) -> str:
    data = part.get_payload(decode=True)
    if not isinstance(data, bytes) or not data.strip():
        return ""
    try:
        return decode(data, str(part.get_content_charset() or ""))
    except UnreadableFile:
        return ""
