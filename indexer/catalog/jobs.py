"""Build runs as people see them: submitted once, listed, paused, resumed, cancelled, retried.

A run is a plan written down in SQL, one task for each file, and outlives whoever works on it. What a worker does is
in ``leases.py``. Every method is one transaction and returns plain values; what changes a run begins by locking its
row, so that changes to one run come one after the other.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from sqlalchemy import delete, func, insert, select
from sqlalchemy.orm import Session

from embedder.errors import AppError
from indexer.catalog import staging
from indexer.catalog.job_tables import RunRow, TaskRow
from indexer.catalog.tables import CorpusRow, Database, GenerationRow, aware
from indexer.records import Manifest, PlannedFile, Run, RunState

PENDING, LEASED, DONE, FAILED = "pending", "leased", "done", "failed"

_ENDED = (RunState.CANCELLED, RunState.DONE)
_INSERTED = 1000
_LOOKED_AT = 100
_MOSTLY_ENCODED = 0.5
"""A run that encoded less than this share of its passages says nothing about the model's speed."""


class JobError(AppError):
    """A run that is not there, or cannot become what is asked of it."""


@dataclass(frozen=True, slots=True)
class Speed:
    """How fast a run was, reading, embedding and writing together.

    Attributes:
        update_seconds: What the last update of the corpus took beside that: copying the index, its graph.
    """

    run: int
    bytes_per_second: float
    update_seconds: float = 0.0


