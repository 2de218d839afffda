"""A Qdrant server as a vector store: one collection per generation, one alias for the generation that is live.

The catalog says which generation is searched, so the alias is for programs that do not ask it: a stock
``langchain_qdrant.QdrantVectorStore`` reads the alias, with ``vector_name="dense"``, ``sparse_vector_name="lexical"``
and its own defaults for the payload.

A generation starts as a copy of its base: read batch by batch and written back through this process, because what
would copy within the server, a snapshot, holds the one node it was taken on. While a generation is filled its graph
is not built; sealing it lifts the indexing threshold again and waits until the server has caught up. Payload indexes
are there before the graph, whose links keep filtered search connected.

Every request may be sent twice without harm: ids are content, and creating begins by dropping. So what a
connection, a time-out or an overloaded server (429, 5xx) lost is sent again, with exponential back-off and jitter.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qdrant_client import QdrantClient, models

from indexer.stores.conditions import METADATA, Condition
from indexer.stores.protocol import (
    DAY,
    FILTERABLE,
    OVERSAMPLING,
    SCALAR_QUANTILE,
    SERVER,
    Hit,
    Point,
    Query,
    StoreError,
    VectorEngine,
    answered,
    check_width,
    missing_engine,
    missing_generation,
    point_ids,
)
from indexer.stores.server_points import DENSE, LEXICAL, OURS, RECORD, Layout, layout_of
from indexer.stores.server_requests import Requests, ServerConfig, trusted

_HNSW = models.HnswConfigDiff(m=16, ef_construct=128, full_scan_threshold=10_000)
_NO_INDEXING = models.OptimizersConfigDiff(indexing_threshold=0)
_INDEXING = models.OptimizersConfigDiff(indexing_threshold=10_000)
"""Kilobytes of vectors in a segment from which on it gets a graph."""

_BATCH = 128
"""Points in a request: at 4096 dimensions about 10 MB of JSON, of the 32 MB that a server takes."""

_IDS = 1024
_MOST_HITS = 5000
_STRICT = models.StrictModeConfig(
    enabled=True,
    max_query_limit=_MOST_HITS,
    unindexed_filtering_retrieve=False,
    unindexed_filtering_update=False,
    upsert_max_batchsize=_BATCH,
    search_max_oversampling=OVERSAMPLING,
)
_QUANTIZATION: Mapping[str, models.QuantizationConfig | None] = {
    "none": None,
    "int8": models.ScalarQuantization(
        scalar=models.ScalarQuantizationConfig(type=models.ScalarType.INT8, quantile=SCALAR_QUANTILE, always_ram=True)
    ),
    "binary": models.BinaryQuantization(binary=models.BinaryQuantizationConfig(always_ram=True)),
}

_KEYWORD, _DATETIME = models.PayloadSchemaType.KEYWORD, models.PayloadSchemaType.DATETIME
_FOUND = Layout()
_MAKER = "maker"
"""Where the metadata of a collection say what makes its vectors."""

_SEAL_SECONDS = 600.0
_SEAL_SECONDS_PER_POINT = 0.01
"""How long sealing may take: far beyond what a working server needs, for one that never ends."""

_POLL_SECONDS = 0.5


class ServerStore:
    """One collection."""

    def __init__(self, client: QdrantClient, config: ServerConfig, collection: str, layout: Layout = OURS) -> None:
        self._client = client
        self._requests = Requests(config)
        self._collection = collection
        self.layout = layout
        self._long = config.write_seconds
        self._short = config.search_seconds

    @property
    def maker(self) -> str:
        """What makes the vectors; empty where that is not written down."""
        config = self._requests.patient(self._client.get_collection, self._collection).config
        return str((config.metadata or {}).get(_MAKER, ""))

    def sign(self, maker: str) -> None:
        """Write down what makes the vectors."""
        self._requests.patient(
            self._client.update_collection, self._collection, metadata={_MAKER: maker}, timeout=self._long
        )

    def upsert(self, points: Sequence[Point]) -> None:
        """Write points; a point of the same id is replaced.

        Every batch waits until it is written: on several shards the last one says nothing about the others.
        """
        for start in range(0, len(points), _BATCH):
            batch = [self.layout.to_server(point) for point in points[start : start + _BATCH]]
            self._requests.patient(self._client.upsert, self._collection, batch, wait=True, timeout=self._long)

    def delete(self, ids: Sequence[str]) -> None:
        """Take points out; ids that are not there are ignored."""
        for start in range(0, len(ids), _IDS):
            selector = models.PointIdsList(points=point_ids(ids[start : start + _IDS]))
            self._requests.patient(self._client.delete, self._collection, selector, wait=True, timeout=self._long)

    def present(self, ids: Sequence[str]) -> set[str]:
        """Which of these ids are there."""
        found: set[str] = set()
        for start in range(0, len(ids), _IDS):
            some = point_ids(ids[start : start + _IDS])
            records = self._requests.patient(
                self._client.retrieve, self._collection, some, with_payload=False, timeout=self._long
            )
            found.update(str(record.id) for record in records)
        return found

    def get(self, ids: Sequence[str]) -> list[Point]:
        """The points of these ids, in no order; ids that are not there are left out."""
        found: list[Point] = []
        for start in range(0, len(ids), _BATCH):
            some = point_ids(ids[start : start + _BATCH])
            retrieve, name = self._client.retrieve, self._collection
            records = self._requests.prompt(retrieve, name, some, with_vectors=True, timeout=self._short)
            found += map(self.layout.to_point, records)
        return found

    def annotate(self, ids: Sequence[str], record: Mapping[str, Any]) -> None:
        """Replace the ``record`` of points that are there."""
        there = point_ids(sorted(self.present(ids)))
        set_payload, payload = self._client.set_payload, {RECORD: dict(record)}
        for start in range(0, len(there), _IDS):
            some = there[start : start + _IDS]
            self._requests.patient(set_payload, self._collection, payload, some, wait=True, timeout=self._long)

    def count(self) -> int:
        """Number of points."""
        return self._requests.patient(self._client.count, self._collection, exact=True, timeout=self._long).count

    def search(self, query: Query) -> list[Hit]:
        """Best hits first."""
        return self.search_batch([query])[0]

    def search_batch(self, queries: Sequence[Query]) -> list[list[Hit]]:
        """The hits of several queries: one request to the server."""

        def ask(requests: list[models.QueryRequest]) -> list[list[Hit]]:
            send = self._client.query_batch_points
            answers = self._requests.prompt(send, self._collection, requests, timeout=self._short)
            return [[self.layout.to_hit(found) for found in answer.points] for answer in answers]

        return answered(queries, self.layout.request, ask)

    def vectors(self, ids: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        """Unit vectors of passages by id."""
        found: dict[str, NDArray[np.float32]] = {}
        for start in range(0, len(ids), _BATCH):
            records = self._requests.prompt(
                self._client.retrieve,
                self._collection,
                ids[start : start + _BATCH],
                with_payload=False,
                with_vectors=True,
                timeout=self._short,
            )
            found |= {str(record.id): self.layout.dense_of(record) for record in records}
        return found

    def points(self, where: Condition | None = None) -> Iterator[list[Point]]:
        """Everything that meets a condition, vectors included, in the order of the ids."""
        only = None if where is None else self.layout.filter_of(where)
        offset: Any = None
        while True:
            records, offset = self._requests.patient(
                self._client.scroll,
                self._collection,
                only,
                limit=_BATCH,
                offset=offset,
                with_payload=True,
                with_vectors=True,
                timeout=self._long,
            )
            yield [self.layout.to_point(record) for record in records]
            if offset is None:
                return

    def flush(self) -> None:
        """Nothing: every write waits until the server has it in its log."""

    def optimize(self) -> None:
        """Nothing: the server builds the graph of a collection by itself, as it grows."""

    def seal(self) -> None:
        """Have the graph built and wait for it.

        Raises:
            StoreError: If the server fails at it, or does not come to an end.
        """
        self._requests.patient(
            self._client.update_collection, self._collection, optimizers_config=_INDEXING, timeout=self._long
        )
        deadline = time.monotonic() + _SEAL_SECONDS + _SEAL_SECONDS_PER_POINT * self.count()
        while True:
            info = self._requests.patient(self._client.get_collection, self._collection)
            if info.status is models.CollectionStatus.GREEN:
                return
            if info.status is models.CollectionStatus.RED:
                raise StoreError(
                    f"The server could not build the search structures of {self._collection} "
                    f"({info.optimizer_status}); look at its log, then run the build again."
                )
            if time.monotonic() > deadline:
                raise StoreError(
                    f"The server has not finished the search structures of {self._collection} in time; "
                    "give it more memory or processors, then run the build again."
                )
            time.sleep(_POLL_SECONDS)

    def close(self) -> None:
        """Nothing: the connection is the engine's."""


