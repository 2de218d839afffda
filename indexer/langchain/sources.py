"""What a LangChain vector store reads and writes: a collection of its own, or the live generation of a corpus."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from langchain_core.embeddings import Embeddings

from embedder.errors import AppError
from embedder.protocol import TextEncoder, namespace_of
from indexer.catalog.corpora import Catalog
from indexer.records import Manifest
from indexer.retrieval.generations import LiveGenerations
from indexer.stores.edge import EdgeEngine
from indexer.stores.protocol import CollectionStore, StoreError, VectorEngine, VectorStore, check_maker

PROBE = "How wide are the vectors?"


class StoreRefused(AppError):
    """Something that a store cannot be asked for."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A store, and the model that its vectors come from.

    Attributes:
        dim: Width of the vectors.
        signed: What made those that are there, where that is written down.
    """

    store: VectorStore
    embeddings: Embeddings
    dim: int
    signed: str = ""

    @property
    def maker(self) -> str:
        """What made the vectors; empty where nobody knows."""
        return self.signed or maker_of(self.embeddings)


class Source(Protocol):
    """Where the passages are."""

    @property
    def has_terms(self) -> bool:
        """Whether passages can be found by words."""
        ...

    @property
    def refusal(self) -> str:
        """Why nothing can be written to it; empty where something can."""
        ...

    def use(self) -> AbstractContextManager[Opened]:
        """What to search, held open for the length of the block."""
        ...

    def sign(self, maker: str) -> None:
        """Note before a write what made its vectors.

        Raises:
            StoreRefused: If nothing can be written.
            StoreError: If something else made those that are there.
        """
        ...

    def close(self) -> None:
        """Let go of it."""
        ...


class Collection:
    """One that stands by itself."""

    def __init__(
        self,
        name: object,
        store: CollectionStore,
        embeddings: Embeddings,
        dim: int,
        *,
        has_terms: bool = True,
        refusal: str = "",
    ) -> None:
        """Open it.

        Raises:
            StoreError: If another model made its vectors.
        """
        self._name = name
        self._store: CollectionStore | None = store
        self._signed = store.maker
        self._embeddings = _matching(embeddings, self._signed)
        self._dim = dim
        check_maker(name, self._signed, maker_of(self._embeddings))
        self.has_terms = has_terms
        self.refusal = refusal

    @contextmanager
    def use(self) -> Iterator[Opened]:
        """The collection.

        Raises:
            StoreError: If it was closed.
        """
        yield Opened(self._there(), self._embeddings, self._dim, self._signed)

    def sign(self, maker: str) -> None:
        """Note before a write what made its vectors; raises StoreError if something else made those that are there."""
        if not maker or maker == self._signed:
            return
        store = self._there()
        signed = store.maker  # another program may have written since this one opened it
        check_maker(self._name, signed, maker)
        if not signed:
            store.sign(maker)
        self._signed = maker

    def close(self) -> None:
        """Let go of it; it is closed when everybody has."""
        self._store = None

    def _there(self) -> CollectionStore:
        if self._store is None:
            raise StoreError("This store was closed; open it again.")
        return self._store


class EncoderEmbeddings(Embeddings):
    """A text encoder, in LangChain's words."""

    def __init__(self, encoder: TextEncoder) -> None:
        self._encoder = encoder

    @property
    def namespace(self) -> str:
        """Names these vectors, as that of ``KaLMEmbeddings`` does."""
        encoder = self._encoder
        prompts = (encoder.prompt("query"), encoder.prompt("document"))
        return namespace_of(encoder.fingerprint, encoder.dim, encoder.dtype, encoder.max_tokens, prompts)

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Vectors of documents, in their order."""
        vectors: list[list[float]] = self._encoder.encode_documents(texts).tolist()
        return vectors

    def embed_query(self, text: str) -> list[float]:
        """Vector of a query."""
        vector: list[float] = self._encoder.encode_queries([text])[0].tolist()
        return vector


class Encoders(Protocol):
    """Knows the models that indexes were made with."""

    def of(self, manifest: Manifest) -> TextEncoder:
        """The model of one."""
        ...


class Installation(Protocol):
    """The parts of an installation that a corpus is opened with: ``app.bootstrap.services()`` has them."""

    @property
    def catalog(self) -> Catalog:
        """Says which generation is live."""
        ...

    @property
    def engine(self) -> VectorEngine:
        """Opens it."""
        ...

    @property
    def encoders(self) -> Encoders:
        """Has its model."""
        ...


class Corpus:
    """A corpus as ``kalm index build`` made it: read only, and followed from one generation to the next."""

    has_terms = True

    def __init__(self, name: str, installation: Installation) -> None:
        """Open it.

        Raises:
            NotBuilt: If it has no index yet.
            CatalogError: If there is no such corpus.
        """
        self._name = name
        self._encoders = installation.encoders
        self._generations = LiveGenerations(installation.catalog, installation.engine)
        self.refusal = (
            f"The corpus {name} is made from its files, and a LangChain store only reads it; change the files and run "
            f"kalm index build {name}, or open a store of its own."
        )
        with self._generations.use(name):
            pass

    @contextmanager
    def use(self) -> Iterator[Opened]:
        """Its live generation, and the model that this one was made with."""
        with self._generations.use(self._name) as live:
            embeddings = EncoderEmbeddings(self._encoders.of(live.manifest))
            yield Opened(live.store, embeddings, live.manifest.dim)

    def sign(self, maker: str) -> None:
        """Raise StoreRefused: nothing can be written."""
        raise StoreRefused(self.refusal)

    def close(self) -> None:
        """Let go of the generation that is open."""
        self._generations.close()


def embedded(path: Path, embeddings: Embeddings) -> Collection:
    """A collection in a folder; raises StoreError where another process has it, or another model made it."""
    path = path.expanduser()
    dim = len(embeddings.embed_query(PROBE))
    return Collection(path, EdgeEngine(path.parent).collection(path.name, dim), embeddings, dim)


def on_server(
    client: Any,  # noqa: ANN401 - a QdrantClient, or the url of its server
    collection: str,
    embeddings: Embeddings,
    *,
    api_key: str | None,
    dense: str | None,
    lexical: str | None,
    text: str,
    metadata: str,
) -> Collection:
    """A collection on a Qdrant server, ours or one that others made; raises StoreError where it does not fit."""
    from indexer.stores.server import ServerEngine
    from indexer.stores.server_points import Layout  # the client takes a second to load
    from indexer.stores.server_requests import ServerConfig

    if isinstance(client, str):
        engine = ServerEngine.connect(ServerConfig(client, api_key))
    else:
        engine = ServerEngine(client, ServerConfig(str(client.init_options.get("url") or "http://localhost")))
    dim = len(embeddings.embed_query(PROBE))
    store = engine.collection(collection, dim, Layout(dense, lexical, text, metadata))
    refusal = ""
    if store.layout.others:
        refusal = (
            f"The points of {collection} have further vectors ({', '.join(store.layout.others)}) that would be missing "
            "in new ones; name the sparse one in sparse_vector_name if KaLMSparseEmbeddings made it, or adopt a copy."
        )
    has_terms = store.layout.lexical is not None
    return Collection(collection, store, embeddings, dim, has_terms=has_terms, refusal=refusal)


def maker_of(embeddings: Embeddings) -> str:
    """What makes the vectors, where embeddings can say it, as those of this product can."""
    return str(getattr(embeddings, "namespace", ""))


def _matching(embeddings: Embeddings, maker: str) -> Embeddings:
    """The embeddings in the arithmetic that vectors were made in, where they leave it open."""
    matching = getattr(embeddings, "matching", None)
    found: Embeddings = matching(maker) if callable(matching) else embeddings
    return found
