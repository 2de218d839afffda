"""Move a corpus from one engine to another: points are copied with their vectors, nothing is embedded again.

The copy is a generation like any other. It is written beside the live one, read back point by point, and goes live
by one row of the catalog; whatever fails before that changes nothing, and running again heals it. The generation it
was copied from stays, in its engine, to go back to, until later builds have made it old.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path

import numpy as np

from embedder.errors import AppError
from indexer.catalog.corpora import Catalog
from indexer.catalog.jobs import Jobs
from indexer.locks import AlreadyLocked, locked
from indexer.records import Generation
from indexer.stores.protocol import Point, StoreError, VectorEngine, VectorStore

_TOLERANCE = 1e-4
"""Engines bring vectors to unit length again, and may keep weights in half the bits."""


class MigrationRefused(AppError):
    """A corpus that cannot be moved now."""


@dataclass(frozen=True, slots=True)
class MigrationReport:
    """What a migration did.

    Attributes:
        generation: The live generation afterwards.
        passages: Passages in it, all of them compared with the originals.
        is_moved: False where the corpus was there already.
    """

    generation: int
    passages: int
    is_moved: bool


@dataclass(frozen=True, slots=True)
class Migrator:
    """Moves corpora.

    Attributes:
        engine: Has both the engine a corpus is in and the one it is to be in.
        lock_folder: The one of the builds: a corpus is not built and moved at the same time.
    """

    catalog: Catalog
    jobs: Jobs
    engine: VectorEngine
    lock_folder: Path

    def migrate(
        self, corpus: str, to: str, on_progress: Callable[[int, int], None] = lambda *_: None
    ) -> MigrationReport:
        """Make a copy of the live generation in another engine, and make that live.

        Args:
            corpus: The corpus.
            to: Name of the engine, as manifests have it.
            on_progress: Called with the passages done and all there are; each counts twice, written and compared.

        Raises:
            CatalogError: If there is no such corpus.
            MigrationRefused: If it is not indexed yet, or being built.
            StoreError: If an engine is not to be had, or the copy is not what was copied.
        """
        self.lock_folder.mkdir(parents=True, exist_ok=True)
        try:
            with locked(self.lock_folder / f"{corpus}.lock", wait=False):
                return self._migrate(corpus, to, on_progress)
        except AlreadyLocked as error:
            raise MigrationRefused(f"A build of {corpus} is running; wait for it to end.") from error

    def _migrate(self, corpus: str, to: str, on_progress: Callable[[int, int], None]) -> MigrationReport:
        live = self.catalog.corpus(corpus).live
        if live is None:
            raise MigrationRefused(f"The corpus {corpus} is not indexed yet; run kalm index build {corpus}.")
        generation = self.catalog.generation(corpus, live)
        source, target = self.engine.named(generation.manifest.engine), self.engine.named(to)
        if source.name == target.name:
            target.publish(corpus, live)  # an earlier move may have ended before this
            return MigrationReport(live, generation.chunks, is_moved=False)
        if self.jobs.active(corpus) is not None:
            raise MigrationRefused(f"A build of {corpus} is not over; see kalm jobs, then move it.")
        for abandoned in self.jobs.abandoned(corpus):
            target.drop(corpus, abandoned)
        number = self.catalog.reserve(corpus, replace(generation.manifest, engine=to), live)
        self._copy(corpus, generation, source, target, number, on_progress)
        self.catalog.make_live(corpus, number, generation.chunks)
        target.publish(corpus, number)
        source.publish(corpus, None)
        for old in self.catalog.prune(corpus):
            source.drop(corpus, old)
        return MigrationReport(number, generation.chunks, is_moved=True)

    def _copy(
        self,
        corpus: str,
        generation: Generation,
        source: VectorEngine,
        target: VectorEngine,
        number: int,
        on_progress: Callable[[int, int], None],
    ) -> None:
        """Fill a generation of the target, seal it, and compare what it holds."""
        originals = source.open(corpus, generation.number)
        try:
            if (there := originals.count()) != generation.chunks:
                raise StoreError(
                    f"The index of {corpus} holds {there} passages where the catalog has {generation.chunks}; "
                    f"run kalm doctor {corpus} --repair before it is moved."
                )
            written = 0
            copy = target.create(corpus, number, generation.manifest.dim, None)
            try:
                for batch in originals.points():
                    copy.upsert(batch)
                    written += len(batch)
                    on_progress(written, 2 * there)
                copy.seal()
            finally:
                copy.close()
            _compare(corpus, originals, target.open(corpus, number), lambda done: on_progress(there + done, 2 * there))
        finally:
            originals.close()


def _compare(corpus: str, originals: VectorStore, copies: VectorStore, on_progress: Callable[[int], None]) -> None:
    """Read both back, which come in the order of their ids, and hold each point beside its copy."""
    try:
        for done, (original, copied) in enumerate(zip_longest(_each(originals), _each(copies)), 1):
            if original is None or copied is None or not _is_copy(original, copied):
                raise StoreError(
                    f"The copy of {corpus} differs from the original at its passage {done}; nothing was changed, run "
                    "the migration again."
                )
            on_progress(done)
    finally:
        copies.close()


def _each(store: VectorStore) -> Iterator[Point]:
    for batch in store.points():
        yield from batch


def _is_copy(original: Point, copied: Point) -> bool:
    """Whether two points are the same, rounding aside."""
    return (
        (original.id, original.text, original.metadata) == (copied.id, copied.text, copied.metadata)
        and original.lexical.indices == copied.lexical.indices
        and np.allclose(original.lexical.values, copied.lexical.values, rtol=_TOLERANCE)
        and np.allclose(original.dense, copied.dense, atol=_TOLERANCE)
    )
