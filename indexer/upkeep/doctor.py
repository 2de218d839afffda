"""Is an index what the catalog says it is? Both are read and compared, and nothing is changed."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from embedder.errors import AppError
from embedder.protocol import TextEncoder
from indexer.catalog.corpora import Catalog
from indexer.catalog.jobs import Jobs
from indexer.plan import plan
from indexer.records import Corpus, Generation, Manifest, RunState
from indexer.sources.folders import find_files
from indexer.stores.protocol import VectorEngine, VectorStore
from indexer.upkeep.gate import recall_check

_LEAST_FREE_BYTES = 2**30
_NAMED = 3
"""Files of a kind that are named; of more only the number is told."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at.

    Attributes:
        subject: What was looked at: a corpus, or the installation.
        name: Which aspect of it.
        is_well: Whether all is as it should be.
        found: What was seen.
        remedy: What to run, where something is wrong.
    """

    subject: str
    name: str
    is_well: bool
    found: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Doctor:
    """Looks at everything an installation keeps.

    Attributes:
        encoder_for: The encoder a generation was made with; raises an AppError where it is not to be had.
        data_folder: Where the installation keeps its files.
    """

    catalog: Catalog
    jobs: Jobs
    engine: VectorEngine
    encoder_for: Callable[[Manifest], TextEncoder]
    data_folder: Path

    def examine(self, only: str | None = None) -> Iterator[Finding]:
        """Look at the installation and at every corpus, or at one alone.

        Raises:
            CatalogError: If there is no such corpus.
        """
        corpora = [self.catalog.corpus(only)] if only else self.catalog.corpora()
        yield self._disk()
        for corpus in corpora:
            yield from self._corpus(corpus)

    def _disk(self) -> Finding:
        free = shutil.disk_usage(self.data_folder).free
        enough = free >= _LEAST_FREE_BYTES
        return Finding("installation", "disk", enough, f"{free / 1e9:,.1f} GB are free", "free some space")

    def _corpus(self, corpus: Corpus) -> Iterator[Finding]:
        name = corpus.name
        run = self.jobs.active(name)
        if run is not None and run.state is RunState.FAILED:
            yield Finding(name, f"run {run.id}", False, run.error, f"kalm jobs resume {run.id}")
        if corpus.live is None:
            yield Finding(name, "build", False, "it was never built", f"kalm index build {name}")
            return
        generation = self.catalog.generation(name, corpus.live)
        yield self._sources(corpus)
        yield self._failed_files(name, generation)
        yield self._model(name, generation)
        try:
            store = self.engine.named(generation.manifest.engine).open(name, generation.number)
        except AppError as error:
            yield Finding(name, "index", False, str(error).removesuffix("."), f"kalm doctor {name} --repair")
            return
        with closing(store):
            yield self._passages(name, generation, store)
            recall = recall_check(store)
            yield Finding(name, "recall", recall.passed, recall.found, f"kalm index rebuild {name}")
        for other in self.catalog.generations(name):
            if other.number != corpus.live:
                yield self._other_version(name, other, waits=other.number > corpus.live)

    def _sources(self, corpus: Corpus) -> Finding:
        if not corpus.url and not corpus.root.exists():
            return Finding(corpus.name, "sources", False, f"{corpus.root} is not there", "put the folder back")
        try:
            there = find_files(corpus)
        except AppError as error:
            return Finding(corpus.name, "sources", False, str(error).removesuffix("."), "see to it")
        todo = plan(self.catalog.files(corpus.name, corpus.live), there)
        found = f"{len(todo.look):,} files are new or changed, {len(todo.gone):,} are gone"
        return Finding(corpus.name, "sources", todo.is_empty, found, f"kalm index build {corpus.name}")

    def _failed_files(self, name: str, generation: Generation) -> Finding:
        failed = self.catalog.failed_files(name, generation.number)
        return Finding(
            name, "files", not failed, f"{len(failed):,} files could not be read", f"kalm index status {name}"
        )

    def _model(self, name: str, generation: Generation) -> Finding:
        """Loading a model proves that it attends and pads as it should."""
        try:
            encoder = self.encoder_for(generation.manifest)
        except AppError as error:
            return Finding(name, "model", False, str(error).removesuffix("."), f"kalm index rebuild {name}")
        return Finding(name, "model", True, f"{encoder.name} is the one the index was made with")

    def _other_version(self, name: str, version: Generation, *, waits: bool) -> Finding:
        """One that is only kept is no reason for alarm: nothing has to be done, and the next build removes it."""
        try:
            with closing(self.engine.named(version.manifest.engine).open(name, version.number)) as store:
                count = store.count()
        except AppError:
            count = 0
        is_whole = count == version.chunks
        found = f"it {'waits' if waits else 'is kept'} with {count:,} of {version.chunks:,} passages"
        if not is_whole and not waits:
            found += " and cannot be gone back to"
        return Finding(name, f"version {version.number}", is_whole or not waits, found, f"kalm index discard {name}")

    def _passages(self, name: str, generation: Generation, store: VectorStore) -> Finding:
        """Both ways: what the catalog has and the store lacks, and the other way round."""
        stored = {point.id for batch in store.points() for point in batch}
        lacking: set[str] = set()
        known: set[str] = set()
        for chunk, uri in self.catalog.chunk_ids(name, generation.number):
            known.add(chunk)
            if chunk not in stored:
                lacking.add(uri)
        extra = len(stored - known)
        found = f"{len(stored):,} passages are stored, {len(known - stored):,} are missing and {extra:,} too many"
        if lacking:
            found += f" (of {_some(sorted(lacking))})"
        return Finding(name, "passages", stored == known, found, f"kalm doctor {name} --repair")


def _some(names: list[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more:,} more" if more > 0 else "")
