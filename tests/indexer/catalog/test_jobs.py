"""Runs and leases: every file takes effect once, whoever dies when; runs are paused, resumed, cancelled, retried."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from job_cases import LEASE, Desk, documents, outcome, staged

from indexer.builds.heartbeat import Heartbeat, free_what_the_dead_hold, signed_on
from indexer.catalog.jobs import JobError, Speed
from indexer.catalog.leases import LeaseLost, Leases
from indexer.records import FileOutcome, RunState


@pytest.fixture
def desk(tmp_path, any_catalog_url):
    opened = Desk(tmp_path, url=any_catalog_url)
    yield opened
    opened.catalog.close()


# Leases


class Workers:
    """Three workers on one run, each with what it believes that it holds."""

    def __init__(self, desk, run):
        self.desk, self.run = desk, run
        self.held = {name: [] for name in "ABC"}
        self.entered = []

    def lease(self, name, count):
        self.held[name] += self.desk.lease(self.run, name, files=count)

    def complete(self, name, count, error=""):
        done, self.held[name] = self.held[name][:count], self.held[name][count:]
        try:
            self.desk.leases.complete(self.run.id, name, [(task, outcome(task, error, name)) for task in done])
            self.entered += [task.file.uri for task in done]
        except LeaseLost:
            self.held[name].clear()

    def fail(self, name, count):
        self.complete(name, count, error="broken")

    def beat(self, name, count):
        self.desk.leases.beat(self.run.id, name)

    def crash(self, name, count):
        self.held[name].clear()  # it says nothing, its leases stay

    def crash_seen(self, name, count):
        self.held[name].clear()
        self.desk.leases.release(self.run.id, name, died=True)

    def release(self, name, count):
        self.held[name].clear()
        self.desk.leases.release(self.run.id, name)

    def wait(self, name, count):
        self.desk.now += count * LEASE / 4

    def pause(self, name, count):
        self.desk.jobs.pause(self.run.id)

    def resume(self, name, count):
        self.desk.jobs.resume(self.run.id)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["lease", "lease", "complete", "complete", *"fail beat crash crash_seen".split()])
        | st.sampled_from(["release", "wait", "pause", "resume"]),
        st.sampled_from("ABC"),
        st.integers(1, 4),
    ),
    max_size=30,
)


@pytest.fixture(scope="module")
def patient_desk(tmp_path_factory):
    """One for all examples: opening a catalog takes longer than an example does."""
    opened = Desk(tmp_path_factory.mktemp("desk"), max_attempts=1000)
    yield opened
    opened.catalog.close()


@given(steps=STEPS)
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_whoever_dies_when_every_file_takes_effect_once_and_none_is_lost(patient_desk, steps):
    desk = patient_desk
    uris = [f"file-{n}" for n in range(6)]
    run = desk.submit(*uris)
    workers = Workers(desk, run)
    for step, name, count in steps:
        getattr(workers, step)(name, count)
    desk.jobs.resume(run.id)
    desk.now += LEASE + 1
    while not desk.leases.lease_store(run.id, "A"):
        workers.held["A"] = desk.lease(run, "A")
        workers.complete("A", len(uris))
    assert sorted(workers.entered) == uris
    now, failures = desk.jobs.run(run.id), desk.jobs.failures(run.id)
    assert (now.files_done, now.bytes_done, now.failed) == (6, 60, len(failures))
    assert staged(desk, run) == sorted(set(uris) - failures.keys())
    assert desk.catalog.files("books", run.generation).keys() == set(uris)
    desk.leases.seal(run.id, "A", 0)
    assert desk.leases.finish(run.id, "A").state is RunState.DONE


def test_a_lease_that_ran_out_goes_to_another_and_the_first_is_turned_away(desk):
    run = desk.submit("a")
    (task,) = desk.lease(run, "slow")
    assert desk.lease(run, "quick") == []
    desk.now += LEASE
    (again,) = desk.lease(run, "quick")
    assert again.file == task.file
    with pytest.raises(LeaseLost):
        desk.leases.complete(run.id, "slow", [(task, outcome(task, mark="slow"))])
    desk.leases.complete(run.id, "quick", [(again, outcome(task, mark="quick"))])
    assert [one.document.title for one in documents(desk, run)] == ["quick"]


def test_of_files_entered_together_all_are_entered_or_none(desk):
    run = desk.submit("a", "b", gone=["c"])
    tasks = desk.lease(run, "slow")
    desk.now += LEASE
    (again,) = desk.lease(run, "quick", files=1)
    with pytest.raises(LeaseLost, match=f"The lease on {again.file.uri} ran out"):
        desk.leases.complete(run.id, "slow", [(task, outcome(task)) for task in tasks])
    assert (staged(desk, run), desk.jobs.run(run.id).files_done) == ([], 0)
    desk.leases.release(run.id, "quick")
    tasks = [task for _ in tasks for task in desk.lease(run, "last")]
    assert desk.leases.complete(run.id, "last", [(task, outcome(task)) for task in tasks]).files_done == 3
    assert staged(desk, run) == ["a", "b"]


def test_heartbeats_keep_a_lease(desk):
    run = desk.submit("a")
    (task,) = desk.lease(run, "slow")
    for _ in range(5):
        desk.now += LEASE - 1
        desk.leases.beat(run.id, "slow")
        assert desk.lease(run, "quick") == []
    desk.leases.complete(run.id, "slow", [(task, outcome(task))])


def test_a_file_that_kills_workers_fails_and_takes_no_others_with_it(desk):
    run = desk.submit("a", "killer", "b")
    deaths = 0
    while tasks := desk.lease(run, f"worker-{deaths}"):
        for task in tasks:
            if task.file.uri == "killer":
                desk.leases.release(run.id, f"worker-{deaths}", died=True)
                deaths += 1
                break
            desk.leases.complete(run.id, f"worker-{deaths}", [(task, outcome(task))])
    assert deaths == 3
    assert staged(desk, run) == ["a", "b"]
    assert desk.jobs.failures(run.id).keys() == {"killer"}
    assert "3 workers died" in desk.catalog.failed_files("books", run.generation)["killer"]
    assert desk.jobs.retry(run.id).failed == 0
    desk.finish_files(run)
    assert staged(desk, run) == ["a", "b", "killer"]


def test_letting_go_in_good_order_is_not_held_against_a_file(desk):
    run = desk.submit("a", "b")
    for _ in range(5):
        assert [task.attempts for task in desk.lease(run, "worker")] == [1, 1]
        desk.leases.release(run.id, "worker")


def test_large_files_are_leased_alone_and_small_ones_together(desk):
    run = desk.submit(*"abcdef")
    assert len(desk.lease(run, "worker", size_bytes=5)) == 1
    assert len(desk.lease(run, "worker", size_bytes=25)) == 2
    assert len(desk.lease(run, "worker")) == 3


def test_one_worker_writes_the_store_once_all_files_are_done(desk):
    run = desk.submit("a")
    assert not desk.leases.lease_store(run.id, "first")
    desk.finish_files(run)
    assert desk.leases.lease_store(run.id, "first")
    assert not desk.leases.lease_store(run.id, "second")
    desk.now += LEASE
    assert desk.leases.lease_store(run.id, "second")
    with pytest.raises(LeaseLost):
        desk.leases.seal(run.id, "first", 1)
    desk.leases.seal(run.id, "second", 1)
    with pytest.raises(LeaseLost):
        desk.leases.finish(run.id, "first")
    assert desk.leases.finish(run.id, "second").state is RunState.DONE
    assert desk.catalog.live_number("books") == run.generation


def test_a_store_that_kills_its_writers_fails_the_run_and_resuming_tries_again(desk):
    run = desk.submit("a")
    desk.finish_files(run)
    for _ in range(3):
        assert desk.leases.lease_store(run.id, "doomed")
        desk.leases.release(run.id, "doomed", died=True)
    assert not desk.leases.lease_store(run.id, "next")
    failed = desk.jobs.run(run.id)
    assert failed.state is RunState.FAILED
    assert "kalm jobs resume" in failed.error
    assert desk.jobs.resume(run.id).error == ""
    assert desk.write_store(run).state is RunState.DONE


def test_retrying_files_has_the_store_written_again(desk):
    run = desk.submit("a")
    (task,) = desk.lease(run, "worker")
    desk.leases.complete(run.id, "worker", [(task, outcome(task, "broken"))])
    assert desk.leases.lease_store(run.id, "slow")
    with pytest.raises(JobError, match="is being written"):
        desk.jobs.retry(run.id)
    desk.leases.seal(run.id, "slow", 0)
    desk.now += LEASE
    assert desk.jobs.retry(run.id).files_done == 0
    assert not desk.catalog.generation("books", run.generation).sealed
    with pytest.raises(LeaseLost):
        desk.leases.finish(run.id, "slow")
    desk.finish_files(run)
    assert desk.write_store(run).failed == 0


def test_what_a_dead_process_held_is_free_at_once_and_a_living_one_keeps_it(desk, tmp_path):
    run = desk.submit("a", "b")
    with signed_on(tmp_path / "workers") as living:
        desk.lease(run, living, files=1)
        (tmp_path / "workers" / "dead.lock").touch()
        desk.lease(run, "dead", files=1)
        free_what_the_dead_hold(tmp_path / "workers", desk.leases, run.id)
        assert desk.leases.owners(run.id) == {living}
        (task,) = desk.lease(run, "next")
        assert task.attempts == 2
    assert list((tmp_path / "workers").iterdir()) == []


def check_until_it_raises(heartbeat):
    while True:
        heartbeat.check()


def test_a_heartbeat_notices_that_its_run_is_paused_or_gone(tmp_path):
    desk = Desk(tmp_path)
    run = desk.submit("a")
    leases = Leases(desk.catalog.database, seconds=0.12)
    with Heartbeat(leases, run.id, "worker") as heartbeat:
        heartbeat.check()
        desk.jobs.pause(run.id)
        with pytest.raises(LeaseLost, match="paused or cancelled"):
            check_until_it_raises(heartbeat)
    desk.catalog.remove_corpus("books")
    with Heartbeat(leases, run.id, "worker") as heartbeat, pytest.raises(JobError, match="no run"):
        check_until_it_raises(heartbeat)
    desk.catalog.close()


# Runs


def test_submitting_twice_is_one_run_until_it_is_over(desk):
    first = desk.submit("a", gone=["b"])
    assert (first.state, first.files, first.bytes) == (RunState.QUEUED, 2, 10)
    assert desk.submit("c") == first
    desk.finish_files(first)
    desk.write_store(first)
    second = desk.submit("c")
    assert (second.id, second.generation) == (first.id + 1, first.generation + 1)
    assert [run.id for run in desk.jobs.runs(10)] == [second.id, first.id]
    assert [run.id for run in desk.jobs.workable()] == [second.id]


def test_a_paused_run_is_left_alone_until_it_is_resumed(desk):
    run = desk.submit("a", "b")
    (task,) = desk.lease(run, "worker", files=1)
    assert desk.jobs.pause(run.id).state is RunState.PAUSED
    assert desk.jobs.workable() == desk.lease(run, "worker") == []
    assert desk.leases.complete(run.id, "worker", [(task, outcome(task))]).files_done == 1
    assert not desk.leases.lease_store(run.id, "worker")
    assert desk.jobs.resume(run.id).state is RunState.QUEUED
    desk.finish_files(run)
    assert desk.write_store(run).files_done == 2


def test_a_cancelled_run_leaves_nothing_and_waits_for_who_is_at_work(desk):
    first = desk.submit("a", "b")
    desk.finish_files(first)
    desk.write_store(first)
    run = desk.submit("a", gone=["b"], base=first.generation)
    (task, gone) = desk.lease(run, "worker")
    desk.leases.complete(run.id, "worker", [(gone, FileOutcome(None))])
    assert desk.jobs.cancel(run.id).state is RunState.CANCELLING
    with pytest.raises(LeaseLost):
        desk.leases.complete(run.id, "worker", [(task, outcome(task))])
    assert desk.leases.release(run.id, "worker").state is RunState.CANCELLED
    assert desk.catalog.files("books", first.generation).keys() == {"a", "b"}
    assert desk.jobs.abandoned("books") == [run.generation]
    after = desk.submit("c", base=first.generation)
    assert desk.catalog.files("books", after.generation).keys() == {"a", "b"}
    assert desk.jobs.abandoned("books") == []


def test_a_run_whose_worker_never_answers_is_cancelled_when_its_lease_runs_out(desk):
    run = desk.submit("a")
    desk.lease(run, "silent")
    assert desk.jobs.cancel(run.id).state is RunState.CANCELLING
    assert desk.submit("b").id == run.id
    desk.now += LEASE
    assert desk.submit("b").id != run.id
    assert desk.jobs.run(run.id).state is RunState.CANCELLED


def test_what_a_run_cannot_become_is_said_in_one_sentence(desk):
    with pytest.raises(JobError, match=r"There is no run 7; kalm jobs lists them\."):
        desk.jobs.pause(7)
    run = desk.submit()
    desk.write_store(run)
    for change in (desk.jobs.pause, desk.jobs.resume, desk.jobs.cancel, desk.jobs.retry):
        with pytest.raises(JobError, match=r"^Run \d+ is done and cannot be .*\.$"):
            change(run.id)


def test_only_work_counts_as_time(desk):
    run = desk.submit("a", "b")
    (task,) = desk.lease(run, "first", files=1)
    desk.now += 4
    desk.leases.complete(run.id, "first", [(task, outcome(task))], encoded=1)
    desk.now += 1000  # nobody there
    (task,) = desk.lease(run, "second")
    desk.now += 2
    desk.leases.complete(run.id, "second", [(task, outcome(task))], encoded=1)
    assert desk.write_store(run).seconds == pytest.approx(6)
    assert desk.jobs.speed("m").bytes_per_second == pytest.approx(20 / 6)
    assert desk.jobs.speed("other") is None


def test_an_update_tells_what_it_takes_beside_embedding_and_not_how_fast_a_model_is(desk):
    def work(seconds, *uris, base=None):
        run = desk.submit(*uris, base=base)
        tasks = desk.lease(run, "worker")
        desk.now += seconds
        desk.leases.complete(run.id, "worker", [(task, outcome(task)) for task in tasks], encoded=len(tasks))
        return desk.write_store(run)

    first = work(2, "a", "b")
    work(6, "c", base=first.generation)
    assert desk.jobs.speed("m", "books") == Speed(first.id, pytest.approx(10), pytest.approx(5))
    assert desk.jobs.speed("m", "other") == Speed(first.id, pytest.approx(10), 0)


def test_a_run_out_of_the_cache_says_nothing_about_speed(desk):
    run = desk.submit("a")
    (task,) = desk.lease(run, "worker")
    desk.now += 1
    desk.leases.complete(run.id, "worker", [(task, outcome(task))], encoded=0)
    desk.write_store(run)
    assert desk.jobs.speed("m") is None
