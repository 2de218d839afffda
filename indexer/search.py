"""Search over one corpus: what is asked, what comes back, and how the two meet."""

from dataclasses import dataclass, field
from enum import StrEnum

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
    """

    results: tuple[SearchResult, ...]
    has_more: bool
    encode_seconds: float
    store_seconds: float
    facets: Facets = field(default_factory=Facets)
