"""When a schedule is due: cron's five fields, in a time zone.

cronsim reads and steps through them, as Debian's cron does. Where clocks are put forward, what is due in the missing
hour is due at its end; where they are put back, what is due in the doubled hour is due once.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from embedder.errors import AppError

_FIELDS = 5


class BadSchedule(AppError):
    """An expression that is no schedule, or a time zone that is none."""


@dataclass(frozen=True, slots=True)
class Cron:
    """A schedule.

    Attributes:
        expression: Minute, hour, day of the month, month, day of the week.
        timezone: Name in the IANA database, such as ``Asia/Shanghai``.
    """

    expression: str
    timezone: str = "UTC"

    def after(self, moment: datetime) -> datetime:
        """The first time later than a moment, in UTC.

        Raises:
            BadSchedule: If there is none, or it is no schedule.
        """
        if len(self.expression.split()) != _FIELDS:  # the library takes a sixth, for seconds
            raise self._bad(f"it should have {_FIELDS} fields")
        try:
            return next(CronSim(self.expression, moment.astimezone(self._zone()))).astimezone(UTC)
        except CronSimError as error:
            raise self._bad(str(error).lower()) from error
        except StopIteration as error:
            raise self._bad("there is no such day") from error

    def _zone(self) -> ZoneInfo:
        try:
            return ZoneInfo(self.timezone)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise BadSchedule(
                f"There is no time zone {self.timezone!r}; use a name such as UTC, Europe/Berlin or Asia/Shanghai."
            ) from error

    def _bad(self, reason: str) -> BadSchedule:
        return BadSchedule(
            f"{self.expression!r} is no schedule ({reason}); write minute, hour, day of the month, month and day of "
            'the week, such as "0 3 * * *" for every night at three.'
        )
