"""Texts are cut where the checkpoint's own tokenizer would cut them, without reading all of a long one."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny import tiny_tokenizer

from embedder.checkpoint import load_tokenizer
from embedder.encoder import Embedder
from embedder.tokenization import TextTokenizer, clean, token_batches

WORDS = [
    "the",
    "bees",
    "honey",
    "Instruct:",
    "蜜蜂",
    "长江是亚洲最长的河流。",
    " ",
    "\n\n",
    "x" * 150,
    "é",
    "🐝",
    "3.11",
    "{}",
]
TEXTS = st.one_of(st.text(max_size=200), st.lists(st.sampled_from(WORDS), max_size=120).map("".join))
LENGTHS = st.sampled_from([4, 5, 8, 31, 128])


@pytest.fixture(scope="session")
def tokenizers(minilm_folder):
    """The tokenizers of Hugging Face that ours has to agree with: byte-level BPE and WordPiece."""
    return {"bpe": tiny_tokenizer(), "wordpiece": load_tokenizer(minilm_folder)}


def own_truncation(tokenizer, text, max_tokens):
    """Ids and whether anything was cut, by the tokenizer's own doing."""
    ids = tokenizer(text, truncation=True, max_length=max_tokens)["input_ids"]
    whole = tokenizer(text, truncation=False)["input_ids"]
    return ids, len(whole) > max_tokens


@pytest.mark.parametrize("kind", ["bpe", "wordpiece"])
@given(text=TEXTS.filter(bool), max_tokens=LENGTHS)
def test_truncation_is_the_tokenizers_own(tokenizers, kind, text, max_tokens):
    row = TextTokenizer(tokenizers[kind], max_tokens).tokenize([text])[0]
    assert (row.ids, row.truncated) == own_truncation(tokenizers[kind], text, max_tokens)


def test_a_token_longer_than_any_guess_is_not_cut(tokenizers):
    """Where tokens are long and no white space helps, the first guess ends inside one that is kept."""
    word = "antidisestablishmentarianismfloccinaucinihilipilification"
    learned = tokenizers["bpe"].train_new_from_iterator([word] * 9, 400, show_progress=False)
    assert len(learned(word)["input_ids"]) == 1
    row = TextTokenizer(learned, 4).tokenize([word * 100])[0]
    assert (row.ids, row.truncated) == own_truncation(learned, word * 100, 4)


LONG_WORDS = {
    "one": "information " * 248 + "9f8e7d6c5b4a" * 20,
    "two at a dash": "communication " * 215 + "9f8e7d6c5b4a" * 9 + "-" + "9f8e7d6c5b4a" * 20,
}


@pytest.mark.parametrize("text", LONG_WORDS.values(), ids=LONG_WORDS)
def test_a_word_that_is_unknown_as_a_whole_is_not_cut_into_known_parts(tokenizers, text):
    """WordPiece reads a word of more than 100 characters as one unknown token, so a cut inside it changes it."""
    row = TextTokenizer(tokenizers["wordpiece"], 256).tokenize([text])[0]
    assert (row.ids, row.truncated) == own_truncation(tokenizers["wordpiece"], text, 256)


def test_special_tokens_count(tokenizers):
    row = TextTokenizer(tokenizers["wordpiece"], 8).tokenize(["bees make honey from nectar and bread from pollen"])[0]
    cls, sep = tokenizers["wordpiece"].cls_token_id, tokenizers["wordpiece"].sep_token_id
    assert (len(row.ids), row.ids[0], row.ids[-1], row.truncated) == (8, cls, sep, True)


class Spy:
    """A tokenizer that remembers the longest text it was given."""

    def __init__(self, tokenizer):
        self.tokenizer, self.longest = tokenizer, 0

    def encode_batch(self, texts):
        self.longest = max(self.longest, *map(len, texts))
        return self.tokenizer.encode_batch(texts)


@pytest.mark.parametrize("word", ["bees make honey ", "蜜蜂酿造蜂蜜。", "a"])
def test_only_the_head_of_a_long_text_is_read(tokenizers, word):
    text = (word * 100_000)[:100_000]
    tokenizer = TextTokenizer(tokenizers["bpe"], 128)
    spy = tokenizer._cutting = Spy(tokenizer._cutting)
    row, short = tokenizer.tokenize([text, "short"])
    assert (row.ids, row.truncated) == own_truncation(tokenizers["bpe"], text, 128)
    assert not short.truncated
    assert spy.longest < 10_000


