"""A LangChain vector store over both engines."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.runnables.config import run_in_executor
from langchain_core.vectorstores import VectorStore
from pydantic import SecretStr

from indexer.langchain.documents import BATCH, Entry, document_of, entries_of, point_key, points_of, write
from indexer.langchain.search import Asked, asked, find, find_diverse, mode_of, refuse_unknown, relevance
from indexer.langchain.sources import (
    Corpus,
    Installation,
    Opened,
    Source,
    StoreRefused,
    embedded,
    maker_of,
    on_server,
)
from indexer.lexical import LexicalEncoder
from indexer.retrieval.results import Mode
from indexer.stores.protocol import StoreError, check_maker, check_width


class KaLMVectorStore(VectorStore):
    """Documents with their vectors and their terms, in a folder or on a Qdrant server.

    Every search takes ``mode`` (``semantic``, ``keyword`` or ``hybrid``), ``filter`` (see
    ``indexer.stores.conditions``) and ``score_threshold``, a least score. A score is a cosine (semantic), a BM25
    (keyword), or the evidence of both.

    A write is read back before it is taken for done, and a failure is an error, so ``index()`` never notes down what
    is not there. Safe between threads. A folder is open in one process at a time, a server's collection in any number.
    """

    def __init__(
        self,
        embedding: Embeddings,
        *,
        path: str | Path | None = None,
        url: str | None = None,
        api_key: SecretStr | str | None = None,
        client: Any = None,  # noqa: ANN401 - a QdrantClient, which only the stores may import
        collection: str = "kalm",
        vector_name: str | None = None,
        sparse_vector_name: str | None = None,
        content_payload_key: str = "page_content",
        metadata_payload_key: str = "metadata",
        mode: Mode | str = Mode.SEMANTIC,
    ) -> None:
        """Open a collection, or make it where there is none.

        Args:
            embedding: Makes the vectors; the collection remembers which ``KaLMEmbeddings`` were the first to write.
            path: Folder to keep it in; or
            url: Qdrant server to keep it on; or
            client: A QdrantClient.
            api_key: Key of the server.
            collection: Its name on the server. One that a stock ``QdrantVectorStore`` made is taken as it is, with
            vector_name: the vector to search, where it has several,
            sparse_vector_name: the sparse vector, where ``KaLMSparseEmbeddings`` made it,
            content_payload_key: and its names in the payload,
            metadata_payload_key: both of them.
            mode: How texts are compared where a search does not say.

        Raises:
            StoreRefused: If it is not said where it is.
            StoreError: If it cannot be opened, or its vectors are of another width or model.
        """
        if sum(place is not None for place in (path, url, client)) != 1:
            raise StoreRefused("A store is in a folder or on a server: give one of path, url and client.")
        self._mode = mode_of(mode)
        self._source: Source
        if path is not None:
            self._source = embedded(Path(path), embedding)
        else:
            self._source = on_server(
                client or url,
                collection,
                embedding,
                api_key=api_key.get_secret_value() if isinstance(api_key, SecretStr) else api_key,
                dense=vector_name,
                lexical=sparse_vector_name,
                text=content_payload_key,
                metadata=metadata_payload_key,
            )

    @classmethod
    def open_corpus(cls, name: str, installation: Installation, *, mode: Mode | str = Mode.HYBRID) -> Self:
        """The live index of a corpus, for reading; it follows later builds.

        Args:
            name: Of the corpus.
            installation: ``app.bootstrap.services()``.
            mode: How texts are compared where a search does not say.

        Raises:
            NotBuilt: If it has no index yet.
            CatalogError: If there is no such corpus.
        """
        store = cls.__new__(cls)
        store._mode = mode_of(mode)
        store._source = Corpus(name, installation)
        return store

    @classmethod
    def from_texts(
        cls,
        texts: list[str],
        embedding: Embeddings,
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        **kwargs: Any,  # noqa: ANN401 - those of the constructor
    ) -> Self:
        """Open a collection and add texts to it; further arguments are those of the constructor."""
        store = cls(embedding, **kwargs)
        store.add_texts(texts, metadatas, ids=ids)
        return store

    @property
    def source(self) -> Source:
        """Where the passages are."""
        return self._source

    @property
    def embeddings(self) -> Embeddings:
        """What makes the vectors."""
        with self._source.use() as opened:
            return opened.embeddings

    def close(self) -> None:
        """Let go of the folder or the index; needed only where another process waits for it."""
        self._source.close()

    def optimize(self) -> None:
        """Build the graph of a store in a folder, worth it from some ten thousand texts on.

        No thread of this process runs meanwhile. A server does it by itself.
        """
        with self._writing() as opened:
            opened.store.optimize()

    def add_texts(
        self,
        texts: Iterable[str],
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: Sequence[str | None] | None = None,
        batch_size: int = BATCH,
        **kwargs: object,
    ) -> list[str]:
        """Write texts; one whose id is there is replaced.

        Args:
            texts: The texts.
            metadatas: Of each text; JSON values.
            ids: Of each text; where there is none, text and metadata make one, so that adding them again changes
                nothing.
            batch_size: Texts that are embedded and written at a time.
            kwargs: Nothing.

        Returns:
            The ids, in the order of the texts.

        Raises:
            StoreRefused: If the store is for reading, lists differ in length, or metadata are no JSON.
            StoreError: If what was written is not there; what came before it is, and adding all again is harmless.
        """
        entries = self._entries(texts, metadatas, ids, kwargs)
        for batch in _batches(entries, batch_size):
            self._write(batch, self.embeddings.embed_documents([entry.text for entry in batch]))
        return [entry.name for entry in entries]

    async def aadd_texts(
        self,
        texts: Iterable[str],
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: Sequence[str | None] | None = None,
        batch_size: int = BATCH,
        **kwargs: object,
    ) -> list[str]:
        """As ``add_texts``; the model is asked in its own asynchronous way."""
        entries = self._entries(texts, metadatas, ids, kwargs)
        for batch in _batches(entries, batch_size):
            vectors = await self.embeddings.aembed_documents([entry.text for entry in batch])
            await run_in_executor(None, self._write, batch, vectors)
        return [entry.name for entry in entries]

    def adopt(self, other: "KaLMVectorStore") -> int:
        """Take over every text of another store with its vector, so that nothing is embedded again.

        It moves a store from a folder to a server or back, and brings one that a stock ``QdrantVectorStore`` made into
        a store with terms. Doing it again is harmless.

        Returns:
            How many texts there were.

        Raises:
            StoreError: If the vectors are of another width or model, or something that was written is not there.
        """
        lexical, adopted = LexicalEncoder(), 0
        with self._writing() as ours, other.source.use() as theirs:
            check_width("this store", ours.dim, theirs.dim)
            check_maker("this store", ours.maker, theirs.maker)
            self._source.sign(theirs.maker)
            for points in theirs.store.points():
                write(ours.store, [replace(point, lexical=lexical.encode_document(point.text)) for point in points])
                adopted += len(points)
        return adopted

    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """Documents of these ids, in their order; ids that are not there are left out."""
        wanted = [point_key(id)[0] for id in ids]
        with self._source.use() as opened:
            found = {point.id: point for point in opened.store.get(sorted(set(wanted)))}
        return [document_of(found[id]) for id in dict.fromkeys(wanted) if id in found]

    def delete(self, ids: list[str] | None = None, **kwargs: object) -> bool:
        """Take documents out; ids that are not there are ignored.

        Args:
            ids: Of the documents; None takes out all.
            kwargs: Nothing.

        Returns:
            True: what cannot be done is an error.

        Raises:
            StoreRefused: If the store is for reading.
            StoreError: If something is still there.
        """
        refuse_unknown("This store", kwargs, ())
        with self._writing() as opened:
            store = opened.store
            if ids is None:
                doomed = [point.id for points in store.points() for point in points]
            else:
                doomed = [point_key(id)[0] for id in ids]
            for start in range(0, len(doomed), BATCH):
                batch = doomed[start : start + BATCH]
                store.delete(batch)
                if left := store.present(batch):
                    raise StoreError(f"{len(left)} of {len(batch)} documents could not be deleted; try again.")
            store.flush()
        return True

    def search(
        self,
        query: str,
        search_type: str,
        **kwargs: Any,  # noqa: ANN401 - as in LangChain
    ) -> list[Document]:
        """As in LangChain; ``search_type`` may be a mode too."""
        if search_type in set(Mode):
            return self.similarity_search(query, mode=search_type, **kwargs)
        return super().search(query, search_type, **kwargs)

    async def asearch(
        self,
        query: str,
        search_type: str,
        **kwargs: Any,  # noqa: ANN401 - as in LangChain
    ) -> list[Document]:
        """As in LangChain; ``search_type`` may be a mode too."""
        if search_type in set(Mode):
            return await self.asimilarity_search(query, mode=search_type, **kwargs)
        return await super().asearch(query, search_type, **kwargs)

    def similarity_search(self, query: str, k: int = 4, **kwargs: object) -> list[Document]:
        """The ``k`` best documents; takes ``filter``, ``mode`` and ``score_threshold``."""
        return [document for document, _ in self.similarity_search_with_score(query, k, **kwargs)]

    async def asimilarity_search(self, query: str, k: int = 4, **kwargs: object) -> list[Document]:
        """As ``similarity_search``."""
        return [document for document, _ in await self.asimilarity_search_with_score(query, k, **kwargs)]

    def similarity_search_with_score(self, query: str, k: int = 4, **kwargs: object) -> list[tuple[Document, float]]:
        """The same with their scores: cosines, BM25, or the evidence of both."""
        wanted = self._asked(query, k, kwargs)
        with self._source.use() as opened:
            vector = opened.embeddings.embed_query(wanted.text) if wanted.mode is not Mode.KEYWORD else None
            return find(opened, vector, wanted)

    async def asimilarity_search_with_score(
        self, query: str, k: int = 4, **kwargs: object
    ) -> list[tuple[Document, float]]:
        """The same; the model is asked in its own asynchronous way, that of a corpus in another thread."""
        if isinstance(self._source, Corpus):  # to open it is to ask the catalog, and perhaps to load its model
            return await run_in_executor(None, self.similarity_search_with_score, query, k, **kwargs)
        wanted = self._asked(query, k, kwargs)
        with self._source.use() as opened:
            vector = await opened.embeddings.aembed_query(wanted.text) if wanted.mode is not Mode.KEYWORD else None
            return await run_in_executor(None, find, opened, vector, wanted)

    def similarity_search_by_vector(self, embedding: list[float], k: int = 4, **kwargs: object) -> list[Document]:
        """The documents nearest to a vector; takes ``filter`` and ``score_threshold``."""
        wanted = self._asked("", k, {"mode": Mode.SEMANTIC} | kwargs)
        if wanted.mode is not Mode.SEMANTIC:
            raise StoreRefused("A vector has no words; search by it without a mode.")
        with self._source.use() as opened:
            return [document for document, _ in find(opened, embedding, wanted)]

    def max_marginal_relevance_search(
        self, query: str, k: int = 4, fetch_k: int = 20, lambda_mult: float = 0.5, **kwargs: object
    ) -> list[Document]:
        """Documents that are near the query and unlike each other.

        Args:
            query: What is asked.
            k: Documents to return.
            fetch_k: Nearest documents to choose from.
            lambda_mult: 1 for the nearest, 0 for the most different ones.
            kwargs: ``filter`` and ``score_threshold``; ``mode`` says what the documents are chosen from.
        """
        found = self.max_marginal_relevance_search_with_score(query, k, fetch_k, lambda_mult, **kwargs)
        return [document for document, _ in found]

    def max_marginal_relevance_search_with_score(
        self, query: str, k: int = 4, fetch_k: int = 20, lambda_mult: float = 0.5, **kwargs: object
    ) -> list[tuple[Document, float]]:
        """The same with their scores, which say how near each is to the query."""
        wanted = self._asked(query, max(k, fetch_k), kwargs)
        with self._source.use() as opened:
            vector = opened.embeddings.embed_query(wanted.text)
            return find_diverse(opened, vector, wanted, k, lambda_mult)

    def max_marginal_relevance_search_by_vector(
        self, embedding: list[float], k: int = 4, fetch_k: int = 20, lambda_mult: float = 0.5, **kwargs: object
    ) -> list[Document]:
        """The same for a vector."""
        wanted = self._asked("", max(k, fetch_k), {"mode": Mode.SEMANTIC} | kwargs)
        with self._source.use() as opened:
            found = find_diverse(opened, embedding, wanted, k, lambda_mult)
            return [document for document, _ in found]

    def _select_relevance_score_fn(self) -> Callable[[float], float]:
        """A cosine on a scale from 0 to 1, as a stock ``QdrantVectorStore`` has it."""
        return relevance

    def _similarity_search_with_relevance_scores(
        self, query: str, k: int = 4, **kwargs: object
    ) -> list[tuple[Document, float]]:
        self._check_relevance(kwargs)
        return super()._similarity_search_with_relevance_scores(query, k, **kwargs)

    async def _asimilarity_search_with_relevance_scores(
        self, query: str, k: int = 4, **kwargs: object
    ) -> list[tuple[Document, float]]:
        self._check_relevance(kwargs)
        return await super()._asimilarity_search_with_relevance_scores(query, k, **kwargs)

    def _check_relevance(self, kwargs: Mapping[str, Any]) -> None:
        if mode_of(kwargs.get("mode", self._mode)) is not Mode.SEMANTIC:
            raise StoreRefused(
                "Only a cosine is a relevance between 0 and 1; search with mode='semantic', or give similarity_search "
                "a score_threshold on the mode's own scale."
            )

    def _asked(self, query: str, k: int, kwargs: Mapping[str, Any]) -> Asked:
        return asked(query, k, kwargs, self._mode, self._source)

    def _entries(
        self,
        texts: Iterable[str],
        metadatas: list[dict[str, Any]] | None,
        ids: Sequence[str | None] | None,
        kwargs: Mapping[str, Any],
    ) -> list[Entry]:
        refuse_unknown("This store", kwargs, ())
        with self._writing():
            return entries_of(list(texts), metadatas, ids)

    def _write(self, entries: Sequence[Entry], vectors: Sequence[Sequence[float]]) -> None:
        with self._writing() as opened:
            self._source.sign(maker_of(opened.embeddings))
            write(opened.store, points_of(entries, vectors))

    @contextmanager
    def _writing(self) -> Iterator[Opened]:
        if self._source.refusal:
            raise StoreRefused(self._source.refusal)
        with self._source.use() as opened:
            yield opened


def _batches(entries: Sequence[Entry], size: int) -> Iterator[Sequence[Entry]]:
    if size < 1:
        raise StoreRefused(f"batch_size is at least 1, and not {size}.")
    yield from (entries[start : start + size] for start in range(0, len(entries), size))
