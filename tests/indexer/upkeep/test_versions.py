"""A version is built beside the live one, checked, put in use, gone back from; searches never fail or mix."""

import json
import threading

import pytest

from indexer.catalog.jobs import JobError
from indexer.catalog.leases import Leases
from indexer.catalog.staging import VersionWaits
from indexer.catalog.tables import CatalogError
from indexer.lexical import LexicalEncoder
from indexer.plan import plan
from indexer.search import SearchRequest
from indexer.sources.folders import find_files
from indexer.stores.protocol import Query
from indexer.upkeep.gate import BadGolden, Gate, GateFailed, GoldenQuery, read_golden
from indexer.upkeep.versions import NoVersion, Versions

GOLDEN = [GoldenQuery("article number 3", "03.txt"), GoldenQuery("蜜蜂 蜂蜜", "zh.md")]


@pytest.fixture
def books(bench):
    for n in range(12):
        bench.write(f"{n:02d}.txt", f"Article {n}\n\nBees make honey, and this is article number {n}.")
    bench.write("zh.md", "# 蜜蜂\n\n蜜蜂用花蜜酿造蜂蜜。")
    bench.first = bench.build().generation
    return bench


@pytest.fixture
def versions(books):
    gate = Gate(books.catalog, books.engine, lambda manifest: books.encoder, LexicalEncoder())
    return Versions(books.catalog, books.engine, gate)


def rebuild(bench):
    parts = bench.parts()
    corpus = bench.catalog.corpus("books")
    found = find_files(corpus)
    run = parts.submit(corpus, plan({}, found), found, fresh=True, by="test", held=True)
    return parts.work(run.id, on_progress=lambda _: None).generation


def uris(bench, query="article honey"):
    return {result.uri for result in bench.searcher.search(SearchRequest("books", query, page_size=50)).results}


def standings(versions):
    return [(each.generation.number, each.is_live, each.waits) for each in versions.all("books")]


def test_a_rebuilt_version_waits_until_it_is_put_in_use(books, versions):
    books.write("new.txt", "A new article about honey.")
    second = rebuild(books)
    assert standings(versions) == [(second, False, True), (books.first, True, False)]
    assert "new.txt" not in uris(books)
    assert [check.name for check in versions.check("books", GOLDEN)] == [
        "passages",
        "documents",
        "files",
        "recall",
        "golden queries",
    ]
    assert all(check.passed for check in versions.check("books", GOLDEN))
    assert versions.swap("books", GOLDEN) == second
    assert standings(versions) == [(second, True, False), (books.first, False, False)]
    assert "new.txt" in uris(books)


def test_going_back_and_forth_gives_each_versions_own_documents(books, versions):
    books.write("new.txt", "A new article about honey.")
    (books.root / "03.txt").unlink()
    second = rebuild(books)
    versions.swap("books", force=True)
    new = uris(books)
    assert versions.rollback("books") == books.first
    old = uris(books)
    assert ("new.txt" in new, "03.txt" in new, "new.txt" in old, "03.txt" in old) == (True, False, False, True)
    assert versions.swap("books", force=True) == second
    assert uris(books) == new


def test_of_many_rebuilt_versions_the_last_two_are_kept(books, versions):
    made = [books.first]
    for _ in range(3):
        made.append(rebuild(books))
        versions.swap("books", force=True)
    assert [number for number, *_ in standings(versions)] == made[:1:-1]
    folders = {path.name for path in (books.data / "indexes" / "books").glob("generation-*")}
    assert folders == {f"generation-{number:04d}" for number in made[2:]}
    assert len(uris(books)) == 13


def test_a_version_that_was_gone_back_to_while_another_was_published_stays(books, versions, monkeypatch):
    books.write("new.txt", "A new article about honey.")
    books.build()

    def publish(self, corpus, number):
        monkeypatch.undo()
        versions.rollback("books", books.first)

    books.write("newer.txt", "A newer article about honey.")
    monkeypatch.setattr(type(books.engine), "publish", publish)
    third = books.build().generation
    assert [number for number, is_live, _ in standings(versions) if is_live] == [books.first]
    assert {"new.txt", "newer.txt"}.isdisjoint(uris(books))
    assert versions.swap("books", version=third, force=True) == third
    assert {"new.txt", "newer.txt"} <= uris(books)