def test_text_that_fills_no_tokens_is_read_on(tokenizers):
    """WordPiece drops white space: the words behind it still count."""
    text = " " * 5000 + "honey"
    row = TextTokenizer(tokenizers["wordpiece"], 16).tokenize([text])[0]
    assert (row.ids, row.truncated) == (tokenizers["wordpiece"]("honey")["input_ids"], False)


@given(st.text(st.characters(categories=["Cs", "Ll", "Lo"]), max_size=60))
def test_lone_surrogates_become_the_replacement_character(tokenizers, text):
    tokenizer = TextTokenizer(tokenizers["bpe"], 64)
    replaced = "".join("\N{REPLACEMENT CHARACTER}" if "\ud800" <= char <= "\udfff" else char for char in text)
    assert clean(text) == replaced
    assert tokenizer.tokenize([text]) == tokenizer.tokenize([replaced])
    assert np.array_equal(tokenizer.token_spans(text), tokenizer.token_spans(replaced))


def test_an_empty_text_is_one_token(tokenizers):
    assert [row.ids for row in TextTokenizer(tokenizers["bpe"], 16).tokenize(["", "a"])][0] == [1]  # <eos>
    framed = TextTokenizer(tokenizers["wordpiece"], 16).tokenize([""])[0]
    assert framed.ids == tokenizers["wordpiece"]("")["input_ids"]


def test_no_texts_give_no_rows(tokenizers):
    assert TextTokenizer(tokenizers["bpe"], 16).tokenize([]) == []


@given(TEXTS)
def test_byte_level_spans_cover_the_text(tokenizers, text):
    spans = TextTokenizer(tokenizers["bpe"], 4).token_spans(text)  # whatever the limit, the whole text
    assert spans.shape == (len(spans), 2)
    assert (np.diff(spans, axis=0) >= 0).all()
    covered = {char for start, end in spans for char in range(start, end)}
    assert covered == set(range(len(text)))


def test_wordpiece_spans_cover_all_but_white_space(tokenizers):
    text = "Bees make honey. 蜜蜂 酿造\u3000蜂蜜!\n"
    spans = TextTokenizer(tokenizers["wordpiece"], 4).token_spans(text)
    assert "".join(text[start:end] for start, end in spans) == "".join(text.split())


@given(st.lists(st.integers(1, 600), max_size=80), st.integers(1, 3000))
def test_batches_hold_every_row_once_within_the_budget_longest_first(lengths, budget):
    batches = token_batches(lengths, budget)
    order = [row for batch in batches for row in batch]
    assert sorted(order) == list(range(len(lengths)))
    assert [lengths[row] for row in order] == sorted(lengths, reverse=True)
    for batch in batches:
        assert len(batch) == 1 or len(batch) * max(lengths[row] for row in batch) <= budget


def partitions(row):
    """All ways to cut a list into runs."""
    if not row:
        yield []
    for end in range(1, len(row) + 1):
        for rest in partitions(row[end:]):
            yield [row[:end], *rest]


@given(st.lists(st.integers(1, 40), max_size=7), st.integers(1, 120), st.integers(0, 30))
def test_no_other_batches_within_the_budget_cost_less(lengths, budget, overhead):
    def cost(runs):
        return sum(len(run) * run[0] + overhead for run in runs)

    ordered = sorted(lengths, reverse=True)
    allowed = (
        runs for runs in partitions(ordered) if all(len(run) == 1 or len(run) * run[0] <= budget for run in runs)
    )
    batches = token_batches(lengths, budget, overhead)
    assert cost([[lengths[row] for row in batch] for batch in batches]) == min(map(cost, allowed))


def test_batches_are_filled():
    assert token_batches([3, 5, 4, 5], 10) == [[1, 3], [2, 0]]


def test_a_token_the_model_has_no_vector_for_is_read_as_text(tiny_checkpoint):
    tokenizer = load_tokenizer(tiny_checkpoint())
    beyond = tokenizer.unk_token  # transformers adds it to what the checkpoint has
    assert len(tokenizer) == 401
    assert TextTokenizer(tokenizer, 128).tokenize([beyond])[0].ids == [400]
    ids = TextTokenizer(tokenizer, 128, 400).tokenize([f"Honey {beyond}"])[0].ids
    assert max(ids) < 400
    assert tokenizer.decode(ids) == f"Honey {beyond}"
    assert Embedder.load(str(tiny_checkpoint())).encode_documents([beyond]).shape == (1, 32)
