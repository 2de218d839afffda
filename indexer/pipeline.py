"""Build an index: plan -> read -> chunk -> embed -> stage -> upsert -> read back -> delete -> seal -> commit.

A build is a run, a plan written down in the catalog's database, and any number of workers may share it. First they
lease its files, a few at a time: each file is read and cut, its passages are embedded into the cache, and what came of
it is staged for a generation that is not live yet (``builds/reading.py``, or ``builds/cluster.py`` where a Ray cluster
does the work). Then one of them, alone, writes the store from the catalog and the cache (``builds/sink.py``), seals it,
and flips the row that makes it live.

A worker killed anywhere leaves the live generation as it was, and the next one goes on from there: a file that was
staged is not read again, and only the writing of the store begins anew. A file that cannot be read is one failed
row; an earlier version of it stays searchable.
"""

import os
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path

from embedder.cache import CachedEncoder
from embedder.errors import AppError
from indexer.builds.heartbeat import Heartbeat, free_what_the_dead_hold, signed_on
from indexer.builds.nodes import RayCluster
from indexer.builds.reading import FileReader
from indexer.builds.sink import GenerationSink
from indexer.catalog.corpora import Catalog
from indexer.catalog.jobs import Jobs
from indexer.catalog.leases import LeaseLost, Leases
from indexer.chunking import Chunker
from indexer.lexical import LexicalEncoder
from indexer.locks import AlreadyLocked, locked
from indexer.plan import Plan
from indexer.readers import READER_VERSION
from indexer.readers.process import ReaderProcess
from indexer.records import Corpus, Manifest, PlannedFile, Run, RunState
from indexer.sources.downloads import Downloads
from indexer.sources.files import FoundFile
from indexer.stores.protocol import VectorEngine

_TITLE_TOKENS = 64
_CHUNK_TOKENS = 256
_OVERLAP_TOKENS = 32
_POLL_SECONDS = 0.5
"""How often somebody who waits for the other workers of a run looks how far they are."""


class BuildRefused(AppError):
    """A build that would mix models, or that somebody has stopped on purpose."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a build is, whoever works on it.

    Attributes:
        stage: ``embedding`` while documents are read and embedded, ``writing`` while the store is filled,
            ``optimizing`` while its graph is built.
        files_done: Files looked at or taken out.
        bytes_done: Of the files to look at, the current one in part.
        chunks: Passages embedded, or found in the cache, so far.
        seconds: How long the run has been worked on.
    """

    stage: str
    files_done: int
    files: int
    bytes_done: int
    bytes: int
    chunks: int
    seconds: float


@dataclass(frozen=True, slots=True)
class BuildReport:
    """What a build did.

    Attributes:
        generation: The live generation afterwards.
        documents: Documents added or changed.
        removed: Documents that are no longer there.
        chunks: Passages written.
        failed: Files that could not be read, or not in every part, with the reason.
        seconds: How long it was worked on.
    """

    generation: int
    documents: int
    removed: int
    chunks: int
    failed: Mapping[str, str]
    seconds: float


