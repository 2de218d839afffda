"""Runs are functions of config and data: stopped or killed anywhere, they end with the same bits.

KALM_TEST_KILLS=50 kills as many runs.
"""

import os
import random
import shutil
import signal
import time

import pytest
import torch
from safetensors.torch import load_file
from tiny import tiny_backbone, tiny_tokenizer
from trainer_process import Origin

from embedder.checkpoint import save_checkpoint
from trainer.checkpoints import DiskFull
from trainer.config import (
    BackboneConfig,
    DataConfig,
    LossConfig,
    OptimizerConfig,
    RuntimeConfig,
    StageConfig,
    TeacherConfig,
)
from trainer.loop import Loop, Stopped, learning_rate
from trainer.metrics import read_metrics
from trainer.stages import run_stage
from trainer.weights import Diverged

_STEPS = 10


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A model with dropout, so that the random state matters."""
    folder = tmp_path_factory.mktemp("base")
    backbone = tiny_backbone("qwen2", attention_dropout=0.2)
    save_checkpoint(folder, backbone, tiny_tokenizer(), dims=(32,), max_tokens=64, prompts={})
    return folder


@pytest.fixture
def stage(base, articles):
    def make(**changes):
        runtime = {"precision": "float32", "device": "cpu", "chunk_tokens": 512} | changes.pop("runtime", {})
        settings = {
            "name": "finetune",
            "base": BackboneConfig(path=str(base)),
            "data": DataConfig(root=f"articles:{articles}", max_query_tokens=24, max_document_tokens=48),
            "loss": LossConfig(
                temperature=0.1, dims=(32, 16), weights=(1.0, 0.3), negatives_per_query=3, pair_mixes=1, list_mixes=1
            ),
            "optimizer": OptimizerConfig(learning_rate=1e-3),
            "runtime": RuntimeConfig(**runtime),
            "batch_size": 8,
            "max_steps": _STEPS,
            "checkpoint_every": 3,
            "log_every": 1,
        }
        return StageConfig(**settings | changes)

    return make


@pytest.fixture(scope="module")
def start():
    """Start a process that trains a stage."""
    with Origin() as origin:
        yield origin.start


@pytest.fixture(scope="module")
def threads():
    """One thread, here as in the processes started: sums of more come out in another order."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def bits(folder):
    """The state at the end, and the finished model."""
    state = load_file(folder / "checkpoints" / f"step-{_STEPS:08d}" / "tensors.safetensors")
    return state | load_file(folder / "model" / "model.safetensors")


def assert_same_bits(one, other):
    assert one.keys() == other.keys()
    assert [name for name in one if not torch.equal(one[name], other[name])] == []


def last_step(folder):
    return max((line["step"] for line in read_metrics(folder / "metrics.jsonl")), default=0)


@pytest.fixture
def unbroken(stage, tmp_path, threads):
    run_stage(stage(), tmp_path / "unbroken")
    return bits(tmp_path / "unbroken")


def test_killed_runs_end_with_the_bits_of_an_unbroken_one(start, stage, tmp_path, unbroken):
    chance = random.Random(7)
    for number in range(int(os.environ.get("KALM_TEST_KILLS", "1"))):
        folder = tmp_path / f"killed-{number}"
        moments = sorted(chance.sample(range(1, _STEPS), 2))
        for moment in moments:
            process = start(stage(), folder)
            while last_step(folder) < moment and process.is_alive():
                time.sleep(0.01)
            time.sleep(chance.random() * 0.05)
            process.kill()
        run_stage(stage(), folder)
        assert_same_bits(bits(folder), unbroken)
        steps = [line["step"] for line in read_metrics(folder / "metrics.jsonl")]
        assert steps == list(range(1, _STEPS + 1)), f"killed at {moments}"


def test_a_polite_kill_saves_and_the_run_goes_on_to_the_same_bits(stage, tmp_path, unbroken, monkeypatch):
    folder = tmp_path / "stopped"
    plain = Loop._step

    def interrupted(loop, step, *parts):
        if step == 4:
            os.kill(os.getpid(), signal.SIGTERM)
        return plain(loop, step, *parts)

    monkeypatch.setattr(Loop, "_step", interrupted)
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Stopped, match="Stopped after step 5 of 10; the same command goes on from there"):
        run_stage(stage(), folder)
    assert signal.getsignal(signal.SIGTERM) is before
    assert (folder / "checkpoints" / "step-00000005").is_dir()
    monkeypatch.setattr(Loop, "_step", plain)
    run_stage(stage(), folder)
    assert_same_bits(bits(folder), unbroken)


