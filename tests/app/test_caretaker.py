"""What a worker does by itself: nothing is lost, nothing is done twice, and nothing is emptied."""

import os
import time
from contextlib import nullcontext
from pathlib import Path
from unittest import mock

import pytest

from app.bootstrap import Services
from app.services.caretaker import Caretaker
from app.services.schedules import ScheduleService
from app.settings import Settings
from indexer.catalog.schedule_tables import ScheduleTable
from indexer.readers.process import ReaderProcess
from indexer.records import RunState

_WAIT_SECONDS = 300
_DAY = 86_400.0


class Workshop:
    """An installation with the corpus ``shelf``, and workers of it that share a clock."""

    def __init__(self, folder: Path, model: Path) -> None:
        self.services = Services(Settings(data_dir=folder / "data", model=str(model)))
        self.root = folder / "shelf"
        self.root.mkdir()
        self.write("a.md", "# Apples\n\nApples grow on trees.\n")
        self.services.corpora.add("shelf", self.root)
        self.now = time.time()
        self.schedules = ScheduleService(
            self.services.catalog, ScheduleTable(self.services.catalog.database), lambda: self.now
        )
        self.problems = []
        self.made_ones = []

    def write(self, name, text):
        (self.root / name).write_text(text)

    def worker(self, pid=1):
        services = self.services
        with mock.patch.object(os, "getpid", return_value=pid):
            table = ScheduleTable(services.catalog.database)
            made = Caretaker(services.catalog, table, services.jobs, services.indexing, lambda: self.now)
        self.made_ones.append(made)
        return made

    def look(self, caretaker, **more):
        return caretaker.look(lambda corpus, problem: self.problems.append(problem), **more)

    def look_until(self, caretaker, condition):
        deadline = time.monotonic() + _WAIT_SECONDS
        while not condition():
            assert time.monotonic() < deadline
            self.look(caretaker)
            time.sleep(0.01)

    def work(self):
        self.services.indexing.work(wait=True, on_error=lambda run, error: self.problems.append(str(error)))

    def runs(self):
        return self.services.jobs.runs(100)

    def indexed(self):
        catalog = self.services.catalog
        return set(catalog.files("shelf", catalog.corpus("shelf").live))

    def schedule(self):
        return self.schedules.all()["shelf"]


@pytest.fixture(scope="module")
def reader():
    """One child for all tests: it takes a second until it has loaded what the readers need."""
    with ReaderProcess() as process:
        yield process


@pytest.fixture
def shop(tmp_path, tiny_model, reader, monkeypatch):
    monkeypatch.setattr("indexer.pipeline.ReaderProcess", lambda: nullcontext(reader))
    with mock.patch.object(os, "nice"):
        made = Workshop(tmp_path, tiny_model)
        yield made
    for caretaker in made.made_ones:
        caretaker.close()
    made.services.close()


def test_a_change_is_submitted_and_one_during_a_run_leads_to_another_run(shop):
    shop.schedules.watch("shelf", quiet_seconds=0.1)
    worker = shop.worker()
    shop.look_until(worker, shop.runs)  # it was never built
    assert shop.runs()[0].by.startswith("kalm worker 1 of ")
    shop.write("b.txt", "Bees make honey.\n")
    shop.look_until(worker, lambda: shop.look(worker))  # it waits for the run to be over
    assert len(shop.runs()) == 1
    shop.work()
    assert shop.indexed() == {"a.md"}
    shop.look_until(worker, lambda: len(shop.runs()) == 2)
    shop.work()
    assert shop.indexed() == {"a.md", "b.txt"}
    assert not shop.look(worker)
    assert (len(shop.runs()), shop.problems) == (2, [])


def test_of_several_workers_one_submits_and_the_others_find_nothing_left(shop):
    shop.schedules.watch("shelf", quiet_seconds=0.1)
    first, second = shop.worker(1), shop.worker(2)
    shop.look_until(first, shop.runs)
    shop.look_until(second, lambda: shop.look(second))  # the run may have been planned before what it saw
    shop.work()
    deadline = time.monotonic() + 0.5
    while time.monotonic() < deadline:
        assert not shop.look(first)
        assert not shop.look(second)
    assert [run.by.split()[2] for run in shop.runs()] == ["1"]


def test_a_run_of_somebody_else_does_not_count_as_a_look(shop):
    """It was written down between a worker's own look and its plan, and may be older than the change."""
    shop.schedules.watch("shelf", quiet_seconds=0.1)
    worker = shop.worker()
    submit = shop.services.indexing.submit

    def late(name, **more):
        submit(name, by="somebody else")
        shop.write("b.txt", "Bees make honey.\n")
        return submit(name, **more)

    with mock.patch.object(shop.services.indexing, "submit", late):
        shop.look_until(worker, shop.runs)
    shop.work()
    shop.look_until(worker, lambda: len(shop.runs()) == 2)
    shop.work()
    assert shop.indexed() == {"a.md", "b.txt"}


