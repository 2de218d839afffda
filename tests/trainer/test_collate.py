"""Batches: each text once, rows laid out over the texts, and passes that stay within their budget."""

import pytest
import torch
from tiny import tiny_tokenizer

from embedder.tokenization import TextTokenizer
from trainer.collate import Collator, class_key, make_chunks, text_key
from trainer.formats import Example, SourceInfo

ASK = "Instruct: ask \n Query: "
PLAIN = SourceInfo("plain", "", "", frozenset({"en"}), "contrastive", "Retrieval")
ASKED = SourceInfo("asked", ASK, "", frozenset({"en"}), "contrastive", "Retrieval")
TOKENIZER = tiny_tokenizer()


def example(query, positive, negatives=(), source=PLAIN, key=1, **more):
    fields = {"positives": (positive,), "label": None, "score": None} | more
    return Example(key, source, query, positive, tuple(negatives), **fields)


@pytest.fixture(scope="module")
def collate():
    return Collator(TextTokenizer(TOKENIZER, 12), TextTokenizer(TOKENIZER, 24), 3)


def ids_of(text, limit=24):
    return TextTokenizer(TOKENIZER, limit).tokenize([text])[0].ids


# Layout


def test_each_text_is_there_once_and_the_layout_leads_to_it(collate):
    rows = [
        example("bees", "honey", ("stone", "river"), key=5),
        example("fox", "stone", ("honey", "dog", "bees"), key=6),
        example("bees", "honey", (), ASKED, key=7),
    ]
    batch = collate(rows)
    layout = batch.layout
    # bees (query), honey, stone, river, fox, dog, bees (document), and the instructed query: eight texts.
    assert len(batch.ids) == len(layout.texts) == 8
    for row, made in enumerate(rows):
        assert batch.ids[layout.queries[row]] == ids_of(made.source.query_prompt + made.query, 12)
        assert batch.ids[layout.positives[row]] == ids_of(made.positive)
        there = layout.negatives[row][layout.negatives[row] >= 0]
        assert [batch.ids[place] for place in there] == [ids_of(text) for text in made.negatives]
        assert layout.texts[layout.queries[row]] == text_key(made.query)  # prompts left out
        assert layout.texts[layout.positives[row]] == text_key(made.positive)
        assert [int(layout.texts[place]) for place in there] == [text_key(text) for text in made.negatives]
    assert layout.counts.tolist() == [2, 3, 0]
    assert layout.negatives[0, 2] == -1  # those that are there stand first
    assert layout.positives[0] == layout.positives[2] == layout.negatives[1, 0]
    assert layout.queries[0] != layout.negatives[1, 2]  # another side is another text
    assert layout.queries[0] != layout.queries[2]  # so is another prompt
    assert layout.rows.tolist() == [5, 6, 7]
    assert batch.sources == ["plain", "plain", "asked"]
    assert batch.tokens == sum(len(row) for row in batch.ids)


def test_all_known_positives_and_the_query_are_named(collate):
    batch = collate([example("q", "a", positives=("a", "b", "B")), example("r", "c")])
    known = [set(row) - {0} for row in batch.layout.known.tolist()]
    assert known == [{text_key("q"), text_key("a"), text_key("b")}, {text_key("r"), text_key("c")}]
    assert batch.layout.known.shape == (2, 3)


def test_queries_and_documents_are_cut_at_their_own_lengths(collate):
    long = "bees make honey from nectar " * 9
    batch = collate([example(long, long, (long + "x",))])
    assert [len(row) for row in batch.ids] == [12, 24, 24]
    assert len(batch.ids) == 3  # different texts may be equal once they are cut


def test_classes_are_those_of_their_source(collate):
    other = SourceInfo("other", "", "", frozenset(), "contrastive", "Classification")
    rows = [
        example("a", "b", ("c", "d"), label="bee", negative_labels=("fox", None)),
        example("e", "f", ("g",), label="fox"),
        example("h", "i", ("j",), other, label="bee", negative_labels=("fox",)),
    ]
    layout = collate(rows).layout
    assert layout.labels[0] == class_key("plain", "bee") != layout.labels[2]
    assert layout.negative_labels[0].tolist() == [class_key("plain", "fox"), 0, 0]
    assert layout.negative_labels[0, 0] == layout.labels[1] != layout.negative_labels[2, 0]
    assert layout.negative_labels[1].tolist() == [0, 0, 0]
    assert collate([example("a", "b")]).layout.labels.tolist() == [0]


