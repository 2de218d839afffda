"""The contestants of ``kalm bench vectors``: what each of them builds, opens and is asked.

A contestant builds in one process and answers in another, so that what building leaves behind is not counted as the
memory of searching.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from app.benchmarks.machine import percentiles
from indexer.lexical import SparseVector
from indexer.stores.edge import EdgeEngine, EdgeStore
from indexer.stores.protocol import Point, Query

Floats = NDArray[np.float32]

HITS = 10
FILTERS = 10
"""Every point has one of so many types, and a filtered search wants one of them."""

_TERMS, _TERMS_ASKED, _VOCABULARY, _ZIPF = 20, 5, 50_000, 1.3
_TEXT = "A passage of about the length that a payload has besides its vector, so that a hit costs what it costs. " * 4
_BATCH = 1024
_CORPUS = "bench"
_M, _EF_CONSTRUCT = 16, 128


@dataclass(frozen=True, slots=True)
class Workload:
    """What is built and asked, as files.

    Attributes:
        vectors: ``(N, D)`` unit rows, .npy.
        queries: ``(Q, D)`` unit rows, .npy.
        truth: ``(Q, 10)`` nearest rows, .npy.
        filtered_truth: The same among those of the query's type.
        efforts: Candidates kept while following a graph.
        rounds: How often every query is asked at each.
    """

    vectors: str
    queries: str
    truth: str
    filtered_truth: str
    efforts: tuple[int, ...]
    rounds: int


class VectorEngine(Protocol):
    """One contestant."""

    efforts: bool
    """Whether it follows a graph, so that recall is a matter of effort."""

    def build(self, place: Path, vectors: Floats) -> dict[str, float]:
        """Make its files; seconds by step."""
        ...

    def open(self, place: Path, vectors: Floats) -> None:
        """Open what was built."""
        ...

    def search(self, query: Floats, effort: int | None, only: int | None) -> list[int]:
        """Rows nearest to a query ``(D,)``, of one type if ``only`` is given."""
        ...

    def close(self) -> None:
        """Let go of it."""
        ...


class Edge:
    """Our embedded engine, as the product uses it: payloads come with the hits."""

    efforts = True

    def __init__(self, quantization: str) -> None:
        self._quantization = quantization
        self._store: EdgeStore | None = None

    def build(self, place: Path, vectors: Floats) -> dict[str, float]:
        """Write points with their terms and payloads, then build the graph."""
        store = EdgeEngine(place, self._quantization).create(_CORPUS, 1, vectors.shape[1], None)
        began = time.perf_counter()
        for rows in _batches(len(vectors)):
            store.upsert([_point(row, vectors[row]) for row in rows])
        store.flush()
        written = time.perf_counter()
        store.seal()
        return {"write": written - began, "graph": time.perf_counter() - written}

    def open(self, place: Path, vectors: Floats) -> None:
        """As a reader: a private clone."""
        self._store = EdgeEngine(place).open(_CORPUS, 1)

    def search(self, query: Floats, effort: int | None, only: int | None) -> list[int]:
        """See :class:`VectorEngine`."""
        return [int(hit.id) for hit in self._opened.search(_dense(query, effort, only))]

    def search_both(self, query: Floats, number: int) -> int:
        """Meaning and words in one request; how many hits there were."""
        lexical = Query(HITS, lexical=_terms(number + 10**9, _TERMS_ASKED))
        return sum(map(len, self._opened.search_batch([_dense(query, None, None), lexical])))

    def close(self) -> None:
        """Remove the clone."""
        self._opened.close()

    @property
    def _opened(self) -> EdgeStore:
        assert self._store is not None  # noqa: S101 - opened before it is asked
        return self._store


class QdrantLocal:
    """qdrant-client without a server, on a folder."""

    efforts = False

    def build(self, place: Path, vectors: Floats) -> dict[str, float]:
        """Write points with their payloads."""
        from qdrant_client import QdrantClient, models

        client = QdrantClient(path=str(place))
        config = models.VectorParams(size=vectors.shape[1], distance=models.Distance.COSINE)
        client.create_collection(_CORPUS, vectors_config=config)
        began = time.perf_counter()
        for rows in _batches(len(vectors)):
            points = [
                models.PointStruct(id=row, vector=vectors[row].tolist(), payload=dict(_payload(row))) for row in rows
            ]
            client.upsert(_CORPUS, points)
        seconds = time.perf_counter() - began
        client.close()
        return {"write": seconds}

    def open(self, place: Path, vectors: Floats) -> None:
        """Read it again."""
        from qdrant_client import QdrantClient

        self._client = QdrantClient(path=str(place))

    def search(self, query: Floats, effort: int | None, only: int | None) -> list[int]:
        """See :class:`VectorEngine`."""
        from qdrant_client import models

        wanted = None
        if only is not None:
            match = models.MatchValue(value=_type(only))
            wanted = models.Filter(must=[models.FieldCondition(key="file_type", match=match)])
        found = self._client.query_points(_CORPUS, query.tolist(), limit=HITS, query_filter=wanted, with_payload=True)
        return [int(point.id) for point in found.points]

    def close(self) -> None:
        """Let go of the folder."""
        self._client.close()


class Faiss:
    """FAISS's HNSW over full vectors, with the same degree and construction effort; rows only, no payloads."""

    efforts = True

    def build(self, place: Path, vectors: Floats) -> dict[str, float]:
        """Build the graph, then write it."""
        import faiss

        index = faiss.IndexHNSWFlat(vectors.shape[1], _M, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = _EF_CONSTRUCT
        began = time.perf_counter()
        index.add(np.ascontiguousarray(vectors))
        built = time.perf_counter()
        faiss.write_index(index, str(place / "hnsw.faiss"))
        return {"graph": built - began, "write": time.perf_counter() - built}

    def open(self, place: Path, vectors: Floats) -> None:
        """Read it into memory."""
        import faiss

        faiss.omp_set_num_threads(1)  # a query at a time, as the others
        self._faiss: Any = faiss
        self._index = faiss.read_index(str(place / "hnsw.faiss"))
        rows = np.arange(len(vectors))
        self._selectors = [faiss.IDSelectorBatch(rows[rows % FILTERS == only]) for only in range(FILTERS)]

    def search(self, query: Floats, effort: int | None, only: int | None) -> list[int]:
        """See :class:`VectorEngine`."""
        parameters = self._faiss.SearchParametersHNSW(efSearch=effort or 128)
        if only is not None:
            parameters.sel = self._selectors[only]
        _, rows = self._index.search(query[None], HITS, params=parameters)
        return [int(row) for row in rows[0]]

    def close(self) -> None:
        """Nothing is open."""


class Exact:
    """One numpy product with every vector; rows only."""

    efforts = False

    def build(self, place: Path, vectors: Floats) -> dict[str, float]:
        """Keep the vectors."""
        began = time.perf_counter()
        np.save(place / "vectors.npy", vectors)
        return {"write": time.perf_counter() - began}

    def open(self, place: Path, vectors: Floats) -> None:
        """Read them into memory."""
        self._vectors: Floats = np.load(place / "vectors.npy")

    def search(self, query: Floats, effort: int | None, only: int | None) -> list[int]:
        """See :class:`VectorEngine`."""
        if only is None:
            scores = self._vectors @ query
        else:
            scores = np.full(len(self._vectors), -2.0, dtype=np.float32)
            scores[only::FILTERS] = self._vectors[only::FILTERS] @ query
        best = np.argpartition(scores, -HITS)[-HITS:]
        return [int(row) for row in best[np.argsort(-scores[best])]]

    def close(self) -> None:
        """Nothing is open."""


ENGINES: Mapping[str, VectorEngine] = {
    "edge": Edge("none"),
    "edge, int8": Edge("int8"),
    "edge, turbo": Edge("turbo"),
    "edge, binary": Edge("binary"),
    "faiss, hnsw": Faiss(),
    "numpy, exact": Exact(),
    "qdrant-client, local": QdrantLocal(),
}


def measure(name: str, workload: Workload, place: Path) -> dict[str, Any]:
    """Build and ask one contestant, each in a process of its own.

    Args:
        name: One of ``ENGINES``.
        workload: What to build and to ask.
        place: An empty folder for its files.
    """
    with ProcessPoolExecutor(1, get_context("spawn")) as builder:
        seconds = builder.submit(_build, name, workload, place).result()
    disk = sum(file.stat().st_blocks * 512 for file in place.rglob("*") if file.is_file())
    with ProcessPoolExecutor(1, get_context("spawn")) as reader:
        asked = reader.submit(_ask, name, workload, place).result()
    return {"build_seconds": seconds, "disk_mib": round(disk / 2**20), **asked}


def _build(name: str, workload: Workload, place: Path) -> dict[str, float]:
    steps = ENGINES[name].build(place, np.load(workload.vectors, mmap_mode="r"))
    return {step: round(seconds, 2) for step, seconds in steps.items()}


def _ask(name: str, workload: Workload, place: Path) -> dict[str, Any]:
    engine = ENGINES[name]
    vectors, queries = np.load(workload.vectors, mmap_mode="r"), np.load(workload.queries)
    before = _memory_mib()
    began = time.perf_counter()
    engine.open(place, vectors)
    opened = time.perf_counter() - began
    efforts = workload.efforts if engine.efforts else (None,)
    truth, filtered = np.load(workload.truth), np.load(workload.filtered_truth)
    types = [number % FILTERS for number in range(len(queries))]
    nothing = [None] * len(queries)
    curve = [{"effort": effort} | _asked(engine, queries, truth, effort, nothing, workload) for effort in efforts]
    report = {
        "open_seconds": round(opened, 3),
        "curve": curve,
        "filtered": _asked(engine, queries, filtered, None, types, workload),
    }
    if isinstance(engine, Edge):
        report["hybrid"] = _timed(lambda number: engine.search_both(queries[number], number), len(queries))
    report["memory_mib"] = {kind: size - before[kind] for kind, size in _memory_mib().items()}
    engine.close()
    return report


def _asked(
    engine: VectorEngine,
    queries: Floats,
    truth: NDArray[np.int64],
    effort: int | None,
    only: Sequence[int | None],
    workload: Workload,
) -> dict[str, float]:
    found = [engine.search(query, effort, type_) for query, type_ in zip(queries, only, strict=True)]
    agreed = [len({*rows} & {*right.tolist()}) / len(right) for rows, right in zip(found, truth, strict=True)]
    rounds = [
        _timed(lambda number: engine.search(queries[number], effort, only[number]), len(queries))
        for _ in range(workload.rounds)
    ]
    return {
        "recall_at_10": round(float(np.mean(agreed)), 4),
        **max(rounds, key=lambda each: each["queries_per_second"]),
    }


def _timed(ask: Callable[[int], object], count: int) -> dict[str, float]:
    seconds = []
    for number in range(count):
        began = time.perf_counter()
        ask(number)
        seconds.append(time.perf_counter() - began)
    figures = percentiles(seconds)
    return {"queries_per_second": round(count / sum(seconds), 1), "p50": figures["p50"], "p99": figures["p99"]}


def _memory_mib() -> dict[str, int]:
    """Of this process: its own, and the files it maps, which the system may drop from memory and read again."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines())
    own, mapped = (int(lines[key].split()[0]) // 1024 for key in ("RssAnon", "RssFile"))
    return {"own": own, "mapped": mapped}


def _batches(count: int) -> Iterator[range]:
    return (range(start, min(start + _BATCH, count)) for start in range(0, count, _BATCH))


def _dense(query: Floats, effort: int | None, only: int | None) -> Query:
    allowed = {} if only is None else {"file_type": {_type(only)}}
    return Query(HITS, dense=query, only=allowed, effort=effort)


def _point(row: int, vector: Floats) -> Point:
    payload = _payload(row)
    return Point(str(row), vector, _terms(row, _TERMS), str(payload["text"]), {"file_type": payload["file_type"]})


def _payload(row: int) -> dict[str, str]:
    return {"text": f"{row} {_TEXT}", "file_type": _type(row % FILTERS)}


def _type(number: int) -> str:
    return f"type-{number}"


def _terms(seed: int, count: int) -> SparseVector:
    """Terms as frequent as words are (Zipf)."""
    random = np.random.default_rng(seed)
    terms = np.unique(random.zipf(_ZIPF, count) % _VOCABULARY)
    return SparseVector(tuple(map(int, terms)), tuple(map(float, random.uniform(0.5, 2.0, len(terms)))))
