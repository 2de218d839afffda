"""Examples keep their promises: no repeats, no positive among the negatives, the same visit the same draw."""

from collections import Counter

import pyarrow as pa
import pytest

from embedder.prompts import UnknownTask, instruction_for, wrap
from trainer.columns import (
    Columns,
    InvalidData,
    Row,
    check_table,
    find_columns,
    prompts_of,
    read_rows,
    tell_form,
    with_metadata,
)
from trainer.config import Source
from trainer.draws import derive
from trainer.formats import LabelIndex, SourceInfo, class_example, contrastive_example, graded_example, label_example

INFO = SourceInfo("s", "", "", frozenset({"en"}), "contrastive", "Retrieval")
KEYS = [derive(1, at) >> 1 for at in range(300)]


def row(**parts):
    return Row(**({"query": "q", "positives": ("p",), "negatives": (), "label": None, "score": None} | parts))


def form_of(table, **settings):
    source = Source(name="s", path="", **settings)
    columns = find_columns(table.column_names, "s")
    form = tell_form(source, table, columns)
    check_table("s", table, columns, form)
    return form


def test_one_of_several_positives_is_drawn_and_all_are_known():
    many = row(positives=("a", "b", "c", "a"))
    made = [contrastive_example(INFO, key, many, 0) for key in KEYS]
    assert {example.positive for example in made} == {"a", "b", "c"}
    assert {example.positives for example in made} == {("a", "b", "c")}
    assert {example.negatives for example in made} == {()}


def test_negatives_are_drawn_without_repeats_query_or_positives():
    many = row(positives=("p", "also"), negatives=("n1", "q", "n2", "n1", "p", "also", "n3", "n4"))
    made = [contrastive_example(INFO, key, many, 3) for key in KEYS]
    assert all(len(set(example.negatives)) == 3 for example in made)
    counts = Counter(text for example in made for text in example.negatives)
    assert set(counts) == {"n1", "n2", "n3", "n4"}
    assert min(counts.values()) > 180
    assert set(contrastive_example(INFO, 1, many, 9).negatives) == {"n1", "n2", "n3", "n4"}


def test_the_label_of_a_contrastive_row_does_not_make_a_class():
    # Entailment pairs all bear the label "entailment": as a class it would mask every in-batch negative.
    assert contrastive_example(INFO, 1, row(label="entailment"), 0).label is None


def test_a_row_without_a_positive_is_an_error():
    with pytest.raises(InvalidData, match="without a positive"):
        contrastive_example(INFO, 1, row(positives=()), 0)
    with pytest.raises(InvalidData, match="without a second text"):
        graded_example(INFO, 1, row(positives=(), score=0.5))


def test_a_graded_row_is_a_pair_and_its_score():
    example = graded_example(INFO, 1, row(score=0.25, negatives=("n",), label="0"))
    assert (example.query, example.positive, example.score) == ("q", "p", 0.25)
    assert (example.negatives, example.label) == ((), None)


def test_labels_are_indexed_across_chunks():
    labels = ["b", "a", "b", "c", "a", "b"]
    index = LabelIndex("s", pa.chunked_array([labels[:2], labels[2:]]))
    assert [index.names[code] for code in index.codes] == labels
    assert [labels[first] for first in index.firsts] == index.names
    assert index.peers(3, 5) == []
    for key in KEYS[:50]:
        for at, label in enumerate(labels):
            peers, strangers = index.peers(at, key), index.strangers(at, key, 4)
            assert at not in peers
            assert {labels[peer] for peer in peers} <= {label}
            assert len(set(peers)) == len(peers) == labels.count(label) - 1
            assert label not in {labels[stranger] for stranger in strangers}
            assert len({labels[stranger] for stranger in strangers}) == 2  # both others come before one comes twice
            others = [index.names[code] for code in index.other_labels(int(index.codes[at]), key, 7)]
            assert sorted(others) == sorted({"a", "b", "c"} - {label})


def test_one_label_alone_is_an_error():
    with pytest.raises(InvalidData, match="single label 'a'"):
        LabelIndex("s", pa.chunked_array([["a", "a"]]))


def test_label_based_triplets_prefer_the_negatives_of_the_row():
    given = label_example(INFO, 3, row(negatives=("x", "p"), label="p"), ["y", "z"], 7)
    assert (given.negatives, given.label) == (("x",), "p")
    drawn = label_example(INFO, 3, row(label="p"), ["y", "z", "p"], 7)
    assert set(drawn.negatives) == {"y", "z"}


def test_example_based_triplets_pass_over_the_query_itself():
    classes = {"s": "d", "q": "d", "name": "e", "t": "e"}
    made = class_example(INFO, 3, row(positives=("name",), label="c"), ["q", "other"], classes, 7)
    assert (made.positive, made.label) == ("other", "c")
    assert set(made.positives) == {"other", "name"}
    assert sorted(zip(made.negatives, made.negative_labels, strict=True)) == [("s", "d"), ("t", "e")]
    assert class_example(INFO, 3, row(), ["q"], {"s": "d"}, 7) is None


