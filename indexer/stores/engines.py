"""Several engines as one, so that corpora in the process and corpora on a server live side by side."""

import logging

from indexer.stores.protocol import StoreError, VectorEngine, VectorStore, missing_engine

_log = logging.getLogger(__name__)


class Engines:
    """The engines of an installation: the first makes what is new, each opens what it has made."""

    def __init__(self, first: VectorEngine, *others: VectorEngine) -> None:
        self._first = first
        self._others = others
        self.name = first.name

    def named(self, name: str) -> "Engines":
        """The same engines, the one that a manifest names first.

        Raises:
            StoreError: If it is not among them.
        """
        engines = (self._first, *self._others)
        for engine in engines:
            if engine.name == name:
                return Engines(engine, *(other for other in engines if other is not engine))
        raise missing_engine(name)

    def create(self, corpus: str, number: int, dim: int, base: int | None) -> VectorStore:
        """A new generation in the first engine; ``base`` is one of its own."""
        return self._first.create(corpus, number, dim, base)

    def open(self, corpus: str, number: int) -> VectorStore:
        """A sealed generation of the first engine, for reading.

        Raises:
            StoreError: If the generation is not there.
        """
        return self._first.open(corpus, number)

    def publish(self, corpus: str, number: int | None) -> None:
        """Tell those who do not ask the catalog which generation of the first engine is live."""
        self._first.publish(corpus, number)

    def drop(self, corpus: str, number: int) -> None:
        """Remove a generation wherever it is: before a migration it was in another engine."""
        self._first.drop(corpus, number)
        for other in self._others:
            try:
                other.drop(corpus, number)
            except StoreError as error:  # a build in one engine must not fail because the other is away
                _log.warning(
                    "If %s still holds generation %d of %s, it stays there: %s", other.name, number, corpus, error
                )

    def drop_corpus(self, corpus: str) -> None:
        """Remove everything of a corpus from every engine."""
        for engine in (self._first, *self._others):
            engine.drop_corpus(corpus)
