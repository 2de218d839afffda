"""The table of what people changed, in the catalog's database."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Mapped, mapped_column

from indexer.catalog.tables import Base, Database, aware


class AuditRow(Base):
    """One change."""

    __tablename__ = "audit"
    id: Mapped[int] = mapped_column(primary_key=True)
    moment: Mapped[datetime]
    person: Mapped[str]
    action: Mapped[str]
    subject: Mapped[str]
    details: Mapped[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One change as it is written down.

    Attributes:
        person: Who made it.
        action: What was done, e.g. ``corpus.add``.
        subject: To what, e.g. the corpus' name.
        details: Anything else worth knowing; never a secret.
    """

    when: datetime
    person: str
    action: str
    subject: str
    details: Mapping[str, str]


class AuditTable:
    """All changes, oldest first. Rows are added and never changed."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, person: str, action: str, subject: str, details: Mapping[str, str]) -> None:
        """Write down a change."""
        with self._database.writing() as session:
            session.add(
                AuditRow(moment=datetime.now(UTC), person=person, action=action, subject=subject, details=dict(details))
            )

    def latest(self, limit: int, before: datetime | None = None) -> list[AuditEntry]:
        """The last changes, newest first.

        Args:
            limit: How many at most.
            before: Only those made before that moment.
        """
        asked = select(AuditRow).order_by(AuditRow.moment.desc(), AuditRow.id.desc()).limit(limit)
        if before is not None:
            asked = asked.where(AuditRow.moment < before)
        with self._database.reading() as session:
            return [
                AuditEntry(aware(row.moment), row.person, row.action, row.subject, row.details)
                for row in session.scalars(asked)
            ]
