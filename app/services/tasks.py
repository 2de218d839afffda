"""Long work that somebody at a page asked for: done in a process of its own, one task of a sort at a time.

A task is a row of the catalog's database, so it outlives the page, the session and the server that asked for it.
Its process holds a lock on a file named after the task from before it exists (the handle is inherited) until it
dies, however it dies: whoever looks at a task whose lock is free knows that nobody works on it. A queued one is then
given a process again, a running one has failed. A task whose file is not here belongs to another machine's server
and is left to it.
"""

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from app.services.access import Person, Role
from embedder.errors import AppError
from indexer.catalog.task_tables import Task, TaskRefused, TaskState, TaskTable, new_task_id
from indexer.locks import AlreadyLocked, acquire, locked

_COMMAND = (sys.executable, "-m", "app.cli", "task", "run")
_MOST_WAITING = 20
"""Each task that waits is a process that waits."""

_REPORT_SECONDS = 0.5
_DIED = "Its process was ended from outside, perhaps for lack of memory; start it again."
_UNFORESEEN = "Something unexpected happened while it ran; its log in the data folder, under tasks, has the details."

log = logging.getLogger(__name__)


class OnProgress(Protocol):
    """Takes how far a task is."""

    def __call__(self, share: float, stage: str = "", /) -> None:
        """Write it down: a share from 0 to 1, and a word for what is being done.

        Raises:
            TaskRefused: If the task was cancelled.
        """
        ...


Work = Callable[[Person, Mapping[str, Any], OnProgress], Mapping[str, Any]]
"""What a kind of task does: with parameters of JSON values, returning a result of JSON values."""


class Tasks:
    """The tasks of an installation, as the servers see them. Safe between threads and between processes."""

    def __init__(self, table: TaskTable, folder: Path, *, command: Sequence[str] = _COMMAND) -> None:
        """Nothing is made yet.

        Args:
            table: Where tasks are written down.
            folder: For locks and logs; each installation has its own.
            command: Carries out the task whose id is added to it.
        """
        self._table = table
        self._folder = folder
        self._command = command

    def submit(self, person: Person, kind: str, parameters: Mapping[str, Any]) -> str:
        """Enter a task and give it a process; returns its id.

        Raises:
            Forbidden: If the person is no editor.
            TaskRefused: If too many wait already.
        """
        person.must_be(Role.EDITOR)
        self._folder.mkdir(parents=True, exist_ok=True)
        task_id = new_task_id()
        handle = acquire(self._lock(task_id))  # before there is a row: a row without its file is another machine's
        try:
            self._table.add(task_id, kind, person.name, person.role.value, parameters, most_waiting=_MOST_WAITING)
            self._start(task_id, handle)
        except TaskRefused:
            self._lock(task_id).unlink()
            raise
        finally:
            os.close(handle)
        return task_id

    def one(self, task_id: str) -> Task:
        """A task as it stands now.

        Raises:
            TaskRefused: If there is none of that id.
        """
        self._see_to_the_dead()
        return self._table.one(task_id)

    def recent(self, kind: str, limit: int = 20) -> list[Task]:
        """The newest tasks of a kind, newest first."""
        self._see_to_the_dead()
        return self._table.recent(kind, limit)

    def newest(self, kinds: Collection[str], parameters: Mapping[str, str], *, done: bool = False) -> Task | None:
        """The newest task of any of these kinds that has these parameters, or of those that are done; None for none."""
        self._see_to_the_dead()
        return self._table.newest(kinds, parameters, done=done)

    def cancel(self, person: Person, task_id: str) -> None:
        """End a task, with its process if it has one; one that is over stays as it is.

        Raises:
            Forbidden: If the person is no editor.
            TaskRefused: If there is none of that id.
        """
        person.must_be(Role.EDITOR)
        task = self._table.one(task_id)
        if self._table.cancel(task_id):
            self._kill(self._table.one(task_id))
        log.info("Task %s (%s) was cancelled by %s", task_id, task.kind, person.name)

    def _start(self, task_id: str, handle: int) -> None:
        """Give a task its process, which inherits the lock and outlives this one."""
        with self._log(task_id).open("ab") as said:
            process = subprocess.Popen(
                [*self._command, task_id],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                pass_fds=(handle,),
                start_new_session=True,
            )
        threading.Thread(target=process.wait, name=f"task {task_id}", daemon=True).start()  # leaves no zombie

    def _see_to_the_dead(self) -> None:
        """Start what is queued and has no process; fail what runs and has none."""
        for task in self._table.active():
            path = self._lock(task.id)
            if not path.exists():
                continue
            try:
                handle = acquire(path, wait=False)
            except AlreadyLocked:
                continue
            try:
                self._take_up(task.id, handle)
            finally:
                os.close(handle)

    def _take_up(self, task_id: str, handle: int) -> None:
        """See to a task that nobody works on, with its lock in hand: it may have ended just before that."""
        match self._table.one(task_id).state:
            case TaskState.QUEUED:
                self._start(task_id, handle)
            case TaskState.RUNNING:
                self._table.fail(task_id, _DIED)
                self._lock(task_id).unlink(missing_ok=True)
            case _:
                self._lock(task_id).unlink(missing_ok=True)

    def _kill(self, task: Task) -> None:
        """End the process of a task with all it started. One that still waits sees by itself that it is not wanted."""
        path = self._lock(task.id)
        if task.pid is None or not path.exists():
            return
        try:
            with locked(path, wait=False):  # it has ended by itself: its number may be another's by now
                path.unlink(missing_ok=True)
        except AlreadyLocked:
            os.killpg(task.pid, signal.SIGKILL)
            path.unlink(missing_ok=True)

    def _lock(self, task_id: str) -> Path:
        return self._folder / f"{task_id}.lock"

    def _log(self, task_id: str) -> Path:
        return self._folder / f"{task_id}.log"


