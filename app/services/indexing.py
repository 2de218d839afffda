"""Builds: what would change, and making it so."""

import os
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from app.services.encoders import Encoders
from embedder.cache import CachedEncoder, VectorCache
from indexer.catalog import Catalog
from indexer.chunking import CHUNKING
from indexer.lexical import LexicalEncoder
from indexer.pipeline import Builder, BuildRefused, BuildReport, Progress
from indexer.plan import FoundFile, Plan, find_files, plan
from indexer.readers import READER_VERSION
from indexer.records import Corpus, Manifest
from indexer.store import VectorEngine

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
    ) -> None:
        self._catalog = catalog
        self._engine = engine
        self._encoders = encoders
        self._cache = cache
        self._lexical = lexical
        self._lock_folder = lock_folder

    def build(
        self, name: str, *, fresh: bool = False, on_progress: Callable[[Progress], None] = lambda _: None
    ) -> BuildReport | UpToDate:
        """Bring an index up to date with its folder.

        Args:
            name: The corpus.
            fresh: Build from nothing, beside the index in use, with the model configured now.
            on_progress: Told how far it is.

        Raises:
            CatalogError: If there is no such corpus.
            BuildRefused: If the folder is gone, another build runs, or the parts of the index have changed and
                ``fresh`` is off.
        """
        corpus = self._catalog.corpus(name)
        found = _find_files(corpus)
        known = {} if fresh else self._catalog.files(name, corpus.live)
        todo = plan(known, found)
        manifest = None if corpus.live is None or fresh else self._catalog.generation(name, corpus.live).manifest
        configured = self._encoders.default_source
        if manifest is not None and manifest.model != configured:
            raise BuildRefused(
                f"The index of {name} was made with {manifest.model}, and now {configured} is configured; "
                f"run kalm index build {name} --fresh to build it anew, or set KALM_MODEL={manifest.model}."
            )
        if manifest is not None and todo.is_empty and self._is_current(manifest):
            return UpToDate(todo)  # without loading a model, so that looking costs next to nothing
        encoder = self._encoders.default() if manifest is None else self._encoders.of(manifest)
        os.nice(_NICENESS)
        with closing(self._cache()) as cache:
            cached = CachedEncoder(encoder, cache)
            engine = self._engine if manifest is None else self._engine.named(manifest.engine)
            parts = Builder(self._catalog, engine, cached, self._lexical, self._lock_folder)
            report = parts.build(corpus, todo, found, fresh=fresh, on_progress=on_progress)
        engine.publish(name, report.generation)
        return report

    def plan(self, name: str) -> tuple[Corpus, Plan]:
        """What a build would do now.

        Raises:
            CatalogError: If there is no such corpus.
            BuildRefused: If its folder is gone.
        """
        corpus = self._catalog.corpus(name)
        return corpus, plan(self._catalog.files(name, corpus.live), _find_files(corpus))

    def _is_current(self, manifest: Manifest) -> bool:
        versions = manifest.readers, manifest.lexical  # an index stays with its engine until it is moved
        same_chunking = manifest.chunker.startswith(f"{CHUNKING}:")  # its sizes follow from the model
        return same_chunking and versions == (READER_VERSION, self._lexical.version)


def _find_files(corpus: Corpus) -> Mapping[str, FoundFile]:
    """What is there now; a folder that is gone is a drive not mounted rather than a wish to empty the index."""
    if not corpus.root.exists():
        raise BuildRefused(
            f"{corpus.root}, for which {corpus.name} stands, is not there; put it back, or forget the corpus with "
            f"kalm corpus remove {corpus.name}."
        )
    return find_files(corpus)
