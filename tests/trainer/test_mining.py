"""Hard negatives: texts on a circle, so that who is near whom is known."""

import json
import re
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from embedder.cache import CachedEncoder, VectorCache
from embedder.errors import AppError
from trainer import mining, mining_tables, neighbours
from trainer.mining import MiningSettings, mine, preference
from trainer.mining_tables import identity
from trainer.neighbours import ExactSearch

STEP = 0.01
"""Radians from one text to the next: 100 apart is a cosine of 0.54."""


class Circle:
    """``d12`` stands 12 steps from ``q0``; the nth text from a query is the one with the nth number."""

    dim, dims, max_tokens, dtype, fingerprint = 2, (2,), 128, "float32", "circle"

    def __init__(self):
        self.queries, self.documents = [], []

    def resized(self, dim):
        return self

    def prompt(self, side, task="Retrieval", instruction=None):
        return f"{side} {task} {instruction}"

    def encode_queries(self, texts, *, task="Retrieval", instruction=None):
        self.queries += [(instruction, text) for text in texts]
        return self._at(texts)

    def encode_documents(self, texts, *, task="Retrieval"):
        self.documents += texts
        return self._at(texts)

    def _at(self, texts):
        angles = STEP * np.array([float(re.search(r"\d+\.?\d*", text)[0]) for text in texts])
        return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


@pytest.fixture
def circle():
    return Circle()


@pytest.fixture
def run(tmp_path, circle):
    """Mine for rows; returns the rows that come out and the report."""

    def go(rows, encoder=circle, pool=None, **settings):
        source, target = tmp_path / "in.parquet", tmp_path / "out.parquet"
        pq.write_table(pa.Table.from_pylist(rows), source)
        if pool is not None:
            pq.write_table(pa.table({"text": pool}), tmp_path / "pool.parquet")
            pool = tmp_path / "pool.parquet"
        report = mine(source, target, encoder, MiningSettings(**settings), pool=pool, force=True)
        return SimpleNamespace(rows=pq.read_table(target).to_pylist(), report=report)

    return go


POOL = [f"d{n}" for n in range(150)]


def row(query="q0", pos=("d0",), neg=()):
    return {"query": query, "pos": list(pos), "neg": list(neg)}


def numbers(texts):
    return {float(text.lstrip("dD")) for text in texts}


def test_negatives_come_from_the_window(run):
    done = run([row()], pool=POOL)
    found = numbers(done.rows[0]["neg"])
    assert len(found) == 7
    assert found <= set(range(50, 100))
    assert (done.report.documents, done.report.mined, done.report.short, done.report.dropped) == (150, 7, 0, 0)


def test_they_are_drawn_uniformly(run):
    rows = [row(pos=["d0", f"d0.{n:03d}"]) for n in range(1, 301)]
    counts = np.zeros(50)
    for one in run([rows[0], *({**r, "query": f"q0 {n}"} for n, r in enumerate(rows[1:]))], pool=POOL).rows:
        for number in numbers(one["neg"]):
            counts[int(number) - 50] += 1
    assert counts.sum() == 2100
    assert counts.min() > 20  # expected 42, standard deviation 6
    assert counts.max() < 66


@pytest.mark.parametrize(
    ("window", "drawn", "rest"),
    [((2, 4), {2, 3}, [4, 5, 1, 0]), ((0, 6), {0, 1, 2, 3, 4, 5}, []), ((5, 9), {5}, [4, 3, 2, 1, 0])],
)
def test_what_is_taken_after_the_window(window, drawn, rest):
    order = preference(6, window, key=1)
    assert (set(order[: len(drawn)]), order[len(drawn) :]) == (drawn, rest)


