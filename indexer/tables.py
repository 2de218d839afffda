"""The catalog's tables, and the database connections it works with."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, DateTime, Engine, ForeignKey, create_engine, event
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from sqlalchemy.types import JSON


class Base(DeclarativeBase):
    """All tables."""

    type_annotation_map = {dict[str, Any]: JSON, list[Any]: JSON, datetime: DateTime(timezone=True)}


class CorpusRow(Base):
    """A folder of documents under a name."""

    __tablename__ = "corpora"
    name: Mapped[str] = mapped_column(primary_key=True)
    root: Mapped[str]
    include: Mapped[list[Any]]
    live: Mapped[int | None]
    counter: Mapped[int] = mapped_column(default=0)
    created: Mapped[datetime]


class GenerationRow(Base):
    """One built state of a corpus, sealed once it went live."""

    __tablename__ = "generations"
    corpus: Mapped[str] = mapped_column(ForeignKey("corpora.name", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    manifest: Mapped[dict[str, Any]]
    sealed: Mapped[bool] = mapped_column(default=False)
    documents: Mapped[int] = mapped_column(default=0)
    chunks: Mapped[int] = mapped_column(default=0)
    created: Mapped[datetime]


class FileRow(Base):
    """A file as it was in the generations from ``first`` until ``retired``."""

    __tablename__ = "files"
    id: Mapped[int] = mapped_column(primary_key=True)
    corpus: Mapped[str] = mapped_column(ForeignKey("corpora.name", ondelete="CASCADE"))
    uri: Mapped[str]
    size: Mapped[int]
    mtime_ns: Mapped[int]
    digest: Mapped[str]
    error: Mapped[str]
    first: Mapped[int]
    retired: Mapped[int | None]


class DocumentRow(Base):
    """A document as it was in the generations from ``first`` until ``retired``."""

    __tablename__ = "documents"
    id: Mapped[int] = mapped_column(primary_key=True)
    corpus: Mapped[str] = mapped_column(ForeignKey("corpora.name", ondelete="CASCADE"))
    document_id: Mapped[str]
    uri: Mapped[str]
    key: Mapped[str]
    title: Mapped[str]
    text: Mapped[str]
    sections: Mapped[list[Any]]
    file_type: Mapped[str]
    language: Mapped[str]
    details: Mapped[dict[str, Any]]
    digest: Mapped[str]
    chunks: Mapped[list[Any]]
    first: Mapped[int]
    retired: Mapped[int | None]


class Database:
    """One database, with the newest schema. Safe between threads and between processes."""

    def __init__(self, url: str) -> None:
        """Open it and bring its schema up to date; raises what SQLAlchemy does."""
        self._engine = open_engine(url)
        with self._engine.connect() as connection, immediate(connection):
            migrate(connection)

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """One transaction that sees one state of everything."""
        with Session(self._engine) as session, session.begin():
            yield session

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """One transaction that writes: all of it or, where the block raises, nothing."""
        with self._engine.connect() as connection, immediate(connection), Session(connection) as session:
            yield session
            session.flush()


def open_engine(url: str) -> Engine:
    """An engine on the database, made ready for SQLite's habits where it is SQLite."""
    engine = create_engine(url)
    if engine.dialect.name == "sqlite":
        _prepare_sqlite(engine)
    return engine


def _prepare_sqlite(engine: Engine) -> None:
    """Write-ahead mode, foreign keys, and transactions that begin when told: the driver would begin them late."""
    if engine.url.database:
        Path(engine.url.database).parent.mkdir(parents=True, exist_ok=True)

    @event.listens_for(engine, "connect")
    def _connect(connection: Any, _: object) -> None:  # noqa: ANN401 - the driver's own connection
        connection.isolation_level = None
        for pragma in ("journal_mode = WAL", "synchronous = NORMAL", "busy_timeout = 60000", "foreign_keys = ON"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        # A writer takes its lock at once: a reader turned writer half-way may be refused without waiting.
        immediate = connection.get_execution_options().get("immediate", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")


@contextmanager
def immediate(connection: Connection) -> Iterator[None]:
    """A transaction that writes."""
    with connection.execution_options(immediate=True).begin():
        yield


def migrate(connection: Connection) -> None:
    """Bring the schema up to date."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def aware(moment: datetime) -> datetime:
    """SQLite forgets the zone; everything here is UTC."""
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
