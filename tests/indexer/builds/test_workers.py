"""Builds by real processes: shared, one of them killed, paused; nothing is lost or doubled."""

import multiprocessing
import os
import signal
import sqlite3
import sys
import time
from contextlib import contextmanager

import pytest
from build_cases import Bench, HashEncoder, check_whole, found

from indexer.builds import reading
from indexer.catalog.corpora import Catalog
from indexer.catalog.jobs import JobError
from indexer.pipeline import BuildRefused, cancel
from indexer.records import RunState
from indexer.sources.folders import find_files
from indexer.stores.edge import EdgeEngine

SPAWN = multiprocessing.get_context("spawn")


def _work(tmp, url, run, reports):
    """Be a worker in a process of its own, that tells of every step it takes."""
    bench = Bench(tmp / "books", tmp / "data", Catalog(url), EdgeEngine(tmp / "data" / "indexes"), HashEncoder(), None)
    reports.send_bytes(b"ready")
    reports.recv_bytes()

    def tell(progress):
        reports.send_bytes(progress.stage.encode())
        time.sleep(0.005)  # so that a kill can fall between any two steps

    bench.parts().work(run, on_progress=tell)
    reports.send_bytes(b"encoded %d" % len(bench.encoder.encoded))


class Worker:
    """A worker process, at the other end of a pipe."""

    def __init__(self, tmp, url, run):
        self.encoded = 0  # passages, as it says at its end
        self.pipe, theirs = SPAWN.Pipe()
        self.process = SPAWN.Process(target=_work, args=(tmp, url, run, theirs))
        self.process.start()
        theirs.close()
        assert self.pipe.recv_bytes() == b"ready"

    def begin(self):
        self.pipe.send_bytes(b"go")

    def wait_for(self, reports, stage=b""):
        """Take so many reports, or those until it ends; reports of other stages are not counted."""
        while reports:
            try:
                report = self.pipe.recv_bytes()
            except EOFError:
                return
            reports -= report.startswith(stage)
            if report.startswith(b"encoded"):
                self.encoded = int(report.split()[1])

    def kill(self):
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.join()

    def join(self):
        self.wait_for(sys.maxsize)
        self.process.join()


@contextmanager
def started(*workers):
    try:
        for worker in workers:
            worker.begin()
        yield
    finally:
        for worker in workers:
            worker.process.kill()
            worker.process.join()
            worker.pipe.close()


@pytest.mark.parametrize(
    ("is_killed", "catalog_url"),
    [(False, "sqlite"), (True, "postgres")],
    ids=["together", "one killed"],
    indirect=["catalog_url"],
)
def test_two_workers_share_a_run(bench, tmp_path, catalog_url, is_killed):
    uris = {f"{n}.txt" for n in range(100)}
    for uri in uris:
        bench.write(uri, f"honey of {uri}")
    run = bench.submit()
    first, second = Worker(tmp_path, catalog_url, run.id), Worker(tmp_path, catalog_url, run.id)
    with started(first, second):
        if is_killed:
            first.wait_for(3)
            first.kill()
        for worker in (second, first):
            worker.join()
    if not is_killed:
        assert min(first.encoded, second.encoded) > 0
        assert first.encoded + second.encoded == len(uris), "something was read twice"
    check_whole(bench, uris)


# In one process


def test_a_run_that_is_paused_half_way_goes_on_when_it_is_resumed(bench, monkeypatch):
    for name in ("FLUSH_CHUNKS", "_LEASED_FILES"):
        monkeypatch.setattr(reading, name, 2)
    for n in range(5):
        bench.write(f"{n}.txt", f"honey {n}")
    parts, run = bench.parts(), bench.submit()

    def pause(progress):
        if progress.files_done == 2:
            parts.jobs.pause(run.id)

    paused = parts.work(run.id, on_progress=pause)
    assert (paused.state, bench.catalog.live_number("books")) == (RunState.PAUSED, None)
    assert parts.leases.owners(run.id) == set()
    parts.jobs.resume(run.id)
    assert parts.work(run.id, on_progress=lambda _: None).state is RunState.DONE
    check_whole(bench, {f"{n}.txt" for n in range(5)})


