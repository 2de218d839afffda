"""The values that travel through the indexer: documents, chunks, hits. Plain, frozen, no behaviour but identity."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
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
        root: The folder; where there is an address, a path made of it that is nowhere on a disk.
        include: Glob patterns of files, relative to the root; empty means every readable file.
        live: Number of the generation that is searched, or None before the first build.
        url: Address of a folder elsewhere, such as ``s3://bucket/folder``; empty for one of this machine.
        created: When it was entered, which tells it from one of the same name before it.
    """

    name: str
    root: Path
    include: tuple[str, ...]
    live: int | None
    url: str = ""
    created: datetime | None = field(default=None, compare=False)

    @property
    def place(self) -> str:
        """Where its documents are, for people."""
        return self.url or str(self.root)


@dataclass(frozen=True, slots=True)
class Generation:
    """One built state of a corpus.

    Attributes:
        sealed: Whether everything of it is written; only then can it be made live.
    """

    number: int
    manifest: Manifest
    sealed: bool
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


class RunState(StrEnum):
    """Where a build run stands; ``CANCELLING`` waits for the workers to let go."""

    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    CANCELLING = "cancelling"
    CANCELLED = "cancelled"
    FAILED = "failed"
    DONE = "done"


@dataclass(frozen=True, slots=True)
class Run:
    """A build, written down so that it outlives the processes that work on it.

    Attributes:
        generation: Number of the generation it makes.
        base: The generation that is extended, or None to start from nothing.
        held: Whether what it makes waits beside the live generation instead of going live.
        error: Why it failed, or empty.
        by: Who asked for it.
        finished: When it ended in whatever way; None while it goes on.
        files: Files to look at or to take out; ``files_done`` of them have been, ``failed`` could not be read.
        bytes: Size of all of them, ``bytes_done`` of those that are done.
        documents: Documents added or changed so far, ``removed`` those that went.
        chunks: Passages of the documents, of which ``encoded`` were not in the cache.
        seconds: How long it has been worked on, by whomever.
    """

    id: int
    corpus: str
    generation: int
    base: int | None
    manifest: Manifest
    state: RunState
    error: str
    by: str
    created: datetime
    finished: datetime | None
    files: int
    files_done: int
    failed: int
    bytes: int
    bytes_done: int
    documents: int
    removed: int
    chunks: int
    encoded: int
    seconds: float
    held: bool = False

    @property
    def is_workable(self) -> bool:
        """Whether a worker may do something for it."""
        return self.state in (RunState.QUEUED, RunState.RUNNING)

    @property
    def is_over(self) -> bool:
        """Whether nothing more will come of it, unless it is retried."""
        return self.state in (RunState.CANCELLED, RunState.FAILED, RunState.DONE)


@dataclass(frozen=True, slots=True)
class PlannedFile:
    """One file of a run.

    Attributes:
        path: Where it is under the corpus root, as the system's bytes: a uri may not show every name faithfully.
        is_gone: Whether the file is no longer there, and what the index has of it is to go.
    """

    uri: str
    path: bytes
    size: int
    mtime_ns: int
    is_gone: bool = False


@dataclass(frozen=True, slots=True)
class Task:
    """A file of a run as it was leased to a worker.

    Attributes:
        attempts: How often it has been leased; more than once means that a worker died over it, or beside it.
    """

    id: int
    file: PlannedFile
    attempts: int


@dataclass(frozen=True, slots=True)
class FileOutcome:
    """What came of looking at a file.

    Attributes:
        state: What to enter for it; None leaves what the catalog says of it as it is.
        error: Why it failed, or empty.
        documents: Documents that are new or changed.
        removed: Ids of documents that are no longer in it.
    """

    state: FileState | None
    error: str = ""
    documents: tuple[IndexedDocument, ...] = ()
    removed: tuple[str, ...] = ()

    @property
    def chunks(self) -> int:
        """Passages of the documents."""
        return sum(len(document.chunks) for document in self.documents)
