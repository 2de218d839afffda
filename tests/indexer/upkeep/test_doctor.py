"""The doctor sees what is wrong with an index, whichever side lost something, and says what to run."""

import sqlite3

import numpy as np
import pytest

from embedder.errors import AppError
from indexer.catalog.jobs import Jobs
from indexer.lexical import SparseVector
from indexer.plan import plan
from indexer.sources.folders import find_files
from indexer.stores.protocol import Point
from indexer.upkeep.doctor import Doctor


@pytest.fixture
def books(bench):
    for n in range(6):
        bench.write(f"{n}.txt", f"Article {n}\n\nBees make honey, and this is article number {n}.")
    bench.build()
    return bench


def examine(bench, encoder_for=None, only=None):
    jobs = Jobs(bench.catalog.database)
    doctor = Doctor(bench.catalog, jobs, bench.engine, encoder_for or (lambda manifest: bench.encoder), bench.data)
    return {finding.name: finding for finding in doctor.examine(only)}


def wrong(findings):
    return {name: finding.remedy for name, finding in findings.items() if not finding.is_well}


def spoil(bench, change):
    """Change the live generation behind the catalog's back."""
    corpus = bench.catalog.corpus("books")
    store = bench.engine.create("books", 999_999_999, bench.encoder.dim, corpus.live)
    change(store)
    store.seal()
    folder = bench.data / "indexes" / "books"
    bench.engine.drop("books", corpus.live)
    (folder / "generation-999999999").rename(folder / f"generation-{corpus.live:04d}")


def test_a_sound_index_is_well(books):
    findings = examine(books)
    assert wrong(findings) == {}
    assert set(findings) == {"disk", "sources", "files", "model", "passages", "recall"}
    assert findings["passages"].found == "6 passages are stored, 0 are missing and 0 too many"


def test_passages_the_store_lost_are_named_by_their_files(books):
    spoil(books, lambda store: store.delete([next(store.points())[0].id]))
    found = examine(books)["passages"]
    assert (found.is_well, found.remedy) == (False, "kalm doctor books --repair")
    assert "5 passages are stored, 1 are missing and 0 too many (of " in found.found


def test_passages_the_catalog_does_not_know_are_counted(books):
    extra = Point(
        "ffffffff-0000-0000-0000-000000000000", np.ones(16, np.float32) / 4, SparseVector((1,), (1.0,)), "x", {}
    )
    spoil(books, lambda store: store.upsert([extra]))
    assert "7 passages are stored, 0 are missing and 1 too many" in examine(books)["passages"].found


def test_an_index_that_is_gone_can_be_built_again(books):
    books.engine.drop("books", books.catalog.corpus("books").live)
    assert wrong(examine(books)) == {"index": "kalm doctor books --repair"}
    books.build(fresh=True)
    assert wrong(examine(books)) == {}


def test_sources_that_changed_failed_or_vanished(books):
    books.write("new.txt", "new")
    books.write("bad.pdf", b"%PDF-1.7")
    assert "2 files are new or changed" in examine(books)["sources"].found
    books.build()
    assert wrong(examine(books)) == {"files": "kalm index status books"}
    books.root.rename(books.root.with_name("elsewhere"))
    assert wrong(examine(books))["sources"] == "put the folder back"


def test_a_model_that_cannot_be_had(books):
    def nowhere(manifest):
        raise AppError("The model is gone.")

    assert wrong(examine(books, nowhere)) == {"model": "kalm index rebuild books"}


def test_versions_that_are_kept_and_that_wait_are_counted(books):
    kept = books.catalog.corpus("books").live
    books.write("new.txt", "new")
    books.build()
    assert examine(books)[f"version {kept}"].found == "it is kept with 6 of 6 passages"
    books.engine.drop("books", kept)
    damaged = examine(books)[f"version {kept}"]
    assert (damaged.is_well, damaged.found) == (True, "it is kept with 0 of 6 passages and cannot be gone back to")

    corpus, parts = books.catalog.corpus("books"), books.parts()
    there = find_files(corpus)
    run = parts.submit(corpus, plan({}, there), there, fresh=True, by="test", held=True)
    waiting = parts.work(run.id, on_progress=lambda _: None).generation
    assert examine(books)[f"version {waiting}"].found == "it waits with 7 of 7 passages"
    books.engine.drop("books", waiting)
    assert wrong(examine(books)) == {f"version {waiting}": "kalm index discard books"}


def test_a_corpus_that_is_not_built(bench):
    assert wrong(examine(bench)) == {"build": "kalm index build books"}


def test_a_run_that_failed_is_told(books):
    books.write("new.txt", "new")
    run = books.submit()
    books.parts().leases.fail(run.id, "", "No space.")
    assert wrong(examine(books))[f"run {run.id}"] == f"kalm jobs resume {run.id}"


def test_a_corpus_is_well_where_only_the_build_of_another_failed(books):
    books.catalog.add_corpus("other", books.root)
    parts = books.parts()
    run = parts.jobs.submit("other", [], parts.manifest(), None, by="test")
    parts.leases.fail(run.id, "", "No space.")
    assert wrong(examine(books, only="books")) == {}
    assert f"run {run.id}" in wrong(examine(books, only="other"))


def test_a_copy_of_the_database_is_one_moment_of_it(books, tmp_path):
    books.catalog.database.copy_to(tmp_path / "copy.sqlite")
    copy = sqlite3.connect(tmp_path / "copy.sqlite")
    assert copy.execute("select count(*) from documents").fetchone() == (6,)
    copy.close()
