"""Builds: what would change, and making it so."""

import os
from collections.abc import Callable, Collection, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from app.services.encoders import Encoders, WrongModel
from app.services.outlook import Outlook, compared, find_there, outlook
from app.services.workers import whoami
from embedder.cache import CachedEncoder, VectorCache
from embedder.catalogue import source_of
from embedder.errors import AppError
from indexer.builds.heartbeat import free_what_the_dead_hold
from indexer.builds.nodes import RayCluster
from indexer.catalog.corpora import Catalog
from indexer.catalog.jobs import JobError, Jobs
from indexer.catalog.leases import Leases
from indexer.chunking import CHUNKING
from indexer.lexical import LexicalEncoder
from indexer.pipeline import Builder, BuildRefused, BuildReport, Progress, cancel, workers_folder
from indexer.plan import Plan, plan
from indexer.readers import READER_VERSION
from indexer.records import Corpus, Manifest, Run, RunState
from indexer.sources.downloads import Downloads
from indexer.stores.protocol import VectorEngine

_NICENESS = 5
"""Builds step back behind the people who search on the same machine."""


@dataclass(frozen=True, slots=True)
class UpToDate:
    """A build that had nothing to do."""

    plan: Plan


class IndexService:
    """Builds indexes in the calling process, which should not be the one that serves pages."""

    def __init__(
        self,
        catalog: Catalog,
        engine: VectorEngine,
        encoders: Encoders,
        cache: Callable[[], VectorCache],
        lexical: LexicalEncoder,
        lock_folder: Path,
        downloads: Downloads | None = None,
    ) -> None:
        self._catalog = catalog
        self._jobs = Jobs(catalog.database)
        self._leases = Leases(catalog.database)
        self._engine = engine
        self._encoders = encoders
        self._cache = cache
        self._lexical = lexical
        self._lock_folder = lock_folder
        self._downloads = downloads
        self._has_stepped_back = False

    def build(
        self,
        name: str,
        *,
        fresh: bool = False,
        cluster: RayCluster | None = None,
        on_progress: Callable[[Progress], None] = lambda _: None,
    ) -> BuildReport | UpToDate:
        """Bring an index up to date with its folder, going on from where an earlier build was left.

        Args:
            name: The corpus.
            fresh: Build from nothing, beside the index in use, with the model configured now.
            cluster: Reads and encodes; None has this process do it.
            on_progress: Told how far it is.

        Raises:
            CatalogError: If there is no such corpus.
            ClusterError: If the cluster is not there, or cannot do the work.
            FolderUnreadable: If its folder cannot be looked through; RemoteError if its address does not answer.
            BuildRefused: If the folder is gone, a build is paused or runs with other parts, or the parts of the
                index have changed and ``fresh`` is off.
        """
        run = self._joinable(self._catalog.corpus(name), fresh)
        if run is None:
            submitted = self.submit(name, fresh=fresh)
            return submitted if isinstance(submitted, UpToDate) else self._work(submitted, on_progress, cluster)
        report = self._work(run, on_progress, cluster)
        later = self.build(
            name, cluster=cluster, on_progress=on_progress
        )  # what has changed since that run was planned
        return report if isinstance(later, UpToDate) else _both(report, later)

    def rebuild(
        self,
        name: str,
        model: str | None = None,
        dim: int | None = None,
        *,
        on_progress: Callable[[Progress], None] = lambda _: None,
    ) -> BuildReport:
        """Build a version from nothing, which then waits beside the one in use; model and width as for ``submit``.

        Raises:
            CatalogError: As ``build`` does.
            BuildRefused: As ``build`` does.
            InvalidInput: If the model has no such width.
            VersionWaits: If one waits already.
        """
        submitted = self.submit(name, fresh=True, held=True, model=model, dim=dim)
        assert isinstance(submitted, Run)  # noqa: S101 - a build from nothing is never up to date
        return self._work(submitted, on_progress)

    def submit(
        self,
        name: str,
        *,
        fresh: bool = False,
        held: bool = False,
        model: str | None = None,
        dim: int | None = None,
        like: Manifest | None = None,
        by: str = "",
    ) -> Run | UpToDate:
        """Plan a build as a run for workers; one that is there already and fits is that run.

        Args:
            name: The corpus.
            fresh: Build from nothing, beside the index in use.
            held: Have what is built wait beside the index in use.
            model: What to build with; None takes what is configured.
            dim: Width of the vectors of a fresh build; None takes the model's own.
            like: What a fresh build takes model, width, arithmetic and engine of instead.
            by: The program that asks, where it is no person; such a build never empties an index.

        Raises:
            CatalogError: As ``build`` does.
            BuildRefused: As ``build`` does, and if a program would empty the index.
            InvalidInput: If the model has no such width.
        """
        corpus = self._catalog.corpus(name)
        if like is not None:
            model, dim = like.model, like.dim
        configured = source_of(model) if model else self._encoders.default_source
        run = self._joinable(corpus, fresh, held, configured, dim)
        if run is not None:
            return run
        found = find_there(corpus)
        todo = plan({} if fresh else self._catalog.files(name, corpus.live), found)
        if by and not found and todo.gone:
            raise BuildRefused(
                f"{corpus.place} holds no file any more that is read, as if a drive were not mounted; put the files "
                f"back or, if the index of {name} is to be emptied, run kalm index build {name}."
            )
        manifest = None if fresh else self.made_with(name)
        if manifest is not None and manifest.model != configured:
            raise BuildRefused(
                f"The index of {name} was made with {manifest.model}, and now {configured} is configured; "
                f"run kalm index rebuild {name} to build it anew, or set KALM_MODEL={manifest.model}."
            )
        if manifest is not None and todo.is_empty and self._is_current(manifest):
            return UpToDate(todo)  # without loading a model, so that looking costs next to nothing
        with self._parts(like or manifest, model, dim) as parts:
            return parts.submit(corpus, todo, found, fresh=fresh, by=by or whoami(), held=held)

    def repair(self, name: str, *, on_progress: Callable[[Progress], None] = lambda _: None) -> BuildReport:
        """Make an index again as it was made, with vectors from the cache; raises as ``submit_repair`` does."""
        return self._work(self.submit_repair(name), on_progress)

    def submit_repair(self, name: str) -> Run:
        """Plan that for workers.

        Raises:
            CatalogError: As ``build`` does.
            BuildRefused: As ``build`` does, and if it cannot be made as it was: its readers or its chunking are past.
            WrongModel: If its model now has other weights.
        """
        if self.must_be_rebuilt(name):
            raise BuildRefused(
                f"The index of {name} was read or cut otherwise than is done now and cannot be made again as it was; "
                f"build a new version beside it with kalm index rebuild {name}."
            )
        run = self.submit(name, fresh=True, like=self.made_with(name))
        assert isinstance(run, Run)  # noqa: S101 - a build from nothing is never up to date
        return run

    def made_with(self, name: str) -> Manifest | None:
        """What the index in use was made with, if there is one; raises CatalogError if there is no such corpus."""
        live = self._catalog.corpus(name).live
        return None if live is None else self._catalog.generation(name, live).manifest

    def plan(self, name: str) -> tuple[Corpus, Plan]:
        """What a build would do now.

        Raises:
            CatalogError: If there is no such corpus.
            BuildRefused: If its folder is gone.
        """
        corpus = self._catalog.corpus(name)
        return corpus, plan(self._catalog.files(name, corpus.live), find_there(corpus))

    def must_be_rebuilt(self, name: str) -> bool:
        """Whether an index was read or cut otherwise than is done now, so that no build can extend it."""
        made = self.made_with(name)
        return made is not None and not self._is_current(made)

    def outlook(
        self,
        name: str,
        on_progress: Callable[[float, str], None] = lambda *_: None,
        *,
        rebuild: bool = False,
        model: str | None = None,
    ) -> Outlook:
        """What a build would do now, files that moved told apart, and what it would cost. Nothing is done.

        Args:
            name: The corpus.
            on_progress: Told how far it is with ``listing`` its files, then with ``comparing`` some: 0 to 1.
            rebuild: Look ahead at a rebuild instead, which reads every file.
            model: What to rebuild with; None takes what is configured.

        Raises:
            CatalogError: If there is no such corpus.
            BuildRefused: If its folder is gone.
        """
        corpus = self._catalog.corpus(name)
        on_progress(0.0, "listing")
        live = None if corpus.live is None else self._catalog.generation(name, corpus.live)
        known, found = self._catalog.files(name, corpus.live), find_there(corpus)
        source = live.manifest.model if live and not rebuild else source_of(model or self._encoders.default_source)
        todo = plan({}, found) if rebuild else compared(known, found, lambda share: on_progress(share, "comparing"))
        speed = self._jobs.speed(source, name)
        refused = not rebuild and self.must_be_rebuilt(name)
        return outlook(name, todo, known, found, source, speed, live, must_be_rebuilt=refused, rebuild=rebuild)

    def work(self, *, wait: bool, on_error: Callable[[Run, AppError], None]) -> None:
        """Work on every run that waits for it, oldest first.

        Args:
            wait: Stay with each until it is over; else leave it as soon as others have all that is left of it.
            on_error: Told of a run that failed; the others go on.
        """
        for run in self._jobs.workable():
            try:
                with self._parts(run.manifest) as parts:
                    parts.work(run.id, on_progress=lambda _: None, wait=wait)
            except JobError as error:  # removed with its corpus
                on_error(run, error)
            except AppError as error:
                self._leases.fail(run.id, "", str(error))  # also where its model cannot be had here
                on_error(run, error)

    def step_back(self) -> None:
        """Let other processes of this machine go first; for the rest of this process's life."""
        if not self._has_stepped_back:
            os.nice(_NICENESS)
            self._has_stepped_back = True

    def cancel(self, number: int) -> Run:
        """End a run; what it made goes as soon as nobody works on it.

        Raises:
            JobError: If there is no such run, or it is done.
        """
        return cancel(number, self._jobs, self._leases, self._engine, self._lock_folder)

    def retry(self, number: int) -> Run:
        """Have the failed files of a run looked at again: in that run, or if it is done in one for them alone.

        Raises:
            JobError: If there is no such run, it was cancelled, or no file of it failed.
            BuildRefused: As ``build`` does.
        """
        run = self._jobs.run(number)
        if run.state is not RunState.DONE:
            return self._jobs.retry(number)
        corpus = self._catalog.corpus(run.corpus)
        again = self._look_again(corpus, self._jobs.failures(number), corpus.live or run.generation)
        if again is None:
            raise JobError(f"No failed file of run {number} is still there; there is nothing to retry.")
        return again

    def retry_failed(self, name: str) -> Run:
        """Have the files of an index that could not be read looked at again, and nothing else.

        Raises:
            CatalogError: If there is no such corpus.
            JobError: If none failed.
            BuildRefused: As ``build`` does.
        """
        corpus = self._catalog.corpus(name)
        failed = {} if corpus.live is None else self._catalog.failed_files(name, corpus.live)
        again = self._look_again(corpus, failed, corpus.live or 0)
        if again is None:
            raise JobError(f"No failed file of {name} is still there; there is nothing to retry.")
        return again

    def _look_again(self, corpus: Corpus, failed: Collection[str], number: int) -> Run | None:
        """A run for those of these files that are there, with the parts of a generation; None where none is."""
        found = find_there(corpus)
        there = tuple(sorted(found.keys() & set(failed)))
        if not there:
            return None
        todo = replace(plan({}, {uri: found[uri] for uri in there}), add=(), update=there)
        with self._parts(self._catalog.generation(corpus.name, number).manifest) as parts:
            return parts.submit(corpus, todo, found, fresh=False, by=whoami())

    def _work(
        self, run: Run, on_progress: Callable[[Progress], None], cluster: RayCluster | None = None
    ) -> BuildReport:
        self.step_back()
        with self._parts(run.manifest) as parts:
            done = replace(parts, cluster=cluster).work(run.id, on_progress=on_progress)
            if done.state is not RunState.DONE:
                reason = f" ({done.error.removesuffix('.')})" if done.error else ""
                raise BuildRefused(
                    f"Run {run.id} of {run.corpus} is {done.state}{reason}; kalm jobs show {run.id} tells more."
                )
            return parts.report(done)

    def _joinable(
        self, corpus: Corpus, fresh: bool, held: bool = False, model: str | None = None, dim: int | None = None
    ) -> Run | None:
        """The run of a corpus that a build can go on with; one that does not fit any more is cancelled."""
        run = self._jobs.active(corpus.name)
        if run is None:
            return None
        if run.state is RunState.PAUSED:
            raise BuildRefused(
                f"The build of {corpus.name} is paused (run {run.id}); let it go on with kalm jobs resume {run.id}, "
                f"or end it with kalm jobs cancel {run.id}."
            )
        if run.held != held:
            kind = "rebuild" if run.held else "build"
            raise BuildRefused(
                f"A {kind} of {corpus.name} is {run.state} (run {run.id}); finish it with kalm worker --once, or "
                f"end it with kalm jobs cancel {run.id}."
            )
        same_model = run.manifest.model == (model or self._encoders.default_source) and dim in (None, run.manifest.dim)
        if run.state is not RunState.CANCELLING and same_model and self._fits(run, corpus, fresh):
            return self._jobs.resume(run.id)
        free_what_the_dead_hold(workers_folder(self._lock_folder), self._leases, run.id)
        if self._leases.owners(run.id):
            raise BuildRefused(
                f"Another build of {corpus.name} is {run.state} (run {run.id}, {run.manifest.model}); wait for it to "
                f"end, or end it with kalm jobs cancel {run.id}."
            )
        self.cancel(run.id)
        return None

    def _fits(self, run: Run, corpus: Corpus, fresh: bool) -> bool:
        same_start = run.base is None if fresh else run.base in (None, corpus.live)
        if not same_start or not self._is_current(run.manifest):
            return False
        try:
            self._encoders.of(run.manifest)
        except WrongModel:
            return False
        return True

    @contextmanager
    def _parts(self, manifest: Manifest | None, model: str | None = None, dim: int | None = None) -> Iterator[Builder]:
        """What a build works with: the model and engine of a manifest, or those named, or those configured."""
        encoder = self._encoders.named(model, dim) if manifest is None else self._encoders.of(manifest)
        engine = self._engine if manifest is None else self._engine.named(manifest.engine)
        with closing(self._cache()) as cache:
            yield Builder(
                catalog=self._catalog,
                jobs=self._jobs,
                leases=self._leases,
                engine=engine,
                encoder=CachedEncoder(encoder, cache),
                lexical=self._lexical,
                lock_folder=self._lock_folder,
                downloads=self._downloads,
            )

    def _is_current(self, manifest: Manifest) -> bool:
        versions = manifest.readers, manifest.lexical  # an index stays with its engine until it is moved
        same_chunking = manifest.chunker.startswith(f"{CHUNKING}:")  # its sizes follow from the model
        return same_chunking and versions == (READER_VERSION, self._lexical.version)


def _both(first: BuildReport, second: BuildReport) -> BuildReport:
    return BuildReport(
        generation=second.generation,
        documents=first.documents + second.documents,
        removed=first.removed + second.removed,
        chunks=first.chunks + second.chunks,
        failed={**first.failed, **second.failed},
        seconds=first.seconds + second.seconds,
    )
