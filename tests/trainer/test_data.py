"""Tables are found, checked and read a row at a time; what is wrong with one is said before any work."""

import gzip
import json
import tracemalloc

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from trainer.batches import Visit
from trainer.columns import InvalidData
from trainer.config import DataConfig, Source
from trainer.data import TrainingData, describe_declared
from trainer.published import published_finetuning, published_pretraining


@pytest.fixture
def opened(tmp_path):
    """Opens what stands below the folder ``data``, with a cache of its own."""

    def open_data(sources=(), root=None, **settings):
        config = DataConfig(root=str(tmp_path / "data") if root is None else root, sources=sources, **settings)
        return TrainingData.open(config, seed=1, negatives_per_query=3, cache_dir=tmp_path / "cache")

    (tmp_path / "data").mkdir()
    return open_data


@pytest.fixture
def folder(opened, tmp_path):
    return tmp_path / "data"


def write(path, metadata=None, **columns):
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns).replace_schema_metadata(metadata), path)


def pairs(path, rows=5, mark="", **metadata):
    write(path, metadata, query=[f"q{mark}{at}" for at in range(rows)], positive=[f"p{mark}{at}" for at in range(rows)])


def test_all_tables_of_a_folder_are_found(opened, folder):
    pairs(folder / "top.parquet", task="weak pairs", language="zh-en", licence="MIT")
    pairs(folder / "parts" / "a.parquet", mark="a")
    pairs(folder / "parts" / "b.parquet", mark="b")
    pairs(folder / ".cache" / "c.parquet")
    (folder / "lines.jsonl").write_text(json.dumps({"anchor": "q", "pos": ["p"]}) + "\n", encoding="utf-8")
    with gzip.open(folder / "zipped.jsonl.gz", "wt", encoding="utf-8") as file:
        file.write(json.dumps({"query": "问", "positive": "答"}) + "\n")
    data = opened()
    assert [(s.info.name, s.rows, s.form) for s in data.sources] == [
        ("lines", 1, "contrastive"),
        ("parts", 10, "contrastive"),
        ("top", 5, "contrastive"),
        ("zipped", 1, "contrastive"),
    ]
    top = data.describe()[2]
    assert (top.query_prompt, top.languages, top.licence, top.visits) == ("", ("zh", "en"), "MIT", 5)
    asked = [Visit(3, 0, 0), Visit(1, 7, 0), Visit(0, 0, 0), Visit(1, 2, 0)]
    assert [example.query for example in data.examples(asked)] == ["问", "qb2", "q", "qa2"]


def test_a_listed_source_is_read_as_it_says(opened, folder, tmp_path):
    pairs(tmp_path / "elsewhere.parquet")
    pairs(folder / "here.parquet", language="zh")
    sources = (
        Source(name="far", path=str(tmp_path / "elsewhere.parquet"), instruction="Find it", weight=2),
        Source(name="near", path="here.parquet", cap=2),
    )
    data = opened(sources)
    assert data.sources[0].info.query_prompt == "Instruct: Find it \n Query: "
    assert [row.visits for row in data.describe()] == [10, 2]
    assert data.sources[1].info.languages == {"zh"}


def test_the_same_visit_gives_the_same_example_and_another_visit_another(opened, folder):
    negatives = [[f"n{at}" for at in range(20)]]
    write(folder / "a.parquet", query=["q"], pos=[["p1", "p2"]], neg=negatives)
    write(folder / "b.parquet", query=["q"], pos=[["p1", "p2"]], neg=negatives)
    first, second = opened(), opened()
    visits = [Visit(source, 0, visit) for source in range(2) for visit in range(5)]
    made = first.examples(visits)
    assert second.examples(visits[::-1])[::-1] == made
    assert len({example.key for example in made}) == 10
    assert len({example.negatives for example in made}) == 10
    assert all(0 <= example.key < 2**63 for example in made)


LABELLED = {"query": [f"{name} text {at}" for name in "abc" for at in range(4)], "label": list("aaaabbbbcccc")}


