"""A watched folder, with the system's own notices and without: changes are told once it is at rest."""

import os
import time

import pytest

from indexer.sources.folders import file_filter
from indexer.sources.watching import FolderWatcher

_WAIT_SECONDS = 30


@pytest.fixture(params=[None, 0.1], ids=["told", "polled"])
def watch(request, tmp_path, monkeypatch):
    """Watch a folder; it is closed afterwards."""
    monkeypatch.setattr("indexer.sources.watching._RETRY_SECONDS", 0.05)
    made = []

    def begin(root, include=()):
        made.append(FolderWatcher(root, file_filter(include), quiet_seconds=0.1, poll_seconds=request.param))
        return made[-1]

    yield begin
    for watcher in made:
        watcher.close()


def wait_for(condition):
    deadline = time.monotonic() + _WAIT_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_change_is_told_once(watch, tmp_path):
    watcher = watch(tmp_path)
    wait_for(watcher.take)  # what changed while nobody watched
    assert not watcher.take()
    (tmp_path / "a.md").write_text("Apples.")
    wait_for(watcher.take)
    (tmp_path / "new" / "deep").mkdir(parents=True)
    (tmp_path / "new" / "deep" / "b.md").write_text("Bees.")
    wait_for(watcher.take)
    (tmp_path / "a.md").unlink()
    wait_for(watcher.take)
    assert watcher.problem == ""


def test_what_would_not_be_indexed_does_not_count(watch, tmp_path):
    watcher = watch(tmp_path, ("*.md",))
    wait_for(watcher.take)
    for name in ("a.txt", ".hidden.md", "a.exe"):
        (tmp_path / name).write_text("Apples.")
    (tmp_path / "z.md").write_text("Zebras.")  # told after the others, or with them
    wait_for(watcher.take)
    (tmp_path / "a.txt").write_text("More apples.")
    time.sleep(0.5)
    assert not watcher.take()


def test_a_folder_that_vanishes_is_a_problem_until_it_is_back(watch, tmp_path):
    root = tmp_path / "drive"
    watcher = watch(root)
    wait_for(lambda: watcher.problem)
    assert watcher.problem == f"{root} is not there; it is watched again as soon as it is."
    for _ in range(2):
        root.mkdir()
        wait_for(watcher.take)
        assert watcher.problem == ""
        (root / "a.md").write_text("Apples.")
        wait_for(watcher.take)
        root.rename(tmp_path / f"away-{time.monotonic_ns()}")
        wait_for(lambda: watcher.problem)
        watcher.take()


def test_another_folder_in_its_place_is_watched(watch, tmp_path):
    root = tmp_path / "drive"
    root.mkdir()
    watcher = watch(root)
    wait_for(watcher.take)
    (tmp_path / "other").mkdir()
    root.rename(tmp_path / "before")
    os.rename(tmp_path / "other", root)
    wait_for(watcher.take)
    (root / "a.md").write_text("Apples.")
    wait_for(watcher.take)


def test_a_single_file_may_be_replaced(watch, tmp_path):
    path = tmp_path / "a.md"
    path.write_text("Apples.")
    watcher = watch(path)
    wait_for(watcher.take)
    (tmp_path / "a.md.new").write_text("More apples.")
    os.replace(tmp_path / "a.md.new", path)  # as editors do
    wait_for(watcher.take)
