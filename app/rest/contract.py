"""What the REST interface asks of the application, and nothing more."""

from collections.abc import Callable, Sequence
from typing import Protocol

from app.services.classify.service import ClassifyAnswer, ClassifyRequest
from app.services.corpora import CorpusInfo
from app.services.keys import ApiKey, KeyRing
from app.services.vectors import VectorAnswer, VectorRequest
from indexer.search import SearchPage, SearchRequest


class Search(Protocol):
    """Corpora, and search over them."""

    def corpora(self) -> Sequence[CorpusInfo]:
        """Every corpus."""
        ...

    def search(self, request: SearchRequest) -> SearchPage:
        """One page of results; raises an AppError fit for the user."""
        ...


class Vectors(Protocol):
    """The model that is served."""

    def load(self) -> None:
        """Load it, if it is not loaded yet; raises an AppError where it cannot be."""
        ...

    def encode(self, request: VectorRequest, is_abandoned: Callable[[], bool]) -> VectorAnswer:
        """Vectors of texts; raises an AppError fit for the user."""
        ...


class Classify(Protocol):
    """Classifiers that are kept, and labels described on the spot."""

    def classify(self, request: ClassifyRequest, is_abandoned: Callable[[], bool]) -> ClassifyAnswer:
        """Label texts; raises an AppError fit for the user."""
        ...


class Keys(Protocol):
    """Who may ask."""

    def ring(self) -> KeyRing:
        """The keys as they are now."""
        ...

    def note_use(self, key: ApiKey) -> None:
        """Write down that a key was used now."""
        ...


class Backend(Protocol):
    """All of it. Its parts are shared by many threads."""

    @property
    def search(self) -> Search:
        """Corpora and search."""
        ...

    @property
    def vectors(self) -> Vectors:
        """The model."""
        ...

    @property
    def classify(self) -> Classify:
        """Classification."""
        ...

    @property
    def keys(self) -> Keys:
        """The keys."""
        ...


MakeBackend = Callable[[], Backend]
"""Gives the backend, made when it is first asked for; may take a while then, and raises an AppError if it cannot."""
