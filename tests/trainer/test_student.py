"""The model that learns: what it exports is what it is, adapters merged, frozen parts left alone."""

import json

import numpy as np
import pytest
import torch
from tiny import tiny_tokenizer

from embedder import Embedder
from trainer.backbones import open_backbone
from trainer.config import (
    BackboneConfig,
    DataConfig,
    InvalidConfig,
    LoraConfig,
    LossConfig,
    OptimizerConfig,
    RuntimeConfig,
    StageConfig,
)
from trainer.distributed import Processes
from trainer.formats import Example, SourceInfo
from trainer.student import Student, merge_adapters
from trainer.weights import prepare_weights

TEXTS = ["bees make honey", "长江是亚洲最长的河流", "what is a black hole", "", "fox " * 60]


def config(dims=(32, 16, 8), *, precision="float32", **settings):
    return StageConfig(
        name="pretrain",
        data=DataConfig(max_query_tokens=48, max_document_tokens=48),
        loss=LossConfig(dims=dims, weights=(1.0,) * len(dims), negatives_per_query=2),
        runtime=RuntimeConfig(precision=precision, device="cpu", chunk_tokens=128),
        **({"max_tokens": 100} | settings),
    )


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """On cores that others use as well a second thread makes models of this size slower."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def backbone(tiny_checkpoint):
    def opened(model_type="qwen2"):
        return open_backbone(BackboneConfig(path=str(tiny_checkpoint(model_type))), texts=None)

    return opened


def trained(student, settings, steps=3):
    """Move the weights along gradients of no meaning."""
    weights = prepare_weights(student.model, settings.optimizer, settings.runtime, Processes("cpu"))
    student.model.train()
    for step in range(steps):
        for chunk in student.chunks([[2 + step, 30, 40, 50], [60, 70]]):
            student.encode_chunk(chunk)[:, 0].sum().backward()
        weights.step(0.02)
    return weights


def exported(student, weights, folder):
    student.export(weights.tensors(), folder)
    return Embedder.load(str(folder), device="cpu", dtype="float32")


# Export


@pytest.mark.parametrize("model_type", ["qwen2", "qwen3", "gemma3_text", "bert"])
def test_the_exported_model_gives_the_vectors_of_the_student(backbone, tmp_path, model_type):
    settings = config()
    student = Student(backbone(model_type), settings)
    before = student.encode(TEXTS, "query", "Retrieval")
    weights = trained(student, settings)
    encoder = exported(student, weights, tmp_path / "model")
    assert encoder.dims == (32, 16, 8)
    assert encoder.max_tokens == 100
    for side, task in (("query", "Retrieval"), ("document", "Retrieval"), ("document", "STS"), ("query", "Clustering")):
        encode = encoder.encode_queries if side == "query" else encoder.encode_documents
        found = student.encode(TEXTS, side, task)
        if model_type != "bert" or side == "document":  # an encoder without prompts is opened without instructions
            np.testing.assert_allclose(found, encode(TEXTS, task=task), rtol=0, atol=1e-5)
        np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    assert not np.allclose(before, student.encode(TEXTS, "query", "Retrieval"), atol=1e-3)
    assert student.model.training


def test_sentence_transformers_opens_what_is_exported(backbone, tmp_path):
    library = pytest.importorskip("sentence_transformers")
    settings = config()
    student = Student(backbone(), settings)
    encoder = exported(student, trained(student, settings), tmp_path / "model")
    opened = library.SentenceTransformer(str(tmp_path / "model"), device="cpu")
    texts = [text for text in TEXTS if text]  # of nothing it makes zeros
    theirs = opened.encode(texts, prompt_name="query", show_progress_bar=False)
    np.testing.assert_allclose(theirs, encoder.encode_queries(texts), rtol=0, atol=1e-5)
    theirs = opened.encode(texts, prompt_name="document", show_progress_bar=False)
    np.testing.assert_allclose(theirs, encoder.encode_documents(texts), rtol=0, atol=1e-5)
    written = json.loads((tmp_path / "model" / "config.json").read_text())
    assert (written["is_matryoshka"], written["matryoshka_dimensions"]) == (True, [32, 16, 8])
    assert written["is_causal"] is False
    assert json.loads((tmp_path / "model" / "sentence_bert_config.json").read_text())["max_seq_length"] == 100


def test_the_weights_that_learn_in_bfloat16_are_exported_in_float32(backbone, tmp_path):
    settings = config(precision="bfloat16")
    student = Student(backbone(), settings)
    encoder = exported(student, trained(student, settings), tmp_path / "model")
    assert student.model.backbone.dtype == torch.bfloat16
    assert encoder.dtype == "float32"
    assert json.loads((tmp_path / "model" / "config.json").read_text())["dtype"] == "float32"
    cosines = (student.encode(TEXTS, "document", "STS") * encoder.encode_documents(TEXTS, task="STS")).sum(1)
    assert cosines.min() > 0.99


def test_an_evaluation_reads_as_much_as_the_finished_model(backbone):
    student = Student(backbone(), config())  # trained on 48 tokens, finished with 100
    long = "bees make honey from nectar " * 5
    cut, more = student.encode([long, long + "and foxes jump"], "document", "Retrieval")
    assert np.abs(cut - more).max() > 1e-3


def test_no_widths_means_the_models_own(backbone, tmp_path):
    settings = config(())
    student = Student(backbone(), settings)
    assert student.dims == (32,)
    assert exported(student, trained(student, settings), tmp_path / "model").dims == (32,)
    assert "is_matryoshka" not in json.loads((tmp_path / "model" / "config.json").read_text())


# Settings


@pytest.mark.parametrize("dims", [(64, 32), (16, 8)])
def test_widths_of_another_model_are_refused(backbone, dims):
    opened = backbone()
    with pytest.raises(InvalidConfig) as refused:
        Student(opened, config(dims))
    assert str(refused.value) == (
        f"The widest of loss.dims is {dims[0]} and the vectors of {opened.name} have 32 values; let loss.dims begin "
        "with 32."
    )


def test_a_frozen_table_is_left_alone_and_the_rest_learns(backbone):
    settings = config(optimizer=OptimizerConfig(freeze_embeddings=True))
    opened = backbone()
    before = {name: value.clone() for name, value in opened.model.state_dict().items()}
    student = Student(opened, settings)
    tensors = trained(student, settings).tensors()
    moved = {name for name, value in before.items() if not torch.equal(tensors[f"weights/backbone.{name}"], value)}
    assert "embed_tokens.weight" not in moved
    assert {name for name in before if name.endswith("proj.weight")} <= moved
    assert "exp_avg/backbone.embed_tokens.weight" not in tensors


def test_an_unfrozen_table_learns(backbone):
    settings = config()
    opened = backbone()
    before = opened.model.embed_tokens.weight.detach().clone()
    tensors = trained(Student(opened, settings), settings).tensors()
    assert not torch.equal(tensors["weights/backbone.embed_tokens.weight"], before)


def test_recomputed_activations_give_the_same_gradients(backbone):
    plain, recomputed = config(), config()
    recomputed = recomputed.model_copy(
        update={"runtime": recomputed.runtime.model_copy(update={"gradient_checkpointing": True})}
    )
    found = [trained(Student(backbone(), settings), settings).tensors() for settings in (plain, recomputed)]
    assert found[0].keys() == found[1].keys()
    for name, value in found[0].items():
        torch.testing.assert_close(found[1][name], value, rtol=0, atol=1e-6)


# Adapters


def test_merged_adapters_give_the_vectors_of_the_adapted_model(backbone, tmp_path):
    settings = config(lora=LoraConfig(rank=4, alpha=12))
    opened = backbone()
    before = {name: value.clone() for name, value in opened.model.state_dict().items()}
    student = Student(opened, settings)
    untrained = student.encode(TEXTS, "document", "Retrieval")
    weights = trained(student, settings)
    encoder = exported(student, weights, tmp_path / "model")
    found = student.encode(TEXTS, "document", "Retrieval")
    np.testing.assert_allclose(found, encoder.encode_documents(TEXTS), rtol=0, atol=1e-5)
    assert np.abs(found - untrained).max() > 1e-2
    merged = merge_adapters(
        {
            name.removeprefix("weights/backbone."): value
            for name, value in weights.tensors().items()
            if name.startswith("weights/")
        },
        settings.lora,
    )
    assert merged.keys() == before.keys()
    moved = {name.split(".")[-2] for name, value in merged.items() if not torch.equal(value, before[name])}
    assert moved == {"q_proj", "k_proj", "v_proj", "o_proj"}


def test_a_merge_by_hand():
    low, high = torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0], [4.0]])
    stem = "base_model.model.layers.0.q_proj."
    state = {
        f"{stem}base_layer.weight": torch.eye(2),
        f"{stem}base_layer.bias": torch.ones(2),
        f"{stem}lora_A.default.weight": low,
        f"{stem}lora_B.default.weight": high,
        "base_model.model.norm.weight": torch.zeros(2),
    }
    merged = merge_adapters(state, LoraConfig(rank=1, alpha=2))
    assert list(merged) == ["layers.0.q_proj.weight", "layers.0.q_proj.bias", "norm.weight"]
    assert merged["layers.0.q_proj.weight"].tolist() == [[7.0, 12.0], [16.0 - 8.0, 17.0]]
    assert merged["layers.0.q_proj.bias"].tolist() == [1.0, 1.0]


def test_adapters_for_layers_that_are_not_there_are_refused(backbone):
    with pytest.raises(InvalidConfig, match=r"The setting lora\.targets names no layer of the model: query_key\."):
        Student(backbone(), config(lora=LoraConfig(targets=("query_key",))))


# What the loop asks for


def test_the_collator_and_the_chunks_are_those_of_the_settings(backbone):
    student = Student(backbone(), config())
    source = SourceInfo("s", "", "", frozenset(), "contrastive", "Retrieval")
    long = "bees make honey from nectar " * 30
    batch = student.collator()([Example(1, source, long, long + "x", ("a", "b", "c"), (long,), None, None)])
    assert batch.layout.negatives.shape == (1, 2)
    assert max(len(row) for row in batch.ids) == 48
    chunks = student.chunks(batch.ids)
    assert all(chunk.input_ids.numel() <= 128 for chunk in chunks)
    assert len(student.chunks(batch.ids, at_least=4)) == 4
    pooled = student.encode_chunk(chunks[0])
    assert pooled.shape == (len(chunks[0].rows), 32)
    assert pooled.requires_grad
    padding = tiny_tokenizer().pad_token_id
    for chunk in chunks:
        assert set(chunk.input_ids[chunk.attention_mask == 0].tolist()) <= {padding}
