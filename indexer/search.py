"""Search over one corpus: from what is asked to what comes back (``retrieval/results.py`` has both as values)."""

import hashlib
import re
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np

from embedder.protocol import TextEncoder, Vectors
from indexer.catalog.corpora import Catalog
from indexer.catalog.documents import Documents
from indexer.catalog.label_tables import LabelTable
from indexer.lexical import LexicalEncoder
from indexer.readers.language import detect_language
from indexer.records import IndexedDocument, Manifest
from indexer.retrieval.asking import Asked, Asker
from indexer.retrieval.background import Background, background, random_vectors
from indexer.retrieval.diversity import maximal_marginal_relevance
from indexer.retrieval.facets import by_field, by_folder, by_label, with_rest
from indexer.retrieval.filters import Filters, filters_of
from indexer.retrieval.fusion import Ranked
from indexer.retrieval.generations import LiveGenerations, OpenGeneration
from indexer.retrieval.query_text import parse_query
from indexer.retrieval.ranking import MOST_PASSAGES, POOL_PASSAGES, Found, Question, folded, rank
from indexer.retrieval.remembered import Remembered
from indexer.retrieval.results import (
    MAX_TEXT_CHARACTERS,
    Example,
    FacetCount,
    Facets,
    LabelFacet,
    Mode,
    SearchPage,
    SearchRefused,
    SearchRequest,
    SearchResult,
    Span,
)
from indexer.retrieval.sentences import SentencePicker
from indexer.stores.protocol import VectorEngine

__all__ = [
    "MAX_TEXT_CHARACTERS",
    "Example",
    "FacetCount",
    "Facets",
    "LabelFacet",
    "Mode",
    "SearchPage",
    "SearchRefused",
    "SearchRequest",
    "SearchResult",
    "Searcher",
    "Span",
]