def test_a_run_that_learns_the_teachers_vectors_goes_on_to_the_same_bits(
    start, stage, tiny_checkpoint, tmp_path, threads
):
    """The maps to the teachers' vectors are part of the state."""
    teachers = (TeacherConfig(model=str(tiny_checkpoint("qwen3"))), TeacherConfig(model=str(tiny_checkpoint("qwen2"))))
    loss = LossConfig(temperature=0.1, distill_weight=1.0, vector_weight=3.0)
    config = stage(teachers=teachers, loss=loss, teacher_cache=str(tmp_path / "teachers.sqlite"))
    run_stage(config, tmp_path / "whole")
    process = start(config, tmp_path / "killed")
    while last_step(tmp_path / "killed") < 7 and process.is_alive():
        time.sleep(0.01)
    process.kill()
    run_stage(config, tmp_path / "killed")
    whole = bits(tmp_path / "whole")
    assert {"heads/0/energy", "heads/1/product", "heads/1/seen"} <= whole.keys()
    assert_same_bits(bits(tmp_path / "killed"), whole)


def test_a_gradient_that_is_not_a_number_stops_the_run_and_keeps_the_last_checkpoint(stage, tmp_path, monkeypatch):
    plain = Loop._step

    def poisoned(loop, step, *parts):
        if step == 4:
            with torch.no_grad():
                loop._parts.student.model.backbone.norm.weight.fill_(float("inf"))
        return plain(loop, step, *parts)

    monkeypatch.setattr(Loop, "_step", poisoned)
    with pytest.raises(Diverged, match="no longer a number"):
        run_stage(stage(), tmp_path / "run")
    (kept,) = (tmp_path / "run" / "checkpoints").glob("step-*")
    assert kept.name == "step-00000003"
    assert all(value.isfinite().all() for value in load_file(kept / "tensors.safetensors").values())


def test_a_full_disk_stops_the_run_and_keeps_the_last_checkpoint(stage, tmp_path, monkeypatch):
    plain = Loop._step

    def crowded(loop, step, *parts):
        if step == 4:
            full = shutil.disk_usage(tmp_path)._replace(free=10)
            monkeypatch.setattr("trainer.checkpoints.shutil.disk_usage", lambda path: full)
        return plain(loop, step, *parts)

    monkeypatch.setattr(Loop, "_step", crowded)
    with pytest.raises(DiskFull, match="step-00000003"):
        run_stage(stage(), tmp_path / "run")
    assert [path.name for path in (tmp_path / "run" / "checkpoints").glob("step-*")] == ["step-00000003"]


def test_what_is_measured(stage, tmp_path):
    run_stage(stage(), tmp_path / "run")
    lines = read_metrics(tmp_path / "run" / "metrics.jsonl")
    names = set().union(*lines)
    wanted = {"loss/total", "gradient/norm", "padding/share", "hardness/mean", "speed/tokens_per_second"}
    assert wanted | {"learning_rate", "step"} <= names
    assert any(name.startswith("loss/titles") for name in names)
    assert all(0 <= line["padding/share"] < 1 for line in lines)
    assert all(0 <= line["hardness/mean"] <= 1 for line in lines)
    assert list((tmp_path / "run" / "tensorboard").iterdir())


def test_training_learns(stage, tmp_path):
    config = stage(max_steps=60, optimizer=OptimizerConfig(learning_rate=3e-3), checkpoint_every=1000)
    run_stage(config, tmp_path / "run")
    losses = [line["loss/total"] for line in read_metrics(tmp_path / "run" / "metrics.jsonl")]
    assert sum(losses[-20:]) < 0.8 * sum(losses[:20])


def test_recomputed_activations_change_nothing(stage, tmp_path, unbroken, threads):
    run_stage(stage(runtime={"gradient_checkpointing": True}), tmp_path / "run")
    assert_same_bits(bits(tmp_path / "run"), unbroken)


def test_bfloat16_computes_and_float32_learns(stage, tmp_path):
    config = stage(runtime={"precision": "bfloat16"})
    run_stage(config, tmp_path / "run")
    state = load_file(tmp_path / "run" / "checkpoints" / f"step-{_STEPS:08d}" / "tensors.safetensors")
    weights = [value for name, value in state.items() if name.startswith("weights/")]
    assert {value.dtype for value in weights} == {torch.float32}
    assert any((value != value.bfloat16().float()).any() for value in weights)


def test_the_learning_rate_warms_up_and_falls_to_zero():
    config = OptimizerConfig(learning_rate=1.0, warmup=0.2)
    rates = [learning_rate(step, 10, config) for step in range(10)]
    assert rates == [0.5, 1.0, 1.0, 7 / 8, 6 / 8, 5 / 8, 4 / 8, 3 / 8, 2 / 8, 1 / 8]
    assert learning_rate(0, 1, OptimizerConfig(learning_rate=1.0, warmup=0.0)) == 1.0
