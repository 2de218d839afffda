"""Builds: only what changed is embedded, a bad file is a row, the live index stays as it was until the end."""

import json
import os

import pytest
from reader_cases import make_zip

from indexer.pipeline import BuildRefused
from indexer.search import Mode, SearchRequest
from indexer.stores.protocol import StoreError


@pytest.fixture
def catalog_url(any_catalog_url):
    """Every build below is made with the catalog in SQLite and in PostgreSQL."""
    return any_catalog_url


def found(bench, query, mode=Mode.KEYWORD):
    page = bench.searcher.search(SearchRequest("books", query, mode, page_size=50))
    return {result.uri + result.key for result in page.results}


def indexed_uris(bench):
    live = bench.catalog.live_number("books")
    return {uri for uri in bench.catalog.files("books", live) if bench.catalog.known_documents("books", live, uri)}


def test_a_first_build_makes_everything_searchable(bench):
    bench.write("bees.md", "# Bees\n\nBees make honey from nectar.")
    bench.write("zh/mifeng.txt", "蜜蜂\n\n蜜蜂用花蜜酿造蜂蜜。")
    bench.write("rows.csv", "id,title,text\n1,Bread,Yeast makes bread rise.\n2,Tofu,Tofu is made of soybeans.\n")
    report = bench.build()
    assert (report.documents, report.removed, report.failed) == (4, 0, {})
    assert found(bench, "honey") == {"bees.md"}
    assert found(bench, "酿造") == {"zh/mifeng.txt"}
    assert found(bench, "soybeans") == {"rows.csv2"}
    assert found(bench, "nectar", Mode.SEMANTIC) == {"bees.md", "zh/mifeng.txt", "rows.csv1", "rows.csv2"}


def test_only_what_changed_is_embedded(bench):
    bench.write("rows.csv", "id,text\n1,Yeast makes bread rise.\n2,Tofu is made of soybeans.\n")
    bench.write("bees.md", "Bees make honey.")
    bench.build()
    bench.encoder.encoded.clear()
    bench.write("rows.csv", "id,text\n1,Yeast makes bread rise.\n2,Tofu is curdled soy milk.\n")
    report = bench.build()
    assert (report.documents, report.chunks) == (1, 1)
    assert len(bench.encoder.encoded) == 1
    assert "curdled" in bench.encoder.encoded[0]
    assert found(bench, "tofu") == {"rows.csv2"}
    assert found(bench, "soybeans") == set()
    assert found(bench, "bread honey") == {"rows.csv1", "bees.md"}


def test_a_touched_or_moved_file_costs_no_embedding(bench):
    bench.write("old/bees.txt", "Bees make honey.")
    bench.build()
    bench.encoder.encoded.clear()
    (bench.root / "new").mkdir()
    (bench.root / "old/bees.txt").rename(bench.root / "new/bees.txt")
    os.utime(bench.root / "new/bees.txt", (1, 1))
    bench.build()
    assert bench.encoder.encoded == []
    assert found(bench, "honey") == {"new/bees.txt"}


def test_deleting_one_of_two_equal_files_keeps_the_other(bench):
    for name in ("a.txt", "b.txt"):
        bench.write(name, "Bees make honey.")
    bench.build()
    (bench.root / "a.txt").unlink()
    report = bench.build()
    assert report.removed == 1
    assert found(bench, "honey") == {"b.txt"}


def test_a_damaged_file_is_a_failed_row_and_its_earlier_version_stays(bench):
    bench.write("good.txt", "Bees make honey.")
    bench.write("rows.jsonl", '{"id": "1", "text": "Bread rises."}\n')
    bench.write("empty.pdf", b"")
    report = bench.build()
    assert list(report.failed) == ["empty.pdf"]
    assert report.documents == 2
    bench.write("rows.jsonl", '{"id": "1", "text": "Bread sinks."}\n{"id": \n')
    report = bench.build()
    assert list(report.failed) == ["rows.jsonl"]
    assert found(bench, "bread rises") == {"rows.jsonl1"}
    assert found(bench, "sinks") == set()
    assert bench.catalog.failed_files("books", report.generation).keys() == {"empty.pdf", "rows.jsonl"}
    bench.write("rows.jsonl", '{"id": "1", "text": "Bread sinks at last."}\n')
    assert bench.build().failed == {}
    assert found(bench, "sinks") == {"rows.jsonl1"}


