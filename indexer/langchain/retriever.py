"""Retrieval for a chain: from a store, or from a corpus through its search, and how much around each passage."""

from bisect import bisect_right
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal, Protocol, Self

from langchain_core.callbacks import AsyncCallbackManagerForRetrieverRun, CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables.config import run_in_executor
from pydantic import Field, model_validator

from indexer.langchain.search import mode_of, refuse_unknown
from indexer.langchain.sources import StoreRefused
from indexer.langchain.store import KaLMVectorStore
from indexer.records import IndexedDocument
from indexer.retrieval.results import Mode, SearchPage, SearchRequest, SearchResult
from indexer.stores.conditions import parse_filter

_ARGUMENTS = ("k", "mode", "filter", "score_threshold", "diverse")
_CANDIDATES = 5
"""Documents of a store that each diverse one is chosen from: as many as where LangChain is asked for nothing else."""

SCORE = "_score"
"""Metadata field with the score of a passage."""


class CorpusSearch(Protocol):
    """Searches corpora: ``app.bootstrap.services().search`` does, and ``indexer.search.Searcher``."""

    def search(self, request: SearchRequest) -> SearchPage:
        """One page of results, one result per document."""
        ...

    def documents(self, corpus: str, document_ids: Collection[str]) -> dict[str, IndexedDocument]:
        """Whole documents by their ids."""
        ...


class KaLMRetriever(BaseRetriever):
    """Documents for a question; each with its score as ``_score`` in the metadata.

    From a ``store`` it gives passages as they were added. From a ``corpus`` it gives the best passage of each document
    that the search page would show: near-duplicates are one result, and a model that cannot read the question's
    script is not asked. ``k``, ``mode``, ``filter``, ``score_threshold`` and ``diverse`` may be given to ``invoke`` as
    well.

    Attributes:
        store: Where to look, or
        search: what searches the corpus, and
        corpus: its name.
        k: Documents to return.
        mode: How they are compared: ``semantic``, ``keyword`` or ``hybrid``.
        filter: What their metadata must be (``indexer.stores.conditions``).
        score_threshold: Least score, on the mode's scale.
        diverse: Whether they are to differ from each other too (maximal marginal relevance).
        parents: What is returned of a corpus: the passage, with its neighbours, or the whole document.
        neighbours: Passages on each side.
        operators: Whether quotes, minus and fields in a question to a corpus mean what they do on the search page.
    """

    store: KaLMVectorStore | None = None
    search: Any = None
    corpus: str = ""
    k: int = Field(default=4, ge=1)
    mode: Mode = Mode.HYBRID
    filter: dict[str, Any] | None = None
    score_threshold: float | None = None
    diverse: bool = False
    parents: Literal["passage", "neighbours", "document"] = "passage"
    neighbours: int = Field(default=1, ge=1)
    operators: bool = False

    @model_validator(mode="before")
    @classmethod
    def _known(cls, values: dict[str, Any]) -> dict[str, Any]:
        refuse_unknown("A retriever", values, cls.model_fields)
        return values

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.store is None) == (self.search is None):
            raise StoreRefused("A retriever looks in a store or in a corpus: give store, or search and corpus.")
        if self.search is not None and not self.corpus:
            raise StoreRefused("The search needs the name of a corpus; give corpus too.")
        if self.store is not None and self.parents != "passage":
            raise StoreRefused(
                "A store holds passages and not the documents they were cut from; parents need a corpus, with search."
            )
        return self

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, **kwargs: object
    ) -> list[Document]:
        asked = self._asked(kwargs)
        if self.store is None:
            return self._from_corpus(query, **asked)
        if asked.pop("diverse"):
            found = _diverse(self.store, query, **asked)
        else:
            found = self.store.similarity_search_with_score(query, **asked)
        return [_scored(*each) for each in found]

    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun, **kwargs: object
    ) -> list[Document]:
        asked = self._asked(kwargs)
        if self.store is None:
            return await run_in_executor(None, self._from_corpus, query, **asked)
        if asked.pop("diverse"):
            found = await run_in_executor(None, _diverse, self.store, query, **asked)
        else:
            found = await self.store.asimilarity_search_with_score(query, **asked)
        return [_scored(*each) for each in found]

    def _asked(self, kwargs: Mapping[str, object]) -> dict[str, Any]:
        refuse_unknown("A retriever", kwargs, _ARGUMENTS)
        return {name: getattr(self, name) for name in _ARGUMENTS} | dict(kwargs)

    def _from_corpus(
        self,
        query: str,
        k: int,
        mode: Mode,
        filter: Mapping[str, Any] | None,
        score_threshold: float | None,
        diverse: bool,
    ) -> list[Document]:
        search: CorpusSearch = self.search
        where = None if filter is None else parse_filter(filter)
        request = SearchRequest(
            self.corpus,
            query,
            mode_of(mode),
            page_size=k,
            where=where,
            operators=self.operators,
            diverse=diverse,
        )
        results = [
            result
            for result in search.search(request).results
            if score_threshold is None or result.score >= score_threshold
        ]
        if self.parents == "passage":
            return [_passage(result, result.text) for result in results]
        whole = search.documents(self.corpus, {result.document_id for result in results})
        # A build that went live since may have taken a document out: what was found of it is what there is.
        return [
            self._parent(result, whole[result.document_id])
            if result.document_id in whole
            else _passage(result, result.text)
            for result in results
        ]

    def _parent(self, result: SearchResult, indexed: IndexedDocument) -> Document:
        text = indexed.document.text
        if self.parents == "document":
            return _passage(result, text, id=result.document_id, start=0, end=len(text))
        places = indexed.chunks
        here = bisect_right(places, result.start, key=lambda place: place.start) - 1
        first, last = places[max(here - self.neighbours, 0)], places[min(here + self.neighbours, len(places) - 1)]
        return _passage(result, text[first.start : last.end], start=first.start, end=last.end)


def _diverse(store: KaLMVectorStore, query: str, k: int, **asked: Any) -> list[tuple[Document, float]]:  # noqa: ANN401 - the store's own keywords
    return store.max_marginal_relevance_search_with_score(query, k, _CANDIDATES * k, **asked)


def _scored(document: Document, score: float) -> Document:
    return Document(id=document.id, page_content=document.page_content, metadata=document.metadata | {SCORE: score})


def _passage(
    result: SearchResult, text: str, *, id: str = "", start: int | None = None, end: int | None = None
) -> Document:
    """What was found, as a document of LangChain's."""
    headings: Sequence[str] = result.headings
    metadata = {
        "source": result.uri,
        "uri": result.uri,
        "key": result.key,
        "title": result.title,
        "document_id": result.document_id,
        "file_type": result.file_type,
        "language": result.language,
        "headings": list(headings),
        "page": result.page,
        "start": result.start if start is None else start,
        "end": result.end if end is None else end,
        SCORE: result.score,
    }
    return Document(id=id or result.chunk_id, page_content=text, metadata=metadata)