@pytest.mark.parametrize("named", [True, False])
def test_a_share_of_labelled_rows_goes_by_example(opened, folder, named):
    names = {"positive": [f"class {label}" for label in LABELLED["label"]]} if named else {}
    write(folder / "t.parquet", {"task": "classification"}, **LABELLED, **names)
    title = "class {}" if named else "{}"
    by_example = 0
    for example in opened(example_share=0.25).examples([Visit(0, row, at) for at in range(40) for row in range(12)]):
        assert example.label == example.query[0]
        assert example.source.task == "Classification"
        assert title.format(example.label) in example.positives
        if example.positive == title.format(example.label):
            assert set(example.negatives) == {title.format(other) for other in "abc" if other != example.label}
        else:
            by_example += 1
            assert example.positive[0] == example.label
            assert example.positive != example.query
            assert 2 <= len(set(example.negatives)) == len(example.negatives) <= 3
            assert example.label not in {negative[0] for negative in example.negatives}
            assert len({negative[0] for negative in example.negatives}) == 2
            assert list(example.negative_labels) == [negative[0] for negative in example.negatives]
    assert 90 < by_example < 150


def test_positives_of_a_clustering_source_are_texts_of_the_class(opened, folder):
    texts = {"positive": [f"{label} given" for label in LABELLED["label"]], "negatives": [["far"]] * 12}
    write(folder / "t.parquet", {"task": "clustering"}, **LABELLED, **texts)
    by_name, by_example = (opened(example_share=share).examples([Visit(0, 0, 0)])[0] for share in (0, 1))
    assert (by_name.positive, set(by_name.negatives)) == ("a", {"b", "c"})
    assert by_example.positive in LABELLED["query"][1:4]
    assert {"a", "a given"} < set(by_example.positives)


def test_a_text_alone_in_its_class_goes_by_what_is_given(opened, folder):
    alone = {"query": ["x", "y", "y2"], "label": ["a", "b", "b"]}
    write(folder / "given.parquet", {"task": "clustering"}, **alone, positive=["near x", "near y", "near y"])
    write(folder / "none.parquet", {"task": "classification"}, **alone)
    given, none = opened(example_share=1).examples([Visit(0, 0, 0), Visit(1, 0, 0)])
    assert given.positive == "near x"
    assert (none.positive, none.label) == ("a", "a")


def test_texts_come_from_every_source_in_turn(opened, folder):
    pairs(folder / "large.parquet", 600, "L")
    pairs(folder / "small.parquet", 2, "S")
    texts = list(opened().texts(8))
    assert [text[1] for text in texts] == list("LSLSLSLS")
    assert len(list(opened().texts(10**6))) == 2 * 602


def test_a_digest_follows_the_content(opened, folder, tmp_path):
    pairs(folder / "a.parquet")
    pairs(folder / "b.parquet", mark="x")
    before = opened().digests()
    assert before["a"] != before["b"]
    (folder / "a.parquet").rename(folder / "c.parquet")
    after = opened().digests()
    assert (after["c"], after["b"]) == (before["a"], before["b"])


def test_a_table_written_anew_is_read_anew(opened, folder):
    for mark in ("x", "y"):
        pairs(folder / "a.parquet", mark=mark)
        assert opened().examples([Visit(0, 3, 0)])[0].query == f"q{mark}3"


def break_nothing(folder):
    """An empty folder."""


def break_empty(folder):
    pairs(folder / "a.parquet", 0)


def break_lines(folder):
    (folder / "a.jsonl").write_text("", encoding="utf-8")


def break_json(folder):
    (folder / "a.jsonl").write_text('{"query": "a"\nnot json', encoding="utf-8")


def break_parquet(folder):
    (folder / "a.parquet").write_bytes(b"PAR1 and nothing more")


def break_column(folder):
    write(folder / "a.parquet", query=["a"], answer=["b"])


