"""What is asked of a search and what comes back: plain frozen values."""

from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum

from embedder.errors import AppError
from indexer.records import Duplicate
from indexer.retrieval.background import Calibration
from indexer.retrieval.fusion import BALANCED, Evidence, Standing
from indexer.retrieval.query_text import ParsedQuery, parse_query
from indexer.stores.conditions import Condition

Span = tuple[int, int]
"""Start and end character offsets within a text."""

LabelChoice = tuple[str, str]
"""Name of a set of labels, and one of its labels."""

MAX_TEXT_CHARACTERS = 1_000_000
"""Longest text that may be a question."""


class Mode(StrEnum):
    """How a query meets the passages."""

    SEMANTIC = "semantic"
    KEYWORD = "keyword"
    HYBRID = "hybrid"


@dataclass(frozen=True, slots=True)
class SearchRequest:
    """One page of one question.

    Attributes:
        query: In the language of ``query_text``; may be blank where ``like`` or ``text`` says what to look for.
        page: Number of the result page, from 1.
        file_types: Only documents of these types; empty means all.
        languages: Only documents in these languages (ISO 639-1); empty means all.
        where: What else the metadata of a passage must be.
        operators: Whether quotes, minus and fields in the query mean something; off for questions that were not
            typed for this search.
        balance: Weight of the vectors in a hybrid search, 0 to 1; the words have the rest.
        folders: Only documents in these folders, relative to the corpus root, or below them; empty means all.
        authors: Only documents of these authors, by their whole names; empty means all.
        labels: Only what has one of these labels, of each set that is named; empty means all.
        after: First allowed day; documents without a date are then left out.
        before: The day after the last allowed one, likewise.
        diverse: Whether results are to differ from each other, too, and not only to be relevant.
        like: Ids of documents that the results should be like; they are not results themselves.
        unlike: Ids of documents that they should not be like.
        text: A whole text as the question, in place of the words of ``query``, whose conditions hold.
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
    balance: float = BALANCED
    folders: frozenset[str] = frozenset()
    authors: frozenset[str] = frozenset()
    labels: frozenset[LabelChoice] = frozenset()
    after: date | None = None
    before: date | None = None
    diverse: bool = False
    like: tuple[str, ...] = ()
    unlike: tuple[str, ...] = ()
    text: str = ""

    @property
    def parsed(self) -> ParsedQuery:
        """The query, read."""
        return parse_query(self.query) if self.operators else ParsedQuery(self.query)

    @property
    def period(self) -> tuple[date | None, date | None]:
        """First allowed day and the one after the last, by what was chosen and what was typed."""
        parsed = self.parsed
        after = max(filter(None, (self.after, parsed.after)), default=None)
        return after, min(filter(None, (self.before, parsed.before)), default=None)


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
        evidence: What each leg contributed to the score of a hybrid search.
        calibration: Where the cosine stands among those of random passages of the corpus.
        author: Of the document; empty where nobody is named.
        date: Day of the document (ISO 8601); empty where it has none.
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
    evidence: Evidence | None = None
    calibration: Calibration | None = None
    author: str = ""
    date: str = ""


@dataclass(frozen=True, slots=True)
class FacetCount:
    """How many of the documents found have this value; 0 where only others of the corpus do."""

    value: str
    documents: int


@dataclass(frozen=True, slots=True)
class LabelFacet:
    """Counts of the labels of one set."""

    name: str
    kind: str
    labels: tuple[FacetCount, ...]


@dataclass(frozen=True, slots=True)
class Facets:
    """Counts beside the filters, most frequent first; each list counts under all other filters' selection.

    Attributes:
        folders: The folders where the ways of the documents found part.
        labels: One for each set of labels of the corpus.
    """

    file_types: tuple[FacetCount, ...] = ()
    languages: tuple[FacetCount, ...] = ()
    folders: tuple[FacetCount, ...] = ()
    authors: tuple[FacetCount, ...] = ()
    labels: tuple[LabelFacet, ...] = ()


@dataclass(frozen=True, slots=True)
class Example:
    """A document that the results should be like, or unlike."""

    document_id: str
    title: str
    uri: str
    key: str
    liked: bool


@dataclass(frozen=True, slots=True)
class SearchPage:
    """One page of results.

    Attributes:
        has_more: Whether a further page would show anything.
        encode_seconds: Time the query's vectors took.
        store_seconds: Time the store took.
        scored_by: What the scores are: the mode asked for, or its one leg that had anything to go by.
        examples: The documents that results were asked to be like or unlike, of which the index still has these.
    """

    results: tuple[SearchResult, ...]
    has_more: bool
    encode_seconds: float
    store_seconds: float
    facets: Facets = field(default_factory=Facets)
    scored_by: Mode = Mode.HYBRID
    examples: tuple[Example, ...] = ()


class SearchRefused(AppError):
    """A question that cannot be asked."""
