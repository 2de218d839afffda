"""Search over one corpus: what is asked, what comes back, and how the two meet."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from embedder.errors import AppError
from embedder.protocol import TextEncoder, Vectors
from indexer.catalog import Catalog
from indexer.chunking import sentence_spans
from indexer.generations import LiveGenerations, OpenGeneration
from indexer.lexical import LexicalEncoder, SparseVector
from indexer.readers.language import detect_language
from indexer.records import Manifest
from indexer.remembered import Remembered
from indexer.store import Hit, Query, VectorEngine

POOL_PASSAGES = 200
"""Passages a question can reach. Fixed, so that every page is cut from the same ranking."""

_REMEMBERED_QUERIES = 256
_REMEMBERED_RANKINGS = 32
_SENTENCES_PER_PASSAGE = 24
_OTHER_SCRIPTS = frozenset({"zh", "ja", "ko"})
"""Languages that even three words give away; Latin ones are not told apart in so short a text."""

Span = tuple[int, int]
"""Start and end character offsets within a text."""


class Mode(StrEnum):
    """How a query meets the passages."""

    SEMANTIC = "semantic"
    KEYWORD = "keyword"
    HYBRID = "hybrid"


@dataclass(frozen=True, slots=True)
class SearchRequest:
    """One page of one question.

    Attributes:
        page: Number of the result page, from 1.
        file_types: Only documents of these types; empty means all.
        languages: Only documents in these languages (ISO 639-1); empty means all.
    """

    corpus: str
    query: str
    mode: Mode = Mode.HYBRID
    page: int = 1
    page_size: int = 10
    file_types: frozenset[str] = frozenset()
    languages: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class SearchResult:
    """The best passage of one document.

    Attributes:
        chunk_id: UUID of the passage.
        document_id: UUID of the document.
        score: Cosine similarity (semantic), BM25 (keyword) or reciprocal rank fusion (hybrid).
        text: The passage.
        highlights: Spans of ``text`` that hold words of the query.
        title_highlights: The same of ``title``.
        uri: File of the document, relative to the corpus root.
        key: Row within that file; empty for a whole file.
        headings: The headings above the passage, outermost first.
        page: Page number from 1, where the format has pages.
        start: Offset of the passage in the document's text.
        end: Offset after it.
        more_passages: How many further passages of the same document matched.
    """

    chunk_id: str
    document_id: str
    score: float
    title: str
    text: str
    highlights: tuple[Span, ...]
    uri: str
    key: str
    file_type: str
    language: str
    headings: tuple[str, ...]
    page: int | None
    start: int
    end: int
    more_passages: int = 0
    title_highlights: tuple[Span, ...] = ()


@dataclass(frozen=True, slots=True)
class FacetCount:
    """How many documents of the corpus have this value."""

    value: str
    documents: int


@dataclass(frozen=True, slots=True)
class Facets:
    """Counts beside the filters; each list counts under the other filter's selection, most frequent first."""

    file_types: tuple[FacetCount, ...] = ()
    languages: tuple[FacetCount, ...] = ()


@dataclass(frozen=True, slots=True)
class SearchPage:
    """One page of results.

    Attributes:
        has_more: Whether a further page would show anything.
        encode_seconds: Time the query's vectors took.
        store_seconds: Time the store took.
        scored_by: What the scores are: the mode asked for, or its one leg that had anything to go by.
    """

    results: tuple[SearchResult, ...]
    has_more: bool
    encode_seconds: float
    store_seconds: float
    facets: Facets = field(default_factory=Facets)
    scored_by: Mode = Mode.HYBRID


class SearchRefused(AppError):
    """A question that cannot be asked."""


@dataclass(frozen=True, slots=True)
class _Ranking:
    """All a question can reach: the passages found, by document, best document first."""

    documents: list[list[Hit]]
    scored_by: Mode


