"""What the two legs find alone and together: nDCG@10 of retrieval tasks, with one setting for all of them.

Each task is a corpus like any other: its table is read, cut into passages, embedded and written to an engine in a
temporary folder, and its questions are asked of the searcher, one page of ten each. Questions are asked as they are,
without operators. A near-duplicate that a result stands for counts as found right after it.
"""

import statistics
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from app.benchmarks.errors import BenchRefused
from app.benchmarks.machine import machine
from app.services.encoders import Encoders
from app.services.indexing import IndexService
from embedder.cache import CachedEncoder, VectorCache
from indexer.catalog.corpora import Catalog
from indexer.lexical import LexicalEncoder
from indexer.retrieval.ranking import POOL_PASSAGES
from indexer.search import Mode, Searcher, SearchPage, SearchRequest
from indexer.stores.edge import EdgeEngine
from trainer.measures import ndcg
from trainer.task_files import load_tasks
from trainer.tasks import RetrievalTask

ALLOWED_LOSS = 0.5
"""Points of nDCG@10 that the fusion may lose against the better leg of a task."""

_DEPTH = 10
_ENCODED_AT_ONCE = 256


def bench_hybrid(
    folder: Path, model: str | None, only: Sequence[str], max_queries: int, vectors: Path | None
) -> dict[str, Any]:
    """Measure; see the module.

    Args:
        folder: A folder with a folder per task, as ``trainer.task_files`` reads them; tasks of other kinds are
            left out.
        model: Anything ``Embedder.load`` opens; None for the one that is configured.
        only: Names of the tasks wanted; empty for all.
        max_queries: Most questions of a task, drawn by a fixed seed.
        vectors: A vector cache to use and to keep; None for one that is thrown away.

    Raises:
        BenchRefused: If there is no retrieval task.
        BadTasks: If the folder or a task cannot be read.
    """
    tasks = [task for task in load_tasks(folder, max_queries, only or None) if isinstance(task, RetrievalTask)]
    if not tasks:
        raise BenchRefused(
            f"{folder} has no retrieval task; each is a folder with corpus.parquet, queries.parquet and qrels.parquet."
        )
    encoders = Encoders(model)
    with tempfile.TemporaryDirectory() as place:
        cache = VectorCache(vectors or Path(place) / "vectors.sqlite")
        rows = [_measure(task, folder / task.name, Path(place) / task.name, encoders, cache) for task in tasks]
        cache.close()
    means = {mode.value: round(statistics.fmean(row[mode.value] for row in rows), 2) for mode in Mode}
    worst = min(row["difference"] for row in rows)
    return {
        "what": "nDCG@10 in points of each leg and of both, through index and searcher",
        "model": encoders.default().name,
        "passages_a_leg": POOL_PASSAGES,
        "tasks": rows,
        "means": means,
        "worst_difference": worst,
        "holds": means[Mode.HYBRID] >= max(means[Mode.SEMANTIC], means[Mode.KEYWORD]) and worst >= -ALLOWED_LOSS,
        "machine": machine(),
    }


def as_table(report: Mapping[str, Any]) -> str:
    """The report as a Markdown table."""
    lines = [
        "| task | questions | passages | dense | lexical | hybrid | to the better leg |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in report["tasks"]:
        scores = " | ".join(f"{row[mode]:.2f}" for mode in Mode)
        lines.append(f"| {row['task']} | {row['queries']} | {row['passages']} | {scores} | {row['difference']:+.2f} |")
    means = " | ".join(f"{report['means'][mode]:.2f}" for mode in Mode)
    lines.append(f"| mean | | | {means} | worst {report['worst_difference']:+.2f} |")
    return "\n".join(lines) + "\n"


def _measure(task: RetrievalTask, source: Path, place: Path, encoders: Encoders, cache: VectorCache) -> dict[str, Any]:
    """Index one task and ask its questions in every mode."""
    ids = [str(id_) for id_ in pq.read_table(source / "corpus.parquet", columns=["id"])["id"].to_pylist()]
    wanted = [{ids[number]: grade for number, grade in grades.items()} for grades in task.grades]
    with _index(source, place, encoders, cache) as (searcher, passages):
        _encode(encoders, cache, task.first)
        scores = {mode: _score(searcher, task.first, wanted, mode) for mode in Mode}
    return {
        "task": task.name,
        "language": task.language,
        "queries": len(task.first),
        "documents": len(ids),
        "passages": passages,
        **{mode.value: round(score, 2) for mode, score in scores.items()},
        "difference": round(scores[Mode.HYBRID] - max(scores[Mode.SEMANTIC], scores[Mode.KEYWORD]), 2),
    }


def _encode(encoders: Encoders, cache: VectorCache, queries: Sequence[str]) -> None:
    """Put the questions' vectors into the cache, many at a time, which takes less than one after the other."""
    encoder = CachedEncoder(encoders.default(), cache, queries=True)
    for start in range(0, len(queries), _ENCODED_AT_ONCE):
        encoder.encode_queries(queries[start : start + _ENCODED_AT_ONCE])


@contextmanager
def _index(source: Path, place: Path, encoders: Encoders, cache: VectorCache) -> Iterator[tuple[Searcher, int]]:
    """A task's documents as a built corpus: its searcher, and how many passages there are."""
    catalog = Catalog(f"sqlite:///{place}/catalog.sqlite")
    engine, lexical = EdgeEngine(place / "indexes"), LexicalEncoder()
    catalog.add_corpus("task", source, ["corpus.parquet"])
    IndexService(catalog, engine, encoders, lambda: cache, lexical, place / "locks").build("task")
    searcher = Searcher(
        catalog, engine, lexical, lambda manifest: CachedEncoder(encoders.of(manifest), cache, queries=True)
    )
    live = catalog.corpus("task").live
    passages = 0 if live is None else catalog.generation("task", live).chunks
    try:
        yield searcher, passages
    finally:
        searcher.close()
        catalog.close()


def _score(searcher: Searcher, queries: Sequence[str], wanted: Sequence[Mapping[str, float]], mode: Mode) -> float:
    """Mean nDCG@10 in points."""
    gains = []
    for query, grades in zip(queries, wanted, strict=True):
        request = SearchRequest("task", query, mode, page_size=_DEPTH, operators=False)
        found = islice(_keys(searcher.search(request)), _DEPTH)
        gains.append(ndcg([grades.get(key, 0.0) for key in found], list(grades.values()), _DEPTH))
    return 100 * statistics.fmean(gains)


def _keys(page: SearchPage) -> Iterator[str]:
    """Ids of the documents found, near-duplicates behind the result that stands for them."""
    for result in page.results:
        yield result.key
        yield from (duplicate.key for duplicate in result.duplicates)