@pytest.mark.parametrize(
    ("table", "settings", "form"),
    [
        ({"query": ["a"], "pos": [["b"]], "neg": [["c"]], "relevance": [0.5]}, {}, "contrastive"),
        ({"anchor": ["a"], "positive": ["b"]}, {}, "contrastive"),
        ({"query": ["a"], "positive": ["b"], "score": [0.5]}, {"task": "STS"}, "graded"),
        (
            {"query": ["a"], "positive": ["b"], "score": [0.5], "negatives": [[]]},
            {"task": "PairClassification"},
            "graded",
        ),
        ({"query": ["a"], "positive": ["b"], "score": [0.5], "negatives": [["c"]]}, {"task": "STS"}, "contrastive"),
        ({"query": ["a"], "positive": ["b"], "score": [None], "label": ["entailment"]}, {"task": "STS"}, "contrastive"),
        ({"query": ["a"], "positive": ["b"], "score": [0.5]}, {"form": "contrastive"}, "contrastive"),
        ({"query": ["a"], "positive": ["b"], "label": ["b"]}, {"task": "Classification"}, "labelled"),
        ({"query": ["a"], "positive": ["b"], "label": ["b"]}, {"task": "TNews"}, "labelled"),
        ({"query": ["a"], "positive": ["b"], "label": ["department"]}, {}, "contrastive"),
        ({"text": ["a"], "label": [3]}, {"task": "Classification"}, "labelled"),
    ],
)
def test_the_form_is_told_from_columns_and_task(table, settings, form):
    assert form_of(pa.table(table), **settings) == form


@pytest.mark.parametrize(
    ("table", "settings", "message"),
    [
        ({"positive": ["b"]}, {}, "needs a query"),
        ({"query": ["a"]}, {}, "needs a query"),
        ({"query": ["a"], "positive": ["b"], "score": [0.5]}, {}, "set its task to STS"),
        (
            {"query": ["a"], "positive": ["b"], "score": [4.5]},
            {"task": "STS"},
            "column score of s runs from 4.5 to 4.5",
        ),
        ({"query": ["a", "a"], "positive": ["b", "b"], "score": [0.5, None]}, {"task": "STS"}, "empty in 1 rows"),
        ({"query": ["a"], "positive": ["b"]}, {"form": "graded"}, "no score column"),
        ({"query": ["a"], "positive": ["b"]}, {"form": "labelled"}, "no label column"),
        ({"text": ["a", "b"], "label": ["x", None]}, {}, "column label of s is empty in 1"),
        ({"query": ["a", None], "positive": ["b", "c"]}, {}, "column query of s is empty in 1"),
        ({"query": ["a", ""], "positive": ["b", "c"]}, {}, "rows without text"),
        ({"query": ["a", "b"], "positive": [["b"], []]}, {}, "rows without text"),
        ({"query": [1], "positive": ["b"]}, {}, "must hold texts"),
        ({"query": ["a"], "positive": ["b"], "negative": [[1]]}, {}, "must hold texts"),
    ],
)
def test_what_does_not_fit_is_told_in_a_sentence(table, settings, message):
    with pytest.raises(InvalidData, match=message):
        form_of(pa.table(table), **settings)


def test_single_texts_lists_and_nothing_are_read_alike():
    columns = Columns("q", "p", "n", "l", None)
    table = pa.table({"q": ["a", "b"], "p": [["x", "", None], ["y"]], "n": ["m", None], "l": [1, 2]})
    assert read_rows(table, columns) == [Row("a", ("x",), ("m",), "1", None), Row("b", ("y",), (), "2", None)]


def test_a_table_says_what_its_source_does_not():
    columns = find_columns(["query", "positive"], "s")
    bare = Source(name="s", path="")
    weak = with_metadata(bare, {"task": "weakly supervised pairs", "language": "en-code", "licence": "MIT"}, columns)
    assert (weak.instruction, weak.languages, weak.licence) == ("", ("en",), "MIT")
    pairs = with_metadata(bare, {"task": "pair", "language": "zh"}, columns)
    assert (pairs.task, pairs.languages) == ("PairClassification", ("zh",))
    told = Source(name="s", path="", task="TNews", languages=("zh",), licence="own")
    assert with_metadata(told, {"task": "pair", "language": "en", "licence": "MIT"}, columns) == told


def test_prompts_are_those_of_the_registry_on_both_sides():
    similar = wrap(instruction_for("STS", "query"))
    assert prompts_of(Source(name="s", path="", task="STS")) == (similar, similar)
    assert prompts_of(Source(name="s", path="")) == (wrap(instruction_for("Retrieval", "query")), "")
    assert prompts_of(Source(name="s", path="", task="STS", instruction="")) == ("", "")
    assert prompts_of(Source(name="s", path="", instruction="Find")) == ("Instruct: Find \n Query: ", "")
    with pytest.raises(UnknownTask):
        prompts_of(Source(name="s", path="", task="Retreival"))
