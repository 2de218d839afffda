"""``kalm bench vectors``, ``all`` and ``compare``: truth is truth, and what became slower is said."""

import json

import numpy as np
import pytest

from app.benchmarks import suite
from app.benchmarks.comparison import compare
from app.benchmarks.errors import BenchRefused
from app.benchmarks.vector_engines import ENGINES, HITS
from app.benchmarks.vectors import make_vectors, nearest

MEASURED = ("edge, int8", "faiss, hnsw", "qdrant-client, local")


def test_engines_find_what_is_there(cli, tmp_path):
    sizes = ["--points", "300", "--dims", "32", "--queries", "20", "--rounds", "1", "--efforts", "32,64"]
    picture = tmp_path / "curves.svg"
    done = cli("bench", "vectors", *sizes, "--engines", "; ".join(MEASURED), "--plot", str(picture))
    assert done.code == 0, done.err
    found = json.loads(done.out)
    (run,) = found["runs"]
    assert (run["points"], run["dim"], run["vectors"]) == (300, 32, "made")
    assert tuple(run["engines"]) == MEASURED
    for name, figures in run["engines"].items():
        efforts = [point["effort"] for point in figures["curve"]]
        assert efforts == ([32, 64] if ENGINES[name].efforts else [None])
        assert all(point["recall_at_10"] >= 0.95 for point in figures["curve"])
        assert figures["filtered"]["recall_at_10"] >= 0.95
        assert figures["filtered"]["queries_per_second"] > 0
        assert figures["disk_mib"] >= 0
        assert ("hybrid" in figures) == name.startswith("edge")
    drawn = picture.read_text(encoding="utf-8")
    assert all(words in drawn for words in (*MEASURED, "300 made vectors of 32", "recall@10"))


def test_real_vectors_are_taken_where_there_are_enough(cli, tmp_path):
    file = tmp_path / "real.npy"
    np.save(file, make_vectors(130, 32, 1)[0])
    sizes = ["--dims", "16", "--queries", "20", "--rounds", "1", "--engines", "numpy, exact"]
    done = cli("bench", "vectors", "--points", "100,200", *sizes, "--vectors", str(file))
    assert done.code == 0, done.err
    runs = json.loads(done.out)["runs"]
    assert [(run["points"], run["vectors"]) for run in runs] == [(100, "real"), (200, "made")]
    assert all(run["engines"]["numpy, exact"]["curve"][0]["recall_at_10"] == 1 for run in runs)


def test_truth_is_that_of_one_product():
    vectors, queries = make_vectors(500, 24, 30)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert (nearest(vectors, queries) == np.argsort(-(queries @ vectors.T), axis=1)[:, :HITS]).all()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--engines", "oracle"], ["oracle", "edge, int8"]),
        (["--vectors", "nothing.npy"], ["nothing.npy", "kalm embed"]),
    ],
)
def test_what_cannot_be_measured_is_refused(cli, arguments, words):
    done = cli("bench", "vectors", *arguments)
    assert done.code == 1
    assert all(word in done.err for word in words)


def result(folder, name, **figures):
    file = folder / f"{name}.json"
    machine = {"cpu": "one", "cores": 2, "gpu": None}
    file.write_text(json.dumps({"machine": machine} | figures), encoding="utf-8")
    return file


def test_a_comparison_knows_which_way_is_better(tmp_path):
    old = result(tmp_path, "old", tokens_per_second={"ours": 100}, situations={"alone": {"p50": 4.0}}, texts=3)
    new = result(tmp_path, "new", tokens_per_second={"ours": 50}, situations={"alone": {"p50": 2.0}}, texts=9)
    found = compare(old, new)
    assert [(change.name, change.gain) for change in found.changes] == [
        ("tokens_per_second.ours", 0.5),
        ("situations.alone.p50", 2.0),
    ]
    assert [change.name for change in found.worse(0.15)] == ["tokens_per_second.ours"]
    assert found.worse(0.6) == []


def test_the_command_fails_where_something_became_slower(cli, tmp_path):
    old = result(tmp_path, "old", tokens_per_second={"ours": 100, "theirs": 10})
    slower = result(tmp_path, "slower", tokens_per_second={"ours": 80, "theirs": 10})
    done = cli("bench", "compare", str(old), str(slower))
    assert done.code == 1
    assert "| tokens_per_second.ours | 100 | 80 | 0.80 |" in done.out
    assert cli("bench", "compare", str(old), str(slower), "--tolerance", "0.25").code == 0
    assert cli("bench", "compare", str(slower), str(old)).code == 0


def test_files_that_cannot_be_compared_are_refused(tmp_path):
    good, other = result(tmp_path, "good", p50=1.0), result(tmp_path, "other", p95=1.0)
    with pytest.raises(BenchRefused, match="no figure in common"):
        compare(good, other)
    with pytest.raises(BenchRefused, match="cannot be read"):
        compare(good, tmp_path / "absent.json")


def test_the_suite_writes_a_file_of_each_and_a_table(cli, tmp_path):
    out = tmp_path / "results"
    done = cli("bench", "all", "--quick", "--only", "machine", "--out", str(out))
    assert done.code == 0, done.err
    written = json.loads((out / "machine.json").read_text(encoding="utf-8"))
    assert written["command"] == "kalm bench machine --rounds 2"
    table = (out / "README.md").read_text(encoding="utf-8")
    assert "[machine](machine.json)" in table
    assert f"{written['products']['kalm-nano']['2048 tokens']['bfloat16']:,}" in table


def test_the_suite_says_what_it_does_not_know(cli):
    done = cli("bench", "all", "--only", "luck")
    assert done.code == 1
    assert "luck" in done.err
    assert "machine" in done.err


def test_a_measurement_that_fails_is_named(tmp_path):
    with pytest.raises(BenchRefused, match="kalm bench machine --rounds 0 failed"):
        list(suite.run_suite(tmp_path, {"machine": ("machine", "--rounds", "0")}, []))


def test_quick_is_a_part_of_the_whole():
    assert set(suite.QUICK) < set(suite.SUITE)
