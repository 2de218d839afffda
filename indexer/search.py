"""Search over one corpus: from what is asked to what comes back (``results`` has both as values)."""

import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from embedder.protocol import TextEncoder, Vectors
from indexer.catalog import Catalog
from indexer.chunking import sentence_spans
from indexer.fusion import Ranked
from indexer.generations import LiveGenerations, OpenGeneration
from indexer.lexical import LexicalEncoder, SparseVector
from indexer.query_text import ParsedQuery, parse_query
from indexer.ranking import Question, rank
from indexer.readers.language import detect_language
from indexer.records import Duplicate, IndexedDocument, Manifest
from indexer.remembered import Remembered
from indexer.results import (
    FacetCount,
    Facets,
    Mode,
    SearchPage,
    SearchRefused,
    SearchRequest,
    SearchResult,
    Span,
)
from indexer.store import VectorEngine

__all__ = [
    "FacetCount",
    "Facets",
    "Mode",
    "SearchPage",
    "SearchRefused",
    "SearchRequest",
    "SearchResult",
    "Searcher",
    "Span",
]

_REMEMBERED_QUERIES = 256
_REMEMBERED_RANKINGS = 32
_SENTENCES_PER_PASSAGE = 24
_OTHER_SCRIPTS = frozenset({"zh", "ja", "ko"})
"""Languages that even three words give away; Latin ones are not told apart in so short a text."""


@dataclass(frozen=True, slots=True)
class _Found:
    """A document, its best passage first, and the documents that say nearly the same."""

    passages: list[Ranked]
    duplicates: tuple[Duplicate, ...]

    @property
    def metadata(self) -> Mapping[str, Any]:
        return self.passages[0].hit.metadata


