"""The values that travel through the indexer: documents, chunks, hits. Plain, frozen, no behaviour but identity."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field

NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "kalm-retrieval")
"""Root of every UUIDv5 made here, so that the same input has the same id on every machine."""


@dataclass(frozen=True, slots=True)
class Section:
    """A stretch of a document's text that stands under one heading, or on one page.

    Attributes:
        start: Offset of the first character in the document's text.
        end: Offset after the last character.
        headings: The headings above it, outermost first; empty where there are none.
        page: Page number from 1, or None where the format has no pages.
    """

    start: int
    end: int
    headings: tuple[str, ...] = ()
    page: int | None = None


@dataclass(frozen=True, slots=True)
class Document:
    """One document as a reader found it: a file, or one row of a table.

    Attributes:
        uri: Path of the file relative to the corpus root, with forward slashes.
        key: Empty for a file; the row's id (or ``row-12``) for a row of a table.
        title: What a result card shows; never empty.
        text: The whole text, ``\\n`` line ends, no NUL and no lone surrogate.
        sections: Cover the text in order without overlap; stretches between them are white space.
        file_type: ``markdown``, ``html``, ``text``, ``pdf``, ``csv``, ``jsonl`` or ``package``.
        language: ISO 639-1 code, or empty where nothing can be said.
        metadata: Further columns or fields, as text.
    """

    uri: str
    title: str
    text: str
    sections: tuple[Section, ...]
    file_type: str
    key: str = ""
    language: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)

    def id(self, corpus: str) -> str:
        """UUIDv5 of where the document stands: the same however often its content changes."""
        return str(uuid.uuid5(NAMESPACE, "\0".join(("document", corpus, self.uri, self.key))))


@dataclass(frozen=True, slots=True)
class Chunk:
    """A passage: what is embedded, stored and found.

    Attributes:
        start: Offset of the first character in the document's text.
        end: Offset after the last character.
        text: ``document.text[start:end]``.
        headings: As in the section it begins in.
        page: As in the section it begins in.
    """

    start: int
    end: int
    text: str
    headings: tuple[str, ...] = ()
    page: int | None = None
