"""The table of long work that the pages asked for, in the catalog's database: what is to do, and how far it is."""

import uuid
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.orm import Mapped, Session, mapped_column

from embedder.errors import AppError
from indexer.catalog.tables import Base, Database, aware


class TaskRefused(AppError):
    """A task that is not there, or cannot be entered now."""


class TaskState(StrEnum):
    """How a task stands; the last three are final."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        """Whether nothing will come of it any more."""
        return self not in _ACTIVE


_ACTIVE = (TaskState.QUEUED, TaskState.RUNNING)


class BackgroundTaskRow(Base):
    """A task; ``pid`` is that of its process, once it has one."""

    __tablename__ = "background_tasks"
    id: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[str]
    person: Mapped[str]
    role: Mapped[str]
    parameters: Mapped[dict[str, Any]]
    state: Mapped[str]
    progress: Mapped[float] = mapped_column(default=0.0)
    stage: Mapped[str] = mapped_column(default="")
    result: Mapped[dict[str, Any]]
    error: Mapped[str] = mapped_column(default="")
    pid: Mapped[int | None]
    created: Mapped[datetime]
    started: Mapped[datetime | None]
    ended: Mapped[datetime | None]


@dataclass(frozen=True, slots=True)
class Task:
    """A task as people see it.

    Attributes:
        kind: What is to be done, e.g. ``map``.
        person: Who asked for it, in what ``role``.
        parameters: With what; JSON values, as is ``result``.
        progress: 0 to 1.
        stage: What it is at, as a word that the page of its kind can translate.
        result: What came of it; empty before it is done.
        error: Why it failed, as one sentence; else empty.
        pid: Its process; None before it has begun.
    """

    id: str
    kind: str
    person: str
    role: str
    parameters: Mapping[str, Any]
    state: TaskState
    progress: float
    stage: str
    result: Mapping[str, Any]
    error: str
    pid: int | None
    created: datetime
    started: datetime | None
    ended: datetime | None


class TaskTable:
    """All tasks, those that are over too. Every method is one transaction; what has ended never changes again."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(
        self, task_id: str, kind: str, person: str, role: str, parameters: Mapping[str, Any], *, most_waiting: int
    ) -> None:
        """Enter a task.

        Raises:
            TaskRefused: If ``most_waiting`` tasks wait already.
        """
        with self._database.writing() as session:
            waiting = session.scalar(select(func.count()).where(BackgroundTaskRow.state == TaskState.QUEUED.value)) or 0
            if waiting >= most_waiting:
                raise TaskRefused(f"There are {waiting} tasks waiting already; wait for some of them, or cancel them.")
            row = BackgroundTaskRow(
                id=task_id,
                kind=kind,
                person=person,
                role=role,
                parameters=dict(parameters),
                state=TaskState.QUEUED.value,
                result={},
                created=datetime.now(UTC),
            )
            session.add(row)

    def one(self, task_id: str) -> Task:
        """The task of an id.

        Raises:
            TaskRefused: If there is none.
        """
        with self._database.reading() as session:
            return _task(_row(session, task_id))

    def recent(self, kind: str, limit: int) -> list[Task]:
        """The newest tasks of a kind, newest first."""
        newest = (BackgroundTaskRow.created.desc(), BackgroundTaskRow.id)
        with self._database.reading() as session:
            asked = select(BackgroundTaskRow).where(BackgroundTaskRow.kind == kind).order_by(*newest).limit(limit)
            return [_task(row) for row in session.scalars(asked)]

    def newest(self, kinds: Collection[str], parameters: Mapping[str, str], *, done: bool = False) -> Task | None:
        """The newest task of any of these kinds that has these parameters, if there was one.

        Args:
            kinds: Kinds of tasks.
            parameters: Texts that have to be among its parameters.
            done: Only of those that are done.
        """
        wanted = [BackgroundTaskRow.parameters[name].as_string() == value for name, value in parameters.items()]
        if done:
            wanted.append(BackgroundTaskRow.state == TaskState.DONE.value)
        newest = (BackgroundTaskRow.created.desc(), BackgroundTaskRow.id)
        asked = select(BackgroundTaskRow).where(BackgroundTaskRow.kind.in_(list(kinds)), *wanted)
        with self._database.reading() as session:
            row = session.scalars(asked.order_by(*newest).limit(1)).first()
            return None if row is None else _task(row)

    def active(self) -> list[Task]:
        """What is queued or running, oldest first."""
        oldest = (BackgroundTaskRow.created, BackgroundTaskRow.id)
        with self._database.reading() as session:
            asked = select(BackgroundTaskRow).where(_is_active()).order_by(*oldest)
            return [_task(row) for row in session.scalars(asked)]

    def begin(self, task_id: str, pid: int) -> bool:
        """Mark a queued task as running. False where it is not queued any more: then nobody may work on it."""
        values = {"state": TaskState.RUNNING.value, "pid": pid, "started": datetime.now(UTC)}
        return self._change(task_id, TaskState.QUEUED, values)

    def report(self, task_id: str, progress: float, stage: str) -> bool:
        """Write down how far a running task is. False where it is not running any more: it was cancelled."""
        return self._change(task_id, TaskState.RUNNING, {"progress": progress, "stage": stage})

    def finish(self, task_id: str, result: Mapping[str, Any]) -> bool:
        """Mark a running task as done. False where it is not running any more."""
        values = {"state": TaskState.DONE.value, "progress": 1.0, "result": dict(result), "ended": datetime.now(UTC)}
        return self._change(task_id, TaskState.RUNNING, values)

    def fail(self, task_id: str, error: str) -> bool:
        """Mark a task as failed. False where it had ended before."""
        values = {"state": TaskState.FAILED.value, "error": error, "ended": datetime.now(UTC)}
        return self._change(task_id, None, values)

    def cancel(self, task_id: str) -> bool:
        """Mark a task as cancelled. False where it had ended before."""
        return self._change(task_id, None, {"state": TaskState.CANCELLED.value, "ended": datetime.now(UTC)})

    def _change(self, task_id: str, state: TaskState | None, values: Mapping[str, Any]) -> bool:
        """Change a task that is in a state, or in any but a final one."""
        expected = _is_active() if state is None else BackgroundTaskRow.state == state.value
        with self._database.writing() as session:
            changed = session.scalars(
                update(BackgroundTaskRow)
                .where(BackgroundTaskRow.id == task_id, expected)
                .values(**values)
                .returning(BackgroundTaskRow.id)
            ).all()
            return bool(changed)


def new_task_id() -> str:
    """An id that nobody else has."""
    return uuid.uuid4().hex


def _is_active() -> Any:  # noqa: ANN401 - a condition of SQLAlchemy
    return BackgroundTaskRow.state.in_([state.value for state in _ACTIVE])


def _row(session: Session, task_id: str) -> BackgroundTaskRow:
    row = session.get(BackgroundTaskRow, task_id)
    if row is None:
        raise TaskRefused(f"There is no task {task_id}; it may belong to another installation.")
    return row


def _task(row: BackgroundTaskRow) -> Task:
    return Task(
        id=row.id,
        kind=row.kind,
        person=row.person,
        role=row.role,
        parameters=row.parameters,
        state=TaskState(row.state),
        progress=row.progress,
        stage=row.stage,
        result=row.result,
        error=row.error,
        pid=row.pid,
        created=aware(row.created),
        started=row.started and aware(row.started),
        ended=row.ended and aware(row.ended),
    )
