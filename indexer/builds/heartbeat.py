"""Which workers are alive: what they hold is put off while they live, and freed as soon as they are known to be dead.

A worker that was killed says nothing. On its own machine the lock it held tells at once; elsewhere its leases run
out.
"""

import os
import socket
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from indexer.catalog.leases import LeaseLost, Leases
from indexer.locks import AlreadyLocked, locked
from indexer.records import Run

_BEATS = 12
"""Heartbeats in the length of a lease."""


@contextmanager
def signed_on(folder: Path) -> Iterator[str]:
    """The name of a new worker, with a lock of that name that the system lets go of when the process dies."""
    folder.mkdir(parents=True, exist_ok=True)
    owner = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
    path = folder / f"{owner}.lock"
    with locked(path):
        try:
            yield owner
        finally:
            path.unlink(missing_ok=True)


def free_what_the_dead_hold(folder: Path, leases: Leases, run: int) -> None:
    """Release the leases of workers of this machine that were killed."""
    for owner in leases.owners(run):
        path = folder / f"{owner}.lock"
        if not path.exists():
            continue  # of another machine, or just signing off
        try:
            with locked(path, wait=False):
                leases.release(run, owner, died=True)
                path.unlink(missing_ok=True)
        except AlreadyLocked:
            continue


class Heartbeat:
    """Puts off the end of a worker's leases on a run, from a thread of its own. A context manager."""

    def __init__(self, leases: Leases, run: int, owner: str) -> None:
        self._leases = leases
        self._run = run
        self._owner = owner
        self._ended = threading.Event()
        self._failure: Exception | None = None
        self._is_wanted = True
        self._thread = threading.Thread(target=self._beat, name=f"heartbeat of run {run}", daemon=True)

    def __enter__(self) -> "Heartbeat":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    def note(self, run: Run) -> None:
        """Take over how the run stands from who has just seen it."""
        self._is_wanted = run.is_workable

    def check(self) -> None:
        """Notice that the work is not wanted any more.

        Raises:
            LeaseLost: If the run was paused or cancelled.
        """
        if self._failure is not None:
            raise self._failure
        if not self._is_wanted:
            raise LeaseLost(f"Run {self._run} was paused or cancelled.")

    def _beat(self) -> None:
        while not self._ended.wait(self._leases.seconds / _BEATS):
            try:
                self.note(self._leases.beat(self._run, self._owner))
            except Exception as error:  # handed over to the thread that works
                self._failure = error
                return