def test_no_answer_is_ever_a_negative(run):
    """Positives of any row with the query, spelled otherwise or nearly the same, and the query itself."""
    barred = [f"d{n}" for n in range(50, 90)]
    rows = [
        row(pos=["d0", *barred[:20]]),
        row(query="Q0 ", pos=barred[20:]),
        row(query="d120", pos=["d119"]),
    ]
    done = run(rows, pool=["q0", *(text.upper() for text in POOL)], ceiling=1.0, window=(0, 100), filter_topk=None)
    rest = run(rows[:1], pool=["q0", "d0", *barred, "d149"], ceiling=1.0, window=(0, 7)).rows
    allowed = {*range(1, 50), *range(90, 150)}
    assert [len(one["neg"]) for one in done.rows] == [7, 7, 7]
    assert all(text[0] == "D" and numbers([text]) <= allowed for one in done.rows[:2] for text in one["neg"])
    assert not numbers(done.rows[2]["neg"]) & {119, 120}
    assert numbers(rest[0]["neg"]) == set(range(70, 77))  # free, now that the other row is gone


def test_what_is_nearly_a_positive_is_left_out(run):
    # cos(31 steps) is 0.952: around d75 all from d44 to d106 are taken for it
    found = numbers(run([row(pos=["d75"])], pool=POOL, filter_topk=None).rows[0]["neg"])
    assert found == {107, 108, 109, 110, 111, 112, 113}
    loose = numbers(run([row(pos=["d75"])], pool=POOL, filter_topk=None, ceiling=1.0).rows[0]["neg"])
    assert loose <= set(range(50, 100)) - {75}


def test_negatives_of_its_own_come_first_but_no_answers(run):
    own = ["d1", "D1", "q0", "d0", "d9", "d140"]
    done = run([row(neg=own)], pool=POOL)
    assert done.rows[0]["neg"][:3] == ["d1", "d9", "d140"]
    assert len(done.rows[0]["neg"]) == 7
    assert (done.report.kept, done.report.mined) == (3, 4)
    assert run([row(neg=[f"d{n}" for n in range(1, 10)])]).rows[0]["neg"] == [f"d{n}" for n in range(1, 8)]


def test_the_table_is_its_own_pool(run, circle):
    rows = [row(query=f"q{n}", pos=[f"d{n}"]) for n in range(0, 150)] + [row(pos=["d0"], neg=["d150"])]
    done = run(rows)
    assert done.report.documents == 151
    assert sorted(circle.documents) == sorted([*POOL, "d150"])
    assert numbers(done.rows[0]["neg"]) <= set(range(50, 100))


def test_a_small_pool_gives_what_ranks_behind_the_best_positive(run, caplog):
    done = run([row(pos=["d10", "d40"])], pool=POOL[:20], negatives=3, ceiling=1.0)
    assert numbers(done.rows[0]["neg"]) <= set(range(11, 20))
    assert "only 20 texts" in caplog.text
    short = run([row(pos=["d10"])], pool=POOL[:6], negatives=7, ceiling=1.0)  # all are before it
    assert short.rows[0]["neg"] == ["d5", "d4", "d3", "d2", "d1", "d0"]
    assert short.report.short == 1


@pytest.mark.parametrize(("positives", "stays"), [(["d50"], True), (["d51"], False), (["d51", "d3"], True)])
@pytest.mark.parametrize("in_pool", [True, False])
def test_the_filter_drops_what_the_model_does_not_find(run, positives, stays, in_pool):
    pool = POOL if in_pool else [text for text in POOL if text not in positives] + ["d51.5"]
    if not in_pool and not stays:
        pool = [f"d{n}" for n in range(51)] + POOL[52:]
    done = run([row(pos=positives), row(query="q1", pos=["d1"])], pool=pool, ceiling=1.0)
    assert (len(done.rows), done.report.dropped, done.report.rows) == (1 + stays, not stays, 2)
    assert len(run([row(pos=positives)], pool=pool, filter_topk=None).rows) == 1


@pytest.mark.parametrize("block", [1, 7, 1000])
def test_blocks_and_order_change_nothing(run, monkeypatch, block):
    # All texts on one side of all queries, so that no two are equally near.
    rows = [row(query=f"q{n % 40}", pos=[f"d{n + 40}"]) for n in range(110)]
    settings = {"ceiling": 0.999, "filter_topk": None}
    expected = {(one["query"], *one["pos"]): one["neg"] for one in run(rows, **settings).rows}
    monkeypatch.setattr(neighbours, "_DOCUMENTS", block)
    monkeypatch.setattr(neighbours, "_QUERIES", block)
    monkeypatch.setattr(mining_tables, "_ROWS", block)
    monkeypatch.setattr(mining_tables, "_BATCH_TEXTS", block)
    again = run(rows[::-1], block=block, **settings).rows
    assert {(one["query"], *one["pos"]): one["neg"] for one in again} == expected
    other = run(rows, seed=1, **settings).rows
    assert {(one["query"], *one["pos"]): one["neg"] for one in other} != expected


