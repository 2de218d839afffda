"""Builds on a Ray cluster: the same index as without, whatever node dies; nothing is lost, nothing doubled."""

import os
import sys
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from unittest import mock

import pytest
import ray
from cluster_cases import HashModel, MissingModel, SlowEncoder
from hash_encoder import HashEncoder
from hypothesis import assume, given
from hypothesis import strategies as st
from ray.cluster_utils import Cluster
from ray.exceptions import WorkerCrashedError

from embedder.cache import document_keys
from indexer.builds import cluster as driver
from indexer.builds.cluster_stages import encoded, lots_of
from indexer.builds.intake import Intake
from indexer.builds.nodes import ClusterError, Machine, RayCluster, encoder_pool
from indexer.pipeline import cancel
from indexer.records import RunState

NODE = {"num_cpus": 2, "object_store_memory": 100 << 20, "include_log_monitor": False}


@pytest.fixture(scope="module")
def nodes():
    """A cluster whose first node is the test's own machine."""
    quick = {"health_check_period_ms": 1000}  # a dead node is noticed in seconds, and a slow one is not taken for dead
    head = NODE | {"include_dashboard": False, "no_monitor": True, "_system_config": quick}
    environment = {"RAY_USAGE_STATS_ENABLED": "0", "PYTHONPATH": os.pathsep.join(sys.path)}
    with mock.patch.dict(os.environ, environment):
        cluster = Cluster(initialize_head=True, head_node_args=head)
        yield cluster
        cluster.shutdown()


@pytest.fixture
def marks(tmp_path):
    """Nodes that have loaded the model, as files."""
    folder = tmp_path / "marks"
    folder.mkdir()
    return folder


@pytest.fixture
def on_nodes(bench, nodes, marks):
    """The parts of a build on the cluster."""

    def parts(model=None, encoders=1):
        cluster = RayCluster(model or partial(HashModel, marks), nodes.address, encoders)
        return replace(bench.parts(), cluster=cluster)

    return parts


def work(bench, parts, on_progress=lambda _: None):
    return parts.report(parts.work(bench.submit().id, on_progress=on_progress))


def contents(bench):
    """All that an index holds, and what the catalog says of its files."""
    live = bench.catalog.live_number("books")
    store = bench.engine.open("books", live)
    points = [
        (point.id, point.dense.tobytes(), point.lexical, point.text, point.metadata)
        for batch in store.points()
        for point in batch
    ]
    assert store.count() == len(points) == bench.catalog.generation("books", live).chunks
    store.close()
    return points, bench.catalog.files("books", live)


def check_same_as_built_here(bench):
    """The live index is the one that this process makes of the same files."""
    built = contents(bench)
    (bench.data / "vectors.sqlite").unlink()
    bench.build(fresh=True)
    assert contents(bench) == built


def test_the_index_is_the_one_that_a_single_process_builds(bench, on_nodes):
    for n in range(70):
        bench.write(f"{n}.txt", f"honey of {n}\n\nThe same everywhere.")
    bench.write("large.md", "".join(f"# Part {n}\n\n{'Bees make honey. ' * 20}\n\n" for n in range(300)))
    bench.write("empty.txt", "")
    bench.write("broken.pdf", b"%PDF-1.7 and then nothing that a PDF should hold")
    first = work(bench, on_nodes())
    assert first.chunks > 600
    assert first.failed.keys() == {"broken.pdf", "empty.txt"}
    assert bench.encoder.encoded == [], "this process has encoded what the nodes should have"

    (bench.root / "0.txt").unlink()
    (bench.root / "1.txt").rename(bench.root / "moved.txt")
    bench.write("2.txt", "wax instead")
    run = bench.submit()
    done = on_nodes().work(run.id, on_progress=lambda _: None)
    assert (done.documents, done.encoded) == (2, 1), "what has only moved was encoded again"
    assert bench.encoder.encoded == []
    check_same_as_built_here(bench)


