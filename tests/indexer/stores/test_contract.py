"""One contract, every engine.

``store_cases`` has the engines.
"""

import multiprocessing
from dataclasses import replace
from datetime import date

import numpy as np
import pytest
from qdrant_server import LOCAL_MODE_WARNS
from store_cases import DIM, LEXICAL, identifier, point, unit

from indexer.stores.edge import EdgeEngine
from indexer.stores.protocol import Query, StoreError

pytestmark = LOCAL_MODE_WARNS


def build(engine, points, number=1, base=None, deleted=()):
    store = engine.create("books", number, DIM, base)
    store.upsert(points)
    store.delete(deleted)
    store.seal()


def numbers(hits):
    return [int(hit.id[-12:]) for hit in hits]


def test_upsert_is_idempotent_and_the_last_write_counts(engine):
    store = engine.create("books", 1, DIM, None)
    for text in ("honey", "bread"):
        store.upsert([point(1, text), point(2, text)])
    assert store.count() == 2
    assert {hit.text for hit in store.search(Query(5, dense=unit(1)))} == {"bread"}
    store.close()


def test_what_was_written_reads_back_and_what_was_not_does_not(engine):
    store = engine.create("books", 1, DIM, None)
    store.upsert([point(1), point(2)])
    assert store.present([identifier(1), identifier(9)]) == {identifier(1)}
    store.delete([identifier(1), identifier(9)])
    assert store.present([identifier(1), identifier(2)]) == {identifier(2)}
    store.close()


def test_a_sealed_generation_gives_back_text_metadata_and_cosine(engine):
    build(engine, [point(n, page=n) for n in range(30)])
    store = engine.open("books", 1)
    best = store.search(Query(3, dense=unit(7)))[0]
    assert (best.id, best.text, best.metadata["page"]) == (identifier(7), "honey", 7)
    assert best.score == pytest.approx(1.0, abs=1e-5)
    store.close()


def test_vectors_come_back_by_id_and_what_is_not_there_is_left_out(engine):
    build(engine, [point(n) for n in range(5)])
    store = engine.open("books", 1)
    found = store.vectors([identifier(3), identifier(1), identifier(9)])
    assert found.keys() == {identifier(1), identifier(3)}
    assert np.allclose(found[identifier(3)], unit(3), atol=1e-6)
    assert found[identifier(3)].dtype == np.float32
    store.close()


def test_the_dense_leg_ranks_by_cosine(engine):
    build(engine, [point(n) for n in range(40)])
    store = engine.open("books", 1)
    expected = np.argsort([-unit(n) @ unit(99) for n in range(40)], kind="stable")[:10]
    assert numbers(store.search(Query(10, dense=unit(99)))) == list(expected)
    store.close()


def test_the_lexical_leg_finds_only_what_shares_a_word(engine):
    build(engine, [point(1, "bees make honey"), point(2, "bread rises"), point(3, "蜜蜂酿造蜂蜜")])
    store = engine.open("books", 1)
    assert numbers(store.search(Query(10, lexical=LEXICAL.encode_query("honey bee")))) == [1]
    assert numbers(store.search(Query(10, lexical=LEXICAL.encode_query("酿造")))) == [3]
    assert numbers(store.search(Query(10, lexical=LEXICAL.encode_query("釀造")))) == [3]
    assert store.search(Query(10, lexical=LEXICAL.encode_query("volcano"))) == []
    store.close()


def test_a_leg_without_terms_is_left_out(engine):
    build(engine, [point(n) for n in range(3)])
    store = engine.open("books", 1)
    assert store.search(Query(10, lexical=LEXICAL.encode_query("🐝"))) == []
    assert store.search_batch([Query(10), Query(10, lexical=LEXICAL.encode_query("🐝"))]) == [[], []]
    store.close()