def test_what_can_be_read_of_an_archive_is_searchable_and_the_rest_keeps_its_earlier_version(bench):
    bench.write("a.zip", make_zip({"bees.txt": "Bees make honey.", "bread.json": '{"text": "Bread rises."}'}))
    assert bench.build().failed == {}
    bench.write("a.zip", make_zip({"bees.txt": "Bees make wax.", "bread.json": "{"}))
    report = bench.build()
    assert (report.documents, report.removed) == (1, 0)
    assert "bread.json: The file is not valid JSON" in report.failed["a.zip"]
    assert found(bench, "wax rises") == {"a.zipbees.txt", "a.zipbread.json"}
    assert found(bench, "honey") == set()
    bench.write("a.zip", make_zip({"bees.txt": "Bees make wax."}))
    assert bench.build().removed == 1


def test_a_file_that_may_not_be_opened_is_a_failed_row(bench, monkeypatch):
    bench.write("good.txt", "Bees make honey.")
    bench.write("gone.txt", "Bread.")
    original = type(bench.root).open

    def refuse(path, *args, **kwargs):
        if path.name == "gone.txt":
            raise PermissionError(13, "Permission denied")
        return original(path, *args, **kwargs)

    monkeypatch.setattr(type(bench.root), "open", refuse)
    report = bench.build()
    assert "Permission denied" in report.failed["gone.txt"]
    assert found(bench, "honey") == {"good.txt"}


def test_a_folder_that_may_not_be_opened_is_one_failed_row_and_its_files_stay(bench, monkeypatch):
    bench.write("shut/bees.txt", "Bees make honey.")
    bench.write("shut/deep/wasps.txt", "Wasps make no honey.")
    bench.write("bread.txt", "Yeast makes bread rise.")
    bench.build()
    listed = os.scandir

    def refuse(path):
        if str(path).endswith("shut"):
            raise PermissionError(13, "Permission denied", path)
        return listed(path)

    monkeypatch.setattr(os, "scandir", refuse)
    (bench.root / "bread.txt").unlink()
    report = bench.build()
    assert list(report.failed) == ["shut"]
    assert "The folder cannot be opened (Permission denied), so what the index has" in report.failed["shut"]
    assert found(bench, "honey bread") == {"shut/bees.txt", "shut/deep/wasps.txt"}
    assert bench.submit().files == 0
    bench.build()
    monkeypatch.undo()
    bench.write("shut/bees.txt", "Bees make honey and wax.")
    assert bench.build().failed == {}
    assert bench.catalog.failed_files("books", bench.catalog.live_number("books")) == {}
    assert found(bench, "wax") == {"shut/bees.txt"}


def test_rows_that_share_an_id_are_all_kept(bench):
    rows = [{"id": "7", "text": text} for text in ("honey one", "honey two", "honey three")]
    bench.write("rows.jsonl", "\n".join(map(json.dumps, rows)))
    bench.build()
    assert found(bench, "honey") == {"rows.jsonl7", "rows.jsonl7-row-2", "rows.jsonl7-row-3"}


def test_a_passage_that_stands_twice_in_a_document_is_two_passages(bench):
    paragraph = "Bees make honey. " * 12
    bench.write("twice.md", f"# A\n\n{paragraph}\n\n# B\n\n{paragraph}")
    bench.build()
    live = bench.catalog.live_number("books")
    (known,) = bench.catalog.known_documents("books", live, "twice.md").values()
    assert len(set(known.chunk_ids)) == len(known.chunk_ids) == bench.catalog.generation("books", live).chunks


