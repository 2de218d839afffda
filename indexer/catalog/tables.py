"""The catalog's tables, and the database connections it works with."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import BigInteger, Connection, DateTime, Engine, ForeignKey, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DataError, DBAPIError, OperationalError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from sqlalchemy.types import JSON

from embedder.errors import AppError

_LISTED = 500

_Value = TypeVar("_Value")


class CatalogError(AppError):
    """Something is not, or already is, in the catalog; or its database does not answer."""


class CatalogAway(CatalogError):
    """The catalog's database does not answer, or cannot be opened."""


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
    """One built state of a corpus, sealed once everything of it is written."""

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
    size: Mapped[int] = mapped_column(BigInteger)
    mtime_ns: Mapped[int] = mapped_column(BigInteger)
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
        """Open it and bring its schema up to date; raises what SQLAlchemy does, and what ``migrate`` does."""
        self._engine = open_engine(url)
        with ExitStack() as failing:
            failing.callback(self._engine.dispose)
            with self._engine.connect() as connection, immediate(connection):
                migrate(connection)
            failing.pop_all()

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    @property
    def is_file(self) -> bool:
        """Whether it is a file of its own, which ``copy_to`` can copy."""
        return self._engine.dialect.name == "sqlite"

    def schema(self) -> tuple[str, str]:
        """The version of its schema, which a newer program may have changed, and the newest known here."""
        with _calm(), self._engine.connect() as connection:
            found = MigrationContext.configure(connection).get_current_revision()
        return found or "", ScriptDirectory.from_config(_migrations()).get_current_head() or ""

    def copy_to(self, path: Path) -> None:
        """Write a copy of a file's database as it is at one moment, whoever writes to it meanwhile.

        Args:
            path: The copy, which must not be there yet.
        """
        with self._engine.connect() as connection:
            raw: Any = connection.connection.driver_connection
            raw.execute("VACUUM INTO ?", (str(path),))

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """One transaction that sees one state of everything."""
        with _calm(), Session(self._engine) as session, session.begin():
            yield session

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """One transaction that writes: all of it or, where the block raises, nothing."""
        with _calm(), self._engine.connect() as connection, immediate(connection), Session(connection) as session:
            yield session
            session.flush()


@contextmanager
def _calm() -> Iterator[None]:
    """A database that is away, full or locked, and a text that none can hold, is no bug: one sentence."""
    try:
        yield
    except (DataError, UnicodeEncodeError) as error:
        raise CatalogError(
            "A name or a text holds an invalid character, which no database keeps; type it again."
        ) from error
    except OperationalError as error:
        raise CatalogAway(
            f"The catalog does not answer ({reason_of(error)}); see to its database, then retry."
        ) from error


def reason_of(error: DBAPIError) -> str:
    """The database's own words, without those around them: the statement and its values."""
    return str(error.orig).splitlines()[0].rstrip(".")


_WRITERS_LOCK = 0x6B616C6D
"""Number of PostgreSQL's advisory lock that stands for writing to a catalog."""

_CONNECT_SECONDS = 10
"""How long to wait for a server that does not answer; the driver would wait for two minutes."""


def open_engine(url: str) -> Engine:
    """An engine on the database, made ready for the habits of SQLite or PostgreSQL.

    Raises:
        ArgumentError: If the address cannot be read, or is of another kind of database. It quotes nothing of it:
            what was taken for a host or a port may be part of a password.
        ImportError: If the database's driver is not installed.
    """
    try:
        address = make_url(url)
    except ValueError:
        raise ArgumentError("its port is not a number") from None
    match address.get_backend_name():
        case "sqlite":
            engine = create_engine(address)
            _prepare_sqlite(engine)
        case "postgresql":
            if address.get_driver_name() != "psycopg":
                raise ArgumentError("it should begin with postgresql+psycopg:")
            if url.count("@") > 1:  # the first of them ends the password for whoever reads the address
                raise ArgumentError("an @ in its password is written %40")
            if "connect_timeout" not in address.query:
                address = address.update_query_dict({"connect_timeout": str(_CONNECT_SECONDS)})
            # As in SQLite, a reader sees one state of everything. A connection that the server has closed meanwhile
            # is replaced.
            engine = create_engine(address, pool_pre_ping=True, isolation_level="REPEATABLE READ")
            _prepare_postgres(engine)
        case _:
            raise ArgumentError("it begins with neither sqlite: nor postgresql:")
    return engine


def without_secrets(url: str) -> str:
    """The address of a database as it may be shown: without password and options."""
    return make_url(url).set(query={}).render_as_string(hide_password=True)


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


def _prepare_postgres(engine: Engine) -> None:
    """One writer at a time, as in SQLite, from the first statement of its transaction to the last; readers never wait.

    A lock on the row of a corpus would not do: there is none before the tables are made, nor for a new corpus.
    """

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        if connection.get_execution_options().get("immediate", False):
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_WRITERS_LOCK})")


@contextmanager
def immediate(connection: Connection) -> Iterator[None]:
    """A transaction that writes."""
    options: dict[str, Any] = {"immediate": True}
    if connection.dialect.name == "postgresql":  # a writer must see what others wrote while it waited for its turn
        options["isolation_level"] = "READ COMMITTED"
    with connection.execution_options(**options).begin():
        yield


def migrate(connection: Connection) -> None:
    """Bring the schema up to date.

    Raises:
        CatalogAway: If it is of a version that is not known here.
    """
    config = _migrations()
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        raise CatalogAway(
            f"The catalog was made by another version of this application ({error}); run the newest of them."
        ) from error


def _migrations() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    return config


def aware(moment: datetime) -> datetime:
    """SQLite forgets the zone; everything here is UTC."""
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def in_lists(values: Sequence[_Value]) -> Iterator[Sequence[_Value]]:
    """Values in parts that fit an ``IN``: databases bound the length of a list."""
    return (values[start : start + _LISTED] for start in range(0, len(values), _LISTED))
