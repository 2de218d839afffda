"""Checkpoints: what is saved comes back, and a kill, damage or a full disk never costs the one before."""

import errno
import shutil
import subprocess
import sys

import pytest
import torch
from safetensors import SafetensorError

from trainer import checkpoints
from trainer.checkpoints import CheckpointStore, DiskFull

_KILLED_WHILE_SAVING = """
import os, random, shutil, signal, sys, time
from pathlib import Path
import torch
from trainer.checkpoints import CheckpointStore

folder, chance = Path(sys.argv[1]) / "checkpoints", random.Random(20506)
for kill in range(10):
    child = os.fork()  # torch is imported once for all of them
    if not child:
        store = CheckpointStore(folder, kept=2)
        last = store.latest()
        step = last.step if last else 0
        while True:
            step += 1
            store.save(step, {"weight": torch.full((64,), float(step))}, {"step": step})
    time.sleep(chance.uniform(0.01, 0.1))
    os.kill(child, signal.SIGKILL)
    assert os.WIFSIGNALED(os.waitpid(child, 0)[1])
    if folder.exists():
        shutil.copytree(folder, folder.with_name(f"after-{kill}"))
"""


def _save(store, *steps):
    for step in steps:
        store.save(step, {"weight": torch.full((8,), float(step))}, {"tokens": step * 100})


def _names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_what_is_saved_comes_back(tmp_path):
    tensors = {
        "model.weight": torch.randn(3, 4),
        "model.half": torch.randn(5).bfloat16(),
        "optimizer.step": torch.tensor(7),
        "random": torch.get_rng_state(),
        "empty": torch.zeros(0, 3),
    }
    folder = CheckpointStore(tmp_path / "c", kept=1).save(123, tensors, {"epoch": 1, "list": [1, 2.5, None]})
    saved = CheckpointStore(tmp_path / "c", kept=1).latest()
    assert saved.folder == folder == tmp_path / "c" / "step-00000123"
    assert (saved.step, saved.state) == (123, {"epoch": 1, "list": [1, 2.5, None]})
    loaded = saved.tensors()
    assert loaded.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert loaded[name].dtype == tensor.dtype
        assert torch.equal(loaded[name], tensor)
    assert saved.tensors("model.").keys() == {"model.weight", "model.half"}


def test_shared_and_unpacked_tensors_are_stored_one_by_one(tmp_path):
    table = torch.arange(12.0).reshape(3, 4)
    tensors = {
        "table": table,
        "tied": table,
        "transposed": table.T,
        "row": table[1],
        "parameter": torch.nn.Parameter(table),
    }
    store = CheckpointStore(tmp_path, kept=1)
    store.save(1, tensors, {})
    loaded = store.latest().tensors()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in tensors.items())
    assert len({tensor.data_ptr() for tensor in loaded.values()}) == 5


def test_a_folder_that_is_not_there_holds_nothing(tmp_path):
    store = CheckpointStore(tmp_path / "none", kept=2)
    assert store.latest() is None
    assert store.all() == []
    assert not (tmp_path / "none").exists()


def test_the_newest_stay(tmp_path):
    store = CheckpointStore(tmp_path, kept=2)
    _save(store, 5, 10, 100)
    assert [saved.step for saved in store.all()] == [10, 100]
    assert _names(tmp_path) == ["step-00000010", "step-00000100"]


def _flip(path):
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: _flip(folder / "tensors.safetensors"),
        lambda folder: (folder / "tensors.safetensors").write_bytes(b""),
        lambda folder: (folder / "tensors.safetensors").unlink(),
        lambda folder: (folder / "state.json").unlink(),
        lambda folder: (folder / "state.json").write_text('{"bytes": 1'),
        lambda folder: (folder / "state.json").write_text("[]"),
    ],
    ids=["bit", "emptied", "no tensors", "no state", "half a state", "another state"],
)
def test_a_damaged_newest_is_passed_over_and_replaced(tmp_path, caplog, damage):
    store = CheckpointStore(tmp_path, kept=2)
    _save(store, 10, 20)
    damage(tmp_path / "step-00000020")
    assert store.latest().step == 10
    assert "step-00000020 is damaged" in caplog.text
    _save(store, 20)
    assert [saved.step for saved in store.all()] == [10, 20]


def test_a_damaged_one_does_not_push_out_a_good_one(tmp_path):
    store = CheckpointStore(tmp_path, kept=1)
    _save(store, 10)
    (tmp_path / "step-00000010").rename(tmp_path / "step-00000030")
    (tmp_path / "step-00000030" / "tensors.safetensors").write_bytes(b"")
    _save(store, 20)
    assert _names(tmp_path) == ["step-00000020"]


def test_a_step_saved_twice_is_left_alone(tmp_path):
    store = CheckpointStore(tmp_path, kept=1)
    _save(store, 10)
    before = (tmp_path / "step-00000010" / "state.json").stat().st_mtime_ns
    _save(store, 10)
    assert (tmp_path / "step-00000010" / "state.json").stat().st_mtime_ns == before


def test_leftovers_are_swept(tmp_path):
    (tmp_path / ".step-00000009.tmp").mkdir()
    (tmp_path / ".step-00000009.tmp" / "tensors.safetensors").write_bytes(b"half")
    store = CheckpointStore(tmp_path, kept=1)
    assert store.latest() is None
    _save(store, 10)
    assert _names(tmp_path) == ["step-00000010"]


def test_too_little_room_is_said_before_writing(tmp_path, monkeypatch):
    store = CheckpointStore(tmp_path, kept=1)
    _save(store, 10)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10_000, 8_000, 2_000))
    with pytest.raises(DiskFull, match=r"needs 2,100 bytes .* has 2,000 free; .* go on from .*step-00000010\.$"):
        store.save(20, {"weight": torch.zeros(500)}, {})
    store.save(20, {"weight": torch.zeros(400)}, {})
    assert _names(tmp_path) == ["step-00000020"]


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
    ],
    ids=["system", "safetensors"],
)
def test_a_disk_that_fills_up_meanwhile(tmp_path, monkeypatch, error):
    store = CheckpointStore(tmp_path, kept=1)

    def half(tensors, path):
        path.write_bytes(b"half")
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(checkpoints, "save_file", half)
        with pytest.raises(DiskFull, match="no checkpoint has been saved yet"):
            _save(store, 5)
    _save(store, 10)
    monkeypatch.setattr(checkpoints, "save_file", half)
    with pytest.raises(DiskFull, match="step-00000010"):
        _save(store, 20)
    assert _names(tmp_path) == ["step-00000010"]
    assert store.latest().state == {"tokens": 1000}


def test_other_errors_stay_what_they_are(tmp_path, monkeypatch):
    def refuse(tensors, path):
        raise PermissionError(errno.EACCES, "no")

    monkeypatch.setattr(checkpoints, "save_file", refuse)
    with pytest.raises(PermissionError):
        _save(CheckpointStore(tmp_path, kept=1), 10)
    assert _names(tmp_path) == []


def test_killed_at_any_moment_the_latest_is_whole(tmp_path):
    subprocess.run([sys.executable, "-c", _KILLED_WHILE_SAVING, tmp_path], check=True)
    newest = 0
    for kill in range(10):
        saved = CheckpointStore(tmp_path / f"after-{kill}", kept=2).latest()
        assert saved is not None or newest == 0
        if saved is not None:
            assert saved.step == saved.state["step"] >= newest
            assert torch.equal(saved.tensors()["weight"], torch.full((64,), float(saved.step)))
            newest = saved.step
    assert newest > 2
