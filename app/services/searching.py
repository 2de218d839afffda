"""Search as the pages, the command line and REST see it."""

from collections.abc import Sequence

from app.services.corpora import CorpusInfo, CorpusService
from indexer.search import Searcher, SearchPage, SearchRequest, SearchResult, Span


class SearchService:
    """One object for everything a search page shows. Safe between threads."""

    def __init__(self, corpora: CorpusService, searcher: Searcher) -> None:
        self._corpora = corpora
        self._searcher = searcher

    def corpora(self) -> list[CorpusInfo]:
        """Every corpus, by name."""
        return self._corpora.all()

    def search(self, request: SearchRequest) -> SearchPage:
        """One page of results; raises an AppError fit for the user."""
        return self._searcher.search(request)

    def best_sentences(self, corpus: str, query: str, results: Sequence[SearchResult]) -> list[Span | None]:
        """The sentence of each result that is nearest to the query; slower than the search."""
        return self._searcher.best_sentences(corpus, query, results)

    def close(self) -> None:
        """Let go of open indexes."""
        self._searcher.close()
