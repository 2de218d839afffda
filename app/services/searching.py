"""Search as the pages, the command line and REST see it."""

import logging
import threading
from collections.abc import Collection, Sequence

from app.services.corpora import CorpusInfo, CorpusService
from app.services.encoders import Encoders
from embedder.errors import AppError
from indexer.catalog import Catalog
from indexer.records import IndexedDocument
from indexer.search import Mode, Searcher, SearchPage, SearchRequest, SearchResult, Span

log = logging.getLogger(__name__)


class SearchService:
    """One object for everything a search page shows. Safe between threads."""

    def __init__(self, catalog: Catalog, corpora: CorpusService, searcher: Searcher, encoders: Encoders) -> None:
        self._catalog = catalog
        self._corpora = corpora
        self._searcher = searcher
        self._encoders = encoders
        self._closing = threading.Event()

    def corpora(self) -> list[CorpusInfo]:
        """Every corpus, by name."""
        return self._corpora.all()

    def search(self, request: SearchRequest) -> SearchPage:
        """One page of results; raises an AppError fit for the user."""
        return self._searcher.search(request)

    def best_sentences(self, corpus: str, query: str, results: Sequence[SearchResult]) -> list[Span | None]:
        """The sentence of each result that is nearest to the query; slower than the search."""
        return self._searcher.best_sentences(corpus, query, results)

    def documents(self, corpus: str, document_ids: Collection[str]) -> dict[str, IndexedDocument]:
        """Whole documents of the index by their ids; ids that are not there are left out."""
        return self._searcher.documents(corpus, document_ids)

    def warm_up(self) -> None:
        """Load the model of every index and open it, so that the first question need not wait for either.

        What goes wrong is only logged: whoever asks that corpus will be told.
        """
        try:
            for corpus in self._catalog.corpora():
                if corpus.live is not None and not self._closing.is_set():
                    self._warm_up(corpus.name, corpus.live)
        except Exception:
            log.exception("Could not look for indexes to warm up")

    def _warm_up(self, corpus: str, live: int) -> None:
        try:
            # The slow part first: whoever ends the server meanwhile finds no index open.
            self._encoders.of(self._catalog.generation(corpus, live).manifest)
            if not self._closing.is_set():
                self._searcher.search(SearchRequest(corpus, "warm-up", mode=Mode.SEMANTIC, page_size=1))
        except AppError as error:
            log.warning("Could not warm up %s: %s", corpus, error)
        except Exception:
            log.exception("Could not warm up %s", corpus)

    def close(self) -> None:
        """Let go of open indexes."""
        self._closing.set()
        self._searcher.close()