def test_another_model_is_refused_and_a_fresh_build_takes_it(bench):
    bench.write("bees.txt", "Bees make honey.")
    bench.build()
    bench.encoder.fingerprint = "f" * 16
    bench.write("bread.txt", "Bread rises.")
    with pytest.raises(BuildRefused, match=r"fingerprint was 0123456789abcdef and is f+.* kalm index rebuild books"):
        bench.build()
    assert found(bench, "bread") == set()
    bench.build(fresh=True)
    assert found(bench, "bread honey") == {"bees.txt", "bread.txt"}


@pytest.mark.parametrize("limit", [8, 64, 100, 512])
def test_passages_fit_whatever_the_model_reads(bench, limit):
    bench.encoder.max_tokens = limit
    bench.write("bees.txt", "Bees make honey. " * 40)
    bench.build()
    live = bench.catalog.live_number("books")
    store = bench.engine.open("books", live)
    assert store.count() >= 640 // min(limit, 256)
    store.close()


def test_the_generation_before_is_kept_and_older_ones_go(bench):
    for n in range(4):
        bench.write("bees.txt", f"Bees make honey {n}.")
        report = bench.build()
    kept = sorted(path.name for path in (bench.data / "indexes" / "books").glob("generation-*"))
    assert kept == [f"generation-{report.generation - 1:04d}", f"generation-{report.generation:04d}"]


def test_searches_follow_the_live_generation(bench, live_generations):
    bench.write("bees.txt", "Bees make honey.")
    bench.build()
    with live_generations.use("books") as before:
        bench.write("bees.txt", "Bees make wax.")
        bench.build()
        with live_generations.use("books") as after:
            assert (before.store.count(), after.store.count()) == (1, 1)
            assert after.number > before.number
    live_generations.close()


def test_a_generation_that_is_opened_while_all_are_closed_is_closed_after_its_search(
    bench, live_generations, monkeypatch
):
    bench.write("bees.txt", "Bees make honey.")
    bench.build()
    opened = bench.engine.named(bench.engine.name).open

    def ended_meanwhile(corpus, number):
        store = opened(corpus, number)
        live_generations.close()
        return store

    monkeypatch.setattr(type(bench.engine.named(bench.engine.name)), "open", staticmethod(ended_meanwhile))
    with live_generations.use("books") as live:
        assert live.store.count() == 1
    assert [path.name for path in (bench.data / "indexes/books/readers").iterdir()] == ["reader.lock"]


def test_progress_ends_at_the_whole(bench):
    for n in range(3):
        bench.write(f"{n}.txt", f"Text number {n}.")
    seen = []
    bench.build(on_progress=seen.append)
    assert [progress.stage for progress in seen][-1] == "optimizing"
    assert (seen[-1].files_done, seen[-1].bytes_done) == (seen[-1].files, seen[-1].bytes) != (0, 0)
    assert all(0 <= progress.bytes_done <= progress.bytes for progress in seen)


class ForgetfulEngine:
    """An engine whose stores lose every write."""

    def __init__(self, engine):
        self.engine = engine
        self.name = engine.name

    def create(self, *args):
        store = self.engine.create(*args)
        store.upsert = lambda points: None
        return store

    def __getattr__(self, name):
        return getattr(self.engine, name)


def test_a_store_that_loses_writes_is_noticed_and_the_live_index_stays(bench):
    bench.write("bees.txt", "Bees make honey.")
    bench.build()
    bench.write("bread.txt", "Bread rises.")
    with pytest.raises(StoreError, match="lost 1 of 1"):
        bench.build(engine=ForgetfulEngine(bench.engine))
    assert found(bench, "honey bread") == {"bees.txt"}
    bench.build()
    assert found(bench, "honey bread") == {"bees.txt", "bread.txt"}
