"""Versions of an index: one built beside the live one is checked, put in use, gone back from, or discarded.

A version is a finished generation. Putting it in use is one row of the catalog, so searches go from one to the other
between two questions; the one before is kept to go back to.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from embedder.errors import AppError
from indexer.catalog import Catalog
from indexer.gate import Check, Gate, GateFailed, GoldenQuery
from indexer.pipeline import KEPT_GENERATIONS
from indexer.records import Generation
from indexer.store import VectorEngine


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

    def check(self, corpus: str, golden: Sequence[GoldenQuery] = ()) -> list[Check]:
        """Hold the version that waits against what it has to be.

        Args:
            corpus: The corpus.
            golden: Questions with the file that answers each.

        Raises:
            NoVersion: If none waits.
        """
        waiting, live = self._waiting(corpus), self._live(corpus)
        return self.gate.checks(corpus, waiting, live, golden)

    def swap(self, corpus: str, golden: Sequence[GoldenQuery] = (), *, force: bool = False) -> int:
        """Put the version that waits in use, if it passes its checks; of earlier ones the last is kept.

        Args:
            corpus: The corpus.
            golden: As for ``check``.
            force: Put it in use whatever the checks say; they are not made then.

        Returns:
            Its number.

        Raises:
            NoVersion: If none waits.
            GateFailed: If a check fails; nothing has changed.
        """
        waiting = self._waiting(corpus)
        failed = [] if force else [check for check in self.check(corpus, golden) if not check.passed]
        if failed:
            reasons = "; ".join(f"{check.name}: {check.found}" for check in failed)
            raise GateFailed(
                f"Version {waiting.number} of {corpus} was not put in use ({reasons}); put it in use all the same with "
                f"kalm index swap {corpus} --force, or discard it with kalm index discard {corpus}."
            )
        self._go_to(corpus, waiting)
        for old in self.catalog.prune(corpus, keep=KEPT_GENERATIONS):
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
        """
        live = self.catalog.corpus(corpus).live or 0
        earlier = [each for each in self.catalog.generations(corpus) if each.number < live]
        chosen = next((each for each in earlier if number in (None, each.number)), None)
        if chosen is None:
            kept = ", ".join(str(each.number) for each in earlier) or "none"
            wanted = "earlier version" if number is None else f"earlier version {number}"
            raise NoVersion(f"There is no {wanted} of {corpus} to go back to; kept are {kept}.")
        self._go_to(corpus, chosen)
        return chosen.number

    def discard(self, corpus: str) -> list[int]:
        """Remove the versions that wait. Returns their numbers.

        Raises:
            NoVersion: If none waits.
        """
        self._waiting(corpus)
        numbers = [version.generation.number for version in self.all(corpus) if version.waits]
        for number in numbers:
            self.catalog.discard(corpus, number)
            self.engine.drop(corpus, number)
        return numbers

    def _go_to(self, corpus: str, chosen: Generation) -> None:
        live = self._live(corpus)
        self.catalog.put_in_use(corpus, chosen.number)
        target = self.engine.named(chosen.manifest.engine)
        if live is not None and live.manifest.engine != chosen.manifest.engine:
            self.engine.named(live.manifest.engine).publish(corpus, None)
        target.publish(corpus, chosen.number)

    def _waiting(self, corpus: str) -> Generation:
        waiting = next((version.generation for version in self.all(corpus) if version.waits), None)
        if waiting is None:
            raise NoVersion(f"No version of {corpus} waits to be put in use; kalm index rebuild {corpus} builds one.")
        return waiting

    def _live(self, corpus: str) -> Generation | None:
        return next((version.generation for version in self.all(corpus) if version.is_live), None)
