"""What a vector search costs and finds: engines, widths and quantisations on the same vectors.

Each engine builds and answers in processes of its own, one engine after the other: at a million vectors no two fit in
memory together. Truth is an exact search.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from app.benchmarks.errors import BenchRefused
from app.benchmarks.machine import machine
from app.benchmarks.vector_engines import ENGINES, FILTERS, HITS, Floats, Workload, measure

_SEED = 20506
_LATENT, _POINTS_OF_CLUSTER = 48, 200
_SPREAD, _NOISE, _QUERY_NOISE = 0.6, 0.15, 0.35
_BLOCK = 50_000
_SLOW = {"qdrant-client, local": 10_000}
"""Vectors beyond which an engine is left out: it compares every one, and takes half an hour to fill a million."""


@dataclass(frozen=True, slots=True)
class VectorBench:
    """What to measure.

    Attributes:
        points: Numbers of vectors.
        dims: Their widths.
        engines: Names out of ``ENGINES``.
        efforts: Candidates kept while following a graph: the points of a curve.
        queries: How many are asked.
        rounds: How often, the fastest of which counts.
        vectors: A .npy file of real ones, ``(N, D)``, used in place of made ones wherever it has enough.
    """

    points: tuple[int, ...]
    dims: tuple[int, ...]
    engines: tuple[str, ...]
    efforts: tuple[int, ...] = (16, 32, 64, 128, 256)
    queries: int = 200
    rounds: int = 2
    vectors: Path | None = None


def bench_vectors(wanted: VectorBench) -> dict[str, Any]:
    """Measure; see the module.

    Raises:
        BenchRefused: If an engine is unknown or not installed, or the file is no array of vectors.
    """
    _check(wanted.engines)
    real = None if wanted.vectors is None else _real(wanted.vectors)
    return {
        "what": f"exact and approximate search, one query at a time, {HITS} hits; milliseconds",
        "queries": wanted.queries,
        "made_vectors": f"clusters in {_LATENT} dimensions, turned into the width, with noise; queries beside points",
        "runs": [_run(wanted, real, points, dim) for points in wanted.points for dim in wanted.dims],
        "machine": machine(),
    }


def _check(engines: Sequence[str]) -> None:
    unknown = [name for name in engines if name not in ENGINES]
    if unknown:
        raise BenchRefused(f"There is no engine {unknown[0]!r}; use {'; '.join(ENGINES)}.")
    if "faiss, hnsw" in engines:
        try:
            import faiss  # noqa: F401 - only whether it is there
        except ImportError as error:
            raise BenchRefused(
                "FAISS is not installed; run pip install 'kalm-retrieval[dev]', or leave it out with --engines."
            ) from error


def _real(file: Path) -> Floats:
    try:
        vectors: Floats = np.load(file, mmap_mode="r")
    except (OSError, ValueError) as error:
        raise BenchRefused(f"{file} is no .npy file of vectors ({error}); make one with kalm embed.") from error
    if vectors.ndim != 2 or vectors.dtype != np.float32:
        raise BenchRefused(f"{file} does not hold rows of 32-bit numbers; make it with kalm embed.")
    return vectors


def _run(wanted: VectorBench, real: Floats | None, points: int, dim: int) -> dict[str, Any]:
    is_real = real is not None and len(real) >= points + wanted.queries and real.shape[1] >= dim
    with tempfile.TemporaryDirectory() as made:
        place = Path(made)
        if is_real:
            assert real is not None  # noqa: S101 - just asked
            vectors, queries = _split(real, points, dim, wanted.queries)
        else:
            vectors, queries = make_vectors(points, dim, wanted.queries)
        workload = _write(place, vectors, queries, wanted)
        del vectors
        engines = {}
        for name in wanted.engines:
            if points <= _SLOW.get(name, points):
                with tempfile.TemporaryDirectory(dir=place) as files:
                    engines[name] = measure(name, workload, Path(files))
    return {"points": points, "dim": dim, "vectors": "real" if is_real else "made", "engines": engines}


def _split(real: Floats, points: int, dim: int, queries: int) -> tuple[Floats, Floats]:
    """Rows to search and rows to search with, cut to a width."""
    rows = np.random.default_rng(_SEED).permutation(len(real))[: points + queries]
    chosen = _unit(np.asarray(real[np.sort(rows), :dim]))
    asked = np.zeros(len(chosen), dtype=bool)
    asked[np.random.default_rng(_SEED).choice(len(chosen), queries, replace=False)] = True
    return chosen[~asked], chosen[asked]


def make_vectors(points: int, dim: int, queries: int) -> tuple[Floats, Floats]:
    """Unit rows that lie as embeddings do: in clusters, and in far fewer dimensions than they have.

    Returns:
        ``(points, dim)`` and ``(queries, dim)``.
    """
    random = np.random.default_rng(_SEED)
    latent = min(_LATENT, dim)
    centres = random.standard_normal((max(1, points // _POINTS_OF_CLUSTER), latent), dtype=np.float32)
    turn = random.standard_normal((latent, dim), dtype=np.float32) / np.sqrt(latent)
    vectors = np.empty((points, dim), dtype=np.float32)
    for start in range(0, points, _BLOCK):
        count = min(_BLOCK, points - start)
        near = centres[random.integers(len(centres), size=count)]
        near = near + _SPREAD * random.standard_normal((count, latent), dtype=np.float32)
        rows = near @ turn + _NOISE * random.standard_normal((count, dim), dtype=np.float32)
        vectors[start : start + count] = _unit(rows)
    beside = vectors[random.choice(points, queries, replace=queries > points)]
    moved = beside + _QUERY_NOISE * random.standard_normal((queries, dim), dtype=np.float32) / np.sqrt(dim)
    return vectors, _unit(moved)


def _write(place: Path, vectors: Floats, queries: Floats, wanted: VectorBench) -> Workload:
    types = np.arange(len(queries)) % FILTERS
    filtered = np.empty((len(queries), HITS), dtype=np.int64)
    for type_ in range(FILTERS):
        asked = types == type_
        if asked.any():
            filtered[asked] = nearest(vectors[type_::FILTERS], queries[asked]) * FILTERS + type_
    truth = nearest(vectors, queries)
    arrays: dict[str, np.ndarray[Any, Any]] = {
        "vectors": vectors,
        "queries": queries,
        "truth": truth,
        "filtered": filtered,
    }
    for name, array in arrays.items():
        np.save(place / f"{name}.npy", array)
    vectors_file, queries_file, truth_file, filtered_file = (str(place / f"{name}.npy") for name in arrays)
    return Workload(vectors_file, queries_file, truth_file, filtered_file, wanted.efforts, wanted.rounds)


def nearest(vectors: Floats, queries: Floats) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Rows of the nearest vectors of each query, by comparing all; ``(Q, 10)``."""
    rows = np.empty((len(queries), 0), dtype=np.int64)
    best = np.empty((len(queries), 0), dtype=np.float32)
    for start in range(0, len(vectors), _BLOCK):
        scores = queries @ vectors[start : start + _BLOCK].T
        kept = np.argpartition(scores, -min(HITS, scores.shape[1]), axis=1)[:, -HITS:]
        rows = np.concatenate([rows, kept + start], axis=1)
        best = np.concatenate([best, np.take_along_axis(scores, kept, axis=1)], axis=1)
        order = np.argsort(-best, axis=1)[:, :HITS]
        rows, best = np.take_along_axis(rows, order, axis=1), np.take_along_axis(best, order, axis=1)
    return rows


def _unit(rows: Floats) -> Floats:
    unit: Floats = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return unit
