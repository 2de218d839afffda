"""A small corpus on disk and the parts to index it with: a real catalog, a real engine, a stand-in for the model."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from hash_encoder import HashEncoder

from embedder.cache import CachedEncoder, VectorCache
from indexer.catalog.corpora import Catalog
from indexer.catalog.jobs import Jobs
from indexer.catalog.leases import Leases
from indexer.lexical import LexicalEncoder
from indexer.pipeline import Builder
from indexer.plan import plan
from indexer.readers.process import ReaderProcess
from indexer.records import RunState
from indexer.retrieval.generations import NotBuilt
from indexer.search import Mode, Searcher, SearchRequest
from indexer.sources.folders import find_files
from indexer.stores.edge import EdgeEngine


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


@contextmanager
def opened_bench(folder, reader, url) -> Iterator[Bench]:
    """The corpus ``books`` under a folder; entered where it is not yet."""
    catalog = Catalog(url)
    engine = EdgeEngine(folder / "data" / "indexes")
    encoder = HashEncoder()
    searcher = Searcher(catalog, engine, LexicalEncoder(), lambda manifest: encoder)
    root = folder / "books"
    root.mkdir(exist_ok=True)
    catalog.add_corpus("books", root)
    yield Bench(root, folder / "data", catalog, engine, encoder, searcher, reader)
    searcher.close()
    catalog.close()


def found(bench, query="honey"):
    """The files that a search finds, all its pages together."""
    pages = (bench.searcher.search(SearchRequest("books", query, Mode.KEYWORD, page, 50)) for page in range(1, 5))
    return {result.uri for page in pages for result in page.results}


def found_at_once(bench, query):
    """The files on the first page, none where nothing is built yet; each file is there once."""
    try:
        uris = [result.uri for result in bench.searcher.search(SearchRequest("books", query, page_size=50)).results]
    except NotBuilt:
        return frozenset()
    assert len(uris) == len(set(uris))
    return frozenset(uris)


def check_whole(bench, uris):
    """Search, catalog and store say the same, and each document is there once."""
    live = bench.catalog.live_number("books")
    assert found(bench) == uris
    assert {
        uri for uri in bench.catalog.files("books", live) if bench.catalog.known_documents("books", live, uri)
    } == uris
    store = bench.engine.open("books", live)
    assert store.count() == bench.catalog.generation("books", live).chunks == len(uris)
    store.close()
    assert bench.parts().jobs.abandoned("books") == []
    assert bench.parts().jobs.active("books") is None
