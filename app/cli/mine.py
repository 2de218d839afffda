"""``kalm mine``: hard negatives for a table of queries and what answers them."""

import time
from pathlib import Path
from typing import Annotated, Literal

import typer

from app.cli.output import errors
from app.settings import load_settings
from embedder.errors import AppError

_LINE_SECONDS = 10.0


class InvalidWindow(AppError):
    """A window that is not two ranks."""


def mine(
    table: Annotated[Path, typer.Argument(help="A .parquet or .jsonl file with query, positive (pos), negatives.")],
    out: Annotated[Path, typer.Option(help="Where the table with negatives goes: a .parquet file.")],
    model: Annotated[str | None, typer.Option(help="A name from kalm models, a folder or a hub id.")] = None,
    negatives: Annotated[int, typer.Option(help="Negatives of a row, those it has included.")] = 7,
    window: Annotated[str, typer.Option(help="Ranks they are drawn from.")] = "50-100",
    filter_topk: Annotated[int, typer.Option(help="Drop rows whose positive is not found this soon; 0: none.")] = 50,
    ceiling: Annotated[float, typer.Option(help="Leave out texts more similar to a positive than this.")] = 0.95,
    task: Annotated[str, typer.Option(help="An MTEB task type or task name.")] = "Retrieval",
    pool: Annotated[Path | None, typer.Option(help="Mine from the column text of this table instead.")] = None,
    search: Annotated[
        Literal["auto", "exact", "index"], typer.Option(help="Compare all, use an index, or as many texts ask for.")
    ] = "auto",
    seed: Annotated[int, typer.Option(help="Of the draws.")] = 42,
    dtype: Annotated[
        str, typer.Option(help="auto, float32 or bfloat16; auto measures, name one to repeat a run exactly.")
    ] = "auto",
    force: Annotated[bool, typer.Option("--force", help="Replace the output if it is there.")] = False,
) -> None:
    """Mine hard negatives: texts that are near a query and do not answer it.

    Example: kalm mine pairs.parquet --out mined.parquet --model kalm-v2.5
    """
    from app.services.mining import mine_table
    from embedder.cache import CachedEncoder, VectorCache
    from embedder.encoder import Embedder
    from trainer.mining import MiningSettings, check_files

    settings = MiningSettings(
        negatives=negatives,
        window=_window(window),
        filter_topk=filter_topk or None,
        ceiling=ceiling,
        task=task,
        seed=seed,
    )
    check_files(table, out, pool, force=force)  # before a model is loaded
    kept = load_settings()
    cache = VectorCache(kept.data_dir / "vectors.sqlite", max_bytes=int(kept.cache_gigabytes * 2**30))
    encoder = CachedEncoder(Embedder.load(model or kept.model, dtype=dtype), cache, queries=True)
    report = mine_table(table, out, encoder, settings, pool=pool, search=search, progress=_Lines(), force=force)
    errors.print(
        f"{report.rows - report.dropped:,} of {report.rows:,} rows written to {out} ({report.dropped:,} dropped by the "
        f"filter) with {report.kept:,} negatives of their own and {report.mined:,} mined from {report.documents:,} "
        f"texts; {report.short:,} rows have fewer than {negatives}.",
        soft_wrap=True,
    )


class _Lines:
    """A line every few seconds."""

    def __init__(self) -> None:
        self._due = time.monotonic() + _LINE_SECONDS

    def __call__(self, what: str, done: int, of: int) -> None:
        if time.monotonic() >= self._due:
            self._due = time.monotonic() + _LINE_SECONDS
            errors.print(f"Mining: {done:,} of {of:,} {what}", soft_wrap=True)


def _window(text: str) -> tuple[int, int]:
    start, _, end = text.partition("-")
    try:
        return int(start), int(end)
    except ValueError as error:
        raise InvalidWindow(f"The window {text!r} is not two ranks; write it as 50-100.") from error