def test_nothing_is_built_over_a_version_that_waits(books, versions):
    waiting = rebuild(books)
    books.write("new.txt", "A new article about honey.")
    for build in (books.build, lambda: rebuild(books)):
        with pytest.raises(VersionWaits, match=f"Version {waiting} of books .* kalm index swap books"):
            build()
    assert versions.discard("books") == [waiting]
    assert standings(versions) == [(books.first, True, False)]
    assert not (books.data / "indexes" / "books" / f"generation-{waiting:04d}").exists()
    books.build()
    assert "new.txt" in uris(books)


def test_after_going_back_the_later_version_is_not_lost_by_a_build(books, versions):
    second = rebuild(books)
    versions.swap("books")
    versions.rollback("books")
    books.write("new.txt", "A new article about honey.")
    with pytest.raises(VersionWaits, match=f"Version {second}"):
        books.build()
    versions.discard("books")
    books.build()
    assert "new.txt" in uris(books)


@pytest.mark.parametrize("kind", ["build", "fresh", "held"])
def test_going_back_waits_for_a_run_that_is_not_over(books, versions, kind):
    books.write("new.txt", "A new article about honey.")
    second = books.build().generation
    books.write("newer.txt", "A newer article about honey.")
    parts, corpus = books.parts(), books.catalog.corpus("books")
    files, is_fresh = find_files(corpus), kind != "build"
    todo = plan({} if is_fresh else books.catalog.files("books", second), files)
    run = parts.submit(corpus, todo, files, fresh=is_fresh, by="test", held=kind == "held")
    for change in (lambda _: None, parts.jobs.pause, lambda number: parts.leases.fail(number, "", "no model")):
        change(run.id)
        with pytest.raises(JobError, match=f"Run {run.id} of books is .* kalm jobs cancel {run.id}"):
            versions.rollback("books")
    assert (second, True, False) in standings(versions)
    parts.jobs.cancel(run.id)
    assert versions.rollback("books") == books.first
    assert {"new.txt", "newer.txt"}.isdisjoint(uris(books))


def test_a_build_begins_with_the_version_it_was_planned_for_or_not_at_all(books, versions):
    books.write("new.txt", "A new article about honey.")
    second = books.build().generation
    books.write("newer.txt", "A newer article about honey.")
    corpus = books.catalog.corpus("books")
    files = find_files(corpus)
    todo = plan(books.catalog.files("books", second), files)
    versions.rollback("books")
    versions.discard("books")
    with pytest.raises(CatalogError, match="Another version of books was put in use meanwhile; .* run this again"):
        books.parts().submit(corpus, todo, files, fresh=False, by="test")
    books.build()
    assert {"new.txt", "newer.txt"} <= uris(books)


def test_a_version_that_lost_documents_is_not_put_in_use(books, versions):
    for n in range(4):
        (books.root / f"{n:02d}.txt").unlink()
    rebuild(books)
    with pytest.raises(GateFailed, match=r"documents: 9 documents, 13 in the version in use.* --force"):
        versions.swap("books")
    assert standings(versions)[1][1]
    assert len(uris(books)) == 13


def test_a_version_that_cannot_read_what_the_other_could_is_not_put_in_use(books, versions):
    books.write("03.txt", b"\x00\x01\x02" * 500)
    rebuild(books)
    with pytest.raises(GateFailed, match="1 files can no longer be read"):
        versions.swap("books")


def test_a_version_that_answers_less_is_not_put_in_use(books, versions):
    (books.root / "03.txt").unlink()
    rebuild(books)
    with pytest.raises(GateFailed, match="1 of 2 golden queries are answered, 2 by the version in use"):
        versions.swap("books", GOLDEN)


def test_a_graph_that_misses_the_nearest_is_not_put_in_use(books, versions, monkeypatch):
    rebuild(books)
    store = type(books.engine.open("books", books.first))
    honest = store.search_batch

    def short_sighted(self, queries):
        return [hits if query.exact else hits[3:] for query, hits in zip(queries, honest(self, queries), strict=True)]

    monkeypatch.setattr(store, "search_batch", short_sighted)
    with pytest.raises(GateFailed, match="recall: 0.7"):
        versions.swap("books")


def test_a_store_that_lost_passages_is_not_put_in_use(books, versions, monkeypatch):
    rebuild(books)
    store = type(books.engine.open("books", books.first))
    count = store.count
    monkeypatch.setattr(store, "count", lambda self: count(self) - 1)
    with pytest.raises(GateFailed, match="12 of 13 passages are there"):
        versions.swap("books")


