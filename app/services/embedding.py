"""Text files into vector files."""

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from embedder.encoder import Embedder, Usage
from embedder.errors import AppError
from embedder.protocol import Side, Vectors

_BATCH_TEXTS = 4096


class InputRefused(AppError):
    """A line that is not what it should be, or an output of unknown kind."""


@dataclass(frozen=True, slots=True)
class Row:
    """One text and, from JSONL, its id."""

    text: str
    id: str | None = None


def read_lines(lines: Iterable[str]) -> Iterator[Row]:
    """Every line a text; empty lines are texts too, so that row n of the output is line n."""
    return (Row(line.rstrip("\r\n")) for line in lines)


def read_jsonl(lines: Iterable[str], field: str) -> Iterator[Row]:
    """Every line an object with the text in ``field`` and perhaps an ``id``.

    Raises:
        InputRefused: If a line is not such an object.
    """
    for number, line in enumerate(lines, start=1):
        try:
            item = json.loads(line)
        except ValueError as error:
            raise InputRefused(f"Line {number} is not JSON; every line must be an object with a {field!r}.") from error
        text = item.get(field) if isinstance(item, dict) else None
        if not isinstance(text, str):
            raise InputRefused(f"Line {number} has no text in {field!r}; name the right field with --field.")
        yield Row(text, None if item.get("id") is None else str(item["id"]))


def embed_rows(
    encoder: Embedder, rows: Iterable[Row], target: Path, *, side: Side, task: str, instruction: str | None
) -> Usage:
    """Write the vectors of all rows, in order, to ``target``: ``.npy`` (N, dim) or ``.parquet`` (id, text, vector).

    The file appears whole or not at all.

    Raises:
        InputRefused: If the suffix is another one, a row cannot be read, or the file cannot be written.
    """
    if target.suffix not in (".npy", ".parquet"):
        raise InputRefused(f"{target.name} must end in .npy or .parquet.")
    part = target.with_name(f".{target.name}.part")
    write = _write_npy if target.suffix == ".npy" else _write_parquet
    try:
        write(part, _encoded(encoder, rows, side, task, instruction), encoder.dim)
        os.replace(part, target)
    except OSError as error:
        raise InputRefused(f"{target} cannot be written ({error.strerror or error}); check the folder.") from error
    finally:
        with suppress(OSError):
            part.unlink()
    return encoder.usage


def _encoded(
    encoder: Embedder, rows: Iterable[Row], side: Side, task: str, instruction: str | None
) -> Iterator[tuple[list[Row], Vectors]]:
    source = iter(rows)
    while batch := list(islice(source, _BATCH_TEXTS)):
        texts = [row.text for row in batch]
        if side == "query":
            yield batch, encoder.encode_queries(texts, task=task, instruction=instruction)
        else:
            yield batch, encoder.encode_documents(texts, task=task)


def _write_npy(path: Path, batches: Iterator[tuple[list[Row], Vectors]], dim: int) -> None:
    vectors = [batch for _, batch in batches]
    with path.open("wb") as file:
        np.save(file, np.concatenate([np.empty((0, dim), np.float32), *vectors]))


def _write_parquet(path: Path, batches: Iterator[tuple[list[Row], Vectors]], dim: int) -> None:
    schema = pa.schema([("id", pa.string()), ("text", pa.string()), ("vector", pa.list_(pa.float32(), dim))])
    with pq.ParquetWriter(path, schema) as writer:
        for rows, vectors in batches:
            flat = pa.array(vectors.ravel(), type=pa.float32())
            columns = [
                pa.array([row.id for row in rows], type=pa.string()),
                pa.array([row.text for row in rows], type=pa.string()),
                pa.FixedSizeListArray.from_arrays(flat, dim),
            ]
            writer.write_table(pa.Table.from_arrays(columns, schema=schema))
