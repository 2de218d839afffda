"""Who carries out builds on this machine, and how another one is started."""

import getpass
import os
import socket
import subprocess
import sys
import threading
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from embedder.errors import AppError
from indexer.builds.heartbeat import signed_on
from indexer.locks import AlreadyLocked, locked
from indexer.pipeline import workers_folder


class WorkerRuns(AppError):
    """A worker that is wanted and there already."""


@dataclass(frozen=True, slots=True)
class Worker:
    """A process that carries out builds.

    Attributes:
        is_busy: Whether it works on a build now; else it waits for one.
    """

    host: str
    pid: int
    is_busy: bool


class Workers:
    """The workers of an installation, known by locks that the system lets go of when they die."""

    def __init__(self, lock_folder: Path, log: Path) -> None:
        """Look after workers.

        Args:
            lock_folder: Of the builds.
            log: The file that takes what workers started here say.
        """
        self._waiting = lock_folder / "waiting"
        self._busy = workers_folder(lock_folder)
        self._log = log
        self._started: subprocess.Popen[bytes] | None = None
        self._starting = threading.Lock()

    def signed_on(self) -> AbstractContextManager[str]:
        """Be known as a worker for the length of a block."""
        return signed_on(self._waiting)

    def alive(self) -> list[Worker]:
        """Workers of this machine, and whoever carries out a build himself, by process."""
        busy, waiting = _holders(self._busy), _holders(self._waiting)
        return [Worker(host, pid, (host, pid) in busy) for host, pid in sorted(busy | waiting)]

    def start(self) -> int:
        """Start a worker that outlives this process, and return its number.

        Raises:
            WorkerRuns: If one is there, or is just starting.
        """
        with self._starting:
            there = [worker.pid for worker in self.alive()]
            if self._started is not None and self._started.poll() is None:
                there.append(self._started.pid)
            if there:
                raise WorkerRuns(f"A worker is running already (process {there[0]}); it takes one build after another.")
            self._log.parent.mkdir(parents=True, exist_ok=True)
            with self._log.open("ab") as log:
                self._started = subprocess.Popen(
                    [sys.executable, "-m", "app.cli", "worker"],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,  # the end of a server is not the end of a build
                )
            return self._started.pid

    def failure(self) -> str:
        """The last words of a worker that was started here and ended in an error; empty where there was none."""
        if self._started is None or not self._started.poll():
            return ""
        lines = self._log.read_text(encoding="utf-8", errors="replace").splitlines()
        return next((line.strip() for line in reversed(lines) if line.strip()), "")


def _holders(folder: Path) -> set[tuple[str, int]]:
    """Host and process of those who hold a lock in a folder. Nothing is removed: one may just be signing on."""
    holders: set[tuple[str, int]] = set()
    for path in folder.glob("*.lock"):
        host, pid, _ = path.stem.rsplit("-", 2)
        try:
            with locked(path, wait=False):
                continue
        except AlreadyLocked:
            holders.add((host, int(pid)))
        except FileNotFoundError:  # signed off since
            continue
    return holders


def whoami() -> str:
    """Who asks for a run, as far as the system knows."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # a container may have no name for its user
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"