class Jobs:
    """The runs of all corpora. Safe between threads and between processes."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock

    def submit(
        self,
        corpus: str,
        files: Sequence[PlannedFile],
        manifest: Manifest,
        base: int | None,
        *,
        by: str,
        held: bool = False,
    ) -> Run:
        """Write a plan down and reserve its generation; if the corpus has a run that is not over, return that one.

        Args:
            corpus: Its name.
            files: What to look at, and what to take out.
            manifest: What the generation is to be made with.
            base: The generation to extend, or None to start from nothing.
            by: Who asks.
            held: Whether the generation is to wait beside the live one when it is finished.

        Raises:
            VersionWaits: If a finished generation waits already: another one would sweep it away.
        """
        with self._database.writing() as session:
            found = _active(session, corpus)
            if found is not None:  # locked before the corpus, as whoever finishes a run does
                settle(session, locked_row(session, found.id), self._clock())
            session.get_one(CorpusRow, corpus, with_for_update=True)
            active = _active(session, corpus)  # perhaps of somebody who submitted meanwhile
            if active is not None:
                return run_value(active)
            number = staging.begin(session, corpus, manifest, base)
            row = RunRow(
                corpus=corpus,
                generation=number,
                base=base,
                manifest=asdict(manifest),
                held=held,
                state=RunState.QUEUED,
                by=by,
                created=datetime.now(UTC),
                files=len(files),
                bytes=sum(file.size for file in files),
            )
            session.add(row)
            session.flush()
            tasks = [{"run": row.id, "state": PENDING, **asdict(file)} for file in files]
            for start in range(0, len(tasks), _INSERTED):
                session.execute(insert(TaskRow), tasks[start : start + _INSERTED])
            return run_value(row)

    def active(self, corpus: str) -> Run | None:
        """The run of a corpus that is neither done nor cancelled; there is at most one."""
        with self._database.reading() as session:
            row = _active(session, corpus)
            return None if row is None else run_value(row)

    def run(self, number: int) -> Run:
        """One run.

        Raises:
            JobError: If there is none of that number.
        """
        with self._database.reading() as session:
            return run_value(_existing(session.get(RunRow, number), number))

    def runs(self, limit: int) -> list[Run]:
        """The newest runs, newest first."""
        with self._database.reading() as session:
            return [run_value(row) for row in session.scalars(select(RunRow).order_by(RunRow.id.desc()).limit(limit))]

    def workable(self) -> list[Run]:
        """Runs that wait for workers, could do with more, or are to be cancelled; oldest first."""
        states = (RunState.QUEUED, RunState.RUNNING, RunState.CANCELLING)
        query = select(RunRow).where(RunRow.state.in_(states)).order_by(RunRow.id)
        with self._database.reading() as session:
            return [run_value(row) for row in session.scalars(query)]

    def failures(self, number: int) -> dict[str, str]:
        """Why files of a run failed, by uri."""
        query = select(TaskRow.uri, TaskRow.error).where(TaskRow.run == number, TaskRow.state == FAILED)
        with self._database.reading() as session:
            return {uri: error for uri, error in session.execute(query.order_by(TaskRow.uri))}

    def pause(self, number: int) -> Run:
        """Have workers let go of a run; what they hold is finished or done again later.

        Raises:
            JobError: If it is over.
        """
        with self._database.writing() as session:
            row = locked_row(session, number)
            if row.state in (RunState.QUEUED, RunState.RUNNING):
                row.state = RunState.PAUSED
            elif row.state != RunState.PAUSED:
                raise JobError(f"Run {number} is {row.state} and cannot be paused.")
            return run_value(row)

    def resume(self, number: int) -> Run:
        """Let a run that is paused, or that failed, go on from where it was.

        Raises:
            JobError: If it is over for good.
        """
        with self._database.writing() as session:
            row = locked_row(session, number)
            if row.state in (RunState.PAUSED, RunState.FAILED):
                _requeue(row)
            elif row.state not in (RunState.QUEUED, RunState.RUNNING):
                raise JobError(
                    f"Run {number} is {row.state} and cannot be resumed; run kalm index build {row.corpus} for another."
                )
            return run_value(row)

    def cancel(self, number: int) -> Run:
        """End a run and undo what it entered; where somebody works on it, as soon as they have let go.

        Raises:
            JobError: If it is done.
        """
        with self._database.writing() as session:
            row = locked_row(session, number)
            if row.state == RunState.DONE:
                raise JobError(f"Run {number} is done and cannot be cancelled; what it made is in use.")
            if row.state != RunState.CANCELLED:
                row.state = RunState.CANCELLING
                settle(session, row, self._clock())
            return run_value(row)

    def retry(self, number: int) -> Run:
        """Have the failed files of a run that is not over looked at again; one that failed as a whole goes on.

        Raises:
            JobError: If it is done or cancelled, or its index is being written.
        """
        with self._database.writing() as session:
            row = locked_row(session, number)
            if row.state in (*_ENDED, RunState.CANCELLING):
                raise JobError(
                    f"Run {number} is {row.state} and cannot be retried; run kalm index build {row.corpus} for another."
                )
            if row.owner and row.lease_until > self._clock():
                raise JobError(f"The index of run {number} is being written; retry its files when it is done.")
            row.owner = ""  # whoever wrote it, and died or will come too late
            staging.unseal(session, row.corpus, row.generation)
            for task in session.scalars(select(TaskRow).where(TaskRow.run == number, TaskRow.state == FAILED)):
                task.state, task.error, task.attempts = PENDING, "", 0
                row.files_done -= 1
                row.failed -= 1
                row.bytes_done -= task.size
            if row.state == RunState.FAILED:
                _requeue(row)
            return run_value(row)

    def speed(self, model: str, corpus: str = "") -> Speed | None:
        """How fast the last done run was that really used this model; None where there was none.

        A build from nothing counts before updates, whose time is mostly that of copying what is there already.

        Args:
            model: What texts are embedded with.
            corpus: Whose updates tell what they take beside; empty for none.
        """
        query = select(RunRow).where(RunRow.state == RunState.DONE, RunRow.chunks > 0).order_by(RunRow.id.desc())
        with self._database.reading() as session:
            rows = [row for row in session.scalars(query.limit(_LOOKED_AT)) if row.manifest["model"] == model]
            used = [row for row in rows if row.encoded >= _MOSTLY_ENCODED * row.chunks and row.seconds * row.bytes > 0]
            measured = next((row for row in used if row.base is None), used[0] if used else None)
            if measured is None:
                return None
            pace = measured.bytes / measured.seconds
            update = next((row for row in rows if row.corpus == corpus and row.base is not None), None)
            beside = 0.0 if update is None else update.seconds - update.bytes / pace * update.encoded / update.chunks
            return Speed(measured.id, pace, max(0.0, beside))

    def abandoned(self, corpus: str) -> list[int]:
        """Numbers of generations that are not live, nor will be: their runs were cancelled, or they were discarded."""
        with self._database.reading() as session:
            active = _active(session, corpus)
            live = session.scalar(select(CorpusRow.live).where(CorpusRow.name == corpus)) or 0
            query = select(GenerationRow.number).where(
                GenerationRow.corpus == corpus,
                GenerationRow.number > live,
                GenerationRow.sealed.is_(False),
                GenerationRow.number != (active.generation if active else 0),
            )
            return list(session.scalars(query))


def locked_row(session: Session, number: int) -> RunRow:
    """A run's row, locked until the transaction ends.

    Raises:
        JobError: If there is none of that number.
    """
    return _existing(session.get(RunRow, number, with_for_update=True), number)


def settle(session: Session, row: RunRow, now: float) -> None:
    """Finish cancelling a run if nobody works on it any more."""
    if row.state != RunState.CANCELLING or row.lease_until > now:
        return
    leased = select(func.count()).where(TaskRow.run == row.id, TaskRow.state == LEASED, TaskRow.lease_until > now)
    if not session.scalar(leased):
        staging.sweep(session, row.corpus, row.generation)
        end(session, row, RunState.CANCELLED)


def refuse_beside_run(session: Session, corpus: str) -> None:
    """Raise JobError if a corpus has a run that is not over."""
    run = _active(session, corpus)
    if run is not None:
        raise JobError(
            f"Run {run.id} of {corpus} is {run.state}, and another version cannot be put in use beside it; let it end, "
            f"or cancel it with kalm jobs cancel {run.id}, then try again."
        )


def end(session: Session, row: RunRow, state: RunState) -> None:
    """Close a run; of its tasks only those that failed are still of interest."""
    row.state, row.finished, row.owner, row.lease_until = state, datetime.now(UTC), "", 0.0
    session.execute(delete(TaskRow).where(TaskRow.run == row.id, TaskRow.state != FAILED))


def run_value(row: RunRow) -> Run:
    """A run as a plain value."""
    return Run(
        id=row.id,
        corpus=row.corpus,
        generation=row.generation,
        base=row.base,
        held=bool(row.held),
        manifest=Manifest(**row.manifest),
        state=RunState(row.state),
        error=row.error,
        by=row.by,
        created=aware(row.created),
        finished=None if row.finished is None else aware(row.finished),
        files=row.files,
        files_done=row.files_done,
        failed=row.failed,
        bytes=row.bytes,
        bytes_done=row.bytes_done,
        documents=row.documents,
        removed=row.removed,
        chunks=row.chunks,
        encoded=row.encoded,
        seconds=row.seconds,
    )


def _active(session: Session, corpus: str) -> RunRow | None:
    return session.scalars(select(RunRow).where(RunRow.corpus == corpus, RunRow.state.not_in(_ENDED))).first()


def _existing(row: RunRow | None, number: int) -> RunRow:
    if row is None:
        raise JobError(f"There is no run {number}; kalm jobs lists them.")
    return row


def _requeue(row: RunRow) -> None:
    row.state, row.error, row.finished, row.attempts = RunState.QUEUED, "", None, 0
