"""Qdrant Edge as a vector store: the engine inside the process.

One shard is one directory, and one process at a time may have it open: the write-ahead log is the lock, and
switching it off lets a second opener corrupt the first. A generation is therefore written by one process, sealed,
and never opened again; every reader opens a private clone of it, made of hard links to the files that reading does
not touch, of copies of the few it does, and of no log. ``optimize()`` holds Python's interpreter lock for its whole
run, so it belongs in the process that builds, never in one that serves.
"""

import json
import os
import shutil
import threading
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
import qdrant_edge as edge
from numpy.typing import NDArray

from indexer.locks import AlreadyLocked, acquire, locked
from indexer.stores.conditions import Condition
from indexer.stores.edge_files import copy_shard
from indexer.stores.edge_points import (
    DENSE,
    LEXICAL,
    RECORD,
    dense_of,
    field_path,
    filter_of,
    from_edge,
    request,
    to_edge,
    to_point,
)
from indexer.stores.protocol import (
    DAY,
    EMBEDDED,
    FILTERABLE,
    SCALAR_QUANTILE,
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

_HNSW = edge.HnswIndexConfig(m=16, ef_construct=128, full_scan_threshold=10_000)
_QUANTIZATION: Mapping[str, "edge.QuantizationConfigType | None"] = {
    "none": None,
    "int8": edge.ScalarQuantizationConfig(edge.ScalarType.Int8, quantile=SCALAR_QUANTILE, memory=edge.Memory.Pinned),
    "turbo": edge.TurboQuantQuantizationConfig(bits=edge.TurboQuantBitSize.Bits4, memory=edge.Memory.Pinned),
    "binary": edge.BinaryQuantizationConfig(memory=edge.Memory.Pinned),
}
_BATCH = 256
_LOCK = "reader.lock"
_DESCRIPTION = "collection.json"


class EdgeStore:
    """A shard that this process has open."""

    def __init__(self, shard: edge.EdgeShard, folder: Path, lock: int | None = None) -> None:
        self._shard = shard
        self._folder = folder
        self._lock = lock

    def upsert(self, points: Sequence[Point]) -> None:
        """Write points; a point of the same id is replaced."""
        for start in range(0, len(points), _BATCH):
            batch = [to_edge(point) for point in points[start : start + _BATCH]]
            self._shard.update(edge.UpdateOperation.upsert_points(batch))

    def delete(self, ids: Sequence[str]) -> None:
        """Take points out; ids that are not there are ignored."""
        for start in range(0, len(ids), _BATCH):
            self._shard.update(edge.UpdateOperation.delete_points(point_ids(ids[start : start + _BATCH])))

    def present(self, ids: Sequence[str]) -> set[str]:
        """Which of these ids are there."""
        wanted = point_ids(ids)
        return {str(record.id) for record in self._shard.retrieve(wanted, with_payload=False, with_vector=False)}

    def get(self, ids: Sequence[str]) -> list[Point]:
        """The points of these ids, in no order; ids that are not there are left out."""
        wanted = point_ids(ids)
        return [to_point(record) for record in self._shard.retrieve(wanted, with_payload=True, with_vector=True)]

    def annotate(self, ids: Sequence[str], record: Mapping[str, Any]) -> None:
        """Replace the ``record`` of points that are there."""
        there = point_ids(sorted(self.present(ids)))  # the engine refuses the others
        if there:
            self._shard.update(edge.UpdateOperation.set_payload(there, {RECORD: dict(record)}))

    def count(self) -> int:
        """Number of points."""
        return self._shard.count(edge.CountRequest(exact=True))

    def search(self, query: Query) -> list[Hit]:
        """Best hits first."""
        return self.search_batch([query])[0]

    def search_batch(self, queries: Sequence[Query]) -> list[list[Hit]]:
        """The hits of several queries: one request to the engine."""

        def ask(requests: list[edge.QueryRequest]) -> list[list[Hit]]:
            return [
                [from_edge(one) for one in leg] for leg in self._shard.query_batch(edge.QueryBatchRequest(requests))
            ]

        return answered(queries, request, ask)

    def vectors(self, ids: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        """Unit vectors of passages by id."""
        records = self._shard.retrieve(list(ids), with_payload=False, with_vector=[DENSE])
        return {str(record.id): dense_of(record.vector) for record in records}

    def points(self, where: Condition | None = None) -> Iterator[list[Point]]:
        """Everything that meets a condition, vectors included, in the order of the ids."""
        only = None if where is None else filter_of(where)
        offset: edge.PointId | None = None
        while True:
            scroll = edge.ScrollRequest(offset, _BATCH, only, with_payload=True, with_vector=True)
            records, offset = self._shard.scroll(scroll)
            yield [to_point(record) for record in records]
            if offset is None:
                return

    def flush(self) -> None:
        """Write everything down."""
        self._shard.flush()

    def optimize(self) -> None:
        """Build the graph; no thread of this process runs meanwhile."""
        self._shard.optimize()
        self._shard.flush()

    def seal(self) -> None:
        """Build the graph, flush and close.

        The log stays: it counts the operations, and a copy that counted from nothing again would take its own
        writes for old ones and skip them.
        """
        self.optimize()
        self.close()

    def close(self) -> None:
        """Let go of the shard; a reader's private clone is removed."""
        self._shard.close()
        if self._lock is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            os.close(self._lock)
            self._lock = None


class EdgeCollection(EdgeStore):
    """A collection that stands by itself."""

    @property
    def dim(self) -> int:
        """Width of its vectors."""
        return int(self._description()["dim"])

    @property
    def maker(self) -> str:
        """What makes its vectors; empty where that is not written down."""
        return str(self._description()["maker"])

    def sign(self, maker: str) -> None:
        """Write down what makes its vectors."""
        _describe(self._folder, self.dim, maker)

    def _description(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self._folder / _DESCRIPTION).read_text(encoding="utf-8"))
        return found


_collections: WeakValueDictionary[Path, EdgeCollection] = WeakValueDictionary()
"""Collections that this process has open."""

_opening = threading.Lock()


class EdgeEngine:
    """The generations of all corpora, one directory each, under one root on one file system."""

    name = EMBEDDED

    def __init__(self, root: Path, quantization: str = "none") -> None:
        """Keep the generations of all corpora under one folder.

        Args:
            root: That folder.
            quantization: What vectors of new generations are searched by first: ``none``, ``int8`` (a byte a value),
                ``turbo`` (half a byte) or ``binary``; the best are scored again with the full ones.

        Raises:
            StoreError: If there is no such quantization.
        """
        if quantization not in _QUANTIZATION:
            raise StoreError(f"There is no quantization {quantization!r}; use {', '.join(_QUANTIZATION)}.")
        self._root = root
        self._quantization = quantization

    def named(self, name: str) -> VectorEngine:
        """This engine, if it is meant.

        Raises:
            StoreError: If it is not.
        """
        if name != self.name:
            raise missing_engine(name)
        return self

    def create(self, corpus: str, number: int, dim: int, base: int | None) -> EdgeStore:
        """A new generation to write to: empty, or a copy of ``base``. Leftovers of it are dropped."""
        folder = self._generation(corpus, number)
        shutil.rmtree(folder, ignore_errors=True)
        if base is not None:
            copy_shard(self._existing(corpus, base), folder, link=False)
            return EdgeStore(_load(folder), folder)
        folder.mkdir(parents=True)
        shard = _create(folder, dim, self._quantization)
        for name in FILTERABLE:  # before any graph: links that keep filtered search connected are made with it
            shard.update(edge.UpdateOperation.create_field_index(field_path(name), edge.PayloadSchemaType.Keyword))
        shard.update(edge.UpdateOperation.create_field_index(field_path(DAY), edge.PayloadSchemaType.Datetime))
        return EdgeStore(shard, folder)

    def collection(self, name: str, dim: int) -> EdgeCollection:
        """A collection that stands by itself, to write to and to search; made where there is none.

        One process at a time has it open, in which every caller gets the same store. It is closed when the last of
        them lets go of it.

        Args:
            name: Of its folder.
            dim: Width of the vectors.

        Raises:
            StoreError: If another process has it open, or its vectors are of another width.
        """
        folder = (self._root / name).resolve()
        with _opening:
            store = _collections.get(folder) or _open_collection(folder, dim)
            check_width(folder, store.dim, dim)
            _collections[folder] = store
            return store

    def open(self, corpus: str, number: int) -> EdgeStore:
        """A private clone of a sealed generation.

        Raises:
            StoreError: If the generation is not there.
        """
        source = self._existing(corpus, number)
        readers = self._corpus(corpus) / "readers"
        readers.mkdir(parents=True, exist_ok=True)
        with locked(readers / _LOCK):  # so that nobody takes a clone that is just being made for an abandoned one
            _remove_abandoned(readers)
            clone = readers / f"{number}-{uuid.uuid4().hex}"
            clone.mkdir()
            lock = acquire(clone / _LOCK)
        try:
            copy_shard(source, clone, link=True)
            return EdgeStore(_load(clone), clone, lock)
        except (OSError, StoreError) as error:
            shutil.rmtree(clone, ignore_errors=True)
            os.close(lock)
            if source.is_dir():
                raise
            raise missing_generation(corpus, number, source.parent) from error  # dropped while it was being cloned

    def publish(self, corpus: str, number: int | None) -> None:
        """Nothing: nobody opens a shard without asking the catalog."""

    def drop(self, corpus: str, number: int) -> None:
        """Remove a generation; clones of it live on until they are closed."""
        folder = self._generation(corpus, number)
        doomed = folder.with_name(f"dropped-{uuid.uuid4().hex}")
        if folder.is_dir():
            folder.rename(doomed)  # so that nobody clones half of it
            shutil.rmtree(doomed, ignore_errors=True)

    def drop_corpus(self, corpus: str) -> None:
        """Remove everything of a corpus."""
        shutil.rmtree(self._corpus(corpus), ignore_errors=True)

    def _corpus(self, corpus: str) -> Path:
        return self._root / corpus

    def _generation(self, corpus: str, number: int) -> Path:
        return self._corpus(corpus) / f"generation-{number:04d}"

    def _existing(self, corpus: str, number: int) -> Path:
        folder = self._generation(corpus, number)
        if not folder.is_dir():
            raise missing_generation(corpus, number, folder.parent)
        return folder


def _load(folder: Path) -> edge.EdgeShard:
    try:
        return edge.EdgeShard.load(str(folder))
    except Exception as error:  # the engine raises nothing narrower
        raise StoreError(f"The index in {folder} cannot be opened ({error}); build the corpus again.") from error


def _open_collection(folder: Path, dim: int) -> EdgeCollection:
    """Open a collection that stands by itself, or make it."""
    described = folder / _DESCRIPTION
    if described.is_file():
        return EdgeCollection(_load_writable(folder), folder)
    if folder.exists() and any(folder.iterdir()):
        raise StoreError(
            f"The folder {folder} holds something else than a collection; choose another, or an empty one."
        )
    making = folder.with_name(f"{folder.name}.{uuid.uuid4().hex}")  # a crash leaves no half-made collection
    try:
        making.mkdir(parents=True)
        _create(making, dim, "none").close()
        _describe(making, dim, "")
        making.replace(folder)
    except OSError as error:
        shutil.rmtree(making, ignore_errors=True)
        if not described.is_file():
            raise StoreError(
                f"The collection {folder} cannot be made ({error.strerror}); choose another folder."
            ) from error
    return _open_collection(folder, dim)


def _describe(folder: Path, dim: int, maker: str) -> None:
    described = folder / _DESCRIPTION
    writing = described.with_suffix(".new")  # a crash leaves the old one or the new one
    writing.write_text(json.dumps({"dim": dim, "maker": maker}), encoding="utf-8")
    writing.replace(described)


def _create(folder: Path, dim: int, quantization: str) -> edge.EdgeShard:
    rounded = _QUANTIZATION[quantization]
    # Vectors that only the best are scored with again may stay on the disk until then.
    memory = None if rounded is None else edge.Memory.Cold
    dense = edge.EdgeVectorParams(dim, edge.Distance.Cosine, quantization_config=rounded, memory=memory)
    return edge.EdgeShard.create(
        str(folder),
        edge.EdgeConfig(
            vectors={DENSE: dense},
            sparse_vectors={LEXICAL: edge.EdgeSparseVectorParams(modifier=edge.Modifier.Idf)},
            hnsw_config=_HNSW,
        ),
    )


def _load_writable(folder: Path) -> edge.EdgeShard:
    try:
        return edge.EdgeShard.load(str(folder))
    except Exception as error:  # the engine raises nothing narrower
        if "WouldBlock" in str(error):
            raise StoreError(
                f"The collection {folder} is open in another process, and one at a time can have it; close it there, "
                "or keep it on a Qdrant server."
            ) from error
        raise StoreError(f"The collection {folder} cannot be opened ({error}); restore it from a copy.") from error


def _remove_abandoned(readers: Path) -> None:
    """Remove clones whose process is gone: nobody holds their lock."""
    for clone in readers.iterdir():
        try:
            with locked(clone / _LOCK, wait=False):
                shutil.rmtree(clone, ignore_errors=True)
        except (AlreadyLocked, FileNotFoundError, NotADirectoryError):
            continue  # in use, just gone, or the lock of this folder itself
