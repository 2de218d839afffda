"""Search as the pages, the command line and REST see it."""

import logging
import tempfile
import threading
from collections.abc import Collection, Sequence
from pathlib import Path, PurePath

from app.services.corpora import CorpusInfo, CorpusService
from app.services.encoders import Encoders
from embedder.errors import AppError
from indexer.catalog.corpora import Catalog
from indexer.readers import Limits
from indexer.readers.process import ReaderProcess
from indexer.records import IndexedDocument
from indexer.search import (
    MAX_TEXT_CHARACTERS,
    Mode,
    Searcher,
    SearchPage,
    SearchRefused,
    SearchRequest,
    SearchResult,
    Span,
)

TEXT_FILES = (".txt", ".md", ".pdf", ".docx")
"""Files that can be a question."""

TEXT_FILE_MEGABYTES = 20

_LIMITS = Limits(
    file_bytes=TEXT_FILE_MEGABYTES << 20,
    document_chars=MAX_TEXT_CHARACTERS,
    pages=500,
    unpacked_bytes=200 << 20,
    seconds=30.0,
    memory_bytes=1 << 30,
)
"""Somebody waits for it at the page, so less than a build allows."""

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

    def further_passages(self, request: SearchRequest, document_id: str) -> tuple[SearchResult, ...]:
        """The other passages of a result's document that were found; raises an AppError fit for the user."""
        return self._searcher.further_passages(request, document_id)

    def first(self, request: SearchRequest, limit: int) -> tuple[SearchResult, ...]:
        """The first results of all pages; raises an AppError fit for the user."""
        return self._searcher.first(request, limit)

    def text_of(self, name: str, content: bytes) -> str:
        """The text of a file that somebody wants to search by, read in a child process.

        Args:
            name: What it is called; only the ending matters.
            content: All of it.

        Raises:
            SearchRefused: If it is of no kind of ``TEXT_FILES``.
            UnreadableFile: If it is empty or damaged, or cannot be read within limits.
        """
        ending = PurePath(name).suffix.lower()
        if ending not in TEXT_FILES:
            raise SearchRefused(f"A question can be a file of one of these kinds: {', '.join(TEXT_FILES)}.")
        with tempfile.TemporaryDirectory(prefix="kalm-question-") as folder, ReaderProcess(_LIMITS) as reader:
            path = Path(folder) / f"question{ending}"
            path.write_bytes(content)
            return "\n\n".join(document.text for document in reader.read(path, path.name))

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
