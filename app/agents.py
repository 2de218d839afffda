"""Search as tools for language models, over the Model Context Protocol (its official SDK)."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import urlencode

from mcp.server import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import ToolAnnotations
from pydantic import Field

from app.services.corpora import CorpusInfo
from app.services.searching import SearchService
from embedder.errors import AppError
from indexer.catalog.corpora import Catalog
from indexer.catalog.documents import Documents
from indexer.records import IndexedDocument
from indexer.search import Mode, SearchRequest, SearchResult

MAX_RESULTS = 50
FETCHED_CHARACTERS = 20_000
"""What a fetch returns unless it is told: a long article, and well within what agents take from a tool at once."""

MAX_CHARACTERS = 200_000
_READS_ONLY = ToolAnnotations(read_only_hint=True, open_world_hint=False)


@dataclass(frozen=True, slots=True)
class Library:
    """What the tools talk to."""

    catalog: Catalog
    searching: SearchService
    documents: Documents

    def corpora(self) -> list[CorpusInfo]:
        """Every corpus that can be searched."""
        return [corpus for corpus in self.searching.corpora() if corpus.searchable]

    def document(self, corpus: str, document_id: str) -> IndexedDocument | None:
        """A document of the live generation; None where it does not hold it.

        Raises:
            CatalogError: If there is no such corpus.
        """
        live = self.catalog.live_number(corpus)
        return None if live is None else self.documents.one(corpus, live, document_id)


def create_server(library: Library, page_url: str = "") -> MCPServer[Any]:
    """A server with the tools ``corpora``, ``search`` and ``fetch``, as agents expect to find them.

    Args:
        library: What it searches.
        page_url: Address of the pages, so that citations can be opened; without it they name file and place.
    """
    server: MCPServer[Any] = MCPServer(
        "kalm",
        title="KaLM Search",
        instructions="Semantic and keyword search over corpora of documents in English and Chinese. Ask search for "
        "passages in natural language, then fetch a document by the id of a result to read more of it.",
    )

    @server.tool(title="List corpora", annotations=_READS_ONLY)
    def corpora() -> dict[str, Any]:
        """The corpora of documents that can be searched, with their sizes."""
        with _told():
            known = library.corpora()
        return {"corpora": [{"name": one.name, "documents": one.documents, "passages": one.chunks} for one in known]}

    @server.tool(title="Search", annotations=_READS_ONLY)
    def search(
        query: Annotated[str, Field(description='A question in English or Chinese; "exact words" in quotes.')],
        corpus: Annotated[str, Field(description="The corpus; empty for the only one, or the first.")] = "",
        limit: Annotated[int, Field(ge=1, le=MAX_RESULTS, description="How many results.")] = 10,
    ) -> dict[str, Any]:
        """Find the passages that answer a question, best first, one a document."""
        with _told():
            name = corpus or _first(library)
            page = library.searching.search(SearchRequest(name, query, mode=Mode.HYBRID, page_size=limit))
        return {"results": [_result(name, one, page_url) for one in page.results]}

    @server.tool(title="Fetch a document", annotations=_READS_ONLY)
    def fetch(
        id: Annotated[str, Field(description="The id of a result of search.")],
        start: Annotated[int, Field(ge=0, description="The character to begin at.")] = 0,
        length: Annotated[int, Field(ge=1, le=MAX_CHARACTERS, description="How many characters.")] = FETCHED_CHARACTERS,
    ) -> dict[str, Any]:
        """The text of a document, with where it is from; of a long one a part, with how to get the rest."""
        corpus, _, document_id = id.rpartition("/")
        with _told():
            found = library.document(corpus, document_id) if corpus else None
        if found is None:
            raise ToolError(f"There is no document {id!r}, or no longer; take an id from the results of search.")
        if start >= max(len(found.document.text), 1):
            raise ToolError(f"The document has {len(found.document.text):,} characters; take a start below that.")
        return _part(corpus, found, range(start, start + length), page_url)

    return server


@contextmanager
def _told() -> Iterator[None]:
    """Pass on errors that are fit for a user; of all others the protocol says only that there was one."""
    try:
        yield
    except AppError as error:
        raise ToolError(str(error)) from error


def _first(library: Library) -> str:
    for corpus in library.corpora():
        return corpus.name
    raise ToolError("There is no corpus to search yet; kalm index build makes one.")


def _result(corpus: str, result: SearchResult, page_url: str) -> Mapping[str, Any]:
    return {
        "id": f"{corpus}/{result.document_id}",
        "title": result.title,
        "url": _address(page_url, corpus, result.document_id, result.uri, result.chunk_id),
        "text": result.text,
        "metadata": {
            "source": result.uri,
            "page": result.page,
            "language": result.language,
            "score": round(result.score, 4),
        },
    }


def _part(corpus: str, found: IndexedDocument, wanted: range, page_url: str) -> dict[str, Any]:
    """A document with the characters wanted of its text; where it goes on, that and how to get the rest."""
    document, end = found.document, wanted.stop
    rest = {"next_start": end, "more": f"The text goes on; fetch it again with start {end} for what follows."}
    return {
        "id": f"{corpus}/{found.id}",
        "title": document.title,
        "text": document.text[wanted.start : end],
        "url": _address(page_url, corpus, found.id, document.uri),
        "metadata": {
            "source": document.uri,
            "type": document.file_type,
            "language": document.language,
            **document.metadata,
            "characters": len(document.text),
            **(rest if end < len(document.text) else {}),
        },
    }


def _address(page_url: str, corpus: str, document_id: str, uri: str, passage: str = "") -> str:
    """Where a person can open it; the file's place in its corpus where there are no pages to open it on."""
    if not page_url:
        return f"{corpus}/{uri}"
    asked = {"corpus": corpus, "doc": document_id} | ({"passage": passage} if passage else {})
    return f"{page_url.rstrip('/')}/document?{urlencode(asked)}"
