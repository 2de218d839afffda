"""What the search page asks of whoever keeps its visitors' notes."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from app.services.access import Person
from app.services.notes import Suggestions
from indexer.catalog.note_tables import SavedSearch
from indexer.search import SearchRequest, SearchResult


class NoteBackend(Protocol):
    """Shared by every session, so it must be thread-safe. Every method may raise an AppError with one sentence."""

    def record(self, person: Person, request: SearchRequest, state: Mapping[str, Any]) -> None:
        """Remember that somebody asked this; ``state`` are the parameters of the address."""
        ...

    def forget_history(self, person: Person, corpus: str) -> None:
        """Forget all of somebody's questions to a corpus."""
        ...

    def suggestions(self, person: Person, corpus: str, prefix: str = "") -> Suggestions:
        """What somebody may want to ask."""
        ...

    def did_you_mean(self, corpus: str, query: str, results: Sequence[SearchResult]) -> str | None:
        """The question with mistyped words put right; None where there is nothing to put right."""
        ...

    def save(self, person: Person, name: str, request: SearchRequest, state: Mapping[str, Any]) -> SavedSearch:
        """Keep a search."""
        ...

    def saved(self, person: Person) -> Sequence[SavedSearch]:
        """Somebody's searches, run again where their index has changed."""
        ...

    def look(self, person: Person, corpus: str, state: Mapping[str, Any]) -> frozenset[str]:
        """Somebody opens an address: ids of documents that are new in the saved search it stands for."""
        ...

    def forget_saved(self, person: Person, id: int) -> None:
        """Forget a saved search."""
        ...

    def judge(self, person: Person, corpus: str, query: str, result: SearchResult, grade: int | None) -> None:
        """Write down how well a result answers a question; None takes it back."""
        ...

    def judged(self, person: Person, corpus: str, query: str) -> Mapping[str, int]:
        """The grades somebody gave to answers to a question, by passage id."""
        ...
