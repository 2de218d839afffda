"""Whether an installation is well, on demand: the doctor's findings, and what can be done about each from a page."""

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from app.services.storage import Storage
from embedder.errors import AppError
from indexer.catalog.corpora import Catalog
from indexer.upkeep.doctor import Doctor, Finding

_RUN = re.compile(r"run (\d+)")


class Remedy(StrEnum):
    """What a page offers for a finding.

    ``BUILD`` brings an index up to date, ``FRESH`` builds it from nothing with its own model, ``REBUILD`` a version
    beside it, ``RESUME`` lets a run go on that failed, ``RETRY`` looks at failed files again, ``NONE`` is for people.
    """

    BUILD = "build"
    FRESH = "fresh"
    REBUILD = "rebuild"
    RESUME = "resume"
    RETRY = "retry"
    NONE = "none"


_REMEDIES = {
    "build": Remedy.BUILD,
    "sources": Remedy.BUILD,
    "index": Remedy.FRESH,
    "passages": Remedy.FRESH,
    "model": Remedy.REBUILD,
    "recall": Remedy.REBUILD,
    "files": Remedy.RETRY,
}


def remedy_for(finding: Finding) -> Remedy:
    """What helps where something is wrong."""
    if finding.is_well or not finding.remedy.startswith("kalm "):
        return Remedy.NONE
    return Remedy.RESUME if run_of(finding) is not None else _REMEDIES.get(finding.name, Remedy.NONE)


def run_of(finding: Finding) -> int | None:
    """Number of the run that a finding is about, if it is about one."""
    named = _RUN.fullmatch(finding.name)
    return int(named[1]) if named else None


@dataclass(frozen=True, slots=True)
class Health:
    """Looks at the installation's surroundings, then has the doctor look at everything in it.

    Attributes:
        ask_server: Asks the Qdrant server how many collections it holds; None where none is configured.
    """

    catalog: Catalog
    doctor: Doctor
    storage: Storage
    ask_server: Callable[[], int] | None

    def examine(self, corpus: str | None = None) -> Iterator[Finding]:
        """Look at the installation and at every corpus, or at one alone.

        Raises:
            CatalogError: If there is no such corpus.
        """
        yield self._database()
        yield self._schema()
        if self.ask_server is not None:
            yield self._server(self.ask_server)
        if corpus is None:
            yield self._unused()
        yield from self.doctor.examine(corpus)

    def _database(self) -> Finding:
        started = time.perf_counter()
        count = len(self.catalog.corpora())
        took = 1000 * (time.perf_counter() - started)
        kind = "SQLite" if self.catalog.database.is_file else "PostgreSQL"
        return Finding("installation", "database", True, f"{kind} answered in {took:,.0f} ms; corpora: {count:,}")

    def _schema(self) -> Finding:
        found, newest = self.catalog.database.schema()
        remedy = "restart everything with the newest version of this application"
        said = f"the catalog's schema is {found}" + ("" if found == newest else f", and {newest} is known here")
        return Finding("installation", "schema", found == newest, said, remedy)

    def _unused(self) -> Finding:
        unused = self.storage.unused()
        said = f"{len(unused):,} folders with {sum(unused.values()) / 1e6:,.1f} MB belong to nothing that is there"
        return Finding("installation", "unused", not unused, said, "kalm index clean lists and removes them")

    def _server(self, ask: Callable[[], int]) -> Finding:
        try:
            return Finding("installation", "server", True, f"the Qdrant server answered: {ask():,} collections")
        except AppError as error:
            return Finding("installation", "server", False, str(error).removesuffix("."), "see to the Qdrant server")
