"""The tables of build runs: a run is a plan written down, a task one file of it."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from indexer.catalog.tables import Base


class RunRow(Base):
    """A build; a ``held`` one does not go live by itself. ``owner`` writes the store, once all files are read."""

    __tablename__ = "runs"
    __table_args__ = {"sqlite_autoincrement": True}
    id: Mapped[int] = mapped_column(primary_key=True)
    corpus: Mapped[str] = mapped_column(ForeignKey("corpora.name", ondelete="CASCADE"))
    generation: Mapped[int]
    base: Mapped[int | None]
    held: Mapped[bool] = mapped_column(default=False)
    manifest: Mapped[dict[str, Any]]
    state: Mapped[str]
    error: Mapped[str] = mapped_column(default="")
    by: Mapped[str]
    created: Mapped[datetime]
    finished: Mapped[datetime | None]
    files: Mapped[int]
    files_done: Mapped[int] = mapped_column(default=0)
    failed: Mapped[int] = mapped_column(default=0)
    bytes: Mapped[int] = mapped_column(BigInteger)
    bytes_done: Mapped[int] = mapped_column(BigInteger, default=0)
    documents: Mapped[int] = mapped_column(default=0)
    removed: Mapped[int] = mapped_column(default=0)
    chunks: Mapped[int] = mapped_column(default=0)
    encoded: Mapped[int] = mapped_column(default=0)
    seconds: Mapped[float] = mapped_column(default=0.0)
    touched: Mapped[float] = mapped_column(default=0.0)
    owner: Mapped[str] = mapped_column(default="")
    lease_until: Mapped[float] = mapped_column(default=0.0)
    attempts: Mapped[int] = mapped_column(default=0)


class TaskRow(Base):
    """A file of a run: ``pending``, ``leased``, ``done`` or ``failed``. Leases are seconds since 1970."""

    __tablename__ = "tasks"
    id: Mapped[int] = mapped_column(primary_key=True)
    run: Mapped[int] = mapped_column(ForeignKey("runs.id", ondelete="CASCADE"))
    uri: Mapped[str]
    path: Mapped[bytes]
    size: Mapped[int] = mapped_column(BigInteger)
    mtime_ns: Mapped[int] = mapped_column(BigInteger)
    is_gone: Mapped[bool]
    state: Mapped[str]
    owner: Mapped[str] = mapped_column(default="")
    lease_until: Mapped[float] = mapped_column(default=0.0)
    attempts: Mapped[int] = mapped_column(default=0)
    error: Mapped[str] = mapped_column(default="")
