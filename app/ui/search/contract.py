"""What the search page asks of the application, and nothing more.

Protocols, so that the services need not know the page and a test may pass anything that fits.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from indexer.search import SearchPage, SearchRequest, SearchResult, Span


class CorpusInfo(Protocol):
    """One corpus as the page presents it."""

    @property
    def name(self) -> str:
        """Its name, unique among the corpora."""
        ...

    @property
    def documents(self) -> int:
        """How many documents can be searched."""
        ...

    @property
    def chunks(self) -> int:
        """How many passages they were cut into."""
        ...

    @property
    def model(self) -> str:
        """Name of the embedding model it was built with."""
        ...

    @property
    def failed_files(self) -> int:
        """Files that could not be read when it was built."""
        ...

    @property
    def updated(self) -> datetime | None:
        """When it was last built; None before the first time."""
        ...

    @property
    def searchable(self) -> bool:
        """False for a corpus that was added but not built yet."""
        ...


class SearchBackend(Protocol):
    """The one object the page talks to; it is shared by every session, so it must be thread-safe."""

    def corpora(self) -> Sequence[CorpusInfo]:
        """Every corpus, in the order of the picker."""
        ...

    def search(self, request: SearchRequest) -> SearchPage:
        """One page of results.

        Raises:
            AppError: With one sentence for the user, e.g. when the corpus was built with another model.
        """
        ...

    def further_passages(self, request: SearchRequest, document_id: str) -> Sequence[SearchResult]:
        """The other passages of a result's document that were found, best first; raises an AppError."""
        ...

    def first(self, request: SearchRequest, limit: int) -> Sequence[SearchResult]:
        """The first results of all pages, for an export; raises an AppError."""
        ...

    def text_of(self, name: str, content: bytes) -> str:
        """The text of an uploaded file.

        Raises:
            AppError: If it cannot be read.
        """
        ...

    def best_sentences(self, corpus: str, query: str, results: Sequence[SearchResult]) -> Sequence[Span | None]:
        """The sentence of each result nearest to the query, as a span of its text, or None. Slower than the search."""
        ...
