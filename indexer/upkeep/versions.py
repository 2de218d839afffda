"""Versions of an index: one built beside the live one is checked, put in use, gone back from, or discarded.

A version is a finished generation. Putting it in use is one row of the catalog, so searches go from one to the other
between two questions; the one before is kept to go back to.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from embedder.errors import AppError
from indexer.catalog.corpora import Catalog
from indexer.records import Generation
from indexer.stores.protocol import VectorEngine
from indexer.upkeep.gate import Check, Gate, GateFailed, GoldenQuery


class NoVersion(AppError):
    """There is no version to go to."""


@dataclass(frozen=True, slots=True)
class Version:
    """A finished generation of a corpus, and what it is good for.

    Attributes:
        is_live: Whether it is searched.
        waits: Whether it is newer than the one that is.
    """

    generation: Generation
    is_live: bool
    waits: bool


@dataclass(frozen=True, slots=True)
class Versions:
    """The versions of all corpora."""

    catalog: Catalog
    engine: VectorEngine
    gate: Gate

    def all(self, corpus: str) -> list[Version]:
        """Newest first.

        Raises:
            CatalogError: If there is no such corpus.
        """
        live = self.catalog.corpus(corpus).live or 0
        found = self.catalog.generations(corpus)
        return [Version(each, each.number == live, each.number > live) for each in found]

    def check(self, corpus: str, golden: Sequence[GoldenQuery] = (), *, version: int | None = None) -> list[Check]:
        """Hold the version that waits against what it has to be.

        Args:
            corpus: The corpus.
            golden: Questions with the file that answers each.
            version: The number of the one that is meant; None takes the newest that waits.

        Raises:
            NoVersion: If none waits, or another one.
        """
        return self.gate.checks(corpus, self._waiting(corpus, version), self._live(corpus), golden)

    def swap(
        self, corpus: str, golden: Sequence[GoldenQuery] = (), *, version: int | None = None, force: bool = False
    ) -> int:
        """Put the version that waits in use, if it passes its checks; beyond as many as are kept, the oldest go.

        Args:
            corpus: The corpus.
            golden: As for ``check``.
            version: As for ``check``. What was checked is put in use or nothing is, whatever others do meanwhile.
            force: Put it in use whatever the checks say; they are not made then.

        Returns:
            Its number.

        Raises:
            NoVersion: If none waits, or another one; nothing has changed.
            GateFailed: If a check fails; nothing has changed.
        """
        waiting, live = self._waiting(corpus, version), self._live(corpus)
        checks = () if force else self.gate.checks(corpus, waiting, live, golden)
        failed = [check for check in checks if not check.passed]
        if failed:
            reasons = "; ".join(f"{check.name}: {check.found}" for check in failed)
            raise GateFailed(
                f"Version {waiting.number} of {corpus} was not put in use ({reasons}); put it in use all the same with "
                f"kalm index swap {corpus} --force, or discard it with kalm index discard {corpus}."
            )
        if not self.catalog.put_newest_in_use(corpus, waiting.number):
            raise _waits_no_longer(corpus, waiting.number)
        self._publish(corpus, live, waiting)
        for old in self.catalog.prune(corpus):
            self.engine.drop(corpus, old)
        return waiting.number

    def rollback(self, corpus: str, number: int | None = None) -> int:
        """Go back to an earlier version; the one that was in use then waits, as if it had just been built.

        Args:
            corpus: The corpus.
            number: Which; None takes the newest before the one in use.

        Returns:
            Its number.

        Raises:
            NoVersion: If it is not kept.
            JobError: If a run of the corpus is not over; nothing has changed.
        """
        live = self.catalog.corpus(corpus).live or 0
        earlier = [each for each in self.catalog.generations(corpus) if each.number < live]
        chosen = next((each for each in earlier if number in (None, each.number)), None)
        if chosen is None:
            kept = ", ".join(str(each.number) for each in earlier) or "none"
            wanted = "earlier version" if number is None else f"earlier version {number}"
            raise NoVersion(f"There is no {wanted} of {corpus} to go back to; kept are {kept}.")
        current = self._live(corpus)
        self.catalog.put_in_use(corpus, chosen.number)
        self._publish(corpus, current, chosen)
        return chosen.number

    def discard(self, corpus: str, *, version: int | None = None) -> list[int]:
        """Remove the versions that wait. Returns their numbers.

        Args:
            corpus: The corpus.
            version: The newest of them, as it was seen; None takes whatever waits.

        Raises:
            NoVersion: If none waits, or another one.
        """
        self._waiting(corpus, version)
        numbers = [version.generation.number for version in self.all(corpus) if version.waits]
        for number in numbers:
            self.catalog.discard(corpus, number)
            self.engine.drop(corpus, number)
        return numbers

    def _publish(self, corpus: str, before: Generation | None, now: Generation) -> None:
        """Tell the engines which version is in use; the catalog says so already."""
        target = self.engine.named(now.manifest.engine)
        if before is not None and before.manifest.engine != now.manifest.engine:
            self.engine.named(before.manifest.engine).publish(corpus, None)
        target.publish(corpus, now.number)

    def _waiting(self, corpus: str, wanted: int | None = None) -> Generation:
        waiting = next((version.generation for version in self.all(corpus) if version.waits), None)
        if wanted is not None and (waiting is None or waiting.number != wanted):
            raise _waits_no_longer(corpus, wanted)
        if waiting is None:
            raise NoVersion(f"No version of {corpus} waits to be put in use; kalm index rebuild {corpus} builds one.")
        return waiting

    def _live(self, corpus: str) -> Generation | None:
        return next((version.generation for version in self.all(corpus) if version.is_live), None)


def _waits_no_longer(corpus: str, number: int) -> NoVersion:
    return NoVersion(f"Version {number} of {corpus} no longer waits; look at the versions that there are now.")
