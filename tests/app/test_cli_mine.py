"""``kalm mine``: a table in, a table with negatives out, and what it says on the way."""

import json
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from app.services.mining import EdgeNeighbours
from embedder.cache import CachedEncoder, VectorCache
from trainer.neighbours import ExactSearch

WORDS = "bees honey river fox dog hole sky stone 长江 蜜蜂 文字 向量".split()
ROWS = [
    {"query": f"{first} {number}?", "pos": [f"{first} {second} {number}"], "neg": []}
    for number, (first, second) in enumerate((a, b) for a in WORDS for b in WORDS)
]


@pytest.fixture
def mine(cli):
    """Run ``kalm mine`` on the rows; returns its outcome and the table."""
    (cli.folder / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS), encoding="utf-8")

    def run(*flags):
        done = cli("mine", "pairs.jsonl", "--out", "mined.parquet", "--dtype", "float32", *flags)
        rows = pq.read_table(cli.folder / "mined.parquet").to_pylist() if done.code == 0 else None
        return SimpleNamespace(outcome=done, rows=rows)

    return run


def test_a_table_gets_negatives(mine):
    done = mine("--filter-topk", 0, "--ceiling", 1)
    assert done.outcome.out == ""
    assert done.outcome.err == (
        "144 of 144 rows written to mined.parquet (0 dropped by the filter) with 0 negatives of their own and 1,008 "
        "mined from 144 texts; 0 rows have fewer than 7.\n"
    )
    assert [row | {"neg": []} for row in done.rows] == ROWS
    for row in done.rows:
        assert len({*row["neg"], *row["pos"]}) == 8
    assert mine("--filter-topk", 0, "--ceiling", 1, "--force").rows == done.rows  # from the cache, in the same draws
    assert mine("--filter-topk", 0, "--ceiling", 1, "--seed", 1, "--force").rows != done.rows


def test_flags_reach_the_miner(cli, mine):
    pq.write_table(pa.table({"text": [f"pool {number}" for number in range(120)]}), cli.folder / "pool.parquet")
    done = mine("--pool", "pool.parquet", "--negatives", 2, "--window", "0-10", "--ceiling", 1, "--filter-topk", 1)
    assert " from 120 texts; 0 rows have fewer than 2." in done.outcome.err
    assert len(done.rows) < len(ROWS)
    assert all(text.startswith("pool") and len(row["neg"]) == 2 for row in done.rows for text in row["neg"])


def test_the_index_finds_what_comparing_finds(mine):
    exact = mine("--filter-topk", 0, "--ceiling", 1, "--search", "exact").rows
    found = mine("--filter-topk", 0, "--ceiling", 1, "--search", "index", "--force").rows
    same = [set(a["neg"]) == set(b["neg"]) for a, b in zip(exact, found, strict=True)]
    assert np.mean(same) > 0.9  # cosines that are nearly equal may come in another order


def test_edge_neighbours_are_exact_on_a_small_set(tmp_path):
    random = np.random.default_rng(1)
    vectors = random.standard_normal((300, 16)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    exact, edge = ExactSearch("cpu"), EdgeNeighbours(tmp_path, 16)
    for search in (exact, edge):
        search.add(vectors[:100])
        search.add(vectors[100:])
    for (cosines, found), (expected, numbers) in (
        (edge.search(vectors[:20], 30), exact.search(vectors[:20], 30)),
        (edge.search(vectors[:2], 999), exact.search(vectors[:2], 999)),
    ):
        np.testing.assert_array_equal(found, numbers)
        np.testing.assert_allclose(cosines, expected, atol=1e-5)
    edge.close()


def test_a_second_run_encodes_nothing(tmp_path, tiny_model):
    from embedder import Embedder

    encoder = Embedder.load(str(tiny_model))
    remembering = CachedEncoder(encoder, VectorCache(tmp_path / "vectors.sqlite"), queries=True)
    texts = ["bees", "honey", "bees"]
    first = remembering.encode_queries(texts), remembering.encode_documents(texts)
    used = encoder.usage.texts
    assert used == 4  # each text once per side
    again = remembering.encode_queries(texts), remembering.encode_documents(texts)
    assert encoder.usage.texts == used
    np.testing.assert_array_equal(first, again)
    np.testing.assert_allclose(again[0], encoder.encode_queries(texts), atol=1e-5)
    similar = remembering.encode_queries(["bees"], task="STS")  # another prompt, another vector
    np.testing.assert_allclose(similar, encoder.encode_queries(["bees"], task="STS"), atol=1e-5)
    assert not np.allclose(similar[0], again[0][0], atol=1e-3)
    assert remembering.encode_queries([]).shape == (0, 32)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--window", "50"], "The window '50' is not two ranks"),
        (["--window", "90-50"], "The window 90-50 must go up"),
        (["--task", "Retreival"], "There is no task 'Retreival'"),
        (["--pool", "none.parquet"], "none.parquet cannot be read"),
        (["--model", "no/such/model", "--window", "0-5"], "The window 0-5 has fewer ranks"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(mine, flags, said):
    assert said in mine(*flags).outcome.refusal


def test_an_output_that_is_there_is_left_alone(cli, mine):
    (cli.folder / "mined.parquet").write_text("before")
    assert "is there already" in mine().outcome.refusal
    assert (cli.folder / "mined.parquet").read_text() == "before"
