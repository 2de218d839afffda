"""Workers as the admin page sees and starts them."""

import os
import signal
import time

import pytest

from app.services.workers import WorkerRuns, Workers


def until(condition):
    deadline = time.monotonic() + 120
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


def test_a_worker_is_known_while_it_lives(tmp_path):
    workers = Workers(tmp_path / "locks", tmp_path / "worker.log")
    assert workers.alive() == []
    with workers.signed_on():
        [worker] = workers.alive()
        assert (worker.pid, worker.is_busy) == (os.getpid(), False)
        with pytest.raises(WorkerRuns, match=f"process {os.getpid()}"):
            workers.start()
    assert workers.alive() == []


def test_a_worker_is_started_and_there_is_never_a_second(tmp_path, monkeypatch, tiny_model):
    monkeypatch.setenv("KALM_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("KALM_MODEL", str(tiny_model))
    workers = Workers(tmp_path / "locks", tmp_path / "logs" / "worker.log")
    pid = workers.start()
    try:
        with pytest.raises(WorkerRuns):
            workers.start()
        [worker] = until(workers.alive)
        assert worker.pid == pid
        assert os.getsid(pid) == pid  # it outlives the server
    finally:
        os.kill(pid, signal.SIGTERM)
    until(lambda: workers._started.poll() is not None)
    assert (workers.alive(), workers.failure()) == ([], "")


def test_why_a_worker_ended_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("KALM_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("KALM_PORT", "none")
    workers = Workers(tmp_path / "locks", tmp_path / "worker.log")
    workers.start()
    assert "The setting port is wrong" in until(workers.failure)