class Searcher:
    """Answers questions over all corpora. Safe between threads; follows every corpus to its live generation."""

    def __init__(
        self,
        catalog: Catalog,
        engine: VectorEngine,
        lexical: LexicalEncoder,
        encoder_for: Callable[[Manifest], TextEncoder],
    ) -> None:
        """Wire the parts.

        Args:
            catalog: Says which generation of a corpus is live.
            engine: Opens it.
            lexical: Makes the keyword leg.
            encoder_for: The encoder a generation was made with, loaded once and kept by the caller; raises an
                AppError where it is not to be had.
        """
        self._catalog = catalog
        self._lexical = lexical
        self._encoder_for = encoder_for
        self._generations = LiveGenerations(catalog, engine)
        self._query_vectors: Remembered[tuple[Manifest, str], Vectors] = Remembered(_REMEMBERED_QUERIES)
        self._rankings: Remembered[tuple[object, ...], _Ranking] = Remembered(_REMEMBERED_RANKINGS)
        self._counts: Remembered[tuple[object, ...], tuple[FacetCount, ...]] = Remembered(_REMEMBERED_QUERIES)

    def search(self, request: SearchRequest) -> SearchPage:
        """One page of results, one result per document.

        Raises:
            SearchRefused: If the query is blank or the page is not a page.
            NotBuilt: If the corpus has no index yet.
            CatalogError: If there is no such corpus.
        """
        if not request.query.strip():
            raise SearchRefused("The question is empty; type a word or a sentence to search for.")
        if request.page < 1 or request.page_size < 1:
            raise SearchRefused("Result pages are counted from 1 and hold at least one result.")
        started = time.perf_counter()
        with self._generations.use(request.corpus) as live:
            dense = self._query_vector(live.manifest, request.query) if self._is_by_meaning(request, live) else None
            encoded = time.perf_counter()
            question = (request.mode, request.query, request.file_types, request.languages)
            ranking = self._rankings.get(
                (request.corpus, live.number, *question), lambda: self._rank(request, live, dense)
            )
            ranked = time.perf_counter()
        first = (request.page - 1) * request.page_size
        shown = ranking.documents[first : first + request.page_size]
        return SearchPage(
            results=tuple(self._result(request.query, passages) for passages in shown),
            has_more=len(ranking.documents) > first + request.page_size,
            encode_seconds=encoded - started,
            store_seconds=ranked - encoded,
            facets=self._facets(request, live.number),
            scored_by=ranking.scored_by,
        )

    def best_sentences(self, corpus: str, query: str, results: Sequence[SearchResult]) -> list[Span | None]:
        """The sentence of each result that is nearest to the query; None where there is only one to choose.

        None too where the model cannot read the query or the result.

        Encodes every sentence, so it takes longer than the search itself.
        """
        with self._generations.use(corpus) as live:
            manifest = live.manifest
        if not self._can_read(detect_language(query), manifest):
            return [None] * len(results)
        spans = [
            sentence_spans(result.text)[:_SENTENCES_PER_PASSAGE] if self._can_read(result.language, manifest) else []
            for result in results
        ]
        texts = [
            result.text[start:end]
            for result, own in zip(results, spans, strict=True)
            for start, end in own
            if len(own) > 1
        ]
        if not texts:
            return [None] * len(results)
        vectors = self._encoder_for(manifest).encode_documents(texts)
        nearness = iter((vectors @ self._query_vector(manifest, query)).tolist())
        best: list[Span | None] = []
        for own in spans:
            scored = [(next(nearness), span) for span in own] if len(own) > 1 else []
            best.append(max(scored)[1] if scored else None)
        return best

    def close(self) -> None:
        """Let go of all open generations."""
        self._generations.close()

    def _is_by_meaning(self, request: SearchRequest, live: OpenGeneration) -> bool:
        """Whether the dense leg is asked: not for words alone, nor half-heartedly of a model that cannot read them.

        In a fusion the noise of such a leg would push down what the words found.
        """
        if request.mode is not Mode.HYBRID:
            return request.mode is Mode.SEMANTIC
        return self._can_read(detect_language(request.query), live.manifest)

    def _can_read(self, language: str, manifest: Manifest) -> bool:
        languages = self._encoder_for(manifest).languages
        return languages is None or language not in _OTHER_SCRIPTS - languages

    def _query_vector(self, manifest: Manifest, query: str) -> Vectors:
        """Unit vector of a query, shape (dim,); the latest ones are remembered, for paging and filtering."""
        # By the whole manifest: two indexes of one model may differ in width and arithmetic.
        return self._query_vectors.get(
            (manifest, query), lambda: self._encoder_for(manifest).encode_queries([query])[0]
        )

    def _rank(self, request: SearchRequest, live: OpenGeneration, dense: Vectors | None) -> _Ranking:
        """Ask the engine.

        The ranking is remembered, because the engine may order equal scores differently when it is asked again:
        pages cut from two of its answers could repeat a document or leave one out.
        """
        lexical = self._lexical.encode_query(request.query) if request.mode is not Mode.SEMANTIC else None
        only = {"file_type": request.file_types, "language": request.languages}
        hits = live.store.search(Query(POOL_PASSAGES, dense, lexical, only))
        return _Ranking(_by_document(hits), _scored_by(dense, lexical))

    def _result(self, query: str, group: list[Hit]) -> SearchResult:
        best, metadata = group[0], group[0].metadata
        return SearchResult(
            chunk_id=best.id,
            document_id=metadata["document_id"],
            score=best.score,
            title=metadata["title"],
            text=best.text,
            highlights=self._lexical.highlight(query, best.text),
            uri=metadata["uri"],
            key=metadata["key"],
            file_type=metadata["file_type"],
            language=metadata["language"],
            headings=tuple(metadata["headings"]),
            page=metadata["page"],
            start=metadata["start"],
            end=metadata["end"],
            more_passages=len(group) - 1,
            title_highlights=self._lexical.highlight(query, metadata["title"]),
        )

    def _facets(self, request: SearchRequest, number: int) -> Facets:
        def counts(field: str, **only: frozenset[str]) -> tuple[FacetCount, ...]:
            def count() -> tuple[FacetCount, ...]:
                rows = self._catalog.facet(request.corpus, number, field, only)
                return tuple(FacetCount(value, documents) for value, documents in rows if value)

            return self._counts.get((request.corpus, number, field, *only.items()), count)

        return Facets(
            file_types=counts("file_type", language=request.languages),
            languages=counts("language", file_type=request.file_types),
        )


def _scored_by(dense: Vectors | None, lexical: SparseVector | None) -> Mode:
    if lexical is None or not lexical.indices:
        return Mode.SEMANTIC if dense is not None else Mode.KEYWORD
    return Mode.KEYWORD if dense is None else Mode.HYBRID


def _by_document(hits: Sequence[Hit]) -> list[list[Hit]]:
    """Hits grouped by document, documents in the order of their best hit."""
    groups: dict[str, list[Hit]] = {}
    for hit in hits:
        groups.setdefault(hit.metadata["document_id"], []).append(hit)
    return list(groups.values())
