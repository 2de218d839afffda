"""What workers do by themselves: folders they watch, schedules they keep."""

import time
from collections.abc import Callable
from datetime import UTC, datetime

from embedder.errors import AppError
from indexer.catalog.corpora import Catalog
from indexer.catalog.schedule_tables import Schedule, ScheduleTable
from indexer.upkeep.cron import Cron

QUIET_SECONDS = 2.0
"""How long a folder has to be at rest, where nothing else is asked for."""


class WatchRefused(AppError):
    """A corpus that cannot be watched."""


class ScheduleService:
    """Enters and lists what workers do; they do it in ``caretaker.py``."""

    def __init__(self, catalog: Catalog, table: ScheduleTable, clock: Callable[[], float] = time.time) -> None:
        self._catalog = catalog
        self._table = table
        self._clock = clock

    def watch(self, name: str, *, quiet_seconds: float = QUIET_SECONDS, poll_seconds: float | None = None) -> Schedule:
        """Have a corpus brought up to date whenever its folder has changed and come to rest.

        Raises:
            CatalogError: If there is no such corpus.
            WatchRefused: If it is not in a folder of this machine.
        """
        if self._catalog.corpus(name).url:
            raise WatchRefused(
                f"{name} is not in a folder that can be watched; give it a schedule, such as "
                f'kalm corpus schedule {name} "*/15 * * * *".'
            )
        self._table.watch(name, quiet_seconds=quiet_seconds, poll_seconds=poll_seconds)
        return self.all()[name]

    def unwatch(self, name: str) -> None:
        """Leave a folder alone.

        Raises:
            CatalogError: If there is no such corpus.
        """
        self._catalog.corpus(name)
        self._table.unwatch(name)

    def schedule(self, name: str, expression: str, timezone: str = "UTC") -> Schedule:
        """Have a corpus brought up to date at certain times.

        Args:
            name: The corpus.
            expression: Cron's five fields.
            timezone: In which they are told.

        Raises:
            CatalogError: If there is no such corpus.
            BadSchedule: If the expression is no schedule, or the time zone none.
        """
        self._catalog.corpus(name)
        due = Cron(expression, timezone).after(datetime.fromtimestamp(self._clock(), UTC))
        self._table.schedule(name, cron=expression, timezone=timezone, due=due.timestamp())
        return self.all()[name]

    def unschedule(self, name: str) -> None:
        """Keep no times for a corpus.

        Raises:
            CatalogError: If there is no such corpus.
        """
        self._catalog.corpus(name)
        self._table.unschedule(name)

    def all(self) -> dict[str, Schedule]:
        """Every schedule by corpus; those without any are not among them."""
        return {schedule.corpus: schedule for schedule in self._table.all()}
