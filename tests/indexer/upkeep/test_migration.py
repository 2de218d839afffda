"""An index moves between engines: nothing is embedded again, nothing is lost, and searches follow."""

import threading
from dataclasses import replace

import pytest
from qdrant_client import QdrantClient
from qdrant_server import LOCAL_MODE_WARNS, Fault, QdrantServer

from indexer.catalog.corpora import CatalogError
from indexer.catalog.jobs import Jobs
from indexer.lexical import LexicalEncoder
from indexer.locks import locked
from indexer.plan import plan
from indexer.retrieval.generations import LiveGenerations
from indexer.search import Mode, Searcher, SearchRequest
from indexer.sources.folders import find_files
from indexer.stores.edge import EdgeEngine
from indexer.stores.engines import Engines
from indexer.stores.protocol import EMBEDDED, SERVER, StoreError
from indexer.stores.server import ServerEngine
from indexer.stores.server_requests import ServerConfig
from indexer.upkeep.migration import MigrationRefused, Migrator

pytestmark = LOCAL_MODE_WARNS


class Spoiled:
    """An engine whose new stores do something else with points than to write them."""

    def __init__(self, engine, spoil):
        self.engine, self.spoil = engine, spoil
        self.name = engine.name

    def named(self, name):
        return self

    def create(self, *args):
        store = self.engine.create(*args)
        write = store.upsert
        store.upsert = lambda points: write(self.spoil(points))
        return store

    def __getattr__(self, name):
        return getattr(self.engine, name)


@pytest.fixture
def server():
    client = QdrantClient(":memory:")
    yield ServerEngine(client, ServerConfig("http://local-mode"))
    client.close()


@pytest.fixture
def books(bench, server):
    """The bench with both engines, and an embedded index."""
    for n in range(12):
        bench.write(f"{n:02d}.txt", f"Article {n}\n\nBees make honey, and this is article number {n}.")
    bench.write("zh.md", "# 蜜蜂\n\n蜜蜂用花蜜酿造蜂蜜。")
    bench.write("broken.pdf", b"%PDF-1.7")
    bench.build()
    bench.engine = Engines(bench.engine, server)
    bench.searcher = Searcher(bench.catalog, bench.engine, LexicalEncoder(), lambda manifest: bench.encoder)
    bench.encoder.encoded.clear()
    yield bench
    bench.searcher.close()


def migrator(bench, engine=None):
    return Migrator(bench.catalog, Jobs(bench.catalog.database), engine or bench.engine, bench.data / "locks")


def found(bench, corpus="books"):
    """What searches find, with the scores of each leg: those of a fusion depend on how an engine orders equal ones."""
    hits = []
    for query, mode in (("article 7 honey", Mode.HYBRID), ("蜂蜜 honey", Mode.KEYWORD), ("bees", Mode.SEMANTIC)):
        page = bench.searcher.search(SearchRequest(corpus, query, mode, page_size=50))
        scores = [0.0 if mode is Mode.HYBRID else round(result.score, 3) for result in page.results]
        hits += sorted((result.uri, result.text, score) for result, score in zip(page.results, scores, strict=True))
    return hits


def live_engine(bench):
    return bench.catalog.generation("books", bench.catalog.live_number("books")).manifest.engine


def collections(server):
    return {entry.name for entry in server._client.get_collections().collections}


def test_there_and_back_without_embedding(books, server):
    first, told = found(books), []
    report = migrator(books).migrate("books", SERVER, lambda done, of: told.append((done, of)))
    assert (report.is_moved, report.passages, live_engine(books)) == (True, 13, SERVER)
    assert (told[0], told[-1]) == ((13, 26), (26, 26))
    assert found(books) == first
    assert books.catalog.failed_files("books", report.generation).keys() == {"broken.pdf"}
    assert server._client.count("books").count == 13  # by its alias

    back = migrator(books).migrate("books", EMBEDDED)
    assert (back.is_moved, back.passages, live_engine(books)) == (True, 13, EMBEDDED)
    assert found(books) == first
    assert server._client.get_aliases().aliases == []
    assert books.encoder.encoded == []


def test_what_is_there_already_is_left_alone(books):
    live = books.catalog.live_number("books")
    report = migrator(books).migrate("books", EMBEDDED)
    assert (report.is_moved, report.generation, books.catalog.live_number("books")) == (False, live, live)


def test_a_move_that_ended_before_its_alias_is_finished_by_running_again(books, server):
    report = migrator(books).migrate("books", SERVER)
    server.publish("books", None)
    assert migrator(books).migrate("books", SERVER).is_moved is False
    (alias,) = server._client.get_aliases().aliases
    assert (alias.alias_name, alias.collection_name) == ("books", f"books@{report.generation}")


def test_builds_stay_where_the_index_is_and_old_generations_go_from_both_engines(books, server):
    before = books.catalog.live_number("books")
    moved = migrator(books).migrate("books", SERVER).generation
    here = books.engine.named(SERVER)
    assert books.engine.named(EMBEDDED).open("books", before).count() == 13  # to go back to
    books.write("new.txt", "Wax is made by bees too.")
    books.build(engine=here)
    books.write("newer.txt", "Propolis is made by bees as well.")
    report = books.build(engine=here)
    assert len(books.encoder.encoded) == 2
    assert live_engine(books) == SERVER
    assert collections(server) == {f"books@{report.generation - 1}", f"books@{report.generation}"}
    assert moved not in (report.generation - 1, report.generation)
    with pytest.raises(StoreError, match="is missing"):
        books.engine.named(EMBEDDED).open("books", before)
    assert "newer.txt" in {uri for uri, _, _ in found(books)}


