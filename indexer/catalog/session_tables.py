"""The table of who is signed in, in the catalog's database. It never sees what a browser shows: only its hash."""

from datetime import UTC, datetime

from sqlalchemy import delete, select
from sqlalchemy.orm import Mapped, mapped_column

from indexer.catalog.tables import Base, Database, aware


class SessionRow(Base):
    """One browser that is signed in."""

    __tablename__ = "sessions"
    digest: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    expires: Mapped[datetime]


class SessionTable:
    """All sessions. Every method is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, digest: str, name: str, expires: datetime) -> None:
        """Enter a session, and forget those that have ended."""
        with self._database.writing() as session:
            session.execute(delete(SessionRow).where(SessionRow.expires < datetime.now(UTC)))
            session.add(SessionRow(digest=digest, name=name, expires=expires))

    def name_of(self, digest: str) -> str | None:
        """Whose session this is; None if there is none, or no longer."""
        with self._database.reading() as session:
            row = session.scalars(select(SessionRow).where(SessionRow.digest == digest)).one_or_none()
            return None if row is None or aware(row.expires) < datetime.now(UTC) else row.name

    def drop(self, digest: str) -> None:
        """End a session, if there is such a one."""
        with self._database.writing() as session:
            session.execute(delete(SessionRow).where(SessionRow.digest == digest))

    def drop_all_of(self, name: str) -> None:
        """End every session of somebody."""
        with self._database.writing() as session:
            session.execute(delete(SessionRow).where(SessionRow.name == name))