def test_texts_of_one_class_are_no_negatives_of_each_other(run):
    rows = [
        {"text": f"q{n}", "positive": f"d{n}", "negatives": [], "label": "even" if n % 2 == 0 else "odd"}
        for n in range(150)
    ]
    classes = run(rows, task="Classification").rows
    assert all(number % 2 for number in numbers(classes[0]["negatives"]))
    assert any(number % 2 == 0 for number in numbers(run(rows).rows[0]["negatives"]))


def test_instructions_in_the_table_are_used_and_left_where_they_are(run, circle):
    prompted = "Instruct: Find it \n Query: q0"
    done = run([row(query=prompted), row(query="q1", pos=["d1"])], pool=[*POOL, "q0"])
    assert sorted(circle.queries, key=str) == [("Find it", "q0"), (None, "q1")]
    assert done.rows[0]["query"] == prompted
    assert "q0" not in done.rows[0]["neg"]


def test_other_columns_and_names_stay(tmp_path, circle):
    table = pa.table({"id": [7], "query": ["q0"], "positive": ["d0"], "note": pa.array([None], pa.string())})
    pq.write_table(table.replace_schema_metadata({"licence": "CC0"}), tmp_path / "in.parquet")
    (tmp_path / "pool.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in POOL))
    mine(tmp_path / "in.parquet", tmp_path / "o.parquet", circle, MiningSettings(), pool=tmp_path / "pool.jsonl")
    mined = pq.read_table(tmp_path / "o.parquet")
    assert mined.column_names == ["id", "query", "positive", "note", "negatives"]
    assert mined.drop_columns("negatives").to_pylist() == table.to_pylist()
    assert mined.schema.metadata[b"licence"] == b"CC0"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.parquet", "o.parquet", "pool.jsonl"]


def test_json_lines_whose_lines_differ(tmp_path, circle, monkeypatch):
    monkeypatch.setattr(mining_tables, "_ROWS", 1)
    lines = [{"query": "q0", "pos": ["d0"], "neg": []}, {"query": "q1", "pos": ["d1"], "neg": ["d9"], "x": 1.5}]
    (tmp_path / "in.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n\n")
    mine(tmp_path / "in.jsonl", tmp_path / "o.parquet", circle, MiningSettings())
    assert [(one["neg"], one["x"]) for one in pq.read_table(tmp_path / "o.parquet").to_pylist()] == [
        ([], None),
        (["d9"], 1.5),
    ]


def test_with_a_cache_no_document_is_encoded_twice(run, circle, tmp_path):
    cached = CachedEncoder(circle, VectorCache(tmp_path / "vectors.sqlite"))
    first = run([row()], cached, pool=POOL)
    assert len(circle.documents) == 150
    assert run([row()], cached, pool=POOL).rows == first.rows
    assert len(circle.documents) == 150


def test_no_product_is_larger_than_a_block(run, monkeypatch):
    sizes = []
    keys = neighbours._keys

    def seen(cosines, numbers):
        sizes.append(tuple(cosines.shape))
        return keys(cosines, numbers)

    monkeypatch.setattr(neighbours, "_keys", seen)
    monkeypatch.setattr(neighbours, "_DOCUMENTS", 16)
    monkeypatch.setattr(neighbours, "_QUERIES", 8)
    run([row(query=f"q{n}", pos=[f"d{n}"]) for n in range(60)], block=32)
    assert len(sizes) > 20
    assert max(rows for rows, _ in sizes) == 8
    assert max(columns for _, columns in sizes) == 16


def test_exact_search_against_sorting_everything():
    random = np.random.default_rng(0)
    documents = random.integers(-2, 3, (300, 4)).astype(np.float32)  # whole numbers: many ties, and exact ones
    queries = random.integers(-2, 3, (50, 4)).astype(np.float32)
    search = ExactSearch("cpu")
    for start in range(0, 300, 70):
        search.add(documents[start : start + 70])
    cosines, found = search.search(queries, 40)
    expected = np.argsort(-(queries @ documents.T), axis=1, kind="stable")[:, :40]
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(cosines, np.take_along_axis(queries @ documents.T, expected, 1))
    assert search.search(queries, 999)[1].shape == (50, 300)
    assert search.search(queries[:0], 5)[1].shape == (0, 5)


def test_texts_that_only_look_different_are_one():
    assert len({identity(text) for text in ("Bees  make\nhoney", "bees make honey ", "ＢＥＥＳ make honey")}) == 1
    assert identity("bees make honey") != identity("bees makehoney")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"window": (100, 50)}, "The window 100-50 must go up"),
        ({"window": (50, 10_001)}, "end at 10,000"),
        ({"window": (50, 55)}, "fewer ranks than the 7 negatives"),
        ({"negatives": 0}, "at least one negative"),
        ({"filter_topk": 0}, "The filter looks at 1 to 10,000"),
        ({"ceiling": 1.5}, "The ceiling is a cosine"),
        ({"task": "Retreival"}, "There is no task 'Retreival'"),
    ],
)
def test_impossible_settings_are_refused(settings, said):
    with pytest.raises(AppError, match=said):
        MiningSettings(**settings)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"pos": [["d0"]]}, "needs a query"),
        ({"query": ["q0"], "label": ["x"]}, "has no positives"),
        ({"query": pa.array([], pa.string()), "pos": pa.array([], pa.string())}, "is empty"),
        ({"query": ["q0", ""], "pos": [["d0"], ["d1"]]}, "has rows without text"),
        ({"query": ["q0"], "pos": [["", None]]}, "has a row without a positive, to the query 'q0'"),
        ({"query": ["q0"], "pos": ["d0"], "score": [0.2]}, "has pairs with a score"),
    ],
)
def test_tables_that_cannot_be_mined_for_are_refused(tmp_path, circle, table, said):
    pq.write_table(pa.table(table), tmp_path / "in.parquet")
    with pytest.raises(AppError, match=said):
        mine(tmp_path / "in.parquet", tmp_path / "out.parquet", circle, MiningSettings())
    assert [path.name for path in tmp_path.iterdir()] == ["in.parquet"]
    assert circle.documents == []


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("t.csv", "query,pos", "is not a table that can be read"),
        ("t.parquet", "no parquet", "cannot be read"),
        ("t.jsonl", '{"query": "q"}\n{', "Line 2 of .* is not JSON"),
        ("t.jsonl", "[1]\n", "Line 1 of .* is not an object"),
        ("t.jsonl", "\n", "is empty"),
        ("t.jsonl", '{"query": "\\ud800", "pos": "d1"}\n', "cannot be read"),
        ("t.jsonl", '{"query": "q", "pos": "d1"}\n{"query": 3, "pos": "d1"}\n', "cannot be read"),
    ],
)
def test_files_that_are_no_tables_are_refused(tmp_path, circle, name, content, said):
    (tmp_path / name).write_text(content)
    with pytest.raises(AppError, match=said):
        mine(tmp_path / name, tmp_path / "out.parquet", circle, MiningSettings())


def test_targets_and_pools_that_cannot_be_used_are_refused(tmp_path, circle):
    source = tmp_path / "in.parquet"
    pq.write_table(pa.table({"query": ["q0"], "pos": ["d0"]}), source)
    before = source.read_bytes()
    for target, pool, said in (
        (source, None, "is there already; give another name or --force"),
        (tmp_path / "out.jsonl", None, "must end in .parquet"),
        (tmp_path / "none" / "out.parquet", None, "There is no folder"),
        (tmp_path / "out.parquet", tmp_path / "none.parquet", "cannot be read"),
        (tmp_path / "out.parquet", source, "has no column 'text'"),
    ):
        with pytest.raises(mining.InvalidMining, match=said):
            mine(source, target, circle, MiningSettings(), pool=pool)
    assert source.read_bytes() == before