@dataclass(frozen=True, slots=True)
class Builder:
    """The parts every build works with.

    Attributes:
        lock_folder: For locks between the processes of this machine.
        reader: Reads the files; where none is given, each worker has one of its own.
        downloads: Keeps what is fetched of corpora elsewhere; without it these cannot be built.
        cluster: Reads and encodes; without one this process does.
    """

    catalog: Catalog
    jobs: Jobs
    leases: Leases
    engine: VectorEngine
    encoder: CachedEncoder
    lexical: LexicalEncoder
    lock_folder: Path
    reader: ReaderProcess | None = None
    downloads: Downloads | None = None
    cluster: RayCluster | None = None

    def submit(
        self,
        corpus: Corpus,
        plan: Plan,
        found: Mapping[str, FoundFile],
        *,
        fresh: bool,
        by: str,
        held: bool = False,
    ) -> Run:
        """Write a plan down as a run; if the corpus has one that is not over, return that one.

        Args:
            corpus: What to build.
            plan: What to do; a fresh build's plan looks at every file.
            found: The files on disk.
            fresh: Start from nothing instead of from a copy of the live generation.
            by: Who asks.
            held: Whether what is built waits beside the live generation.

        Raises:
            VersionWaits: If another one waits already.
            BuildRefused: If the live generation was made with other parts.
        """
        base = None if fresh else corpus.live
        if base is not None:
            _check_manifest(corpus.name, self.catalog.generation(corpus.name, base).manifest, self.manifest())
        for abandoned in self.jobs.abandoned(corpus.name):
            self.engine.drop(corpus.name, abandoned)
        return self.jobs.submit(corpus.name, _files(corpus, plan, found), self.manifest(), base, by=by, held=held)

    def work(self, number: int, *, on_progress: Callable[[Progress], None], wait: bool = True) -> Run:
        """Work on a run, beside others who may do so.

        Args:
            number: The run.
            on_progress: Called after every document; it decides how often to show anything.
            wait: Stay until the run is over or paused, also while there is nothing to do because others do it, and
                take over from those who die.

        Returns:
            The run as it stands then.

        Raises:
            BuildRefused: If it was planned with other parts than these.
            StoreError: If what was written does not read back. The run has failed then, as with any other error fit
                for a user that does not belong to a file.
        """
        run, here = self.jobs.run(number), self.manifest()
        if run.manifest != here:
            raise BuildRefused(
                f"Run {number} was planned with other parts ({_differences(run.manifest, here)}); cancel it with "
                f"kalm jobs cancel {number} and run kalm index build {run.corpus}."
            )
        workers = workers_folder(self.lock_folder)
        reading: AbstractContextManager[ReaderProcess] = nullcontext(self.reader) if self.reader else ReaderProcess()
        with signed_on(workers) as owner, Heartbeat(self.leases, number, owner) as heartbeat, reading as reader:
            worker = _Worker(self, number, owner, heartbeat, reader, on_progress)
            try:
                return worker.work(wait)
            except AppError as error:
                self.leases.fail(number, owner, str(error))
                raise
            except BaseException as error:  # a bug counts as a death, so that it cannot go round for ever
                self.leases.release(number, owner, died=isinstance(error, Exception))
                raise

    def report(self, run: Run) -> BuildReport:
        """What a run did."""
        failed = self.jobs.failures(run.id)
        return BuildReport(run.generation, run.documents, run.removed, run.chunks, failed, run.seconds)

    def manifest(self) -> Manifest:
        """What a generation made with these parts says of itself."""
        return Manifest(
            model=self.encoder.source,
            fingerprint=self.encoder.fingerprint,
            dim=self.encoder.dim,
            dtype=self.encoder.dtype,
            max_tokens=self.encoder.max_tokens,
            chunker=self.chunker().version,
            readers=READER_VERSION,
            lexical=self.lexical.version,
            engine=self.engine.name,
        )

    def chunker(self) -> Chunker:
        """Cuts passages that fit the model together with their title."""
        limit = self.encoder.max_tokens
        size = min(_CHUNK_TOKENS, max(limit // 2, limit - _TITLE_TOKENS))  # a model that reads little gets half
        return Chunker(self.encoder, max_tokens=size, overlap_tokens=min(_OVERLAP_TOKENS, size // 4))


@dataclass
class _Worker:
    """One worker on one run."""

    parts: Builder
    number: int
    owner: str
    heartbeat: Heartbeat
    reader: ReaderProcess
    on_progress: Callable[[Progress], None]
    _seconds: float = -1.0
    _since: float = 0.0

    def work(self, wait: bool) -> Run:
        """Read files while there are any, then write the store, unless others do."""
        parts = self.parts
        while True:
            free_what_the_dead_hold(workers_folder(parts.lock_folder), parts.leases, self.number)
            run = parts.jobs.run(self.number)
            self.heartbeat.note(run)
            if run.state is RunState.CANCELLING:
                run = cancel(self.number, parts.jobs, parts.leases, parts.engine, parts.lock_folder)
            if not run.is_workable:
                if run.state is RunState.CANCELLED:  # perhaps while its store was written, and here
                    parts.engine.drop(run.corpus, run.generation)
                return run
            try:
                if self._read_files(run) or self._write_store(run):
                    continue
            except LeaseLost:  # paused, cancelled, or in the hands of somebody else: see how it stands
                parts.leases.release(self.number, self.owner)
                continue
            if not wait:
                return run
            self._report(run)
            time.sleep(_POLL_SECONDS)

    def _read_files(self, run: Run) -> bool:
        """Phase 1, shared. Returns whether there was anything to do."""
        parts = self.parts
        if parts.cluster is not None:
            from indexer.builds.cluster import ClusterReader  # Ray takes a second to load, and need not be installed

            return ClusterReader(
                cluster=parts.cluster,
                catalog=parts.catalog,
                leases=parts.leases,
                encoder=parts.encoder,
                chunker=parts.chunker(),
                corpus=parts.catalog.corpus(run.corpus),
                run=run,
                owner=self.owner,
                heartbeat=self.heartbeat,
                on_progress=self._report,
            ).work()
        return FileReader(
            catalog=parts.catalog,
            leases=parts.leases,
            encoder=parts.encoder,
            chunker=parts.chunker(),
            reader=self.reader,
            corpus=parts.catalog.corpus(run.corpus),
            run=run,
            owner=self.owner,
            heartbeat=self.heartbeat,
            on_progress=self._report,
            downloads=parts.downloads,
        ).work()

    def _write_store(self, run: Run) -> bool:
        """Phase 2, for one worker alone. Returns whether it was this one."""
        # The lock is for the engine in the process: it holds the interpreter while it builds its graph, and no
        # heartbeat gets through. Others on this machine must not take that for a death.
        try:
            with locked(self.parts.lock_folder / f"{run.corpus}.lock", wait=False):
                if not self.parts.leases.lease_store(self.number, self.owner):
                    return False
                self._fill_and_seal(self.parts.jobs.run(self.number))
                self.parts.leases.finish(self.number, self.owner)
        except AlreadyLocked:
            return False
        if run.held:
            return True
        self.parts.engine.publish(run.corpus, run.generation)
        for old in self.parts.catalog.prune(run.corpus):
            self.parts.engine.drop(run.corpus, old)
        return True

    def _fill_and_seal(self, run: Run) -> None:
        """Write the generation's store, unless a worker that died since had it sealed."""
        parts = self.parts
        if parts.catalog.generation(run.corpus, run.generation).sealed:
            return
        store = parts.engine.create(run.corpus, run.generation, parts.encoder.dim, run.base)
        try:
            sink = GenerationSink(parts.catalog, store, parts.encoder, parts.lexical)
            chunks = sink.fill(run.corpus, run.generation, run.base, lambda: self._still_writing(run))
            self._report(run, stage="optimizing")
            store.seal()
        finally:
            store.close()
        parts.leases.seal(self.number, self.owner, chunks)

    def _still_writing(self, run: Run) -> None:
        self.heartbeat.check()
        self._report(run)

    def _report(self, run: Run, bytes_more: int = 0, chunks_more: int = 0, stage: str | None = None) -> None:
        if run.seconds != self._seconds:
            self._seconds, self._since = run.seconds, time.monotonic()
        self.on_progress(
            Progress(
                stage=stage or ("embedding" if run.files_done < run.files else "writing"),
                files_done=run.files_done,
                files=run.files,
                bytes_done=min(run.bytes_done + bytes_more, run.bytes),
                bytes=run.bytes,
                chunks=run.chunks + chunks_more,
                seconds=run.seconds + time.monotonic() - self._since,
            )
        )


def workers_folder(lock_folder: Path) -> Path:
    """Where workers of this machine are known by their locks."""
    return lock_folder / "workers"


def cancel(number: int, jobs: Jobs, leases: Leases, engine: VectorEngine, lock_folder: Path) -> Run:
    """End a run with all that it made; where somebody is at work on it, as soon as they have let go.

    Raises:
        JobError: If it is done.
    """
    free_what_the_dead_hold(workers_folder(lock_folder), leases, number)
    run = jobs.cancel(number)
    if run.state is RunState.CANCELLED:
        engine.drop(run.corpus, run.generation)
    return run


def _check_manifest(corpus: str, built: Manifest, now: Manifest) -> None:
    """Refuse to extend a generation with other parts than it was made with."""
    if built != now:
        raise BuildRefused(
            f"The index of {corpus} was made otherwise ({_differences(built, now)}); "
            f"run kalm index rebuild {corpus} to build a new version beside the one in use."
        )


def _differences(built: Manifest, now: Manifest) -> str:
    before, after = asdict(built), asdict(now)
    return "; ".join(f"{key} was {before[key]} and is {after[key]}" for key in before if before[key] != after[key])


def _files(corpus: Corpus, plan: Plan, found: Mapping[str, FoundFile]) -> list[PlannedFile]:
    """What a run is made of."""
    here = ((uri, found[uri]) for uri in plan.look)
    look = [
        PlannedFile(uri, os.fsencode(file.path.relative_to(corpus.root)), file.size, file.mtime_ns)
        for uri, file in here
    ]
    return look + [PlannedFile(uri, b"", 0, 0, is_gone=True) for uri in plan.gone]
