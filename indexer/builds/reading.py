"""The shared part of a build: files are leased, read and embedded into the cache, and staged in the catalog."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from embedder.cache import CachedEncoder
from indexer.builds.heartbeat import Heartbeat
from indexer.builds.intake import Intake
from indexer.builds.sink import FLUSH_CHUNKS
from indexer.catalog.corpora import Catalog
from indexer.catalog.leases import Finished, Leases
from indexer.chunking import Chunker
from indexer.readers.process import ReaderProcess
from indexer.records import Corpus, FileOutcome, FileState, Run, Task
from indexer.sources.downloads import Downloads

_LEASED_FILES = 64
_LEASED_BYTES = 2**20
"""Leased at a time: small files share a batch, a large one is leased alone so that others can go on with the rest."""


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
    _held: list[Finished] = field(default_factory=list)
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
        """What has become of a file; its passages are embedded with those of others."""
        if task.file.is_gone:
            return FileOutcome(None)
        uri, size = task.file.uri, task.file.size

        def take(text_bytes: int, passages: Sequence[str]) -> None:
            self._passages.extend(passages)
            self._chunks_held += len(passages)
            if len(self._passages) >= FLUSH_CHUNKS:
                self._fill_cache()
            self._report(min(text_bytes, size))  # near enough for a bar, unless a file is compressed

        return self._intake.look(task.file, self._before.get(uri), lambda: self._known(uri), take)

    def _fill_cache(self) -> None:
        """Embed what waits for it; the vectors stay on disk until the store is written."""
        before = self.encoder.cache.added
        for start in range(0, len(self._passages), FLUSH_CHUNKS):
            self.heartbeat.check()
            self.encoder.encode_documents(self._passages[start : start + FLUSH_CHUNKS])
        self._encoded += self.encoder.cache.added - before
        self._passages.clear()

    def _complete_held(self) -> None:
        """Enter what came of the files that are held, in one transaction."""
        self._fill_cache()
        if not self._held:
            return
        self.run = self.leases.complete(self.run.id, self.owner, self._held, self._encoded)
        self._held.clear()
        self._encoded = self._bytes_held = self._chunks_held = 0
        self._report(0)

    def _report(self, bytes_read: int) -> None:
        self.on_progress(self.run, self._bytes_held + bytes_read, self._chunks_held)

    @cached_property
    def _intake(self) -> Intake:
        return Intake(self.corpus, self.chunker, self.reader, self.downloads)

    @cached_property
    def _before(self) -> Mapping[str, FileState]:
        return self.catalog.files(self.corpus.name, self.run.base)

    def _known(self, uri: str) -> dict[str, str]:
        if self.run.base is None:
            return {}
        known = self.catalog.known_documents(self.corpus.name, self.run.base, uri)
        return {id: document.digest for id, document in known.items()}
