"""``kalm bench hybrid``: both legs and their fusion on tasks, through a real index."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

DOCUMENTS = {
    "d0": "Bees dry nectar with their wings until it becomes honey.",
    "d1": "Volcanoes are mountains from which molten rock flows.",
    "d2": "蜜蜂用花蜜酿造蜂蜜，储存在蜂巢里过冬。",
    "d3": "Bees dry nectar with their wings until it becomes honey!",
}
QUERIES = {"q0": 'how do "bees" make -honey', "q1": "molten rock of volcanoes", "q2": "蜂巢里的花蜜"}
ANSWERS = {"q0": "d3", "q1": "d1", "q2": "d2"}


@pytest.fixture
def tasks(cli):
    place = cli.folder / "tasks" / "TinyRetrieval"
    place.mkdir(parents=True)
    tables = {
        "corpus": {"id": list(DOCUMENTS), "title": [""] * 4, "text": list(DOCUMENTS.values())},
        "queries": {"id": list(QUERIES), "text": list(QUERIES.values())},
        "qrels": {"query_id": list(ANSWERS), "doc_id": list(ANSWERS.values()), "score": [1] * 3},
    }
    for name, columns in tables.items():
        pq.write_table(pa.table(columns), place / f"{name}.parquet")
    return place.parent


def test_each_leg_and_both_are_measured_through_an_index(cli, tasks):
    done = cli("bench", "hybrid", "tasks", "--vectors", "vectors.sqlite")
    report = json.loads(done.out)
    (row,) = report["tasks"]
    assert (row["task"], row["queries"], row["documents"], row["passages"]) == ("TinyRetrieval", 3, 4, 4)
    # The answer of one question stands behind the near-duplicate that is shown for it, or is that one itself.
    assert row["keyword"] > 87
    assert all(0 <= row[mode] <= 100 for mode in ("semantic", "hybrid"))
    assert row["difference"] == pytest.approx(row["hybrid"] - max(row["keyword"], row["semantic"]), abs=0.02)
    assert report["means"]["hybrid"] == row["hybrid"]
    assert report["machine"]["cores"] >= 1
    assert "| TinyRetrieval | 3 | 4 |" in done.err
    assert (cli.folder / "vectors.sqlite").exists()


def test_a_folder_without_retrieval_is_refused(cli, tasks):
    assert "no evaluation folder" in cli("bench", "hybrid", "nowhere").refusal
    assert "has no task Other" in cli("bench", "hybrid", "tasks", "--only", "Other").refusal
    (tasks / "TinyRetrieval").rename(tasks / "Pairs")
    for path in (tasks / "Pairs").iterdir():
        path.unlink()
    pq.write_table(pa.table({"text1": ["a"], "text2": ["b"]}), tasks / "Pairs" / "pairs.parquet")
    assert "has no retrieval task" in cli("bench", "hybrid", "tasks").refusal
