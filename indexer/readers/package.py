"""The METADATA of an installed Python package: what it is for, and its README."""

import re
from collections.abc import Iterator
from email.message import Message
from email.parser import HeaderParser

from indexer.readers.decoding import read_text
from indexer.readers.errors import UnreadableFile
from indexer.readers.layout import Part, make_document, one_line
from indexer.readers.markdown import outline_markdown
from indexer.readers.rst import plain_text_of_rst
from indexer.readers.source import Source
from indexer.readers.text import outline_text
from indexer.records import Document

_NO_PACKAGE = "The file is named METADATA but does not describe a Python package; leave it out and index again."
_OLD_CONTINUATION = re.compile(r"^(?: {7}\| ?| {8})", re.MULTILINE)
_HOME_LABELS = (
    "homepage",
    "home",
    "home-page",
    "website",
    "source",
    "source code",
    "repository",
    "code",
    "github",
    "documentation",
)
_LICENSE_CLASSIFIER = re.compile(r"License ::.*:: (.+)")
_MAX_LICENSE_CHARS = 100
_UNKNOWN = "UNKNOWN"
"""What old tools wrote into fields that were not given."""


def read_package(source: Source) -> Iterator[Document]:
    """Read a ``METADATA`` file as one document: the summary, then the description.

    Its title is the package's name; its metadata are ``version``, ``license`` and ``home_page``, where given.

    Raises:
        UnreadableFile: If the file is empty, is not text, or names no package.
        OSError: If the file cannot be opened or read.
    """
    message = HeaderParser().parsestr(read_text(source))
    name = _field(message, "Name")
    if not name:
        raise UnreadableFile(_NO_PACKAGE)
    metadata = {"version": _field(message, "Version"), "license": _license(message), "home_page": _home_page(message)}
    parts = _parts(name, _field(message, "Summary"), message)
    yield make_document(source.uri, "package", name, parts, {key: value for key, value in metadata.items() if value})


def _field(message: Message, name: str) -> str:
    value = one_line(str(message.get(name, "")))
    return "" if value == _UNKNOWN else value


def _parts(name: str, summary: str, message: Message) -> list[Part]:
    introduction = summary if summary.lower().startswith(name.lower()) else f"{name}: {summary}" if summary else name
    description = _description(message)
    if description and description[0].level == 0:
        introduction = f"{introduction}\n\n{description[0].body}"
        description = description[1:]
    return [Part(0, "", introduction), *description]


def _description(message: Message) -> list[Part]:
    body = str(message.get_payload() or "")
    if not body.strip():
        body = _OLD_CONTINUATION.sub("", str(message.get("Description", "")))
    if body.strip() == _UNKNOWN:
        return []
    content_type = str(message.get("Description-Content-Type", "")).lower()
    if content_type.startswith("text/markdown"):
        return outline_markdown(body)
    if content_type.startswith("text/plain"):
        return outline_text(body)
    return outline_text(plain_text_of_rst(body))  # what it was before there was a choice


def _license(message: Message) -> str:
    """Licence in a few words; some packages give its whole text."""
    for name in ("License-Expression", "License"):
        license_ = _field(message, name)
        if license_ and len(license_) <= _MAX_LICENSE_CHARS:
            return license_
    for classifier in message.get_all("Classifier", []):
        if found := _LICENSE_CLASSIFIER.fullmatch(str(classifier).strip()):
            return found.group(1)
    return ""


def _home_page(message: Message) -> str:
    if home_page := _field(message, "Home-page"):
        return home_page
    urls = {}
    for entry in message.get_all("Project-URL", []):
        label, _, url = str(entry).partition(",")
        urls[label.strip().lower()] = url.strip()
    return next((urls[label] for label in _HOME_LABELS if urls.get(label)), next(iter(urls.values()), ""))