def test_more_negatives_than_wanted_are_left_out():
    tokenizer = TextTokenizer(TOKENIZER, 24)
    many = example("q", "p", "abcd", negative_labels=tuple("wxyz"))
    layout = Collator(tokenizer, tokenizer, 2)([many]).layout
    assert layout.negatives.shape == layout.negative_labels.shape == (1, 2)
    bare = Collator(tokenizer, tokenizer, 0)([many])
    assert bare.layout.negatives.shape == (1, 0)
    assert len(bare.ids) == 2


def test_graded_pairs_bring_their_scores(collate):
    graded = SourceInfo("pairs", "", "", frozenset(), "graded", "STS")
    layout = collate([example("a", "b", source=graded, score=0.25), example("a", "c", source=graded, score=1.0)]).layout
    assert layout.graded
    assert layout.scores.tolist() == [0.25, 1.0]
    assert layout.scores.dtype == torch.float32
    assert not collate([example("a", "b")]).layout.graded


def test_nobody_teaches_until_a_teacher_is_asked(collate):
    layout = collate([example("a", "b", ("c",))]).layout
    assert layout.teachers.tolist() == [-1]
    assert layout.taught.shape == (1, 2 + 3, 0)


# Keys


def test_keys_see_through_case_and_spacing_and_nothing_else():
    assert text_key("Bees  make\thoney\n") == text_key(" bees make HONEY") == text_key("BEES make honey")
    assert text_key("Straße") == text_key("STRASSE")
    different = ["bees make honey", "bees make honey.", "beesmake honey", "", "蜜蜂", "\ud800", "0"]
    keys = [text_key(text) for text in different]
    assert len(set(keys)) == len(keys)
    assert all(0 < key < 2**63 for key in keys)


def test_class_keys_keep_source_and_label_apart():
    assert class_key("a", None) == 0
    assert len({class_key("a b", "c"), class_key("a", "b c"), class_key("a", "c"), text_key("c")}) == 4


# Chunks


def texts(*lengths):
    return [[number + 1] * length for number, length in enumerate(lengths)]


@pytest.mark.parametrize("budget", [8, 20, 50, 10_000])
def test_chunks_hold_every_text_once_within_the_budget(budget):
    torch.manual_seed(0)
    ids = texts(*torch.randint(1, 30, (40,)).tolist())
    chunks = make_chunks(ids, budget, pad_id=0)
    assert sorted(row for chunk in chunks for row in chunk.rows) == list(range(40))
    for chunk in chunks:
        assert chunk.input_ids.shape == chunk.attention_mask.shape
        assert chunk.input_ids.numel() <= budget or len(chunk.rows) == 1
        for row, found, mask in zip(chunk.rows, chunk.input_ids.tolist(), chunk.attention_mask.tolist(), strict=True):
            padding = len(found) - len(ids[row])
            assert found == ids[row] + [0] * padding
            assert mask == [1] * len(ids[row]) + [0] * padding
        assert chunk.attention_mask.sum(dim=1).max() == chunk.input_ids.shape[1]


def test_padding_is_the_models_own():
    chunk = make_chunks(texts(1, 2), 100, pad_id=7)[0]
    assert chunk.input_ids.tolist() == [[2, 2], [1, 7]]
    assert chunk.attention_mask.tolist() == [[1, 1], [1, 0]]


def test_as_many_chunks_as_are_wanted():
    ids = texts(*[5] * 10)
    assert len(make_chunks(ids, 10_000, 0)) == 1
    for wanted in (1, 3, 7, 10):
        chunks = make_chunks(ids, 10_000, 0, at_least=wanted)
        assert len(chunks) == wanted
        assert sorted(row for chunk in chunks for row in chunk.rows) == list(range(10))
        assert all(chunk.rows for chunk in chunks)
    assert len(make_chunks(ids, 10_000, 0, at_least=99)) == 10  # there is no more to split
    assert len(make_chunks(ids, 5, 0, at_least=2)) == 10
