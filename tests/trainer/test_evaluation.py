"""Evaluation: every measure by hand and against the library people know, tasks from folders, shares of ranks."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from trainer.evaluation import Unevaluable, deal, evaluate, load_tasks, means
from trainer.measures import average_precision, classify, kmeans, ndcg, spearman, v_measure
from trainer.task_files import BadTasks


def unit(rows):
    rows = np.asarray(rows, dtype=np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.fixture
def random():
    return np.random.default_rng(20506)


def test_ndcg_by_hand():
    # 3 / log2(2) + 1 / log2(4), of 3 / log2(2) + 1 / log2(3)
    assert ndcg([2, 0, 1], [1, 2]) == pytest.approx(3.5 / (3 + 1 / np.log2(3)))
    assert ndcg([0, 0, 1], [1], k=2) == 0
    assert ndcg([1] * 12, [1] * 12) == pytest.approx(1)
    assert ndcg([0], []) == 0


def test_average_precision_by_hand():
    assert average_precision([0, 1, 1, 0], [4, 3, 2, 1]) == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert average_precision([1, 0], [1, 1]) == average_precision([0, 1], [1, 1]) == 0.5
    assert average_precision([0, 0], [1, 2]) == 0


def test_spearman_by_hand():
    assert spearman([1, 2, 3], [10, 20, 15]) == pytest.approx(0.5)  # 1 - 6 * 2 / (3 * 8)
    assert spearman([3, 2, 1], [1, 2, 3]) == pytest.approx(-1)
    assert spearman([1, 1, 1], [1, 2, 3]) == 0


def test_v_measure_by_hand():
    assert v_measure(list("aabb"), [7, 7, 3, 3]) == pytest.approx(1)
    assert v_measure(list("aabb"), [0, 1, 0, 1]) == pytest.approx(0)
    assert v_measure(list("aabb"), [0, 0, 0, 0]) == 0
    assert v_measure(list("aabb"), [0, 0, 1, 2]) == pytest.approx(0.8)  # homogeneity 1, completeness 1 / 1.5


def test_measures_agree_with_those_of_scikit_learn_and_scipy(random):
    metrics = pytest.importorskip("sklearn.metrics")
    stats = pytest.importorskip("scipy.stats")
    for _ in range(20):
        first, second = random.integers(0, 9, (2, 60))  # many ties
        wanted = random.random(60) < 0.3
        assert average_precision(wanted, first) == pytest.approx(metrics.average_precision_score(wanted, first))
        assert spearman(first, second) == pytest.approx(stats.spearmanr(first, second).statistic)
        assert v_measure(first, second) == pytest.approx(metrics.v_measure_score(first, second))
        grades = random.integers(0, 2, (1, 60))
        order = np.argsort(-random.permutation(60))
        found = metrics.ndcg_score(grades, [-np.argsort(order)], k=10)
        assert ndcg(grades[0][order].tolist(), grades[0][grades[0] > 0].tolist()) == pytest.approx(found)


@pytest.mark.parametrize("classes", [2, 5])
def test_the_classifier_is_the_one_of_scikit_learn(random, classes):
    linear = pytest.importorskip("sklearn.linear_model")
    centres = random.standard_normal((classes, 16))
    labels = np.arange(8 * classes) % classes
    train = unit(centres[labels] + random.standard_normal((len(labels), 16)))
    test = unit(centres[np.arange(400) % classes] + random.standard_normal((400, 16)))
    expected = linear.LogisticRegression(max_iter=1000, tol=1e-8).fit(train, labels).predict(test)
    ours = classify(train, labels, test)
    assert (ours != expected).mean() <= 0.005  # points on the border
    assert 0.3 < (ours == np.arange(400) % classes).mean() < 1


def test_the_classifier_leaves_the_random_state_alone(random):
    import torch

    before = torch.get_rng_state()
    with torch.no_grad():
        assert classify(unit([[1, 0], [0, 1]]), np.array([0, 1]), unit([[0, 2], [3, 1]])).tolist() == [1, 0]
    assert torch.equal(torch.get_rng_state(), before)


def test_kmeans_finds_groups_that_are_apart(random):
    labels = np.arange(90) % 3
    vectors = (np.eye(3, 8)[labels] + 0.05 * random.standard_normal((90, 8))).astype(np.float32)
    for seed in range(5):
        assert v_measure(labels, kmeans(vectors, 3, seed)) == pytest.approx(1)
    np.testing.assert_array_equal(kmeans(vectors, 7, 1), kmeans(vectors, 7, 1))
    assert set(kmeans(vectors, 90, 0)) <= set(range(90))
    assert len(kmeans(np.ones((5, 2), dtype=np.float32), 3, 0)) == 5  # all rows equal


def test_kmeans_ends_where_no_row_is_nearer_to_another_centre(random):
    vectors = unit(random.standard_normal((200, 6)))
    clusters = kmeans(vectors, 8, 3)
    assert set(clusters) == set(range(8))
    centres = np.stack([vectors[clusters == number].mean(0) for number in range(8)])
    distances = ((vectors[:, None] - centres) ** 2).sum(2)
    np.testing.assert_array_equal(distances.argmin(1), clusters)


VECTORS = {"a": [1, 0], "b": [0, 1], "near a": [0.9, 0.1], "near b": [0.2, 0.8], "between": [0.6, 0.5], "": [-1, 0]}


class Encode:
    """Two dimensions that are known, and a record of what was asked."""

    def __init__(self):
        self.asked = []

    def __call__(self, texts, side, task_type):
        self.asked.append((list(texts), side, task_type))
        return unit([VECTORS[text] for text in texts])


@pytest.fixture
def folder(tmp_path):
    """Makes tasks: ``folder(name, task_json, table=columns)``; returns where they are."""

    def make(name="task", about=None, **tables):
        (tmp_path / name).mkdir(exist_ok=True)
        if about is not None:
            (tmp_path / name / "task.json").write_text(json.dumps(about))
        for table, columns in tables.items():
            pq.write_table(pa.table(columns), tmp_path / name / f"{table}.parquet")
        return tmp_path

    return make


RANKING = {
    "corpus": {"id": ["1", "2", "3"], "title": ["", None, "near"], "text": ["near a", "between", "b"]},
    "queries": {"id": ["x", "y", "unjudged"], "text": ["a", "b", "between"]},
    "qrels": {"query_id": ["x", "x", "y", "y"], "doc_id": ["2", "1", "1", "2"], "score": [1, 0, 0, 1]},
}


def only(folder, encode=None, limit=100):
    """The one task of a folder and its score."""
    (task,) = load_tasks(folder, limit)
    return task, evaluate([task], encode or Encode())["task"]


def test_retrieval(folder, monkeypatch):
    monkeypatch.setitem(VECTORS, "near\nb", [0.1, 0.9])
    encode = Encode()
    task, score = only(folder(**RANKING), encode)
    assert (task.kind, task.language, task.task_type) == ("retrieval", "en", "Retrieval")
    assert encode.asked == [
        (["a", "b"], "query", "Retrieval"),
        (["near a", "between", "near\nb"], "document", "Retrieval"),
    ]
    assert score == pytest.approx(100 / np.log2(3))  # second both times


def test_reranking_looks_at_the_candidates_alone(folder, monkeypatch):
    monkeypatch.setitem(VECTORS, "near\nb", [0.1, 0.9])
    task, score = only(folder(about={"type": "Reranking (retrieval files)", "lang": "zh"}, **RANKING))
    assert (task.kind, task.language) == ("reranking", "zh")
    assert score == pytest.approx(75)  # of x the second of two, of y the first of two


PAIRS = {"text1": ["a", "b", "a"], "text2": ["near a", "between", None]}


@pytest.mark.parametrize(
    ("more", "about", "kind", "expected"),
    [
        ({"score": [5.0, 1.0, 2.0]}, None, "sts", 50),
        ({"label": [0, 1, 1]}, None, "pair", 100 * (1 / 2 + 2 / 3) / 2),
        ({}, {"lang": "zh-en"}, "bitext", 100 * (1 / 3 + 2 / 3) / 2),
        ({"score": [1.0, 1.0, 1.0]}, {"type": "bitext mining", "lang": "cmn-eng"}, "bitext", 50),
    ],
)
def test_pairs(folder, more, about, kind, expected):
    encode = Encode()
    task, score = only(folder(about=about, pairs=PAIRS | more), encode)
    assert (task.kind, task.language) == (kind, "x" if about else "en")
    assert score == pytest.approx(expected)
    assert encode.asked == [(["a", "b", "near a", "between", ""], "query", task.task_type)]  # each text once


def test_classification(folder):
    train = {"text": ["a", "near a", "b", "near b"], "label": ["A", "A", "B", "B"]}
    test = {"text": ["a", "b", "between"], "label": ["A", "B", "B"]}
    task, score = only(folder(train=train, test=test))
    assert task.kind == "classification"
    assert score == pytest.approx(200 / 3)


def test_a_draw_has_eight_of_each_class(folder):
    labels = ["A"] * 50 + ["B"] * 20 + ["C"] * 3
    train = {"text": [f"{label}{number}" for number, label in enumerate(labels)], "label": labels}
    (task,) = load_tasks(folder(train=train, test={"text": ["t"], "label": ["A"]}), 100)
    assert len(task.draws) == 10
    for draw in task.draws:
        drawn = [task.first[place] for place in draw]
        assert [sum(text[0] == name for text in drawn) for name in "ABC"] == [8, 8, 3]
        assert len(set(drawn)) == 19
        assert [task.train[place] for place in draw] == ["ABC".index(text[0]) for text in drawn]
    assert len(task.first) < 73  # texts that no draw took are not encoded


def test_clustering(folder):
    items = {"text": ["a", "near a", "b", "near b"], "label": [1, 1, 2, 2]}
    task, score = only(folder(items=items))
    assert (task.kind, task.second, score) == ("clustering", (), pytest.approx(100))


def test_samples_are_the_same_every_time(folder):
    columns = {"text1": [f"{n}" for n in range(50)], "text2": ["x"] * 50, "score": list(range(50))}
    (task,) = load_tasks(folder(pairs=columns), 10)
    assert load_tasks(folder(), 10) == [task]
    assert len(set(task.first)) == 10
    assert [float(text) for text in task.first] == list(task.gold) == sorted(task.gold)
    many = RANKING | {"corpus": {"id": list("123456"), "text": list("abcdef")}}
    (task,) = load_tasks(folder(pairs=columns, about={"type": "retrieval"}, **many), 1)
    assert (len(task.first), len(task.second)) == (1, 6)  # documents are never left out


def test_every_task_goes_to_one_process_and_none_has_much_more(folder):
    for number in range(9):
        root = folder(f"t{number}", pairs={"text1": ["x" * 10 * (number + 1)], "text2": ["y"], "score": [1.0]})
    tasks = load_tasks(root, 10)
    shares = [deal(tasks, rank, 3) for rank in range(3)]
    assert sorted(task.name for share in shares for task in share) == [f"t{number}" for number in range(9)]
    loads = [sum(task.size for task in share) for share in shares]
    assert max(loads) - min(loads) <= 31
    assert deal(tasks, 0, 1) == sorted(tasks, key=lambda task: -task.size)
    assert [len(deal(tasks[:1], rank, 3)) for rank in range(3)] == [1, 0, 0]


def test_means_by_language(folder):
    for name, language in (("a", "en"), ("b", "en-US"), ("c", "zh"), ("d", "zh-en"), ("e", "cmn-Hans")):
        root = folder(name, {"lang": language}, pairs={"text1": ["x"], "text2": ["y"], "score": [1.0]})
    tasks = load_tasks(root, 10)
    assert means({"a": 10.0, "b": 20.0, "c": 5.0, "d": 7.0}, tasks) == {"en": 15, "x": 7, "zh": 5}
    assert means({}, tasks) == {}
    assert [task.name for task in load_tasks(root, 10, only=["d", "a"])] == ["a", "d"]


def test_vectors_that_are_no_numbers_are_refused(folder):
    with pytest.raises(Unevaluable, match="task cannot be scored"):
        only(folder(pairs=PAIRS | {"score": [1.0, 2.0, 3.0]}), lambda texts, *_: np.full((len(texts), 2), np.nan))


@pytest.mark.parametrize(
    ("about", "tables", "said"),
    [
        (None, {}, "holds no tasks"),
        (None, {"other": {"x": [1]}}, "of no known type"),
        ({"type": "sts"}, {"items": {"text": ["a"]}}, r"pairs\.parquet cannot be read"),
        (["sts"], {"pairs": PAIRS}, "is no task"),
        ({"type": "sts"}, {"pairs": PAIRS}, "has no column 'score'"),
        (None, {"pairs": PAIRS | {"score": [1.0, None, 2.0]}}, "has rows without a score"),
        (None, {"items": {"text": pa.array([], pa.string()), "label": pa.array([], pa.string())}}, "is empty"),
        (None, RANKING | {"qrels": {"query_id": ["x"], "doc_id": ["9"], "score": [1]}}, "judges the document '9'"),
        (None, RANKING | {"qrels": {"query_id": ["9"], "doc_id": ["1"], "score": [1]}}, "has no query with"),
        (
            None,
            {"train": {"text": ["a"], "label": ["A"]}, "test": {"text": ["b"], "label": ["B"]}},
            "tests the class 'B'",
        ),
    ],
)
def test_tasks_that_cannot_be_read_are_refused(folder, about, tables, said):
    with pytest.raises(BadTasks, match=said):
        load_tasks(folder(about=about, **tables), 10)


def test_folders_and_tasks_that_are_not_there_are_refused(folder, tmp_path):
    with pytest.raises(BadTasks, match="There is no evaluation folder"):
        load_tasks(tmp_path / "none", 10)
    with pytest.raises(BadTasks, match="has no task other; it has task"):
        load_tasks(folder(pairs=PAIRS), 10, only=["other"])
    (tmp_path / "task" / "task.json").write_text("{")
    with pytest.raises(BadTasks, match="cannot be read"):
        load_tasks(tmp_path, 10)
