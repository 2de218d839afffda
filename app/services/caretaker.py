"""What a worker does by itself: it submits builds of what has changed or is due, through the same service as people.

Every worker does so, without asking the others. That is safe, since submitting again is joining: one of them writes
the run down, the others find that it is there or that nothing is left to do. A wish is fulfilled only by a look that
came after it. So a change during a run, which may have been planned before, leads to another look when it is over.
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from app.services.indexing import IndexService, UpToDate
from app.services.workers import whoami
from embedder.errors import AppError
from indexer.catalog.corpora import Catalog
from indexer.catalog.jobs import Jobs
from indexer.catalog.schedule_tables import Schedule, ScheduleTable
from indexer.records import Corpus, Run, RunState
from indexer.sources.folders import file_filter
from indexer.sources.watching import FolderWatcher
from indexer.upkeep.cron import Cron

_RETRY_SECONDS = 300.0
"""How often what was refused, or failed, is tried again while nothing changes."""

_Watched = tuple[Path, tuple[str, ...], float, float | None]
"""What a watcher was made with: another folder, or other pauses, need another one."""


@dataclass(frozen=True, slots=True)
class _Refusal:
    """When to try again, while the corpus has the run that it had then."""

    run: int | None
    until: float


class Caretaker:
    """One worker's watchers and wishes. For one thread."""

    def __init__(
        self,
        catalog: Catalog,
        table: ScheduleTable,
        jobs: Jobs,
        indexing: IndexService,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._catalog = catalog
        self._table = table
        self._jobs = jobs
        self._indexing = indexing
        self._clock = clock
        self._name = f"kalm worker {os.getpid()} of {whoami()}"
        self._watchers: dict[str, tuple[_Watched, FolderWatcher]] = {}
        self._changed: set[str] = set()
        self._refusals: dict[str, _Refusal] = {}
        self._told: dict[str, str] = {}

    def look(self, on_problem: Callable[[str, str], None], *, watch: bool = True) -> bool:
        """Submit builds of corpora that are due, or that have changed and come to rest.

        Args:
            on_problem: Told, with the corpus, why one of them cannot be brought up to date; not twice in a row.
            watch: Keep watching folders until ``close``; else each that is to be watched counts as changed.

        Returns:
            Whether one of them waits for a run to be over, to be looked at then.

        Raises:
            CatalogError: If the catalog does not answer.
        """
        schedules = self._table.all()
        if watch:
            self._keep_watching(schedules)
        else:
            self._changed = {schedule.corpus for schedule in schedules if schedule.watched}
        is_waiting = False
        for schedule in schedules:
            name = schedule.corpus
            if name not in self._changed and not self._is_due(schedule):
                problem = self._watchers[name][1].problem if name in self._watchers else ""
                if problem:
                    self._note(schedule, problem, on_problem)
            elif self._is_at_work(name):
                is_waiting = True  # on what may have been planned before; looked at when it is over
            elif not self._is_put_off(name):
                self._note(schedule, self._submit(schedule), on_problem)
        return is_waiting

    def close(self) -> None:
        """Watch no longer."""
        for _, watcher in self._watchers.values():
            watcher.close()
        self._watchers.clear()

    def _keep_watching(self, schedules: list[Schedule]) -> None:
        """Watch what is to be watched, and take in what changed."""
        corpora = {corpus.name: corpus for corpus in self._catalog.corpora()}
        wanted = {
            schedule.corpus: _watched(corpora[schedule.corpus], schedule)
            for schedule in schedules
            if schedule.watched and schedule.corpus in corpora
        }
        for name, (made_with, watcher) in list(self._watchers.items()):
            if wanted.get(name) != made_with:
                watcher.close()
                del self._watchers[name]
                self._changed.discard(name)
        for name, watched in wanted.items():
            if name not in self._watchers:
                root, include, quiet, poll = watched
                watcher = FolderWatcher(root, file_filter(include), quiet_seconds=quiet, poll_seconds=poll)
                self._watchers[name] = watched, watcher
            if self._watchers[name][1].take():
                self._changed.add(name)
                self._refusals.pop(name, None)

    def _is_due(self, schedule: Schedule) -> bool:
        return schedule.due is not None and schedule.due <= self._clock()

    def _is_at_work(self, name: str) -> bool:
        run = self._jobs.active(name)
        return run is not None and (run.is_workable or run.state is RunState.CANCELLING)

    def _is_put_off(self, name: str) -> bool:
        run, refusal = self._jobs.active(name), self._refusals.get(name)
        if run is not None and run.state is RunState.PAUSED:
            return True
        number = None if run is None else run.id
        return refusal is not None and refusal.run == number and self._clock() < refusal.until

    def _submit(self, schedule: Schedule) -> str:
        """Submit a build; returns why it could not be, or had to be taken up again."""
        name, failed = schedule.corpus, self._jobs.active(schedule.corpus)
        problem = ""
        try:
            submitted = self._indexing.submit(name, by=self._name)
            if isinstance(submitted, UpToDate) or self._is_new(submitted, failed):
                self._settle(schedule)
                return ""
            if failed is None:
                return ""  # another worker's, perhaps planned before: looked at when it is over
            problem = f"Run {failed.id} failed ({failed.error.removesuffix('.')}); it is taken up again."
        except AppError as error:
            problem = str(error)
        self._refusals[name] = _Refusal(None if failed is None else failed.id, self._clock() + _RETRY_SECONDS)
        return problem

    def _is_new(self, run: Run, before: Run | None) -> bool:
        """Whether a run was planned just now, here."""
        return run.by == self._name and (before is None or run.id != before.id)

    def _settle(self, schedule: Schedule) -> None:
        """A wish is fulfilled; the next time is counted from now, so that what was missed is made up for once.

        Raises:
            BadSchedule: If there is no next time.
        """
        self._changed.discard(schedule.corpus)
        self._refusals.pop(schedule.corpus, None)
        if schedule.due is not None and self._is_due(schedule):
            now = datetime.fromtimestamp(self._clock(), UTC)
            due = Cron(schedule.cron, schedule.timezone).after(now)
            self._table.advance(schedule.corpus, before=schedule.due, due=due.timestamp())

    def _note(self, schedule: Schedule, problem: str, on_problem: Callable[[str, str], None]) -> None:
        if problem != schedule.note:
            self._table.note(schedule.corpus, problem)
        if problem and problem != self._told.get(schedule.corpus):
            on_problem(schedule.corpus, problem)
        self._told[schedule.corpus] = problem


def _watched(corpus: Corpus, schedule: Schedule) -> _Watched:
    return corpus.root, corpus.include, schedule.quiet_seconds, schedule.poll_seconds