def carry_out(
    table: TaskTable,
    folder: Path,
    task_id: str,
    work_of: Callable[[str], Work],
    turn_of: Callable[[str], str] = lambda kind: "turn",
) -> None:
    """Do a task in this process, as soon as no other of the installation that takes turns with it is being done.

    Whatever it says on standard error is kept only where something went wrong that nobody foresaw.

    Args:
        table: Where it is written down.
        folder: As in ``Tasks``.
        task_id: The task; if it was cancelled meanwhile, nothing is done.
        work_of: What a kind of task does.
        turn_of: Kinds of the same turn are done one after the other.

    Raises:
        TaskRefused: If there is no such task.
    """
    folder.mkdir(parents=True, exist_ok=True)
    is_foreseen = True
    with locked(folder / f"{turn_of(table.one(task_id).kind)}.lock"):
        if table.begin(task_id, os.getpid()):
            is_foreseen = _do(table, table.one(task_id), work_of)
    (folder / f"{task_id}.lock").unlink(missing_ok=True)
    if is_foreseen:
        (folder / f"{task_id}.log").unlink(missing_ok=True)


def _do(table: TaskTable, task: Task, work_of: Callable[[str], Work]) -> bool:
    """Work on a task and enter what came of it. False where the log has something to tell."""
    person = Person(task.person, Role(task.role))
    try:
        table.finish(task.id, work_of(task.kind)(person, task.parameters, _Reporter(table, task.id)))
    except AppError as error:
        table.fail(task.id, str(error))  # changes nothing where it was cancelled
    except Exception:
        log.exception("Task %s (%s) failed", task.id, task.kind)
        table.fail(task.id, _UNFORESEEN)
        return False
    return True


class _Reporter:
    """Writes down how far a task is, now and then, and notices where it is not wanted any more."""

    def __init__(self, table: TaskTable, task_id: str) -> None:
        self._table = table
        self._task_id = task_id
        self._due = 0.0
        self._stage = ""

    def __call__(self, share: float, stage: str = "", /) -> None:
        if stage == self._stage and time.monotonic() < self._due:
            return
        self._due = time.monotonic() + _REPORT_SECONDS
        self._stage = stage
        if not self._table.report(self._task_id, min(max(share, 0.0), 1.0), stage):
            raise TaskRefused("The task was cancelled.")
