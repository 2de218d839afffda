"""Our vectors are sentence-transformers' vectors on the same weights."""

import numpy as np
import pytest
from tiny import tiny_backbone, tiny_tokenizer

from embedder import Embedder

TEXTS = [
    "What is a black hole?",
    "蜜蜂怎样酿造蜂蜜",
    "Mixed 中文 and English text, 3.11 and symbols {}.",
    "long " * 400,
    "短",
    "a longer English sentence with a dozen words or so in it, to vary the length",
]


def reference(folder, texts, prompt, max_tokens):
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(folder), device="cpu", local_files_only=True)
    model.max_seq_length = max_tokens
    return model.encode(list(texts), prompt=prompt, normalize_embeddings=True, convert_to_numpy=True)


@pytest.mark.parametrize("model_type", ["qwen2", "qwen3", "llama", "gemma3_text", "bert"])
def test_tiny_models_agree_with_sentence_transformers(tiny_checkpoint, model_type):
    folder = tiny_checkpoint(model_type)
    encoder = Embedder.load(str(folder), dtype="float32", device="cpu")
    for side, encode in (("query", encoder.encode_queries), ("document", encoder.encode_documents)):
        expected = reference(folder, TEXTS, encoder.prompt(side), encoder.max_tokens)
        assert np.abs(encode(TEXTS) - expected).max() <= 1e-5


def test_a_plain_transformers_folder_gives_the_same_vectors(tiny_checkpoint, tmp_path):
    tiny_backbone("qwen2").save_pretrained(tmp_path)  # still marked causal, no modules.json
    tiny_tokenizer().save_pretrained(tmp_path)
    plain = Embedder.load(str(tmp_path), dtype="float32", max_tokens=128)
    layout = Embedder.load(str(tiny_checkpoint("qwen2")), dtype="float32")
    assert np.array_equal(plain.encode_queries(TEXTS), layout.encode_queries(TEXTS))
    assert np.array_equal(plain.encode_documents(TEXTS), layout.encode_documents(TEXTS))


def test_a_real_model_agrees_with_sentence_transformers(minilm, minilm_folder):
    expected = reference(minilm_folder, TEXTS, "", minilm.max_tokens)
    assert np.abs(minilm.encode_documents(TEXTS) - expected).max() <= 1e-5


def test_matryoshka_widths_agree_with_sentence_transformers(tiny_checkpoint):
    folder = tiny_checkpoint("qwen2")
    encoder = Embedder.load(str(folder), dtype="float32", dim=8)
    full = reference(folder, TEXTS, "", encoder.max_tokens)[:, :8]
    expected = full / np.linalg.norm(full, axis=1, keepdims=True)
    assert np.abs(encoder.encode_documents(TEXTS) - expected).max() <= 1e-5
