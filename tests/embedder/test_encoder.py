"""What may be asked of an encoder, and what must not change its answers."""

import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from embedder import Embedder
from embedder.encoder import InvalidInput
from embedder.hardware import UnknownSetting

WORDS = ["bees", "make", "honey", "蜜蜂", "用花蜜酿造蜂蜜", "3.11", "\n", "🐝"]
SENTENCES = st.lists(st.sampled_from(WORDS), max_size=40).map(" ".join)
TEXTS = st.lists(st.one_of(st.text(max_size=20), SENTENCES), max_size=6)
MIXED = ["", "bees make honey", "长江是亚洲最长的河流。", "word " * 200, "a", "Mixed 中文 and English, 3.11 {}."]


def close(left, right):
    return left.shape == right.shape and np.abs(left - right).max(initial=0) <= 1e-6


@pytest.fixture(scope="session")
def other_batches(tiny_checkpoint):
    """The same model with other budgets: every text alone, a few together, all together."""
    folder = str(tiny_checkpoint("qwen2"))
    return [Embedder.load(folder, dtype="float32", device="cpu", batch_tokens=tokens) for tokens in (1, 200, 10**6)]


@settings(max_examples=15)
@given(texts=TEXTS, random=st.randoms(use_true_random=False))
def test_permuting_texts_permutes_vectors(encoder, texts, random):
    order = list(range(len(texts)))
    random.shuffle(order)
    vectors = encoder.encode_documents(texts)
    assert close(encoder.encode_documents([texts[row] for row in order]), vectors[order])


@settings(max_examples=15)
@given(texts=TEXTS)
def test_batching_does_not_change_a_vector(encoder, other_batches, texts):
    vectors = encoder.encode_documents(texts)
    for other in other_batches:
        assert close(other.encode_documents(texts), vectors)
    for text, vector in zip(texts, vectors, strict=True):
        assert close(encoder.encode_documents([text])[0], vector)


@pytest.mark.parametrize("neighbour", ["a", "word " * 60, "蜜蜂" * 500])
def test_padding_does_not_change_a_vector(encoder, neighbour):
    alone = encoder.encode_queries(["bees make honey"])
    assert close(encoder.encode_queries(["bees make honey", neighbour])[:1], alone)
    assert close(encoder.encode_queries([neighbour, "bees make honey"])[1:], alone)


def test_texts_have_different_vectors(encoder):
    vectors = encoder.encode_documents(MIXED)
    assert (vectors @ vectors.T - np.eye(len(MIXED))).max() < 0.999


def test_a_window_of_texts_is_no_limit(encoder, monkeypatch):
    """Longer lists are tokenised in parts: each part's vectors go to their own rows."""
    whole = encoder.encode_documents(MIXED)
    monkeypatch.setattr("embedder.encoder._WINDOW_TEXTS", 4)
    assert close(encoder.encode_documents(MIXED), whole)


@pytest.mark.parametrize("dim", [32, 16, 8])
def test_a_narrow_vector_is_the_head_of_the_wide_one_made_unit(encoder, dim):
    resized = encoder.resized(dim)
    assert (resized.dim, resized.dims) == (dim, (32, 16, 8))
    vectors = resized.encode_documents(MIXED)
    assert (vectors.shape, vectors.dtype) == ((len(MIXED), dim), np.float32)
    assert np.abs(np.linalg.norm(vectors, axis=1) - 1).max() <= 1e-6
    head = encoder.encode_documents(MIXED)[:, :dim]
    assert close(vectors, head / np.linalg.norm(head, axis=1, keepdims=True))


def test_resized_shares_the_weights_and_leaves_the_model_as_it_was(encoder):
    resized = encoder.resized(8)
    assert resized._model is encoder._model
    assert (encoder.dim, resized.resized(32).dim) == (32, 32)
    assert resized.fingerprint == encoder.fingerprint


def test_load_takes_a_width(tiny_checkpoint):
    assert Embedder.load(str(tiny_checkpoint("qwen2")), dim=16).encode_queries(["a"]).shape == (1, 16)


def test_an_encoder_says_what_it_is_loaded_by_again(encoder, tiny_checkpoint):
    assert encoder.source == str(tiny_checkpoint("qwen2").resolve())
    assert Embedder.load(encoder.source).fingerprint == encoder.fingerprint


def test_the_bundled_model_names_its_languages_and_others_do_not(encoder):
    assert encoder.languages is None
    assert Embedder.load().languages == {"en", "zh"}


@pytest.mark.parametrize("dim", [0, 7, 33, -8])
def test_a_width_the_model_has_not_is_refused(encoder, refused, dim):
    with refused(InvalidInput, encoder.name, str(dim), "32, 16, 8"):
        encoder.resized(dim)


def test_no_texts_give_no_rows_and_one_text_gives_one(encoder):
    assert encoder.encode_documents([]).shape == (0, 32)
    assert encoder.resized(8).encode_queries([]).shape == (0, 8)
    for one in (["one"], ("one",), np.array(["one"])):
        assert encoder.encode_documents(one).shape == (1, 32)


