"""A real PostgreSQL for tests: the programs of Debian's package, on a free port, in a folder that is gone afterwards.

Its data is never flushed to disk (``fsync=off``): that is what makes it quick, and nothing of it is worth keeping.
"""

import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ports import free_port

PASSWORD = "pa55 w:rd/ÄÖ@%?"
"""Of the superuser ``tests``: with everything in it that has to be escaped in an address."""

_START_SECONDS = 60
_QUICK = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "shared_buffers=16MB", "max_connections=50")


@dataclass(frozen=True)
class Postgres:
    """A running server."""

    port: int
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def url(self, database: str = "postgres", **options: str) -> str:
        """An address for SQLAlchemy."""
        query = "&".join(f"{name}={quote(value)}" for name, value in options.items())
        return f"postgresql+psycopg://tests:{quote(PASSWORD, safe='')}@127.0.0.1:{self.port}/{database}?{query}"

    def new_schema(self) -> str:
        """The address of an empty schema, which no other test is given."""
        name = f"test_{next(self._numbers)}"
        self.execute(f"CREATE SCHEMA {name}")
        return self.url(options=f"-csearch_path={name}")

    def execute(self, statement: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Run a statement as the superuser; returns its rows."""
        import psycopg

        login = {"host": "127.0.0.1", "port": self.port, "user": "tests", "password": PASSWORD, "dbname": database}
        with psycopg.connect(**login, autocommit=True) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []


def programs() -> Path | None:
    """Folder of the newest PostgreSQL's programs, which Debian keeps out of the search path."""
    found = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    return max(found, key=lambda folder: float(folder.parent.name), default=None)


@contextmanager
def running_postgres(binaries: Path) -> Iterator[Postgres]:
    """A new server for the length of a block."""
    with tempfile.TemporaryDirectory(prefix="pg-", dir="/tmp") as name:  # a socket's path must be short
        folder = Path(name)
        identity = _identity()
        if identity:
            shutil.chown(folder, identity["user"], identity["group"])
        data = _new_cluster(binaries, folder, identity)
        port = free_port()
        flags = [word for setting in _QUICK for word in ("-c", setting)]
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [binaries / "postgres", "-D", data, "-h", "127.0.0.1", "-p", str(port), "-k", folder, *flags],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=folder,
                **identity,
            )
        try:
            _wait_until_up(binaries, port, process, folder / "log")
            yield Postgres(port)
        finally:
            process.send_signal(signal.SIGINT)  # without waiting for those who are still connected
            process.wait(timeout=_START_SECONDS)


def _identity() -> dict[str, Any]:
    """Whom to run as: PostgreSQL refuses root, and runs as the user that its package made."""
    if os.geteuid() != 0:
        return {}
    user = pwd.getpwnam("postgres")
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def _new_cluster(binaries: Path, folder: Path, identity: dict[str, Any]) -> Path:
    password = folder / "password"
    password.write_text(PASSWORD, encoding="utf-8")
    password.chmod(0o644)
    flags = ["--username=tests", f"--pwfile={password}", "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C"]
    made = subprocess.run(
        [binaries / "initdb", f"--pgdata={folder / 'data'}", "--no-sync", *flags],
        capture_output=True,
        text=True,
        cwd=folder,
        check=False,
        **identity,
    )
    assert made.returncode == 0, made.stderr
    return folder / "data"


def _wait_until_up(binaries: Path, port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    asking = [binaries / "pg_isready", "--quiet", "--host=127.0.0.1", f"--port={port}"]
    while subprocess.run(asking, check=False).returncode != 0:
        assert process.poll() is None, log.read_text(errors="replace")
        assert time.monotonic() < deadline, log.read_text(errors="replace")
        time.sleep(0.05)
