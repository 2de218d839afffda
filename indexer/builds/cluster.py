"""The shared part of a build on a Ray cluster: nodes read and encode, and this process enters what comes of it.

Leases, cache and catalog stay with the process that was asked for the build; nodes know neither. It leases a portion
of the run's files, has it streamed through the stages of ``cluster_stages.py``, and for each lot that comes back puts
the vectors into the cache and stages the files that end with it, as ``reading.py`` does. So nothing that happens on a
node has an effect, and what is done twice counts once.

When a node dies, what is left of the portion begins anew on the nodes that are there: waiting for Ray to heal it
could be waiting for a GPU that does not come back.
"""

import logging
import os
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from embedder.cache import CachedEncoder
from indexer.builds.cluster_stages import CacheKeeper, EncodedLot, Job, LeasedFile, Refusal, Sheaf, stream
from indexer.builds.heartbeat import Heartbeat
from indexer.builds.intake import GONE
from indexer.builds.nodes import ClusterError, Machine, RayCluster, encoder_pool
from indexer.catalog.corpora import Catalog
from indexer.catalog.leases import Leases
from indexer.chunking import Chunker
from indexer.records import Corpus, FileOutcome, FileState, Run, Task

_PORTION_FILES = (8192, 256, 1)
_PORTION_BYTES = 2**30
"""Leased at a time; of files over which a worker has died once, or more often, fewer. Encoders load once for each."""

_SHEAF_FILES = 64
_SHEAF_BYTES = 2**20
_FAILURES = 3
"""So often in a row a cluster may fail over a portion without a single file done."""

_POLL_SECONDS = 0.5
_STREAMED_AHEAD = 16
"""Lots that wait for this process before the nodes do."""


class _NodeLost(Exception):
    """A node that worked on a portion is gone."""