def test_exact_search_compares_every_passage(books):
    store = books.engine.open("books", books.first)
    query = books.encoder.encode_queries(["honey"])[0]
    exact, graph = (store.search(Query(20, dense=query, exact=exact)) for exact in (True, False))
    assert [hit.id for hit in exact] == [hit.id for hit in graph]
    store.close()


def test_where_there_is_no_version_one_sentence_says_so(books, versions):
    with pytest.raises(NoVersion, match="kalm index rebuild books"):
        versions.swap("books")
    with pytest.raises(NoVersion, match="no earlier version of books to go back to; kept are none"):
        versions.rollback("books")
    with pytest.raises(NoVersion, match="no earlier version 5 of books"):
        versions.rollback("books", 5)
    with pytest.raises(NoVersion, match="kalm index rebuild books"):
        versions.discard("books")


def test_a_version_that_came_since_is_not_put_in_use_for_the_one_that_was_seen(books, versions):
    seen = rebuild(books)
    versions.discard("books")
    books.write("new.txt", "A new article about honey.")
    later = rebuild(books)
    for ask in (
        lambda: versions.check("books", version=seen),
        lambda: versions.swap("books", version=seen),
        lambda: versions.swap("books", version=seen, force=True),
        lambda: versions.discard("books", version=seen),
    ):
        with pytest.raises(NoVersion, match=f"Version {seen} of books no longer waits"):
            ask()
    assert standings(versions) == [(later, False, True), (books.first, True, False)]
    assert "new.txt" not in uris(books)
    assert versions.swap("books", version=later) == later


def test_what_others_do_during_the_checks_keeps_a_version_from_use(books, versions, monkeypatch):
    """Discarded and built anew, or put in use and followed by another: in both cases another one was checked."""

    def discard_and_rebuild():
        versions.discard("books")
        rebuild(books)

    def swap_and_rebuild():
        versions.swap("books", force=True)
        rebuild(books)
        versions.swap("books", force=True)

    honest = Gate.checks
    for meddle in (discard_and_rebuild, swap_and_rebuild):
        newest = versions.all("books")[0]
        seen = newest.generation.number if newest.waits else rebuild(books)

        def checks(self, *arguments, meddle=meddle):
            found = honest(self, *arguments)
            meddle()
            return found

        monkeypatch.setattr(Gate, "checks", checks)
        with pytest.raises(NoVersion, match=f"Version {seen} of books no longer waits"):
            versions.swap("books", version=seen)
        monkeypatch.setattr(Gate, "checks", honest)
        assert (seen, True, False) not in standings(versions)


def test_searches_neither_fail_nor_mix_while_versions_change(books, versions):
    """Every page is of one version: with the new article and without the old one, or the other way round."""
    books.write("new.txt", "Article new\n\nBees make honey, and this is a new article.")
    (books.root / "03.txt").unlink()
    rebuild(books)
    stopped, asked, wrong = threading.Event(), threading.Barrier(5), []

    def ask():
        uris(books)
        asked.wait(60)
        while not stopped.is_set():
            try:
                found = uris(books)
            except Exception as error:
                wrong.append(error)
                return
            if ("new.txt" in found) == ("03.txt" in found):
                wrong.append(found)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    asked.wait(60)
    for _ in range(6):
        versions.swap("books", force=True)
        versions.rollback("books")
    stopped.set()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_worker_killed_before_the_end_leaves_no_version(books, versions, monkeypatch):
    """Sealed but not finished: the run goes on and ends, and only then the version waits."""

    def die(self, number, owner):
        raise KeyboardInterrupt

    finish = Leases.finish
    monkeypatch.setattr(Leases, "finish", die)
    with pytest.raises(KeyboardInterrupt):
        rebuild(books)
    monkeypatch.setattr(Leases, "finish", finish)
    number = rebuild(books)
    assert standings(versions) == [(number, False, True), (books.first, True, False)]


def test_golden_queries_are_read_from_json_lines(tmp_path):
    path = tmp_path / "golden.jsonl"
    path.write_text("\n".join(json.dumps({"query": each.query, "uri": each.uri}) for each in GOLDEN) + "\n\n")
    assert read_golden(path) == GOLDEN
    for bad in ("{}", "[1]", "nonsense", '"text"'):
        path.write_text(bad)
        with pytest.raises(BadGolden, match="one JSON object with query and uri a line"):
            read_golden(path)
    with pytest.raises(BadGolden, match="golden queries"):
        read_golden(tmp_path / "absent.jsonl")