def test_a_node_killed_half_way_loses_and_doubles_nothing(bench, nodes, on_nodes, marks, monkeypatch):
    monkeypatch.setattr(driver, "_SHEAF_FILES", 4)
    uris = {f"{n}.txt" for n in range(160)}
    for uri in uris:
        bench.write(uri, f"honey of {uri}")
    second = nodes.add_node(**NODE)
    done_before, done_after = [], []

    def kill(progress):
        if done_before:
            done_after.append(progress.files_done)
        elif progress.files_done:
            done_before.append(progress.files_done)
            assert second.node_id in {mark.name for mark in marks.iterdir()}, "the node has nothing to do with it"
            assert ray.get_runtime_context().get_node_id() != second.node_id
            nodes.remove_node(second, allow_graceful=False)

    parts = on_nodes(partial(HashModel, marks, kind=SlowEncoder), encoders=None)
    run = bench.submit()
    done = parts.work(run.id, on_progress=kill)
    assert 0 < done_before[0] < len(uris), "it was killed when all was done"
    assert (done.state, done.documents, done.chunks, done.failed) == (RunState.DONE, len(uris), len(uris), 0)
    assert bench.catalog.files("books", done.generation).keys() == uris
    check_same_as_built_here(bench)


def test_a_build_can_be_cancelled_and_ended_half_way(bench, on_nodes, monkeypatch, marks):
    monkeypatch.setattr(driver, "_SHEAF_FILES", 4)
    for n in range(40):
        bench.write(f"{n}.txt", f"honey of {n}")
    parts = on_nodes(partial(HashModel, marks, kind=SlowEncoder))
    run = bench.submit()

    def end(progress):
        if progress.files_done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        parts.work(run.id, on_progress=end)
    assert not ray.is_initialized()
    assert parts.leases.owners(run.id) == set()
    left = parts.jobs.run(run.id)
    assert 0 < left.files_done < left.files

    def cancelled(progress):
        if progress.files_done > left.files_done:
            cancel(run.id, parts.jobs, parts.leases, parts.engine, parts.lock_folder)

    assert parts.work(run.id, on_progress=cancelled).state is RunState.CANCELLED
    assert bench.catalog.live_number("books") is None
    assert parts.leases.owners(run.id) == set()


def test_what_a_node_lacks_is_one_sentence_and_the_build_goes_on_later(bench, on_nodes):
    bench.write("a.txt", "honey")
    run = bench.submit()
    with pytest.raises(Exception, match="^The model is not on this node; put it there.$"):
        on_nodes(MissingModel).work(run.id, on_progress=lambda _: None)
    assert bench.parts().jobs.run(run.id).state is RunState.FAILED
    away = bench.root.rename(bench.root.with_name("elsewhere"))
    bench.parts().jobs.resume(run.id)
    with pytest.raises(ClusterError, match=f"does not see {bench.root}; mount the folder there"):
        on_nodes().work(run.id, on_progress=lambda _: None)
    away.rename(bench.root)
    assert bench.build().documents == 1, "another engine does not go on with the run"


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("ray://127.0.0.1:10001", "is an address for clients, .*ray start --address=HOST:PORT"),
        ("nowhere", "cluster nowhere cannot be reached"),
    ],
)
def test_a_cluster_that_is_not_there_is_one_sentence(bench, address, sentence):
    bench.write("a.txt", "honey")
    parts = replace(bench.parts(), cluster=RayCluster(MissingModel, address))
    run = bench.submit()
    with pytest.raises(ClusterError, match=sentence):
        parts.work(run.id, on_progress=lambda _: None)
    assert parts.leases.owners(run.id) == set()


# The driver alone: what comes from the nodes is made here


@pytest.fixture
def driven(bench, marks, monkeypatch):
    """A builder whose lots come from a function of the reader and its sheaves."""

    def parts(lots):
        monkeypatch.setattr(driver, "_connected", lambda cluster: nullcontext())
        monkeypatch.setattr(driver.ClusterReader, "_lots", lots)
        return replace(bench.parts(), cluster=RayCluster(partial(HashModel, marks)))

    return parts


def lots_here(bench, reader, sheaves):
    """What nodes would make of sheaves."""
    model = HashEncoder()
    intake = Intake(reader.corpus, reader.chunker, bench.reader)
    for sheaf in sheaves:
        for lot in lots_of(intake, sheaf):
            vectors = model.encode_documents(lot.passages)
            yield encoded(model, lot, dict(zip(document_keys(model, lot.passages), vectors, strict=True)))


