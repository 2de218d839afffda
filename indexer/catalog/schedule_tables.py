"""The table of what workers do by themselves: corpora that are watched, and corpora that have a schedule."""

from dataclasses import dataclass

from sqlalchemy import ForeignKey, delete, select, update
from sqlalchemy.orm import Mapped, Session, mapped_column

from indexer.catalog.tables import Base, Database


class ScheduleRow(Base):
    """When workers bring a corpus up to date. ``due`` is in seconds since 1970."""

    __tablename__ = "schedules"
    corpus: Mapped[str] = mapped_column(ForeignKey("corpora.name", ondelete="CASCADE"), primary_key=True)
    watched: Mapped[bool] = mapped_column(default=False)
    quiet_seconds: Mapped[float] = mapped_column(default=0.0)
    poll_seconds: Mapped[float | None]
    cron: Mapped[str] = mapped_column(default="")
    timezone: Mapped[str] = mapped_column(default="")
    due: Mapped[float | None]
    note: Mapped[str] = mapped_column(default="")


@dataclass(frozen=True, slots=True)
class Schedule:
    """When workers bring a corpus up to date.

    Attributes:
        watched: Whether they do so when its folder changes.
        quiet_seconds: How long the folder has to be at rest before.
        poll_seconds: How often it is looked through, where the system does not tell of changes; None where it does.
        cron: At which times they do so besides; empty for none.
        timezone: In which these are told.
        due: The next of these, or the first that was missed, in seconds since 1970; None where there is none.
        note: Why it cannot be done at present; empty where it can.
    """

    corpus: str
    watched: bool
    quiet_seconds: float
    poll_seconds: float | None
    cron: str
    timezone: str
    due: float | None
    note: str


class ScheduleTable:
    """The schedules of all corpora. Every method is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def all(self) -> list[Schedule]:
        """Every schedule, by corpus."""
        with self._database.reading() as session:
            return [_schedule(row) for row in session.scalars(select(ScheduleRow).order_by(ScheduleRow.corpus))]

    def watch(self, corpus: str, *, quiet_seconds: float, poll_seconds: float | None) -> None:
        """Have a corpus that is there watched."""
        with self._database.writing() as session:
            row = _row(session, corpus)
            row.watched, row.quiet_seconds, row.poll_seconds, row.note = True, quiet_seconds, poll_seconds, ""

    def unwatch(self, corpus: str) -> None:
        """Have it watched no longer."""
        with self._database.writing() as session:
            row = _row(session, corpus)
            row.watched, row.note = False, ""
            _sweep(session, corpus)

    def schedule(self, corpus: str, *, cron: str, timezone: str, due: float) -> None:
        """Have a corpus that is there built at certain times, first when it is due."""
        with self._database.writing() as session:
            row = _row(session, corpus)
            row.cron, row.timezone, row.due, row.note = cron, timezone, due, ""

    def unschedule(self, corpus: str) -> None:
        """Have it built at no certain times."""
        with self._database.writing() as session:
            row = _row(session, corpus)
            row.cron, row.timezone, row.due, row.note = "", "", None, ""
            _sweep(session, corpus)

    def advance(self, corpus: str, *, before: float, due: float) -> None:
        """Enter when a schedule is due next, unless somebody has changed it since."""
        mine = (ScheduleRow.corpus == corpus, ScheduleRow.due == before)
        with self._database.writing() as session:
            session.execute(update(ScheduleRow).where(*mine).values(due=due))

    def note(self, corpus: str, text: str) -> None:
        """Enter why a corpus cannot be brought up to date; empty where it can."""
        with self._database.writing() as session:
            session.execute(update(ScheduleRow).where(ScheduleRow.corpus == corpus).values(note=text))


def _row(session: Session, corpus: str) -> ScheduleRow:
    row = session.get(ScheduleRow, corpus)
    if row is None:
        row = ScheduleRow(corpus=corpus)
        session.add(row)
        session.flush()
    return row


def _sweep(session: Session, corpus: str) -> None:
    """A row that says nothing goes."""
    session.flush()
    session.execute(
        delete(ScheduleRow).where(
            ScheduleRow.corpus == corpus, ScheduleRow.watched.is_(False), ScheduleRow.due.is_(None)
        )
    )


def _schedule(row: ScheduleRow) -> Schedule:
    return Schedule(
        corpus=row.corpus,
        watched=row.watched,
        quiet_seconds=row.quiet_seconds,
        poll_seconds=row.poll_seconds,
        cron=row.cron,
        timezone=row.timezone,
        due=row.due,
        note=row.note,
    )
