"""Build runs as workers see them: files leased a few at a time, then the store leased as a whole.

A lease is held until a moment, and put off by heartbeats. Whoever lets it run out has lost it: what he brings then
is turned away, so that nothing takes effect twice. Machines that share runs have to agree on the time to within
seconds. As in ``jobs.py`` every method is one transaction.
"""

import time
from collections.abc import Callable, Mapping, Sequence

from sqlalchemy import Select, func, select, update
from sqlalchemy.orm import Session
from sqlalchemy.sql.elements import ColumnElement

from embedder.errors import AppError
from indexer.catalog import staging
from indexer.catalog.job_tables import RunRow, TaskRow
from indexer.catalog.jobs import DONE, FAILED, LEASED, PENDING, end, locked_row, run_value, settle
from indexer.catalog.tables import Database, in_lists
from indexer.duplicates import Signature
from indexer.records import FileOutcome, FileState, PlannedFile, Run, RunState, Task

Finished = tuple[Task, FileOutcome]
"""A file that was looked at, and what came of it."""

LEASE_SECONDS = 60.0
MAX_ATTEMPTS = 3
"""So many workers may die over a file, or over writing a store, before it counts as failed."""


class LeaseLost(AppError):
    """Work that somebody else has taken over, or that is not wanted any more."""