def test_a_file_that_kills_its_worker_is_a_failed_file_in_the_end(bench, driven):
    def lots(reader, sheaves):
        for sheaf in sheaves:
            if any(leased.file.uri == "fatal.txt" for leased in sheaf.files):
                raise WorkerCrashedError
            yield from lots_here(bench, reader, [sheaf])

    for n in range(5):
        bench.write(f"{n}.txt", f"honey of {n}")
    bench.write("fatal.txt", "fatal honey")
    report = work(bench, driven(lots))
    assert report.failed.keys() == {"fatal.txt"}
    assert "3 workers died" in report.failed["fatal.txt"]
    assert report.documents == 5


def test_a_cluster_that_always_fails_ends_the_build_and_fails_no_file(bench, driven):
    def lots(reader, sheaves):
        raise WorkerCrashedError
        yield

    for n in range(5):
        bench.write(f"{n}.txt", f"honey of {n}")
    with pytest.raises(ClusterError, match="failed 3 times in a row .*; mend that and run"):
        work(bench, driven(lots))
    report = bench.build()
    assert (report.documents, report.failed) == (5, {})


def test_a_file_is_entered_when_all_its_vectors_are_in_the_cache(bench, driven, monkeypatch):
    monkeypatch.setattr(driver, "_SHEAF_FILES", 2)
    bench.write("large.md", "".join(f"# Part {n}\n\n{'Bees make honey. ' * 20}\n\n" for n in range(200)))
    bench.write("small.txt", "honey")
    bench.write("other.txt", "honey")
    entered = []

    def backwards(reader, sheaves):
        lots = list(lots_here(bench, reader, sheaves))
        assert [(lot.sheaf, lot.number) for lot in lots] == [(0, 0), (0, 1), (1, 0)]
        for lot in (*reversed(lots), lots[0]):  # and one comes twice
            yield lot
            entered.append(reader.run.files_done)

    report = work(bench, driven(backwards))
    assert entered == [1, 1, 3, 3]
    assert (report.documents, report.failed) == (3, {})
    assert bench.encoder.encoded == [], "vectors were missing when the store was written"
    check_same_as_built_here(bench)


# Without a cluster


MACHINES = st.lists(st.builds(Machine, st.integers(0, 64), st.integers(0, 8)), max_size=5)


@given(MACHINES, st.none() | st.integers(1, 40))
def test_encoders_leave_room_for_a_reader(machines, encoders):
    try:
        pool = encoder_pool(machines, encoders)
    except ClusterError:
        assume(False)
    assert pool.size == encoders or encoders is None
    room = [(machine.cpus, machine.gpus) for machine in machines]
    for _ in range(pool.size):
        place = next((i for i, (cpus, gpus) in enumerate(room) if cpus >= pool.cpus and gpus >= pool.gpus), None)
        assert place is not None, "an encoder has no place"
        room[place] = room[place][0] - pool.cpus, room[place][1] - pool.gpus
    assert any(cpus >= 1 for cpus, _ in room), "nobody can read"


@pytest.mark.parametrize(
    ("machines", "encoders", "pool"),
    [
        ([Machine(2, 0)], None, (1, 1, 0)),
        ([Machine(16, 0), Machine(16, 0)], None, (2, 15, 0)),
        ([Machine(16, 0), Machine(16, 0)], 6, (6, 5, 0)),
        ([Machine(32, 8), Machine(16, 0)], None, (8, 1, 1)),
        ([Machine(32, 8)], 2, (2, 1, 1)),
    ],
)
def test_an_encoder_for_each_gpu_or_each_node(machines, encoders, pool):
    found = encoder_pool(machines, encoders)
    assert (found.size, found.cpus, found.gpus) == pool


def test_too_many_encoders_are_refused():
    with pytest.raises(ClusterError, match="2 encoders and one reader need 3 processors, and the cluster has 2"):
        encoder_pool([Machine(2, 0)], 2)
    with pytest.raises(ClusterError, match="has 1 GPUs for 2 encoders"):
        encoder_pool([Machine(8, 1)], 2)