def test_a_batch_answers_each_of_its_queries(engine):
    build(engine, [point(1, "honey"), point(2, "bread"), point(3, "tofu")])
    store = engine.open("books", 1)
    queries = [
        Query(3, dense=unit(2)),
        Query(3, lexical=LEXICAL.encode_query("🐝")),
        Query(3, lexical=LEXICAL.encode_query("tofu honey")),
        Query(1, dense=unit(3), only={"document_id": {"d0"}}),
    ]
    for together, query in zip(store.search_batch(queries), queries, strict=True):
        alone = store.search(query)
        assert numbers(together) == numbers(alone)
        assert [hit.score for hit in together] == pytest.approx([hit.score for hit in alone])
    assert store.search_batch([]) == []
    store.close()


def test_a_period_leaves_out_other_days_and_documents_without_one(engine):
    days = {1: "2023-12-31", 2: "2024-01-01", 3: "2024-06-30", 4: "2025-01-01", 5: None}
    build(engine, [point(n, date=day) for n, day in days.items()])
    store = engine.open("books", 1)

    def found(**period):
        return sorted(numbers(store.search(Query(10, lexical=LEXICAL.encode_query("honey"), **period))))

    assert found() == [1, 2, 3, 4, 5]
    assert found(after=date(2024, 1, 1)) == [2, 3, 4]
    assert found(before=date(2024, 1, 1)) == [1]
    assert found(after=date(2024, 1, 1), before=date(2025, 1, 1)) == [2, 3]
    assert sorted(numbers(store.search(Query(10, dense=unit(1), after=date(2024, 6, 30))))) == [3, 4]
    store.close()


def test_filters_hold_for_every_leg(engine):
    languages = {0: "en", 1: "zh"}
    build(engine, [point(n, language=languages[n % 2], file_type="pdf" if n > 5 else "text") for n in range(10)])
    store = engine.open("books", 1)
    only = {"language": {"zh"}, "file_type": {"pdf"}}
    for query in (
        Query(10, dense=unit(1), only=only),
        Query(10, lexical=LEXICAL.encode_query("honey"), only=only),
    ):
        assert sorted(numbers(store.search(query))) == [7, 9]
    assert len(store.search(Query(10, dense=unit(1), only={"language": set()}))) == 10
    store.close()


def test_a_new_generation_starts_from_a_copy_and_leaves_its_base_alone(engine):
    build(engine, [point(n) for n in range(5)])
    build(engine, [point(5)], number=2, base=1, deleted=[identifier(0)])
    old, new = engine.open("books", 1), engine.open("books", 2)
    assert (old.count(), new.count()) == (5, 5)
    assert old.present([identifier(0), identifier(5)]) == {identifier(0)}
    assert new.present([identifier(0), identifier(5)]) == {identifier(5)}
    old.close()
    new.close()


def test_leftovers_of_a_dead_build_are_dropped(engine):
    dead = engine.create("books", 1, DIM, None)
    dead.upsert([point(1)])
    dead.close()
    store = engine.create("books", 1, DIM, None)
    assert store.count() == 0
    store.close()


def test_every_point_is_given_back_in_the_order_of_ids(engine):
    points = [point(n, f"bees 蜜蜂 {n}", page=n, headings=["a", "b"]) for n in range(300)]
    points.append(replace(point(300, "🐝"), lexical=LEXICAL.encode_document("🐝")))
    build(engine, points[::-1])
    store = engine.open("books", 1)
    given = [each for batch in store.points() for each in batch]
    store.close()
    assert [each.id for each in given] == [each.id for each in points]
    for ours, theirs in zip(points, given, strict=True):
        assert (theirs.text, theirs.metadata, theirs.lexical.indices) == (
            ours.text,
            ours.metadata,
            ours.lexical.indices,
        )
        assert theirs.dense.dtype == np.float32
        np.testing.assert_allclose(theirs.dense, ours.dense, atol=1e-6)
        np.testing.assert_allclose(theirs.lexical.values, ours.lexical.values, rtol=1e-6)


def test_an_empty_generation_has_no_points(engine):
    build(engine, [])
    store = engine.open("books", 1)
    assert (store.count(), [each for batch in store.points() for each in batch]) == (0, [])
    store.close()