def test_corpora_of_both_engines_live_side_by_side(books, tmp_path):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text("Honey is in this note.")
    books.catalog.add_corpus("notes", tmp_path / "notes")
    corpus = books.catalog.corpus("notes")
    files, here = find_files(corpus), books.engine.named(EMBEDDED)
    parts = books.parts(here)
    parts.work(parts.submit(corpus, plan({}, files), files, fresh=False, by="test").id, on_progress=lambda _: None)
    migrator(books).migrate("books", SERVER)
    assert {uri for uri, _, _ in found(books, "notes")} == {"a.txt"}
    assert {uri for uri, _, _ in found(books)} == {"zh.md", *(f"{n:02d}.txt" for n in range(12))}


SPOILED = {
    "a point": lambda points: points[1:],
    "its text": lambda points: [replace(points[0], text="Bees make wax."), *points[1:]],
    "its vector": lambda points: [replace(points[0], dense=-points[0].dense), *points[1:]],
    "its metadata": lambda points: [replace(points[0], metadata={}), *points[1:]],
    "its terms": lambda points: [replace(points[0], lexical=points[1].lexical), *points[1:]],
}


def test_a_copy_that_differs_is_refused_and_the_index_stays(books, server):
    first, live = found(books), books.catalog.live_number("books")
    for what, spoil in SPOILED.items():
        engines = Engines(Spoiled(server, spoil), EdgeEngine(books.data / "indexes"))
        with pytest.raises(StoreError, match="differs from the original at its passage"):
            migrator(books, engines).migrate("books", SERVER)
        assert (found(books), books.catalog.live_number("books")) == (first, live), what
    assert migrator(books).migrate("books", SERVER).is_moved
    assert len(collections(server)) == 1  # what the failed ones left behind is gone


def test_a_move_that_is_stopped_anywhere_is_healed_by_running_again(books, server):
    first = found(books)

    class Stopped(BaseException):
        """What no handler expects."""

    def stop_at(moment):
        def on_progress(done, of):
            if done >= moment:
                raise Stopped

        return on_progress

    for moment in (1, 14, 26):  # written in part, compared in part, compared whole
        with pytest.raises(Stopped):
            migrator(books).migrate("books", SERVER, stop_at(moment))
        assert (found(books), live_engine(books)) == (first, EMBEDDED)
    report = migrator(books).migrate("books", SERVER)
    assert (report.passages, found(books)) == (13, first)
    assert collections(server) == {f"books@{report.generation}"}


def test_a_server_that_dies_half_way_leaves_everything_as_it_was(books, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    first = found(books)
    with QdrantServer() as running:
        engines = Engines(
            EdgeEngine(books.data / "indexes"), ServerEngine.connect(ServerConfig(running.url, write_seconds=5))
        )
        running.faults.append(Fault(r"PUT /collections/books@\d+/points", "die"))
        with pytest.raises(StoreError, match="does not answer"):
            migrator(books, engines).migrate("books", SERVER)
        assert (found(books), live_engine(books)) == (first, EMBEDDED)
        running.is_dead = False
        assert migrator(books, engines).migrate("books", SERVER).passages == 13
        assert len(running.client.get_collections().collections) == 1


def test_what_cannot_be_moved_is_one_sentence(books, bench, tmp_path):
    books.catalog.add_corpus("empty", tmp_path)
    with pytest.raises(MigrationRefused, match="is not indexed yet; run kalm index build empty"):
        migrator(books).migrate("empty", SERVER)
    with pytest.raises(CatalogError, match="There is no corpus novels"):
        migrator(books).migrate("novels", SERVER)
    alone = Engines(EdgeEngine(books.data / "indexes"))
    with pytest.raises(StoreError, match="set KALM_QDRANT_URL"):
        migrator(books, alone).migrate("books", SERVER)
    with (
        locked(books.data / "locks" / "books.lock", wait=False),
        pytest.raises(MigrationRefused, match="A build of books is running"),
    ):
        migrator(books).migrate("books", SERVER)


def test_an_index_on_a_server_that_is_no_longer_configured_says_what_to_set(books):
    migrator(books).migrate("books", SERVER)
    alone = Searcher(
        books.catalog, Engines(EdgeEngine(books.data / "indexes")), LexicalEncoder(), lambda _: books.encoder
    )
    with pytest.raises(StoreError, match="kept by a Qdrant server and none is configured; set KALM_QDRANT_URL"):
        alone.search(SearchRequest("books", "honey"))


def test_a_build_does_not_fail_because_the_other_engine_is_away(books, monkeypatch, caplog):
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    with QdrantServer() as gone:
        away = ServerEngine.connect(ServerConfig(gone.url))
    engines = Engines(EdgeEngine(books.data / "indexes"), away)
    for n in range(2):
        books.write(f"more{n}.txt", f"More honey {n}.")
        books.build(engine=engines)
    assert "it stays there: The Qdrant server at" in caplog.text
    with pytest.raises(StoreError, match="does not answer"):
        engines.drop_corpus("books")


def test_a_server_that_hangs_holds_up_no_other_corpus(books, tmp_path):
    books.catalog.add_corpus("notes", books.root)
    migrator(books).migrate("books", SERVER)
    asked, answer = threading.Event(), threading.Event()

    class Hanging:
        name = SERVER

        def named(self, name):
            return self if name == SERVER else EdgeEngine(books.data / "indexes")

        def open(self, corpus, number):
            asked.set()
            assert answer.wait(60)
            return books.engine.named(SERVER).open(corpus, number)

    generations = LiveGenerations(books.catalog, Hanging())
    searching = threading.Thread(target=lambda: generations.use("books").__enter__())
    searching.start()
    assert asked.wait(60)
    with pytest.raises(CatalogError, match="There is no corpus novels"), generations.use("novels"):
        pass
    answer.set()
    searching.join()
    generations.close()