class ServerEngine:
    """The generations of all corpora, one collection each, on one server or cluster."""

    name = SERVER

    def __init__(self, client: QdrantClient, config: ServerConfig) -> None:
        """Wire the parts; ``connect`` makes the client too."""
        self._client = client
        self._config = config
        self._requests = Requests(config)

    @classmethod
    def connect(cls, config: ServerConfig) -> "ServerEngine":
        """An engine on the configured server; nothing is sent before something is asked.

        Raises:
            StoreError: If the certificates to trust cannot be read.
        """
        # As a header, because the client warns of an api_key over http, which is right on a private network.
        headers = {"api-key": config.api_key} if config.api_key else {}
        client = QdrantClient(
            url=config.url,
            headers=headers,
            timeout=config.search_seconds,
            verify=trusted(config.ca_file),
            check_compatibility=False,  # it asks in a thread and answers with a warning
        )
        return cls(client, config)

    def collections(self) -> int:
        """How many collections the server holds, whoever made them.

        Raises:
            StoreError: If it does not answer.
        """
        return len(self._requests.prompt(self._client.get_collections).collections)

    def named(self, name: str) -> VectorEngine:
        """This engine, if it is meant.

        Raises:
            StoreError: If it is not.
        """
        if name != self.name:
            raise missing_engine(name)
        return self

    def create(self, corpus: str, number: int, dim: int, base: int | None) -> ServerStore:
        """A new generation to write to: empty, or a copy of ``base``. Leftovers of it are dropped."""
        collection = self._collection(corpus, number)
        self._requests.patient(self._make, collection, dim)
        seconds, index = self._config.write_seconds, self._client.create_payload_index
        for field in FILTERABLE:
            self._requests.patient(index, collection, f"{METADATA}.{field}", _KEYWORD, wait=True, timeout=seconds)
        self._requests.patient(index, collection, f"{METADATA}.{DAY}", _DATETIME, wait=True, timeout=seconds)
        store = ServerStore(self._client, self._config, collection)
        if base is not None:
            copied = self.open(corpus, base)
            for batch in copied.points():
                store.upsert(batch)
            if (copies := store.count()) != (originals := copied.count()):
                raise StoreError(
                    f"Only {copies} of {originals} passages of {corpus} were copied for the new generation; nothing "
                    "was changed, run the build again."
                )
        return store

    def open(self, corpus: str, number: int) -> ServerStore:
        """A generation, for reading.

        Raises:
            StoreError: If it is not there, or the server cannot be asked.
        """
        collection = self._collection(corpus, number)
        if not self._requests.prompt(self._client.collection_exists, collection):
            raise missing_generation(corpus, number, self._config.address)
        return ServerStore(self._client, self._config, collection)

    def collection(self, name: str, dim: int, layout: Layout = _FOUND) -> ServerStore:
        """A collection that stands by itself, to write to and to search; made where there is none.

        Args:
            name: Of the collection or of its alias, as it is on the server.
            dim: Width of the vectors.
            layout: Names within a collection that others made; those that are not given are found.

        Raises:
            StoreError: If its vectors are of another width, or compared otherwise.
        """
        if not self._requests.patient(self._client.collection_exists, name):
            self._requests.patient(self._make_collection, name, dim)
        config = self._requests.patient(self._client.get_collection, name).config
        layout, width = layout_of(name, config.params, layout)
        check_width(name, width, dim)
        return ServerStore(self._client, self._config, name, layout)

    def publish(self, corpus: str, number: int | None) -> None:
        """Move the alias to a generation, in one step; None takes it away."""
        alias = self._config.prefix + corpus
        known = self._requests.patient(self._client.get_aliases).aliases
        changes: list[models.AliasOperations] = []
        if any(entry.alias_name == alias for entry in known):
            changes.append(models.DeleteAliasOperation(delete_alias=models.DeleteAlias(alias_name=alias)))
        if number is not None:
            target = models.CreateAlias(alias_name=alias, collection_name=self._collection(corpus, number))
            changes.append(models.CreateAliasOperation(create_alias=target))
        if changes:
            self._requests.patient(self._client.update_collection_aliases, changes)

    def drop(self, corpus: str, number: int) -> None:
        """Remove a generation, if it is there."""
        self._delete(self._collection(corpus, number))

    def drop_corpus(self, corpus: str) -> None:
        """Remove every generation of a corpus; the alias goes with the one that it names."""
        start = f"{self._config.prefix}{corpus}@"
        for entry in self._requests.patient(self._client.get_collections).collections:
            if entry.name.startswith(start) and entry.name.removeprefix(start).isdecimal():
                self._delete(entry.name)

    def _collection(self, corpus: str, number: int) -> str:
        return f"{self._config.prefix}{corpus}@{number}"

    def _make(self, collection: str, dim: int) -> None:
        """An empty collection; one request with the dropping, so that sending it again meets no half-made one."""
        if self._client.collection_exists(collection):
            self._client.delete_collection(collection, timeout=self._config.write_seconds)
        quantization = _QUANTIZATION[self._config.quantization]
        # Quantised vectors are searched in memory, and then the full ones need not be there as well.
        dense = models.VectorParams(size=dim, distance=models.Distance.COSINE, on_disk=quantization is not None)
        self._client.create_collection(
            collection,
            vectors_config={DENSE: dense},
            sparse_vectors_config={LEXICAL: models.SparseVectorParams(modifier=models.Modifier.IDF)},
            hnsw_config=_HNSW,
            optimizers_config=_NO_INDEXING,
            quantization_config=quantization,
            strict_mode_config=_STRICT if self._config.is_strict else None,
            timeout=self._config.write_seconds,
        )

    def _make_collection(self, name: str, dim: int) -> None:
        """Harmless to send again, since it begins by asking."""
        if not self._client.collection_exists(name):
            self._client.create_collection(
                name,
                vectors_config={DENSE: models.VectorParams(size=dim, distance=models.Distance.COSINE)},
                sparse_vectors_config={LEXICAL: models.SparseVectorParams(modifier=models.Modifier.IDF)},
                hnsw_config=_HNSW,
                timeout=self._config.write_seconds,
            )

    def _delete(self, collection: str) -> None:
        if self._requests.patient(self._client.collection_exists, collection):
            self._requests.patient(self._client.delete_collection, collection, timeout=self._config.write_seconds)
