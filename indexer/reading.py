"""The shared part of a build: files are leased, read and embedded into the cache, and staged in the catalog."""

import os
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from embedder.cache import CachedEncoder
from indexer.catalog import Catalog
from indexer.chunking import Chunker, passage_for_embedding
from indexer.downloads import Downloads
from indexer.heartbeat import Heartbeat
from indexer.leases import Leases
from indexer.plan import FoundFile, file_digest
from indexer.readers import PartlyUnreadable, UnreadableFile
from indexer.readers.process import ReaderProcess
from indexer.records import (
    Corpus,
    Document,
    FileOutcome,
    FileState,
    IndexedDocument,
    KnownDocument,
    PlannedFile,
    Run,
    Task,
)
from indexer.remote import FetchFailed, RemoteFolder
from indexer.sink import FLUSH_CHUNKS, document_digest, indexed_document

_LEASED_FILES = 64
_LEASED_BYTES = 2**20
"""Leased at a time: small files share a batch, a large one is leased alone so that others can go on with the rest."""

_GONE = "The file is gone since the build was planned; build again, and what the index has of it goes too."


@dataclass
class FileReader:
    """A worker's share of the files of one run.

    Files are held until their passages are embedded, so that small ones fill a batch together.

    Attributes:
        downloads: Keeps what is fetched of a corpus elsewhere; such a one cannot be read without.
        run: As it stood when something was last entered.
        on_progress: Called after every document, with the bytes and passages of this worker that are not entered yet.
    """

    catalog: Catalog
    leases: Leases
    encoder: CachedEncoder
    chunker: Chunker
    reader: ReaderProcess
    corpus: Corpus
    run: Run
    owner: str
    heartbeat: Heartbeat
    on_progress: Callable[[Run, int, int], None]
    downloads: Downloads | None = None
    _held: list[tuple[Task, FileOutcome]] = field(default_factory=list)
    _passages: list[str] = field(default_factory=list)
    _encoded: int = 0
    _bytes_held: int = 0
    _chunks_held: int = 0

    def work(self) -> bool:
        """Work until no file is left to lease; returns whether there was one.

        Raises:
            LeaseLost: If the run is not wanted any more, or somebody else has taken over.
        """
        was_busy = False
        while tasks := self._lease():
            was_busy = True
            if tasks[0].attempts > 1:
                self._complete_held()  # a worker died over this one: it should take nothing with it
            for task in tasks:
                self.heartbeat.check()
                outcome = self._look(task)
                self._held.append((task, outcome))
                self._bytes_held += task.file.size
                if not self._passages:
                    self._complete_held()
        self._complete_held()
        return was_busy

    def _lease(self) -> list[Task]:
        return self.leases.lease(self.run.id, self.owner, files=_LEASED_FILES, size_bytes=_LEASED_BYTES)

    def _look(self, task: Task) -> FileOutcome:
        """What has become of a file; one that cannot be read is a failed row."""
        if task.file.is_gone:
            return FileOutcome(None)
        digest, error = "", ""
        documents: list[IndexedDocument] = []
        removed: list[str] = []
        found = FoundFile(Path(), task.file.size, task.file.mtime_ns)
        try:
            with self._found(task.file) as found:
                digest = file_digest(found.path)
                before = self._before.get(task.file.uri)
                if before is None or before.error or before.digest != digest:
                    self._read(found.path, task, documents, removed)
        except FileNotFoundError:
            return FileOutcome(None, _GONE)
        except FetchFailed as reason:
            return FileOutcome(None, str(reason))  # not known, so that the next build tries again
        except UnreadableFile as reason:
            error = str(reason)
        except OSError as reason:
            error = f"The file cannot be opened ({reason.strerror}); check its permissions."
        state = FileState(found.size, found.mtime_ns, digest, error)
        return FileOutcome(state, error, tuple(documents), tuple(removed))

    @contextmanager
    def _found(self, file: PlannedFile) -> Iterator[FoundFile]:
        """A file as it is now, for the length of a block; one from elsewhere is fetched, as large and old as planned.

        Raises:
            FileNotFoundError: If it is gone.
            OSError: If it cannot be looked at.
            FetchFailed: If it cannot be fetched; RemoteError if nothing can.
            UnreadableFile: If it is too large to be fetched.
        """
        name = os.fsdecode(file.path)
        if not self.corpus.url:
            path = self.corpus.root / name
            status = path.lstat()
            if not stat.S_ISREG(status.st_mode):
                raise FileNotFoundError(name)
            yield FoundFile(path, status.st_size, status.st_mtime_ns)
            return
        assert self.downloads is not None  # noqa: S101 - whoever made this knows where its corpus is
        key = (self.corpus.url, name, str(file.size), str(file.mtime_ns))
        with self.downloads.file(key, file.size, lambda target: self._remote.fetch(name, target)) as path:
            yield FoundFile(path, file.size, file.mtime_ns)

    def _read(self, path: Path, task: Task, changed: list[IndexedDocument], removed: list[str]) -> None:
        """Documents that changed are embedded; those no longer in the file are named.

        The file is read to its end before anything is made of it, so that one that breaks half-way leaves its
        earlier version as it was. So does a file in an archive that cannot be read, the others in it aside.
        """
        documents: list[Document] = []
        partly: PartlyUnreadable | None = None
        try:
            documents.extend(self.reader.read(path, task.file.uri))
        except PartlyUnreadable as reason:
            partly = reason
        known = self._known(task.file.uri)
        bytes_read = 0
        for document in documents:
            before = known.pop(document.id(self.corpus.name), None)
            if before is None or before.digest != document_digest(document):
                changed.append(self._embed(document))
            bytes_read += len(document.text)  # characters: near enough for a bar
            self._report(min(bytes_read, task.file.size))
        if partly is not None:
            raise partly
        removed.extend(known)

    def _embed(self, document: Document) -> IndexedDocument:
        """Cut a document; its passages are embedded with those of others."""
        chunks = self.chunker.chunks(document)
        self._passages.extend(passage_for_embedding(document, chunk) for chunk in chunks)
        self._chunks_held += len(chunks)
        if len(self._passages) >= FLUSH_CHUNKS:
            self._fill_cache()
        return indexed_document(self.corpus.name, document, chunks)

    def _fill_cache(self) -> None:
        """Embed what waits for it; the vectors stay on disk until the store is written."""
        before = self.encoder.cache.added
        for start in range(0, len(self._passages), FLUSH_CHUNKS):
            self.heartbeat.check()
            self.encoder.encode_documents(self._passages[start : start + FLUSH_CHUNKS])
        self._encoded += self.encoder.cache.added - before
        self._passages.clear()

    def _complete_held(self) -> None:
        """Enter what came of the files that are held, each in a transaction of its own."""
        self._fill_cache()
        while self._held:
            task, outcome = self._held[0]
            self.run = self.leases.complete(self.run.id, self.owner, task, outcome, self._encoded)
            del self._held[0]
            self._encoded = 0
            self._bytes_held -= task.file.size
            self._chunks_held -= outcome.chunks
            self._report(0)

    def _report(self, bytes_read: int) -> None:
        self.on_progress(self.run, self._bytes_held + bytes_read, self._chunks_held)

    @cached_property
    def _remote(self) -> RemoteFolder:
        return RemoteFolder(self.corpus.url)

    @cached_property
    def _before(self) -> Mapping[str, FileState]:
        return self.catalog.files(self.corpus.name, self.run.base)

    def _known(self, uri: str) -> dict[str, KnownDocument]:
        base = self.run.base
        return {} if base is None else self.catalog.known_documents(self.corpus.name, base, uri)
