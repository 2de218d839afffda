"""What is asked of a search and what comes back: plain frozen values."""

from dataclasses import dataclass, field
from enum import StrEnum

from embedder.errors import AppError
from indexer.conditions import Condition
from indexer.fusion import Standing
from indexer.query_text import ParsedQuery, parse_query
from indexer.records import Duplicate

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
        query: In the language of ``query_text``.
        page: Number of the result page, from 1.
        file_types: Only documents of these types; empty means all.
        languages: Only documents in these languages (ISO 639-1); empty means all.
        where: What else the metadata of a passage must be.
        operators: Whether quotes, minus and fields in the query mean something; off for questions that were not
            typed for this search.
    """

    corpus: str
    query: str
    mode: Mode = Mode.HYBRID
    page: int = 1
    page_size: int = 10
    file_types: frozenset[str] = frozenset()
    languages: frozenset[str] = frozenset()
    where: Condition | None = None
    operators: bool = True

    @property
    def parsed(self) -> ParsedQuery:
        """The query, read."""
        return parse_query(self.query) if self.operators else ParsedQuery(self.query)


@dataclass(frozen=True, slots=True)
class SearchResult:
    """The best passage of one document.

    Attributes:
        chunk_id: UUID of the passage.
        document_id: UUID of the document.
        score: Cosine similarity (semantic), BM25 (keyword) or the evidence of both (hybrid, see ``fusion``).
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
        dense: Cosine and rank of the passage among the vectors; None where they did not find it.
        lexical: BM25 and rank of the passage among the words; likewise.
        duplicates: Documents that say nearly the same, nearest first; they are not results of their own.
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
    dense: Standing | None = None
    lexical: Standing | None = None
    duplicates: tuple[Duplicate, ...] = ()


@dataclass(frozen=True, slots=True)
class FacetCount:
    """How many documents have this value: of the corpus, or of those found where the query has conditions."""

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
