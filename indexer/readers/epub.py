"""Books: the pages of an EPUB in reading order, as one document."""

from collections.abc import Iterator
from urllib.parse import unquote

from indexer.readers.errors import UnreadableFile
from indexer.readers.html import html_parts
from indexer.readers.layout import Part, about, make_document
from indexer.readers.limits import in_words
from indexer.readers.parts import Parts, attribute, iso_date, local_name, named, resolve
from indexer.readers.source import Source
from indexer.records import Document

_CONTAINER = "META-INF/container.xml"
_ENCRYPTION = "META-INF/encryption.xml"
_KIND = "EPUB book"
_PAGES = ("application/xhtml+xml", "text/html", "application/x-dtbook+xml")


def read_epub(source: Source) -> Iterator[Document]:
    """Read a book as one document, its headings into sections.

    Title, author, date and language are those that the book's package names.

    Raises:
        UnreadableFile: If the file is empty, protected, damaged, not a book, or has no text.
        OSError: If the file cannot be opened or read.
    """
    with Parts(source, "epub", _KIND) as parts:
        package = next((attribute(file, "full-path") for file in named(parts.tree(_CONTAINER), "rootfile")), "")
        root = parts.tree(package)
        fields = _fields(parts, package)
        items = {
            attribute(item, "id"): (resolve(package.rpartition("/")[0], unquote(attribute(item, "href"))), item)
            for item in named(root, "item")
        }
        spine = [items[id] for entry in named(root, "itemref") if (id := attribute(entry, "idref")) in items]
        names = [name for name, item in spine if attribute(item, "media-type") in _PAGES and name in parts]
        _check_protection(parts, names)
        found = _pages(parts, names, source.limits.document_bytes)
    metadata = about(fields.get("creator", ""), iso_date(fields.get("date", "")), language=fields.get("language", ""))
    title = fields.get("title", "") or next((part.heading for part in found if part.heading), "")
    yield make_document(source.uri, "epub", title, found, metadata)


def _fields(parts: Parts, package: str) -> dict[str, str]:
    """What the package says of the book; several authors are one field."""
    fields: dict[str, list[str]] = {}
    for metadata in named(parts.tree(package), "metadata"):
        for element in metadata.iter():
            if text := (element.text or "").strip():
                fields.setdefault(local_name(element), []).append(text)
    return {name: "; ".join(texts) if name == "creator" else texts[0] for name, texts in fields.items()}


def _check_protection(parts: Parts, names: list[str]) -> None:
    """Refuse a book whose pages are encrypted; that fonts are is common, and does not matter."""
    if _ENCRYPTION in parts:
        locked = {unquote(attribute(part, "URI")) for part in named(parts.tree(_ENCRYPTION), "CipherReference")}
        if locked & set(names):
            raise UnreadableFile("The book is protected against copying; get one without protection and index again.")


def _pages(parts: Parts, names: list[str], limit: int) -> list[Part]:
    """The parts of all pages; a page without text, such as the cover, has none."""
    found: list[Part] = []
    for name in dict.fromkeys(names):  # a spine that names one page a million times has it once
        data = parts.read(name, limit)
        if data is None:
            raise UnreadableFile(f"The book's text is larger than {in_words(limit)}; split it and index the parts.")
        limit -= len(data)
        if data.strip():
            found.extend(html_parts(data)[1])
    return found