def test_everything_of_a_corpus_is_dropped_and_nothing_of_another(engine):
    for number in (1, 2):
        build(engine, [point(1)], number)
    other = engine.create("books2", 1, DIM, None)
    other.seal()
    engine.drop_corpus("books")
    engine.drop("books", 1)
    for number in (1, 2):
        with pytest.raises(StoreError, match="is missing"):
            engine.open("books", number)
    engine.open("books2", 1).close()
    engine.drop_corpus("books2")


def test_an_engine_is_only_itself(engine):
    assert engine.named(engine.name) is engine
    with pytest.raises(StoreError, match="which this installation does not have"):
        engine.named("another")


def test_publishing_twice_and_taking_back_twice_raise_nothing(engine):
    build(engine, [point(1)])
    for number in (1, 1, None, None):
        engine.publish("books", number)


def test_many_readers_at_once(engine):
    build(engine, [point(n) for n in range(20)])
    readers = [engine.open("books", 1) for _ in range(4)]
    assert [numbers(reader.search(Query(1, dense=unit(3)))) for reader in readers] == [[3]] * 4
    for reader in readers:
        reader.close()


def test_a_generation_dropped_in_the_process_stays_open_for_its_readers(tmp_path):
    engine = EdgeEngine(tmp_path)
    build(engine, [point(n) for n in range(20)])
    readers = [engine.open("books", 1) for _ in range(4)]
    engine.drop("books", 1)
    assert [numbers(reader.search(Query(1, dense=unit(3)))) for reader in readers] == [[3]] * 4
    for reader in readers:
        reader.close()


def test_a_missing_generation_is_one_sentence(engine):
    with pytest.raises(StoreError, match=r"generation 7\) is missing .* kalm doctor books --repair"):
        engine.open("books", 7)


def _read_in_another_process(root, results):
    store = EdgeEngine(root).open("books", 1)
    results.put(numbers(store.search(Query(1, dense=unit(3)))))
    store.close()


def _die_with_a_clone_open(root):
    EdgeEngine(root).open("books", 1)
    multiprocessing.current_process().kill()


def test_readers_in_other_processes_do_not_disturb_each_other(tmp_path):
    engine = EdgeEngine(tmp_path)
    build(engine, [point(n) for n in range(20)])
    here = engine.open("books", 1)
    spawn = multiprocessing.get_context("spawn")
    results = spawn.Queue()
    others = [spawn.Process(target=_read_in_another_process, args=(tmp_path, results)) for _ in range(2)]
    for other in others:
        other.start()
    assert [results.get(timeout=60) for _ in others] == [[3], [3]]
    for other in others:
        other.join()
    assert numbers(here.search(Query(1, dense=unit(3)))) == [3]
    here.close()


def test_reading_changes_nothing_of_the_generation(tmp_path):
    engine = EdgeEngine(tmp_path)
    build(engine, [point(n) for n in range(20)])
    before = contents(tmp_path / "books" / "generation-0001")
    store = engine.open("books", 1)
    only = {"language": {"en"}}
    store.search_batch([Query(5, dense=unit(3), only=only), Query(5, lexical=LEXICAL.encode_query("honey"), only=only)])
    store.close()
    assert contents(tmp_path / "books" / "generation-0001") == before


def test_the_clone_of_a_killed_reader_is_removed_by_the_next(tmp_path):
    engine = EdgeEngine(tmp_path)
    build(engine, [point(n) for n in range(20)])
    spawn = multiprocessing.get_context("spawn")
    victim = spawn.Process(target=_die_with_a_clone_open, args=(tmp_path,))
    victim.start()
    victim.join()
    clones = tmp_path / "books" / "readers"
    assert sum(path.is_dir() for path in clones.iterdir()) == 1
    mine = engine.open("books", 1)
    assert sum(path.is_dir() for path in clones.iterdir()) == 1
    mine.close()
    assert not any(path.is_dir() for path in clones.iterdir())


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
