"""Who changed what: written down by every service that changes something for a person."""

from collections.abc import Sequence
from datetime import datetime

from app.services.access import Person
from indexer.catalog.audit_tables import AuditEntry, AuditTable

__all__ = ["AuditEntry", "AuditLog"]


class AuditLog:
    """The log of an installation. Safe between threads."""

    def __init__(self, table: AuditTable) -> None:
        self._table = table

    def note(self, person: Person, action: str, subject: str, **details: str) -> None:
        """Write down what somebody did, once it is done.

        Args:
            person: Who did it.
            action: What, as ``thing.verb``: ``corpus.add``, ``index.swap``, ``user.remove``.
            subject: To what.
            details: What else is worth knowing; never a secret.
        """
        self._table.add(person.name, action, subject, details)

    def latest(self, limit: int, before: datetime | None = None) -> Sequence[AuditEntry]:
        """The last entries, newest first."""
        return self._table.latest(limit, before)
