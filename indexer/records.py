"""The values that travel through the indexer: documents, chunks, hits. Plain, frozen, no behaviour but identity."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

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
    r"""One document as a reader found it: a file, or one row of a table.

    Attributes:
        uri: Path of the file relative to the corpus root, with forward slashes.
        key: Empty for a file; the row's id (or ``row-12``) for a row of a table, the Message-ID for a message of a
            mailbox; for a file in an archive its path there, before ``#`` and a key of its own where it has one.
        title: What a result card shows; never empty.
        text: The whole text, ``\n`` line ends, no NUL and no lone surrogate.
        sections: Cover the text in order without overlap; stretches between them are white space.
        file_type: ``markdown``, ``html``, ``text``, ``pdf``, ``docx``, ``pptx``, ``xlsx``, ``epub``, ``csv``,
            ``jsonl``, ``json``, ``parquet``, ``email``, ``mbox``, ``code`` or ``package``.
        language: ISO 639-1 code, or empty where nothing can be said.
        metadata: Further columns or fields, as text; ``author`` and ``date`` (ISO 8601) where the file says them.
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


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a generation was made with; searching or extending it with anything else is refused.

    Attributes:
        model: What to load the encoder by.
        fingerprint: Of its weights, tokenizer and prompts.
        chunker: Algorithm and settings, as are ``readers`` and ``lexical``.
    """

    model: str
    fingerprint: str
    dim: int
    dtype: str
    max_tokens: int
    chunker: str
    readers: str
    lexical: str
    engine: str


@dataclass(frozen=True, slots=True)
class Corpus:
    """A folder of documents under a name.

    Attributes:
        root: The folder.
        include: Glob patterns of files, relative to the root; empty means every readable file.
        live: Number of the generation that is searched, or None before the first build.
    """

    name: str
    root: Path
    include: tuple[str, ...]
    live: int | None


@dataclass(frozen=True, slots=True)
class Generation:
    """One built state of a corpus."""

    number: int
    manifest: Manifest
    documents: int
    chunks: int
    created: datetime


@dataclass(frozen=True, slots=True)
class FileState:
    """A file as it was when it was read.

    Attributes:
        error: Why it could not be read, or empty.
    """

    size: int
    mtime_ns: int
    digest: str
    error: str = ""


@dataclass(frozen=True, slots=True)
class ChunkPlace:
    """Where a chunk stands in its document: ``document.text[start:end]``."""

    id: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class IndexedDocument:
    """A document as a build hands it over.

    Attributes:
        id: UUID of the document.
        digest: Changes when anything of the document does.
    """

    id: str
    document: Document
    digest: str
    chunks: tuple[ChunkPlace, ...]


@dataclass(frozen=True, slots=True)
class KnownDocument:
    """What a build has to know of a document that is already indexed."""

    digest: str
    chunk_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Duplicate:
    """A document that says nearly the same as another one.

    Attributes:
        similarity: Share of the word sequences that the two have in common, estimated; 1 is the same text.
    """

    document_id: str
    title: str
    uri: str
    key: str
    similarity: float
