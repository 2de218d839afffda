"""Two processes are one: the weights after some steps are those of one process with the joined batch."""

import numpy as np
import pytest
from safetensors.torch import load_file
from trainer_process import Origin

from trainer.config import (
    BackboneConfig,
    DataConfig,
    LossConfig,
    OptimizerConfig,
    RuntimeConfig,
    StageConfig,
    TeacherConfig,
)

_PLAIN = LossConfig(temperature=0.1, dims=(32, 16), weights=(1.0, 0.3))
_FULL = LossConfig(
    temperature=0.1,
    dims=(32, 16),
    weights=(1.0, 0.3),
    negatives_per_query=3,
    focal_gamma=0.5,
    pair_mixes=1,
    list_mixes=1,
    query_query=True,
    positive_positive=True,
    false_negative_margin=0.3,
)


@pytest.fixture(scope="module")
def train():
    """Train a stage with some processes to its end."""
    with Origin() as origin:
        yield origin.train


@pytest.fixture
def stage(tiny_checkpoint, articles):
    def make(loss=_FULL, steps=5, **runtime):
        return StageConfig(
            name="finetune",
            base=BackboneConfig(path=str(tiny_checkpoint("qwen2"))),
            data=DataConfig(root=f"articles:{articles}", max_query_tokens=24, max_document_tokens=48),
            loss=loss,
            optimizer=OptimizerConfig(learning_rate=1e-3, warmup=0.0),
            runtime=RuntimeConfig(**{"precision": "float64", "device": "cpu", "chunk_tokens": 256} | runtime),
            batch_size=8,
            max_steps=steps,
            checkpoint_every=100,
        )

    return make


def weights_of(folder, steps):
    tensors = load_file(folder / "checkpoints" / f"step-{steps:08d}" / "tensors.safetensors")
    return {name: value.double().numpy() for name, value in tensors.items() if name.startswith("weights/")}


def furthest(one, other):
    assert one.keys() == other.keys()
    return max(np.abs(one[name] - other[name]).max() for name in one)


@pytest.mark.parametrize("loss", [_PLAIN, _FULL], ids=["plain", "full"])
def test_two_processes_end_with_the_weights_of_one(train, stage, tmp_path, loss):
    train(stage(loss), tmp_path / "one")
    train(stage(loss), tmp_path / "two", world=2)
    one, two = weights_of(tmp_path / "one", 5), weights_of(tmp_path / "two", 5)
    assert furthest(one, two) <= 1e-9
    start = weights_of(tmp_path / "one", 5)
    assert any(np.abs(value).max() > 0 for value in start.values())


def test_two_processes_learn_the_teachers_vectors_as_one_does(train, stage, tiny_checkpoint, tmp_path):
    """The teacher is one of float32, so its vectors differ in the last bits with the texts beside them."""
    teachers = (TeacherConfig(model=str(tiny_checkpoint("qwen3"))),)

    def taught(weight):
        loss = _PLAIN.model_copy(update={"vector_weight": weight, "distill_weight": 1.0, "distill_candidates": "batch"})
        return stage(steps=14).model_copy(update={"loss": loss, "teachers": teachers})

    train(taught(3.0), tmp_path / "one")
    train(taught(3.0), tmp_path / "two", world=2)
    train(taught(0.0), tmp_path / "without")
    one, two, without = (weights_of(tmp_path / name, 14) for name in ("one", "two", "without"))
    assert furthest(one, two) <= 1e-5
    assert furthest(one, without) > 1e-3


def test_sharded_weights_learn_what_replicated_ones_do(train, stage, tmp_path):
    train(stage(steps=3), tmp_path / "ddp", world=2)
    train(stage(steps=3, strategy="fsdp2"), tmp_path / "fsdp", world=2)
    assert furthest(weights_of(tmp_path / "ddp", 3), weights_of(tmp_path / "fsdp", 3)) <= 1e-9


def test_without_the_others_negatives_the_weights_are_others(train, stage, tmp_path):
    train(stage(steps=2), tmp_path / "shared", world=2)
    train(stage(_FULL.model_copy(update={"cross_device": False}), steps=2), tmp_path / "alone", world=2)
    assert furthest(weights_of(tmp_path / "shared", 2), weights_of(tmp_path / "alone", 2)) > 1e-6
