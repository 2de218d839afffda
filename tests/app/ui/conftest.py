"""A corpus of seven passages behind the page's one protocol, and the page running on it."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest
from streamlit.testing.v1 import AppTest

from app.services.access import OWNER
from indexer.search import Example, FacetCount, Facets, SearchPage, SearchRequest, SearchResult, Span

NASTY = "<script>alert(1)</script> **bold** $x^2$ [a](http://b) :smile: &amp; \u202eexe"


def result(number: int = 1, **changes: object) -> SearchResult:
    values: dict[str, object] = {
        "chunk_id": str(number),
        "document_id": str(number),
        "score": 0.5,
        "title": f"Title {number}",
        "text": "Stars collapse. A black hole remains. Light stays.",
        "highlights": ((18, 28),),
        "uri": "en/stars.md",
        "key": "",
        "file_type": "markdown",
        "language": "en",
        "headings": (),
        "page": None,
        "start": 0,
        "end": 50,
    }
    return SearchResult(**(values | changes))  # type: ignore[arg-type]


@dataclass(frozen=True)
class Corpus:
    name: str
    documents: int
    chunks: int
    model: str
    failed_files: int
    updated: datetime | None
    searchable: bool


def corpus(name: str = "samples", **changes: object) -> Corpus:
    values: dict[str, object] = {
        "name": name,
        "documents": 1234,
        "chunks": 5678,
        "model": "kalm-small",
        "failed_files": 0,
        "updated": datetime(2026, 3, 5, tzinfo=UTC),
        "searchable": True,
    }
    return Corpus(**(values | changes))  # type: ignore[arg-type]


@dataclass
class FakeBackend:
    """Returns what it is told to, and remembers what it was asked."""

    known: list[Corpus] = field(default_factory=lambda: [corpus(), corpus("papers")])
    results: list[SearchResult] = field(
        default_factory=lambda: [
            *(result(n) for n in range(1, 13)),
            result(13, file_type="pdf", page=3, title=NASTY, text=NASTY, highlights=()),
            result(14, language="zh", title="黑洞", text="恒星坍缩后形成黑洞。", highlights=((7, 9),)),
        ]
    )
    facets: Facets = Facets(
        (FacetCount("markdown", 1200), FacetCount("pdf", 34)), (FacetCount("en", 1000), FacetCount("zh", 234))
    )
    error: Exception | None = None
    sentence_error: Exception | None = None
    examples: tuple[Example, ...] = ()
    uploads: list[tuple[str, bytes]] = field(default_factory=list)
    requests: list[SearchRequest] = field(default_factory=list)

    def corpora(self) -> list[Corpus]:
        return self.known

    def search(self, request: SearchRequest) -> SearchPage:
        self.requests.append(request)
        if self.error:
            raise self.error
        found = [
            hit
            for hit in self.results
            if (not request.file_types or hit.file_type in request.file_types)
            and (not request.languages or hit.language in request.languages)
        ]
        first = (request.page - 1) * request.page_size
        shown = tuple(found[first : first + request.page_size])
        more = len(found) > first + request.page_size
        return SearchPage(shown, more, 0.03, 0.008, self.facets, request.mode, self.examples)

    def further_passages(self, request: SearchRequest, document_id: str) -> list[SearchResult]:
        self.requests.append(request)
        texts = {n: f"Further passage {n}. {NASTY}" for n in (2, 3)}
        return [result(chunk_id=f"{document_id}-{n}", text=text, highlights=()) for n, text in texts.items()]

    def first(self, request: SearchRequest, limit: int) -> list[SearchResult]:
        self.requests.append(request)
        return self.results[:limit]

    def text_of(self, name: str, content: bytes) -> str:
        self.uploads.append((name, content))
        if self.error:
            raise self.error
        return content.decode()

    def best_sentences(self, corpus: str, query: str, results: Sequence[SearchResult]) -> list[Span | None]:
        if self.sentence_error:
            raise self.sentence_error
        return [(0, 15) if hit.language == "en" else None for hit in results]


@pytest.fixture(autouse=True)
def main_module(monkeypatch: pytest.MonkeyPatch) -> None:
    """Streamlit puts its script in place of ``__main__``; processes that later tests spawn would run it."""
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])


@pytest.fixture
def backend() -> FakeBackend:
    return FakeBackend()


@pytest.fixture
def make_result() -> Callable[..., SearchResult]:
    return result


@pytest.fixture
def make_corpus() -> Callable[..., Corpus]:
    return corpus


@pytest.fixture(autouse=True)
def _owner(monkeypatch):
    """Whoever opens a page that a test draws by itself, without the script that lets people in."""
    monkeypatch.setattr("app.ui.frame._nobody", lambda: OWNER)


@pytest.fixture
def nasty() -> str:
    return NASTY


@pytest.fixture
def open_page(backend: FakeBackend) -> Callable[..., AppTest]:
    """Load the page as a browser would, at a URL and with a locale."""

    def page(backend):  # runs on its own, without this module's names
        from app.ui.search.page import render

        render(backend)

    def load(locale: str = "en-US", **params: str | list[str]) -> AppTest:
        test = AppTest.from_function(page, args=(backend,), default_timeout=20)
        test.context = {"locale": locale}
        test.query_params.update(params)
        return test.run()

    return load
