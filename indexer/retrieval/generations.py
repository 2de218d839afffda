"""Which generation of a corpus is searched: opened once, followed when a build flips to a new one."""

import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from embedder.errors import AppError
from indexer.catalog.corpora import Catalog
from indexer.catalog.tables import CatalogError
from indexer.records import Manifest
from indexer.stores.protocol import StoreError, VectorEngine, VectorStore


class NotBuilt(AppError):
    """A corpus that has no index yet."""


@dataclass
class OpenGeneration:
    """A generation that is open, and how many searches are in it."""

    number: int
    manifest: Manifest
    store: VectorStore
    users: int = 0
    is_retired: bool = False


class LiveGenerations:
    """The live generation of every corpus, opened once; an old one is closed when its last search is done."""

    def __init__(self, catalog: Catalog, engine: VectorEngine) -> None:
        self._catalog = catalog
        self._engine = engine
        self._open: dict[str, OpenGeneration] = {}
        self._lock = threading.Lock()
        self._opening: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self._is_closed = False

    @contextmanager
    def use(self, corpus: str) -> Iterator[OpenGeneration]:
        """The live generation, held open for the length of the block.

        Raises:
            NotBuilt: If the corpus has none.
            CatalogError: If there is no such corpus.
        """
        entry = self._enter(corpus)
        try:
            yield entry
        finally:
            with self._lock:
                entry.users -= 1
                self._close_if_idle(entry)

    def close(self) -> None:
        """Close everything that no search is in, and the rest, what is just being opened too, when its searches end."""
        with self._lock:
            self._is_closed = True
            for entry in self._open.values():
                entry.is_retired = True
                self._close_if_idle(entry)
            self._open.clear()

    def _enter(self, corpus: str) -> OpenGeneration:
        with self._lock:
            opening = self._opening[corpus]
        # Of the corpus alone, so that a server that is slow to answer holds up no other corpus. Around the look at the
        # catalog too, or a slow thread would go back to an older generation.
        with opening:
            number = self._live_number(corpus)
            with self._lock:
                entry = self._open.get(corpus)
                if entry is not None and entry.number == number:
                    entry.users += 1
                    return entry
            fresh = self._open_live(corpus)
            with self._lock:
                if entry is not None:
                    entry.is_retired = True
                    self._close_if_idle(entry)
                if self._is_closed:
                    fresh.is_retired = True
                else:
                    self._open[corpus] = fresh
                fresh.users += 1
                return fresh

    def _live_number(self, corpus: str) -> int:
        number = self._catalog.live_number(corpus)
        if number is None:
            self._catalog.corpus(corpus)  # says so if there is no such corpus at all
            raise NotBuilt(f"The corpus {corpus} is not indexed yet; run kalm index build {corpus}.")
        return number

    def _open_live(self, corpus: str) -> OpenGeneration:
        """Open the live generation, or the one after it if builds went on and dropped it meanwhile."""
        number = self._live_number(corpus)
        while True:
            try:
                manifest = self._catalog.generation(corpus, number).manifest
                engine = self._engine.named(manifest.engine)
                return OpenGeneration(number, manifest, engine.open(corpus, number))
            except (StoreError, CatalogError):
                newer = self._live_number(corpus)
                if newer == number:
                    raise
                number = newer

    def _close_if_idle(self, entry: OpenGeneration) -> None:
        if entry.is_retired and not entry.users:
            entry.store.close()
