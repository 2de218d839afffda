"""What a training table of many rows costs before and while it is trained on: it should be nothing per row."""

import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from app.benchmarks.machine import machine
from trainer.config import DataConfig, Source
from trainer.data import TrainingData

_BATCH, _BATCHES = 512, 1000
_WRITTEN_AT_ONCE = 500_000
_FILE = "large.parquet"
_STATUS = Path("/proc/self/status")


def bench_data(rows: int) -> dict[str, Any]:
    """Generate a table, open it twice, plan, and read batches at random steps.

    Args:
        rows: Rows of the table.
    """
    with tempfile.TemporaryDirectory() as place:
        # Elsewhere, because what a process has freed still counts as its memory.
        with ProcessPoolExecutor(1, get_context("spawn")) as elsewhere:
            seconds = {"open_first": elsewhere.submit(_generate_and_open, Path(place), rows).result()}
        before = _anonymous_mib()
        began = time.perf_counter()
        data = _open(Path(place))
        seconds["open_again"] = time.perf_counter() - began
        opened = _anonymous_mib()
        began = time.perf_counter()
        plan = data.plan(_BATCH)
        seconds["plan"] = time.perf_counter() - began
        steps = range(0, plan.steps_per_epoch, max(1, plan.steps_per_epoch // _BATCHES))
        began = time.perf_counter()
        for step in steps:
            plan.batch(step)
        seconds["plan_batches"] = time.perf_counter() - began
        began = time.perf_counter()
        for step in steps:
            data.examples(plan.batch(step).visits)
        seconds["read_batches"] = time.perf_counter() - began
        return {
            "what": f"a generated table of {rows:,} rows, {len(steps):,} batches of {_BATCH} all over the epoch",
            "rows": rows,
            "steps_per_epoch": plan.steps_per_epoch,
            "seconds": {name: round(value, 4) for name, value in seconds.items()},
            "anonymous_memory_mib": {"before": before, "opened": opened, "after_batches": _anonymous_mib()},
            "machine": machine(),
        }


def _generate_and_open(place: Path, rows: int) -> float:
    """Seconds of the first opening, in which the table is converted to what can be mapped."""
    _generate(place / _FILE, rows)
    began = time.perf_counter()
    _open(place)
    return time.perf_counter() - began


def _open(place: Path) -> TrainingData:
    config = DataConfig(root=str(place), sources=(Source(name="large", path=_FILE, instruction=""),))
    return TrainingData.open(config, seed=1, negatives_per_query=0, cache_dir=place / "arrow")


def _generate(path: Path, rows: int) -> None:
    """Write queries and positives that are all different, a part at a time."""
    schema = pa.schema([("query", pa.string()), ("positive", pa.string())])
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for start in range(0, rows, _WRITTEN_AT_ONCE):
            numbers = pc.cast(pa.array(range(start, min(start + _WRITTEN_AT_ONCE, rows))), pa.string())
            queries = pc.binary_join_element_wise("what is written in row", numbers, " ")
            positives = pc.binary_join_element_wise("The row written here bears the number", numbers, " ")
            writer.write_table(pa.table([queries, positives], schema=schema))


def _anonymous_mib() -> int:
    """Memory of this process that no file backs, in MiB: a table that is mapped can be dropped from memory again."""
    lines = dict(line.split(":", 1) for line in _STATUS.read_text(encoding="utf-8").splitlines())
    return int(lines["RssAnon"].split()[0]) // 1024