def break_mixture(folder):
    pairs(folder / "both" / "a.parquet")
    (folder / "both" / "b.jsonl").write_text('{"query": "a", "pos": "b"}\n', encoding="utf-8")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (break_nothing, "no parquet or JSONL file in"),
        (break_empty, "source a is empty"),
        (break_lines, "source a is empty"),
        (break_json, r"source a cannot be read \(.*a.jsonl"),
        (break_parquet, r"source a cannot be read \(.*a.parquet"),
        (break_column, "source a has the columns query, answer; training needs"),
        (break_mixture, "source both mixes parquet and JSONL"),
    ],
)
def test_what_is_wrong_with_a_table_is_one_sentence(opened, folder, make, message):
    make(folder)
    with pytest.raises(InvalidData, match=message) as caught:
        opened()
    assert "\n" not in str(caught.value)


def test_what_is_not_there_is_named(opened, folder):
    for root in ("", str(folder / "absent")):
        with pytest.raises(InvalidData, match="set data.root"):
            opened(root=root)
    with pytest.raises(InvalidData, match="source s is not at .*absent.parquet"):
        opened((Source(name="s", path="absent.parquet"),))
    with pytest.raises(InvalidData, match="owner/name cannot be fetched from the hub"):
        opened(root="hub:owner/name")


def test_a_hub_data_set_is_fetched_for_the_sources_that_are_listed(opened, folder, monkeypatch):
    import huggingface_hub

    pairs(folder / "Wanted_One" / "train.parquet")
    asked = []

    class Entry:
        def __init__(self, path):
            self.path = path

    monkeypatch.setattr(
        huggingface_hub.HfApi,
        "list_repo_tree",
        lambda *_, **__: [Entry("Wanted_One"), Entry("other"), Entry("README.md")],
    )
    monkeypatch.setattr(
        huggingface_hub, "snapshot_download", lambda name, **how: asked.append((name, how["allow_patterns"])) or folder
    )
    data = opened((Source(name="s", path="wanted one"),), root="hub:owner/name")
    assert data.sources[0].rows == 5
    assert asked == [("owner/name", ["Wanted_One", "Wanted_One/*"])]


def test_published_tables_are_found_by_letters_and_digits(opened, folder):
    query = "Instruct: Given a query \n Query: who"
    for name in ("llm_sts_monolingual", "NQ", "not-listed"):
        rows = {"query": [query], "pos": [["p"]], "neg": [["n1", "n2"]], "relevance": [0.9]}
        write(folder / name / "train-00000-of-00001.parquet", **rows)
    published = published_finetuning()
    there = tuple(source for source in published.sources if source.name in ("NQ", "llm STS monolingual"))
    data = opened(there)
    assert [source.rows for source in data.sources] == [1, 1]
    (example,) = data.examples([Visit(1, 0, 0)])
    assert (example.query, example.source.query_prompt, example.score) == (query, "", None)
    assert set(example.negatives) == {"n1", "n2"}
    with pytest.raises(InvalidData, match="source mMARCO-zh is not at"):
        opened(published.sources)


def test_published_row_counts_are_those_of_the_inventories():
    pretraining, finetuning = published_pretraining(), published_finetuning()
    assert (len(pretraining.sources), len(finetuning.sources)) == (25, 62)
    assert sum(source.rows for source in finetuning.sources) == 3_655_225
    assert len(published_finetuning(overlaps=True).sources) == 83
    described = {row.source: row for row in describe_declared(pretraining)}
    assert described["wikipedia"].visits == 37_500_000
    assert described["reddit"].visits is None
    assert described["csl"].languages == ("zh",)


def test_a_large_table_is_opened_and_visited_without_being_read(opened, folder):
    rows = 200_000
    texts = [f"{at} " + "text " * 20 for at in range(rows)]
    write(folder / "large.parquet", query=texts, positive=texts)  # 44 MB of text
    opened()  # writes the cache once
    pool = pa.proxy_memory_pool(pa.system_memory_pool())
    default = pa.default_memory_pool()
    pa.set_memory_pool(pool)
    tracemalloc.start()
    try:
        data = opened()
        plan = data.plan(64)
        for step in range(10):
            assert len(data.examples(plan.batch(step * 300).visits)) == 64
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        pa.set_memory_pool(default)
    assert 0 < pool.max_memory() < 2**20
    assert peak < 8 * 2**20
