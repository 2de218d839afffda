"""The table of API keys, in the catalog's database. It never sees a secret: only what is left of one after hashing."""

from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Mapped, mapped_column

from embedder.errors import AppError
from indexer.catalog.tables import Base, Database, aware


class KeyRefused(AppError):
    """A key that cannot be entered or is not there."""


class KeyRow(Base):
    """A key: who may ask what."""

    __tablename__ = "api_keys"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    role: Mapped[str]
    digest: Mapped[str] = mapped_column(unique=True)
    created: Mapped[datetime]
    used: Mapped[datetime | None]
    revoked: Mapped[datetime | None]


@dataclass(frozen=True, slots=True)
class KeyEntry:
    """A key as it is entered.

    Attributes:
        digest: What its secret hashes to, in hexadecimal.
        used: When it was last used, to within a minute; None before the first time.
        revoked: When it ceased to be valid; None while it is.
    """

    id: int
    name: str
    role: str
    digest: str
    created: datetime
    used: datetime | None
    revoked: datetime | None


class KeyTable:
    """All keys, revoked ones too. Every method is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, name: str, role: str, digest: str) -> None:
        """Enter a key.

        Raises:
            KeyRefused: If there is a valid key of that name.
        """
        try:
            with self._database.writing() as session:
                session.add(KeyRow(name=name, role=role, digest=digest, created=datetime.now(UTC)))
        except IntegrityError as error:
            raise KeyRefused(
                f"There is a key {name} already; choose another name, or revoke it first with kalm key revoke {name}."
            ) from error

    def all(self) -> list[KeyEntry]:
        """Every key in the order they were entered."""
        with self._database.reading() as session:
            return [_entry(row) for row in session.scalars(select(KeyRow).order_by(KeyRow.id))]

    def revoke(self, name: str) -> None:
        """End a key; its row stays.

        Raises:
            KeyRefused: If there is no valid key of that name.
        """
        valid = (KeyRow.name == name, KeyRow.revoked.is_(None))
        with self._database.writing() as session:
            row = session.scalars(select(KeyRow).where(*valid)).one_or_none()
            if row is None:
                raise KeyRefused(f"There is no valid key {name}; kalm key list shows which there are.")
            row.revoked = datetime.now(UTC)

    def note_use(self, key: int) -> None:
        """Write down that a key was used now."""
        with self._database.writing() as session:
            session.execute(update(KeyRow).where(KeyRow.id == key).values(used=datetime.now(UTC)))


def _entry(row: KeyRow) -> KeyEntry:
    used, revoked = (moment and aware(moment) for moment in (row.used, row.revoked))
    return KeyEntry(row.id, row.name, row.role, row.digest, aware(row.created), used, revoked)