def test_a_schedule_missed_many_times_is_made_up_for_once(shop):
    shop.schedules.schedule("shelf", "0 3 * * *", "UTC")
    worker = shop.worker()
    shop.look(worker)
    assert shop.runs() == []
    shop.now += 10 * _DAY
    assert not shop.look(worker)
    assert len(shop.runs()) == 1
    assert shop.now < shop.schedule().due <= shop.now + _DAY
    shop.services.indexing.cancel(1)
    shop.look(worker)
    assert len(shop.runs()) == 1
    shop.now += _DAY
    shop.look(worker)
    shop.look(shop.worker(2))
    assert len(shop.runs()) == 2


def test_a_folder_that_vanishes_or_is_emptied_is_told_once_and_the_index_stays(shop, tmp_path):
    shop.services.indexing.build("shelf")
    shop.schedules.watch("shelf", quiet_seconds=0.1)
    shop.schedules.schedule("shelf", "* * * * *")
    worker = shop.worker()
    shop.root.rename(tmp_path / "away")
    shop.now += 60
    for _ in range(3):
        shop.look(worker)
    assert [problem.partition("; ")[0] for problem in shop.problems] == [
        f"{shop.root}, for which shelf stands, is not there"
    ]
    assert shop.schedule().note == shop.problems[0]

    shop.root.mkdir()  # what a drive was mounted on
    shop.look_until(worker, lambda: len(shop.problems) == 2)
    for _ in range(3):
        shop.look(worker)
    assert shop.problems[1:] == [shop.schedule().note]
    assert shop.problems[1].startswith(f"{shop.root} holds no file any more that is read, as if a drive were not")
    assert shop.indexed() == {"a.md"}
    assert len(shop.runs()) == 1

    shop.write("a.md", "# Pears\n\nPears grow on trees.\n")
    shop.look_until(worker, lambda: len(shop.runs()) == 2)
    assert (shop.schedule().note, len(shop.problems)) == ("", 2)


def test_what_was_refused_is_tried_again_after_a_while_or_a_change(shop):
    shop.services.indexing.build("shelf")
    shop.schedules.schedule("shelf", "* * * * *")
    worker = shop.worker()
    (shop.root / "a.md").unlink()
    shop.now += 60
    with mock.patch.object(shop.services.indexing, "submit", wraps=shop.services.indexing.submit) as submit:
        for _ in range(3):
            shop.look(worker)
        assert submit.call_count == 1
        shop.now += 300
        shop.look(worker)
        assert submit.call_count == 2
    assert len(shop.problems) == 1


def test_a_run_that_failed_is_taken_up_and_followed_by_a_look(shop):
    run = shop.services.indexing.submit("shelf")
    shop.services.indexing._leases.fail(run.id, "", "No space.")
    shop.write("b.txt", "Bees make honey.\n")
    shop.schedules.schedule("shelf", "0 0 * * *")
    worker = shop.worker()
    shop.now += _DAY
    shop.look(worker)
    assert shop.problems == ["Run 1 failed (No space); it is taken up again."]
    assert shop.services.jobs.run(1).state is RunState.QUEUED
    shop.work()
    shop.look(worker)
    shop.work()
    assert shop.indexed() == {"a.md", "b.txt"}
    assert shop.schedule().note == ""


def test_a_paused_run_is_left_to_who_paused_it(shop):
    run = shop.services.indexing.submit("shelf")
    shop.services.jobs.pause(run.id)
    shop.schedules.schedule("shelf", "0 0 * * *")
    shop.now += _DAY
    assert not shop.look(shop.worker())
    assert [run.state for run in shop.runs()] == [RunState.PAUSED]


def test_what_is_watched_follows_the_catalog(shop, tmp_path):
    worker = shop.worker()
    shop.schedules.watch("shelf", quiet_seconds=0.1)
    shop.look_until(worker, shop.runs)
    shop.services.corpora.remove("shelf")
    assert not shop.look(worker)
    other = tmp_path / "other"
    other.mkdir()
    (other / "c.txt").write_text("Cats sleep.\n")
    shop.services.corpora.add("shelf", other)
    shop.schedules.watch("shelf", quiet_seconds=0.1)
    shop.look_until(worker, lambda: any(run.is_workable for run in shop.runs()))
    assert [(run.files, run.bytes) for run in shop.runs() if run.is_workable] == [(1, len("Cats sleep.\n"))]
    shop.schedules.unwatch("shelf")
    shop.look(worker)
    assert worker._watchers == {}