_REMEMBERED_RANKINGS = 64
_REMEMBERED_COUNTS = 256
_REMEMBERED_SAMPLES = 8
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class _Search:
    """A request on its way: what it is in the engine's terms, what results must meet, and where it is asked."""

    request: SearchRequest
    live: OpenGeneration
    asked: Asked
    filters: Filters


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
        self._labels = LabelTable(catalog.database)
        self._documents = Documents(catalog.database)
        self._asker = Asker(self._documents, lexical, lambda manifest: self._encoder_for(manifest))
        self._sentences = SentencePicker(encoder_for)
        self._generations = LiveGenerations(catalog, engine)
        self._rankings: Remembered[tuple[object, ...], list[Found]] = Remembered(_REMEMBERED_RANKINGS)
        self._counts: Remembered[tuple[object, ...], list[str]] = Remembered(_REMEMBERED_COUNTS)
        self._samples: Remembered[tuple[str, int], Vectors] = Remembered(_REMEMBERED_SAMPLES)

    def search(self, request: SearchRequest) -> SearchPage:
        """One page of results, one result per document.

        Raises:
            SearchRefused: If there is nothing to search by, or the page is not a page.
            LabelsRefused: If the request names labels that the corpus does not have.
            NotBuilt: If the corpus has no index yet.
            CatalogError: If there is no such corpus.
        """
        _check(request)
        started = time.perf_counter()
        with self._generations.use(request.corpus) as live:
            search = self._begin(request, live)
            encoded = time.perf_counter()
            documents = self._ranking(search)
            ranked = time.perf_counter()
            first = (request.page - 1) * request.page_size
            shown = documents[first : first + request.page_size]
            results = self._results(search, [(found, found.passages[0]) for found in shown])
            facets = self._facets(search)
        return SearchPage(
            results=results,
            has_more=len(documents) > first + request.page_size,
            encode_seconds=encoded - started,
            store_seconds=ranked - encoded,
            facets=facets,
            scored_by=search.asked.scored_by,
            examples=search.asked.examples,
        )

    def further_passages(self, request: SearchRequest, document_id: str) -> tuple[SearchResult, ...]:
        """The other passages of a result's document that were found, best first; raises what ``search`` does."""
        _check(request)
        with self._generations.use(request.corpus) as live:
            search = self._begin(request, live)
            own = [found for found in self._ranking(search) if found.id == document_id]
            return self._results(search, [(found, passage) for found in own for passage in found.passages[1:]])

    def first(self, request: SearchRequest, limit: int) -> tuple[SearchResult, ...]:
        """The first results of all pages, for which more passages are looked at than any page shows.

        What the pages have comes first, as they have it. Raises what ``search`` does.
        """
        _check(request)
        with self._generations.use(request.corpus) as live:
            search = self._begin(request, live)
            documents = list(self._ranking(search))
            if len(documents) < limit:
                there = {found.id for found in documents}
                there |= {twin.document_id for found in documents for twin in found.duplicates}
                documents += [found for found in self._rank(search, MOST_PASSAGES) if found.id not in there]
            return self._results(search, [(found, found.passages[0]) for found in documents[:limit]])

    def best_sentences(self, corpus: str, query: str, results: Sequence[SearchResult]) -> list[Span | None]:
        """The sentence of each result that is nearest to the query; None where there is only one to choose.

        None too where the model cannot read the query or the result.

        Encodes every sentence that is new, so it takes longer than the search itself.
        """
        query = parse_query(query).text or query
        with self._generations.use(corpus) as live:
            manifest = live.manifest
        if not self._asker.can_read(detect_language(query), manifest):
            return [None] * len(results)
        question = self._asker.query_vector(manifest, query)
        readable = [place for place, each in enumerate(results) if self._asker.can_read(each.language, manifest)]
        spans = self._sentences.best(manifest, question, [results[place].text for place in readable])
        best: list[Span | None] = [None] * len(results)
        for place, span in zip(readable, spans, strict=True):
            best[place] = span
        return best

    def documents(self, corpus: str, document_ids: Collection[str]) -> dict[str, IndexedDocument]:
        """Whole documents of the live generation by their ids; ids that are not there are left out."""
        with self._generations.use(corpus) as live:
            return self._documents.some(corpus, live.number, document_ids)

    def close(self) -> None:
        """Let go of all open generations."""
        self._generations.close()

    def _begin(self, request: SearchRequest, live: OpenGeneration) -> _Search:
        return _Search(request, live, self._asker.ask(request, live), filters_of(request, self._labels))

    def _freed(self, search: _Search, request: SearchRequest) -> _Search:
        """The same with some filters set aside."""
        if request.labels != search.request.labels:
            return replace(search, request=request, filters=filters_of(request, self._labels))
        filters = replace(search.filters, folders=request.folders, authors=request.authors)
        return replace(search, request=request, filters=filters)

    def _ranking(self, search: _Search) -> list[Found]:
        """All a question can reach, best document first.

        It is remembered, because the engine may order equal scores differently when it is asked again: pages cut from
        two of its answers could repeat a document or leave one out.
        """
        # A whole text is remembered by its digest: sixty-four of them might be large.
        digest = hashlib.blake2b(search.request.text.encode("utf-8", "surrogatepass")).hexdigest()
        request = replace(search.request, page=1, page_size=1, text=digest)
        key = (search.live.number, request, search.filters)
        return self._rankings.get(key, lambda: self._rank(search, POOL_PASSAGES))

    def _rank(self, search: _Search, reach: int) -> list[Found]:
        question = self._question(search)
        if question is None:
            return []
        live, corpus = search.live, search.request.corpus
        documents = rank(live.store, question, reach)
        ids = [passages[0].hit.metadata["document_id"] for passages in documents]
        found = folded(documents, self._catalog.near_duplicates(corpus, live.number, ids))
        return _diversified(live, found) if search.request.diverse else found

    def _question(self, search: _Search) -> Question | None:
        """What the engine is asked; None where the filters leave nothing."""
        request, parsed, asked = search.request, search.request.parsed, search.asked
        filters = search.filters
        named = filters.documents(self._catalog, self._labels, search.live.number)
        file_types = _both(request.file_types, parsed.file_types)
        languages = _both(request.languages, parsed.languages)
        if file_types is None or languages is None or (named is not None and not named):
            return None
        after, before = request.period
        return Question(
            parsed=parsed,
            dense=None if asked.dense is None else list(asked.dense),
            lexical=asked.lexical,
            only={"file_type": file_types, "language": languages, "document_id": named or ()},
            where=request.where,
            after=after,
            before=before,
            balance=request.balance,
            keep=(lambda passages: filters.kept(self._labels, passages)) if filters else None,
        )

    def _results(self, search: _Search, places: Sequence[tuple[Found, Ranked]]) -> tuple[SearchResult, ...]:
        chance = self._background(search)
        query = search.request.parsed.text
        return tuple(self._result(query, found, passage, chance) for found, passage in places)

    def _result(self, query: str, found: Found, passage: Ranked, chance: Background | None) -> SearchResult:
        metadata = passage.hit.metadata
        return SearchResult(
            chunk_id=passage.hit.id,
            document_id=metadata["document_id"],
            score=passage.score,
            title=metadata["title"],
            text=passage.hit.text,
            highlights=self._lexical.highlight(query, passage.hit.text),
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
            dense=passage.dense,
            lexical=passage.lexical,
            duplicates=found.duplicates,
            evidence=passage.evidence,
            calibration=chance.place(passage.dense.score) if chance and passage.dense else None,
            author=metadata.get("author") or "",
            date=metadata.get("date") or "",
        )

    def _background(self, search: _Search) -> Background | None:
        """What the question's cosines are to be compared with."""
        if search.asked.dense is None:
            return None
        live = search.live
        sample = self._samples.get((search.request.corpus, live.number), lambda: random_vectors(live.store))
        return background(sample, search.asked.dense)

    def _facets(self, search: _Search) -> Facets:
        """Counts of the documents found; each filter's own choice is set aside for its own counts."""
        none: frozenset[str] = frozenset()
        request, parsed = search.request, search.request.parsed

        def found(without: SearchRequest) -> list[Found]:
            return self._ranking(self._freed(search, without))

        types = by_field(found(replace(request, file_types=none)), "file_type")
        languages = by_field(found(replace(request, languages=none)), "language")
        if not (parsed.is_checked or search.filters or any(request.period) or request.where):
            types = with_rest(types, self._values(search, "file_type", parsed.file_types, request.languages))
            languages = with_rest(languages, self._values(search, "language", parsed.languages, request.file_types))
        return Facets(
            file_types=types,
            languages=languages,
            folders=by_folder(found(replace(request, folders=none))),
            authors=by_field(found(replace(request, authors=none)), "author"),
            labels=tuple(
                by_label(
                    found(replace(request, labels=frozenset(one for one in request.labels if one[0] != labels.name))),
                    labels,
                    self._labels,
                )
                for labels in self._labels.sets(request.corpus)
            ),
        )

    def _values(self, search: _Search, field: str, typed: frozenset[str], others: frozenset[str]) -> list[str]:
        """Values of ``file_type`` or ``language`` that the corpus has under the other's selection."""
        other = "language" if field == "file_type" else "file_type"
        parsed = search.request.parsed
        allowed = _both(others, parsed.languages if other == "language" else parsed.file_types)
        if allowed is None:
            return []
        only = {field: typed, other: allowed}
        corpus, number = search.request.corpus, search.live.number
        return self._counts.get(
            (corpus, number, field, typed, allowed),
            lambda: [value for value, _ in self._catalog.facet(corpus, number, field, only) if value],
        )