def test_a_worker_that_is_told_to_end_lets_go_and_nothing_is_held_against_the_files(bench):
    bench.write("a.txt", "honey")
    parts, run = bench.parts(), bench.submit()

    def end(progress):
        raise SystemExit(0)

    with pytest.raises(SystemExit):
        parts.work(run.id, on_progress=end)
    assert parts.leases.owners(run.id) == set()
    (task,) = parts.leases.lease(run.id, "next", files=1, size_bytes=100)
    assert task.attempts == 1


def test_a_worker_that_does_not_wait_leaves_what_others_hold(bench):
    bench.write("a.txt", "honey")
    parts, run = bench.parts(), bench.submit()
    parts.leases.lease(run.id, "other", files=1, size_bytes=100)
    assert parts.work(run.id, on_progress=lambda _: None, wait=False).state is RunState.RUNNING
    parts.leases.release(run.id, "other")
    assert parts.work(run.id, on_progress=lambda _: None, wait=False).state is RunState.DONE


@pytest.mark.parametrize("stage", ["embedding", "writing", "optimizing"])
def test_a_run_can_be_cancelled_at_every_stage(bench, stage):
    bench.write("a.txt", "honey")
    bench.build()
    bench.write("b.txt", "more honey")
    parts, run = bench.parts(), bench.submit()

    def end(progress):
        if progress.stage == stage:
            cancel(run.id, parts.jobs, parts.leases, parts.engine, parts.lock_folder)

    assert parts.work(run.id, on_progress=end).state is RunState.CANCELLED
    assert len(list((bench.data / "indexes" / "books").glob("generation-*"))) == 1
    assert found(bench) == {"a.txt"}
    bench.build()
    check_whole(bench, {"a.txt", "b.txt"})


def test_files_are_read_as_they_are_when_their_turn_comes(bench):
    bench.write("gone.txt", "honey")
    bench.write("changed.txt", "honey")
    run = bench.submit()
    (bench.root / "gone.txt").unlink()
    bench.write("changed.txt", "honey and wax")
    bench.write("new.txt", "honey")
    parts = bench.parts()
    report = parts.report(parts.work(run.id, on_progress=lambda _: None))
    assert report.failed.keys() == {"gone.txt"}
    assert "gone since the build was planned" in report.failed["gone.txt"]
    check_whole(bench, {"changed.txt"})
    assert found(bench, "wax") == {"changed.txt"}
    bench.build()
    check_whole(bench, {"changed.txt", "new.txt"})


def test_a_run_of_other_parts_is_not_worked_on(bench):
    bench.write("a.txt", "honey")
    run = bench.submit()
    bench.encoder.fingerprint = "f" * 16
    with pytest.raises(BuildRefused, match="fingerprint was 0123456789abcdef and is f+"):
        bench.parts().work(run.id, on_progress=lambda _: None)
    assert bench.parts().jobs.run(run.id).state is RunState.QUEUED


def test_vectors_that_the_cache_has_dropped_are_encoded_again(bench):
    bench.write("a.txt", "honey")
    parts, run = bench.parts(), bench.submit()

    def drop(progress):
        if progress.stage == "writing":
            with sqlite3.connect(bench.data / "vectors.sqlite") as cache:
                cache.execute("DELETE FROM vectors")
            cache.close()

    assert parts.work(run.id, on_progress=drop).state is RunState.DONE
    check_whole(bench, {"a.txt"})


def test_names_that_are_not_utf8_are_each_read_where_they_are(bench):
    for name in ("资料", "报告"):
        with open(os.fsencode(bench.root) + f"/{name}.txt".encode("gbk"), "w") as file:
            file.write(f"honey of {name}")
    assert bench.build().failed == {}
    uris = set(find_files(bench.catalog.corpus("books")))
    assert {uri[:3] for uri in uris} == {"资料~", "报告~"}
    check_whole(bench, uris)


def test_a_corpus_removed_during_its_build_ends_it_in_one_sentence(bench):
    bench.write("a.txt", "honey")
    run = bench.submit()
    with pytest.raises(JobError, match=f"There is no run {run.id}"):
        bench.parts().work(run.id, on_progress=lambda _: bench.catalog.remove_corpus("books"))