@dataclass
class ClusterReader:
    """This process's share of the files of one run, as its cluster reads them. The counterpart of ``FileReader``.

    Attributes:
        run: As it stood when something was last entered.
        on_progress: Called with every lot and while none comes, with passages that are not entered yet.
    """

    cluster: RayCluster
    catalog: Catalog
    leases: Leases
    encoder: CachedEncoder
    chunker: Chunker
    corpus: Corpus
    run: Run
    owner: str
    heartbeat: Heartbeat
    on_progress: Callable[[Run, int, int], None]
    _held: dict[int, Task] = field(default_factory=dict)
    _passages: int = 0
    _encoded: int = 0

    def work(self) -> bool:
        """Work until no file is left to lease; returns whether there was one.

        Raises:
            LeaseLost: If the run is not wanted any more, or somebody else has taken over.
            ClusterError: If the cluster is not there, or cannot do the work.
        """
        if not self._lease():
            return False
        with _connected(self.cluster):
            failures = 0
            while self._held or self._lease():
                done = self.run.files_done
                try:
                    self._work_off()
                    failures = 0
                except _NodeLost:
                    continue  # what is held begins anew on the others
                except RayTaskError:
                    raise  # a bug
                except RayError as error:
                    failures = 1 if self.run.files_done > done else failures + 1
                    if failures >= _FAILURES:
                        raise ClusterError(
                            f"The cluster failed {failures} times in a row ({_first_line(error)}); mend that and run "
                            "the build again, it goes on there."
                        ) from error
                    self._held.clear()
                    self.leases.release(self.run.id, self.owner, died=True)
        return True

    def _lease(self) -> bool:
        """Take a portion; one that has killed workers before is a small one."""
        bytes_left, files = _PORTION_BYTES, _PORTION_FILES[0]
        while len(self._held) < files and bytes_left > 0:
            wanted = files - len(self._held)
            tasks = self.leases.lease(self.run.id, self.owner, files=wanted, size_bytes=bytes_left)
            if not tasks:
                break
            self._held |= {task.id: task for task in tasks}
            bytes_left -= sum(task.file.size for task in tasks)
            files = _PORTION_FILES[min(tasks[-1].attempts, len(_PORTION_FILES)) - 1]
        return bool(self._held)

    def _work_off(self) -> None:
        """Have what is held read and encoded, and enter it.

        Raises:
            _NodeLost: If one of the nodes is gone.
            RayError: If Ray cannot go on.
        """
        self._complete([(task.id, FileOutcome(None)) for task in self._held.values() if task.file.is_gone])
        sheaves = list(self._sheaves())
        if not sheaves:
            return
        early: dict[tuple[int, int], EncodedLot] = {}
        due = dict.fromkeys((sheaf.number for sheaf in sheaves), 0)
        self._passages = 0
        with closing(self._lots(sheaves)) as lots:
            for lot in lots:
                early[lot.sheaf, lot.number] = lot
                self._passages += lot.passages
                while (ready := early.pop((lot.sheaf, due[lot.sheaf]), None)) is not None:
                    due[lot.sheaf] += 1
                    self._enter(ready)
        if self._held:
            raise ClusterError(
                f"The cluster has not said what came of {len(self._held)} files; run the build again, it goes on there."
            )

    def _lots(self, sheaves: list[Sheaf]) -> Generator[EncodedLot]:
        """What the nodes make of sheaves; between two of them it is seen to that the work is still wanted."""
        nodes = _nodes()
        pool = encoder_pool(list(nodes.values()), self.cluster.encoders)
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        keeper: Any = (
            ray.remote(CacheKeeper)
            .options(num_cpus=0, scheduling_strategy=here, max_restarts=-1, max_task_retries=-1)
            .remote(self.encoder.cache.path)
        )
        lots: Any = (
            ray.remote(stream)
            .options(
                num_cpus=0,
                num_returns="streaming",
                max_retries=0,
                scheduling_strategy=here,
                _generator_backpressure_num_objects=_STREAMED_AHEAD,
            )
            .remote(self._job, sheaves, pool, keeper)
        )
        try:
            while True:
                ready, _ = ray.wait([lots], timeout=_POLL_SECONDS)
                self.heartbeat.check()
                if not nodes.keys() <= _nodes().keys():
                    raise _NodeLost
                if not ready:
                    self._report()
                    continue
                try:
                    lot: EncodedLot | Refusal = ray.get(next(lots))
                except StopIteration:
                    return
                if isinstance(lot, Refusal):
                    raise ClusterError(lot.reason)
                yield lot
        except RayError as error:
            if not nodes.keys() <= _nodes().keys():
                raise _NodeLost from error
            raise _raised_on_a_node(error) from error
        finally:
            ray.cancel(lots, force=True)  # its actors and tasks end with it
            ray.kill(keeper)

    def _enter(self, lot: EncodedLot) -> None:
        """Keep the vectors of a lot, then enter what came of the files that end with it."""
        before = self.encoder.cache.added
        if lot.vectors:
            self.encoder.cache.put(lot.vectors)
        self._encoded += self.encoder.cache.added - before
        for number, outcome in lot.outcomes:
            self._check_seen(number, outcome)
            self._passages -= outcome.chunks
        self._complete(lot.outcomes)
        self._report()

    def _complete(self, outcomes: Iterable[tuple[int, FileOutcome]]) -> None:
        """Enter what came of files, those that were entered before a node was lost aside."""
        finished = [(self._held[number], outcome) for number, outcome in outcomes if number in self._held]
        if finished:
            self.run = self.leases.complete(self.run.id, self.owner, finished, self._encoded)
            self._encoded = 0
        for task, _ in finished:
            del self._held[task.id]

    def _check_seen(self, number: int, outcome: FileOutcome) -> None:
        """A file that a node does not see and this machine does is not gone.

        Raises:
            ClusterError: If there is such a one.
        """
        task = self._held.get(number)
        if task is None or outcome.error != GONE or self.corpus.url:
            return
        if os.path.lexists(self.corpus.root / os.fsdecode(task.file.path)):
            raise ClusterError(
                f"A node does not see {task.file.uri}, which this machine does; give all nodes the same folder "
                f"{self.corpus.root}, or add the corpus by an address that they all reach."
            )

    def _sheaves(self) -> Iterator[Sheaf]:
        """What is held, in parts for one task each."""
        number, size = 0, 0
        files: list[LeasedFile] = []
        for task in self._held.values():
            if files and (len(files) == _SHEAF_FILES or size + task.file.size > _SHEAF_BYTES):
                yield Sheaf(number, tuple(files))
                number, size, files = number + 1, 0, []
            files.append(self._leased(task))
            size += task.file.size
        if files:
            yield Sheaf(number, tuple(files))

    def _leased(self, task: Task) -> LeasedFile:
        before = self._before.get(task.file.uri)
        if before is None or self.run.base is None:
            return LeasedFile(task.id, task.file, before, {})
        known = self.catalog.known_documents(self.corpus.name, self.run.base, task.file.uri)
        digests = {id: document.digest for id, document in known.items()}
        return LeasedFile(task.id, task.file, before, digests)

    def _report(self) -> None:
        self.on_progress(self.run, 0, max(0, self._passages))

    @cached_property
    def _before(self) -> Mapping[str, FileState]:
        return self.catalog.files(self.corpus.name, self.run.base)

    @cached_property
    def _job(self) -> Job:
        model = self.cluster.model(self.run.manifest)
        return Job(self.corpus, model, self.chunker.max_tokens, self.chunker.overlap_tokens)


@contextmanager
def _connected(cluster: RayCluster) -> Iterator[None]:
    """Be a driver of the cluster for the length of a block; one started for it ends with it."""
    if cluster.address is not None and "://" in cluster.address:
        raise ClusterError(
            f"{cluster.address} is an address for clients, and a build needs a machine of the cluster itself; run "
            "ray start --address=HOST:PORT here, and give HOST:PORT."
        )
    try:
        ray.init(cluster.address, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, OSError, RuntimeError, ValueError) as error:
        raise ClusterError(
            f"The Ray cluster {cluster.address or 'of this machine'} cannot be reached ({_first_line(error)}); see "
            "that it runs and that this machine is part of it (ray start --address=HOST:PORT)."
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


def _nodes() -> dict[str, Machine]:
    """Nodes that are alive, by id."""
    alive = {node["NodeID"]: node["Resources"] for node in ray.nodes() if node["Alive"]}  # type: ignore[no-untyped-call]
    return {id: Machine(has.get("CPU", 0.0), has.get("GPU", 0.0)) for id, has in alive.items()}


def _raised_on_a_node(error: RayError) -> Exception:
    """What a node raised: Ray's own, or a bug that keeps its traceback."""
    cause: Exception = error
    while isinstance(cause, RayTaskError) and isinstance(cause.cause, Exception):
        cause = cause.cause
    return cause if isinstance(cause, RayError) else error


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
