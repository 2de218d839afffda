"""A small corpus on disk and the parts to index it with: a real catalog, a real engine, a stand-in for the model."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
import store_cases
from hash_encoder import HashEncoder

from embedder.cache import CachedEncoder, VectorCache
from indexer.catalog import Catalog
from indexer.edge_store import EdgeEngine
from indexer.generations import LiveGenerations
from indexer.jobs import Jobs
from indexer.leases import Leases
from indexer.lexical import LexicalEncoder
from indexer.pipeline import Builder
from indexer.plan import find_files, plan
from indexer.readers.process import ReaderProcess
from indexer.records import RunState
from indexer.search import Searcher

engine, http_engine = store_cases.engine, store_cases.http_engine
place, server_place = store_cases.place, store_cases.server_place


@dataclass
class Bench:
    """Everything a test needs to build and search, in one temporary folder."""

    root: object
    data: object
    catalog: Catalog
    engine: EdgeEngine
    encoder: HashEncoder
    searcher: Searcher
    reader: ReaderProcess | None = None

    def write(self, uri, content):
        path = self.root / uri
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())

    def parts(self, engine=None, **leases):
        """What a worker works with, as a new process would have it."""
        jobs, leased = Jobs(self.catalog.database), Leases(self.catalog.database, **leases)
        cached = CachedEncoder(self.encoder, VectorCache(self.data / "vectors.sqlite"))
        lexical, locks = LexicalEncoder(), self.data / "locks"
        return Builder(self.catalog, jobs, leased, engine or self.engine, cached, lexical, locks, self.reader)

    def submit(self, *, fresh=False, parts=None):
        corpus = self.catalog.corpus("books")
        found = find_files(corpus)
        todo = plan({} if fresh else self.catalog.files("books", corpus.live), found)
        return (parts or self.parts()).submit(corpus, todo, found, fresh=fresh, by="test")

    def build(self, *, fresh=False, engine=None, on_progress=lambda _: None):
        parts = self.parts(engine)
        run = self.submit(fresh=fresh, parts=parts)
        if run.state is RunState.FAILED:
            parts.jobs.resume(run.id)
        return parts.report(parts.work(run.id, on_progress=on_progress))


@pytest.fixture(scope="session")
def reader() -> Iterator[ReaderProcess]:
    """One child for all tests: it takes a second until it has loaded what the readers need."""
    with ReaderProcess() as process:
        yield process


@pytest.fixture
def bench(tmp_path, reader, catalog_url) -> Iterator[Bench]:
    with _bench(tmp_path, reader, catalog_url) as made:
        yield made


@pytest.fixture(scope="module")
def module_bench(tmp_path_factory, reader) -> Iterator[Bench]:
    """One for all tests of a module, which leave it as it is."""
    folder = tmp_path_factory.mktemp("module")
    with _bench(folder, reader, f"sqlite:///{folder}/catalog.sqlite") as made:
        yield made


@contextmanager
def _bench(folder, reader, url) -> Iterator[Bench]:
    catalog = Catalog(url)
    engine = EdgeEngine(folder / "data" / "indexes")
    encoder = HashEncoder()
    searcher = Searcher(catalog, engine, LexicalEncoder(), lambda manifest: encoder)
    root = folder / "books"
    root.mkdir()
    catalog.add_corpus("books", root)
    yield Bench(root, folder / "data", catalog, engine, encoder, searcher, reader)
    searcher.close()
    catalog.close()


@pytest.fixture
def live_generations(bench) -> LiveGenerations:
    return LiveGenerations(bench.catalog, bench.engine)