class Leases:
    """Who works on what. Safe between threads and between processes."""

    def __init__(
        self,
        database: Database,
        *,
        seconds: float = LEASE_SECONDS,
        max_attempts: int = MAX_ATTEMPTS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.seconds = seconds
        self._database = database
        self._max_attempts = max_attempts
        self._clock = clock

    def lease(self, number: int, owner: str, *, files: int, size_bytes: int) -> list[Task]:
        """Take files of a run to look at.

        A file over which a worker may have died comes last and alone, so that it takes no others with it.

        Args:
            number: The run.
            owner: Who takes them.
            files: How many at most.
            size_bytes: And how large together, beyond the first.

        Returns:
            None of them where no file is left, or the run is paused or over.
        """
        with self._database.writing() as session:
            run, now = locked_row(session, number), self._clock()
            self._take_back(session, run, (TaskRow.lease_until <= now,))
            if run.state not in (RunState.QUEUED, RunState.RUNNING):
                return []
            if session.scalar(_count(number, LEASED)):
                self._tick(run, now)
            run.touched = now  # if nobody has worked on it lately, that time is not counted
            chosen = _chosen(_pending(session, number, files), size_bytes)
            for row in chosen:
                row.state, row.owner, row.lease_until = LEASED, owner, now + self.seconds
                row.attempts += 1
            if chosen:
                run.state = RunState.RUNNING
            return [_task(row) for row in chosen]

    def complete(self, number: int, owner: str, finished: Sequence[Finished], encoded: int = 0) -> Run:
        """Enter what came of files and mark them as done, all of it or nothing.

        Args:
            number: The run.
            owner: Who holds the leases.
            finished: The files and what came of each; of a file that is gone, nothing.
            encoded: Passages encoded since the last call.

        Raises:
            LeaseLost: If a lease was taken over, or the run is not wanted any more. Nothing is entered.
        """
        signatures = staging.signatures_of(outcome for _, outcome in finished)  # before anything is locked
        with self._database.writing() as session:
            run = locked_row(session, number)
            rows = _held_rows(session, run, owner, [task for task, _ in finished])
            gone = [task.file.uri for task, _ in finished if task.file.is_gone]
            run.removed += staging.remove(session, run.corpus, run.generation, gone)
            self._enter(session, run, [(rows[task.id], outcome) for task, outcome in finished], signatures)
            run.encoded += encoded
            self._tick(run, self._clock())
            return run_value(run)

    def beat(self, number: int, owner: str) -> Run:
        """Put off the end of everything that somebody holds of a run. Returns how the run stands."""
        with self._database.writing() as session:
            run, now = locked_row(session, number), self._clock()
            mine = (TaskRow.run == number, TaskRow.owner == owner, TaskRow.state == LEASED)
            session.execute(update(TaskRow).where(*mine).values(lease_until=now + self.seconds))
            if run.owner == owner:
                run.lease_until = now + self.seconds
            self._tick(run, now)
            return run_value(run)

    def release(self, number: int, owner: str, *, died: bool = False) -> Run:
        """Let go of everything that somebody holds of a run.

        Args:
            number: The run.
            owner: Who held it.
            died: Whether that was his end, which counts against the files he held.
        """
        with self._database.writing() as session:
            run = locked_row(session, number)
            if not died:
                mine = (TaskRow.run == number, TaskRow.owner == owner, TaskRow.state == LEASED)
                session.execute(update(TaskRow).where(*mine).values(attempts=TaskRow.attempts - 1))
            self._take_back(session, run, (TaskRow.owner == owner,))
            if run.owner == owner:
                run.attempts -= 0 if died else 1
                run.owner, run.lease_until = "", 0.0
            settle(session, run, self._clock())
            return run_value(run)

    def owners(self, number: int) -> set[str]:
        """Who holds something of a run."""
        holding = select(TaskRow.owner).where(TaskRow.run == number, TaskRow.state == LEASED).distinct()
        with self._database.reading() as session:
            writer = session.scalar(select(RunRow.owner).where(RunRow.id == number))
            return {*session.scalars(holding), *([writer] if writer else [])}

    def lease_store(self, number: int, owner: str) -> bool:
        """Take the writing of a run's store, if all files are done and nobody else writes it.

        A run whose writers keep dying fails here.
        """
        with self._database.writing() as session:
            run, now = locked_row(session, number), self._clock()
            open_tasks = _count(number, PENDING, LEASED)
            is_wanted = run.state in (RunState.QUEUED, RunState.RUNNING)
            if not is_wanted or session.scalar(open_tasks) or (run.owner and run.lease_until > now):
                return False
            if run.attempts >= self._max_attempts:
                run.state = RunState.FAILED
                run.error = (
                    f"{run.attempts} workers died while they wrote the index; see that there is enough memory and "
                    f"disk, then run kalm jobs resume {number}."
                )
                return False
            run.touched = now
            run.state, run.owner, run.lease_until = RunState.RUNNING, owner, now + self.seconds
            run.attempts += 1
            return True

    def seal(self, number: int, owner: str, chunks: int) -> None:
        """Note that a run's generation is written, with how many passages. It is not live yet.

        Raises:
            LeaseLost: If the lease was taken over, or the run is not wanted any more.
        """
        with self._database.writing() as session:
            run = _written_by(locked_row(session, number), owner)
            staging.seal(session, run.corpus, run.generation, chunks)

    def finish(self, number: int, owner: str) -> Run:
        """Make a run's sealed generation live, unless it is to wait, and the run done, both or neither.

        Raises:
            LeaseLost: If the lease was taken over, or the run is not wanted any more.
        """
        with self._database.writing() as session:
            run = _written_by(locked_row(session, number), owner)
            run.seconds += max(0.0, self._clock() - run.touched)  # all of it: building a graph leaves no time for beats
            if not run.held:
                staging.make_live(session, run.corpus, run.generation)
            end(session, run, RunState.DONE)
            return run_value(run)

    def fail(self, number: int, owner: str, reason: str) -> Run:
        """End a run that cannot go on; resuming it goes on from where it was."""
        with self._database.writing() as session:
            run = locked_row(session, number)
            mine = (TaskRow.run == number, TaskRow.owner == owner, TaskRow.state == LEASED)
            session.execute(update(TaskRow).where(*mine).values(state=PENDING, owner="", attempts=TaskRow.attempts - 1))
            if run.state in (RunState.QUEUED, RunState.RUNNING, RunState.PAUSED):
                run.state, run.error = RunState.FAILED, reason
            if run.owner == owner:
                run.owner, run.lease_until = "", 0.0
            settle(session, run, self._clock())
            return run_value(run)

    def _tick(self, run: RunRow, now: float) -> None:
        """Count the time since the last sign of life as time that was worked."""
        run.seconds += min(max(0.0, now - run.touched), self.seconds)
        run.touched = now

    def _take_back(self, session: Session, run: RunRow, which: tuple[ColumnElement[bool], ...]) -> None:
        """Make leased files free for others, or failed if too many workers died over them."""
        leased = select(TaskRow).where(TaskRow.run == run.id, TaskRow.state == LEASED, *which)
        given_up: list[tuple[TaskRow, FileOutcome]] = []
        for row in session.scalars(leased):
            if row.attempts < self._max_attempts:
                row.state, row.owner = PENDING, ""
                continue
            reason = (
                f"{row.attempts} workers died while they worked on the file; split it, or see that there is enough "
                "memory, and index again."
            )
            state = None if row.is_gone else FileState(row.size, row.mtime_ns, "", reason)
            given_up.append((row, FileOutcome(state, reason)))
        self._enter(session, run, given_up, {})

    def _enter(
        self,
        session: Session,
        run: RunRow,
        finished: Sequence[tuple[TaskRow, FileOutcome]],
        signatures: Mapping[str, Signature | None],
    ) -> None:
        """These files are done with."""
        outcomes = {row.uri: outcome for row, outcome in finished}
        staging.stage(session, run.corpus, run.generation, run.base, outcomes, signatures)
        for row, outcome in finished:
            row.state, row.owner, row.error = FAILED if outcome.error else DONE, "", outcome.error
            run.files_done += 1
            run.bytes_done += row.size
            run.failed += bool(outcome.error)
            run.documents += len(outcome.documents)
            run.removed += len(outcome.removed)
            run.chunks += outcome.chunks


def _held_rows(session: Session, run: RunRow, owner: str, tasks: Sequence[Task]) -> dict[int, TaskRow]:
    """The rows of tasks that somebody holds, by number.

    Raises:
        LeaseLost: If he does not hold one of them, or the run is not wanted any more.
    """
    rows: dict[int, TaskRow] = {}
    if run.state not in (RunState.CANCELLING, RunState.CANCELLED, RunState.DONE):
        mine = (TaskRow.run == run.id, TaskRow.owner == owner, TaskRow.state == LEASED)
        for listed in in_lists([task.id for task in tasks]):
            rows |= {row.id: row for row in session.scalars(select(TaskRow).where(*mine, TaskRow.id.in_(listed)))}
    lost = next((task for task in tasks if task.id not in rows), None)
    if lost is not None:
        raise LeaseLost(f"The lease on {lost.file.uri} ran out; somebody else looks at it.")
    return rows


def _written_by(run: RunRow, owner: str) -> RunRow:
    if run.owner != owner or run.state != RunState.RUNNING:
        raise LeaseLost(f"Run {run.id} is {run.state}, or was taken over while its index was written.")
    return run


def _count(number: int, *states: str) -> Select[int]:
    return select(func.count()).select_from(TaskRow).where(TaskRow.run == number, TaskRow.state.in_(states))


def _pending(session: Session, number: int, files: int) -> list[TaskRow]:
    query = select(TaskRow).where(TaskRow.run == number, TaskRow.state == PENDING)
    return list(session.scalars(query.order_by(TaskRow.attempts, TaskRow.id).limit(files)))


def _chosen(rows: list[TaskRow], size_bytes: int) -> list[TaskRow]:
    """The first rows within the size; one that is suspected alone."""
    chosen: list[TaskRow] = []
    for row in rows:
        size_bytes -= row.size
        if chosen and (size_bytes < 0 or row.attempts):
            break
        chosen.append(row)
        if row.attempts:
            break
    return chosen


def _task(row: TaskRow) -> Task:
    return Task(row.id, PlannedFile(row.uri, row.path, row.size, row.mtime_ns, row.is_gone), row.attempts)