@pytest.mark.parametrize(
    "texts",
    ["one text", b"bytes", ["a", None], [b"a"], [["a"]], None, 5, {"a"}, {"a": "b"}, iter(["a"])],
    ids=["a string", "bytes", "a None in it", "bytes in it", "a list in it", "None", "int", "set", "dict", "iterator"],
)
def test_anything_but_a_list_of_strings_is_refused(encoder, refused, texts):
    with refused(InvalidInput, "list of texts"):
        encoder.encode_documents(texts)


def test_usage_counts_texts_tokens_and_cuts(tiny_checkpoint, caplog):
    encoder = Embedder.load(str(tiny_checkpoint("qwen2")), dtype="float32", max_tokens=16, batch_tokens=32)
    with caplog.at_level(logging.WARNING, "embedder"):
        encoder.encode_documents(["a", "b c", "long " * 100, "longer " * 100, ""])
    assert (encoder.usage.texts, encoder.usage.truncated) == (5, 2)
    assert encoder.usage.tokens == 1 + len(encoder.token_spans("b c")) + 16 + 16 + 1
    assert [record.getMessage() for record in caplog.records] == [
        "2 of 5 texts were longer than 16 tokens and were cut."
    ]
    encoder.resized(8).encode_queries(["long " * 100])
    assert (encoder.usage.texts, encoder.usage.truncated) == (6, 3)
    assert len(caplog.records) == 2


def test_nothing_is_logged_where_nothing_is_cut(encoder, caplog):
    with caplog.at_level(logging.WARNING, "embedder"):
        encoder.encode_documents(["short"])
    assert not caplog.records


def test_eight_threads_get_what_one_gets_and_no_more_compute_than_are_wanted(tiny_checkpoint, monkeypatch):
    encoder = Embedder.load(str(tiny_checkpoint("qwen2")), dtype="float32", device="cpu", batch_tokens=64)
    lists = [[f"{words} {i}" for words in MIXED * 3] for i in range(8)]
    expected = [encoder.encode_documents(texts) for texts in lists]
    encoder.usage.texts = 0
    forward, busy = encoder._turns.forward, threading.Semaphore(torch.get_num_threads())

    def watched(rows, between):
        assert busy.acquire(blocking=False)
        time.sleep(0.001)
        vectors = forward(rows, between)
        busy.release()
        return vectors

    monkeypatch.setattr(encoder._turns, "forward", watched)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(encoder.encode_documents, lists))
    for one, other in zip(expected, found, strict=True):
        assert np.abs(one - other).max() < 1e-6  # lists that meet go together
    assert encoder.usage.texts == 8 * 18


@pytest.mark.parametrize("model", ["qwen2", "gemma3_text", "minilm"])
def test_bfloat16_is_close_to_float32(tiny_checkpoint, minilm_folder, model):
    name = str(minilm_folder if model == "minilm" else tiny_checkpoint(model))
    full, half = (Embedder.load(name, dtype=dtype, device="cpu") for dtype in ("float32", "bf16"))
    assert (full.dtype, half.dtype) == ("float32", "bfloat16")
    texts = [text[:60] for text in MIXED]
    cosines = (full.encode_documents(texts) * half.encode_documents(texts)).sum(1)
    assert cosines.min() > 0.99


def test_the_default_length_is_the_checkpoints_own_or_512(encoder, folder, edit_json):
    assert encoder.max_tokens == 128
    (folder / "sentence_bert_config.json").unlink()
    assert Embedder.load(str(folder)).max_tokens == 256  # its positions
    edit_json(folder / "config.json", max_position_embeddings=8192)
    assert Embedder.load(str(folder)).max_tokens == 512


@pytest.mark.parametrize("max_tokens", [-1, 0, 3, 257, 10**6])
def test_a_length_out_of_range_is_refused(tiny_checkpoint, refused, max_tokens):
    with refused(InvalidInput, "4 and 256", str(max_tokens)):
        Embedder.load(str(tiny_checkpoint("qwen2")), max_tokens=max_tokens)


@pytest.mark.parametrize("max_tokens", [4, 256])
def test_the_ends_of_the_range_are_served(tiny_checkpoint, max_tokens):
    encoder = Embedder.load(str(tiny_checkpoint("qwen2")), max_tokens=max_tokens)
    encoder.encode_documents(["word " * 1000])
    assert encoder.usage.tokens == max_tokens


@pytest.mark.parametrize("family", ["bert", "roberta", "xlm-roberta"])
def test_the_longest_text_fits_the_positions(tiny_checkpoint, family):
    """RoBERTa's table of positions keeps two rows for padding."""
    folder = str(tiny_checkpoint(family) if family == "bert" else tiny_checkpoint(family, (32,)))
    limit = 256 if family == "bert" else 254
    assert np.isfinite(Embedder.load(folder, max_tokens=limit).encode_documents(["word " * 1000])).all()
    with pytest.raises(InvalidInput):
        Embedder.load(folder, max_tokens=limit + 1)


@pytest.mark.parametrize(
    "setting", [{"device": "tpu"}, {"device": "meta"}, {"device": "mps"}, {"dtype": "float16"}], ids=str
)
def test_a_device_or_dtype_that_is_not_there_is_refused(tiny_checkpoint, refused, setting):
    with refused(UnknownSetting, "use auto, "):
        Embedder.load(str(tiny_checkpoint("qwen2")), **setting)