@dataclass(frozen=True, slots=True)
class _Ranking:
    """All a question can reach, best document first."""

    documents: list[_Found]
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
        parsed = request.parsed
        if not parsed.text.strip():
            raise SearchRefused(
                "The question has conditions only; add a word or a sentence to search for."
                if request.query.strip()
                else "The question is empty; type a word or a sentence to search for."
            )
        if request.page < 1 or request.page_size < 1:
            raise SearchRefused("Result pages are counted from 1 and hold at least one result.")
        started = time.perf_counter()
        with self._generations.use(request.corpus) as live:
            by_meaning = self._is_by_meaning(request, parsed, live)
            dense = self._query_vector(live.manifest, parsed.text) if by_meaning else None
            encoded = time.perf_counter()
            ranking = self._ranking(request, live, dense)
            ranked = time.perf_counter()
            facets = self._facets(request, live, dense)
        first = (request.page - 1) * request.page_size
        shown = ranking.documents[first : first + request.page_size]
        return SearchPage(
            results=tuple(self._result(parsed.text, found) for found in shown),
            has_more=len(ranking.documents) > first + request.page_size,
            encode_seconds=encoded - started,
            store_seconds=ranked - encoded,
            facets=facets,
            scored_by=ranking.scored_by,
        )

    def best_sentences(self, corpus: str, query: str, results: Sequence[SearchResult]) -> list[Span | None]:
        """The sentence of each result that is nearest to the query; None where there is only one to choose.

        None too where the model cannot read the query or the result.

        Encodes every sentence, so it takes longer than the search itself.
        """
        query = parse_query(query).text or query
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

    def documents(self, corpus: str, document_ids: Collection[str]) -> dict[str, IndexedDocument]:
        """Whole documents of the live generation by their ids; ids that are not there are left out."""
        with self._generations.use(corpus) as live:
            return self._catalog.documents(corpus, live.number, document_ids)

    def close(self) -> None:
        """Let go of all open generations."""
        self._generations.close()

    def _is_by_meaning(self, request: SearchRequest, parsed: ParsedQuery, live: OpenGeneration) -> bool:
        """Whether the dense leg is asked: not for words alone, nor half-heartedly of a model that cannot read them.

        In a fusion the noise of such a leg would push down what the words found.
        """
        if request.mode is not Mode.HYBRID:
            return request.mode is Mode.SEMANTIC
        return self._can_read(detect_language(parsed.text), live.manifest)

    def _can_read(self, language: str, manifest: Manifest) -> bool:
        languages = self._encoder_for(manifest).languages
        return languages is None or language not in _OTHER_SCRIPTS - languages

    def _query_vector(self, manifest: Manifest, query: str) -> Vectors:
        """Unit vector of a query, shape (dim,); the latest ones are remembered, for paging and filtering."""
        # By the whole manifest: two indexes of one model may differ in width and arithmetic.
        return self._query_vectors.get(
            (manifest, query), lambda: self._encoder_for(manifest).encode_queries([query])[0]
        )

    def _ranking(self, request: SearchRequest, live: OpenGeneration, dense: Vectors | None) -> _Ranking:
        """Ask the engine.

        The ranking is remembered, because the engine may order equal scores differently when it is asked again:
        pages cut from two of its answers could repeat a document or leave one out.
        """
        asked = (request.mode, request.query, request.operators, request.file_types, request.languages, request.where)
        return self._rankings.get((request.corpus, live.number, *asked), lambda: self._rank(request, live, dense))

    def _rank(self, request: SearchRequest, live: OpenGeneration, dense: Vectors | None) -> _Ranking:
        parsed = request.parsed
        lexical = self._lexical.encode_query(parsed.text) if request.mode is not Mode.SEMANTIC else None
        file_types = _both(request.file_types, parsed.file_types)
        languages = _both(request.languages, parsed.languages)
        scored_by = _scored_by(dense, lexical)
        if file_types is None or languages is None:
            return _Ranking([], scored_by)
        only = {"file_type": file_types, "language": languages}
        documents = rank(live.store, Question(parsed, dense, lexical, only, request.where))
        ids = [passages[0].hit.metadata["document_id"] for passages in documents]
        return _Ranking(_folded(documents, self._catalog.near_duplicates(request.corpus, live.number, ids)), scored_by)

    def _result(self, query: str, found: _Found) -> SearchResult:
        best, metadata = found.passages[0], found.metadata
        return SearchResult(
            chunk_id=best.hit.id,
            document_id=metadata["document_id"],
            score=best.score,
            title=metadata["title"],
            text=best.hit.text,
            highlights=self._lexical.highlight(query, best.hit.text),
            uri=metadata["uri"],
            key=metadata["key"],
            file_type=metadata["file_type"],
            language=metadata["language"],
            headings=tuple(metadata["headings"]),
            page=metadata["page"],
            start=metadata["start"],
            end=metadata["end"],
            more_passages=len(found.passages) - 1,
            title_highlights=self._lexical.highlight(query, metadata["title"]),
            dense=best.dense,
            lexical=best.lexical,
            duplicates=found.duplicates,
        )

    def _facets(self, request: SearchRequest, live: OpenGeneration, dense: Vectors | None) -> Facets:
        """Counts of the corpus where filters are all there is; of the documents found where there are conditions."""
        parsed = request.parsed
        if parsed.is_checked or parsed.after or parsed.before or request.where:
            every: frozenset[str] = frozenset()
            wider = self._ranking(replace(request, file_types=every), live, dense)
            other = self._ranking(replace(request, languages=every), live, dense)
            return Facets(_counted(wider.documents, "file_type"), _counted(other.documents, "language"))
        file_types = _both(request.file_types, parsed.file_types)
        languages = _both(request.languages, parsed.languages)
        return Facets(
            self._corpus_counts(request.corpus, live.number, "file_type", parsed.file_types, languages),
            self._corpus_counts(request.corpus, live.number, "language", file_types, parsed.languages),
        )

    def _corpus_counts(
        self,
        corpus: str,
        number: int,
        field: str,
        file_types: frozenset[str] | None,
        languages: frozenset[str] | None,
    ) -> tuple[FacetCount, ...]:
        if file_types is None or languages is None:
            return ()

        def count() -> tuple[FacetCount, ...]:
            rows = self._catalog.facet(corpus, number, field, {"file_type": file_types, "language": languages})
            return tuple(FacetCount(value, documents) for value, documents in rows if value)

        return self._counts.get((corpus, number, field, file_types, languages), count)


def _both(chosen: frozenset[str], typed: frozenset[str]) -> frozenset[str] | None:
    """What two filters allow together; empty where neither is set, None where nothing is left."""
    if chosen and typed:
        return chosen & typed or None
    return chosen or typed


def _counted(documents: Sequence[_Found], field: str) -> tuple[FacetCount, ...]:
    counts = Counter(value for found in documents if (value := found.metadata[field]))
    return tuple(FacetCount(*one) for one in sorted(counts.items(), key=lambda one: (-one[1], one[0])))


def _folded(documents: Sequence[list[Ranked]], similar: Mapping[str, tuple[Duplicate, ...]]) -> list[_Found]:
    """Documents with what says nearly the same; of those found, only the best stays a result."""
    shown: list[_Found] = []
    hidden: set[str] = set()
    for passages in documents:
        document_id = passages[0].hit.metadata["document_id"]
        if document_id not in hidden:
            duplicates = similar.get(document_id, ())
            hidden.update(duplicate.document_id for duplicate in duplicates)
            shown.append(_Found(passages, duplicates))
    return shown


def _scored_by(dense: Vectors | None, lexical: SparseVector | None) -> Mode:
    if lexical is None or not lexical.indices:
        return Mode.SEMANTIC if dense is not None else Mode.KEYWORD
    return Mode.KEYWORD if dense is None else Mode.HYBRID