def _check(request: SearchRequest) -> None:
    parsed = request.parsed
    if len(request.text) > MAX_TEXT_CHARACTERS:
        raise SearchRefused(
            f"The text has {len(request.text):,} characters, more than {MAX_TEXT_CHARACTERS:,}; search by a part of it."
        )
    if not (parsed.text.strip() or request.text.strip() or request.like):
        if request.unlike:
            raise SearchRefused("You only named what results should be unlike; add a word or what they should be like.")
        raise SearchRefused(
            "The question has conditions only; add a word or a sentence to search for."
            if request.query.strip()
            else "The question is empty; type a word or a sentence to search for."
        )
    if request.page < 1 or request.page_size < 1:
        raise SearchRefused("Result pages are counted from 1 and hold at least one result.")
    if not 0 <= request.balance <= 1:
        raise SearchRefused("The balance of meaning and words is between 0 and 1.")
    chosen = (request.file_types, request.languages, request.folders, request.authors, *request.labels)
    if any(_SURROGATE.search(value) for values in chosen for value in values):
        raise SearchRefused("A filter holds an invalid character; type it again.")


def _both(chosen: frozenset[str], typed: frozenset[str]) -> frozenset[str] | None:
    """What two filters allow together; empty where neither is set, None where nothing is left."""
    if chosen and typed:
        return chosen & typed or None
    return chosen or typed


def _diversified(live: OpenGeneration, documents: list[Found]) -> list[Found]:
    """The same documents, each next one relevant and unlike those before it."""
    ids = [found.passages[0].hit.id for found in documents]
    if not ids:
        return documents
    vectors = live.store.vectors(ids)
    scores = np.array([found.passages[0].score for found in documents], np.float32)
    return [documents[place] for place in maximal_marginal_relevance(scores, np.stack([vectors[id] for id in ids]))]
