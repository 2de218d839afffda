"""Dense layers after the pooling: read as sentence-transformers reads them, or refused in one sentence."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from embedder import Embedder
from embedder.checkpoint import UnreadableCheckpoint, fingerprint, read_checkpoint
from embedder.dense import with_dense
from embedder.packing import pack_checkpoint

TEXTS = ["bees make honey", "长江是亚洲最长的河流。", "a longer sentence with a dozen words or so in it"]


def load(folder, **options):
    return Embedder.load(str(folder), dtype="float32", device="cpu", **options)


def reference(folder):
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(folder), device="cpu", local_files_only=True)
    return model.encode(TEXTS, convert_to_numpy=True)


@pytest.fixture
def dense(folder, tmp_path):
    """A checkpoint with one dense layer, of 32 values to 24."""
    with_dense(folder, tmp_path / "dense", torch.randn(24, 32, generator=torch.Generator().manual_seed(1)))
    return tmp_path / "dense"


def test_our_vectors_are_those_of_sentence_transformers(dense, tmp_path):
    found = load(dense)
    assert (found.dims, found.has_dense) == ((24, 16, 8), True)
    assert np.abs(found.encode_documents(TEXTS) - reference(dense)).max() <= 1e-5
    cut = load(dense, dim=8).encode_documents(TEXTS)
    whole = reference(dense)[:, :8]
    assert np.abs(cut - whole / np.linalg.norm(whole, axis=1, keepdims=True)).max() <= 1e-5


def test_layers_follow_each_other_and_may_have_a_bias(dense, tmp_path):
    twice = tmp_path / "twice"
    with_dense(dense, twice, torch.randn(12, 24))
    (second,) = (path for path in read_checkpoint(twice).dense if path.name.startswith("3"))
    settings = json.loads((second / "config.json").read_text()) | {"bias": True}
    (second / "config.json").write_text(json.dumps(settings))
    weights = load_file(second / "model.safetensors")
    save_file(weights | {"linear.bias": torch.linspace(-1, 1, 12)}, second / "model.safetensors")
    assert np.abs(load(twice).encode_documents(TEXTS) - reference(twice)).max() <= 1e-5


def test_other_weights_are_another_model(folder, dense):
    before = fingerprint(read_checkpoint(dense))
    assert before != fingerprint(read_checkpoint(folder))
    (layer,) = read_checkpoint(dense).dense
    save_file({"linear.weight": torch.zeros(24, 32)}, layer / "model.safetensors")
    assert fingerprint(read_checkpoint(dense)) != before


def test_a_packed_copy_keeps_its_layers(dense, tmp_path):
    pack_checkpoint(dense, tmp_path / "packed", 8)
    similar = (load(tmp_path / "packed").encode_documents(TEXTS) * load(dense).encode_documents(TEXTS)).sum(axis=1)
    assert similar.min() > 0.99


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"activation_function": "torch.nn.modules.activation.Tanh"}, "Tanh"),
        ({"out_features": None}, "out_features"),
    ],
    ids=str,
)
def test_a_layer_of_another_kind_is_refused(dense, edit_json, refused, change, word):
    edit_json(dense / "2_Dense" / "config.json", **change)
    with refused(UnreadableCheckpoint, word):
        load(dense)


def test_a_layer_that_is_damaged_or_does_not_fit_is_refused(dense, refused):
    weights = dense / "2_Dense" / "model.safetensors"
    save_file({"linear.weight": torch.zeros(24, 31)}, weights)
    with refused(UnreadableCheckpoint, "31", "32"):
        load(dense)
    weights.write_bytes(b"no tensors")
    with refused(UnreadableCheckpoint, "2_Dense"):
        load(dense)
    weights.unlink()
    with refused(UnreadableCheckpoint, "2_Dense"):
        load(dense)
