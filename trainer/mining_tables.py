"""Tables that mining reads and writes, a few thousand rows at a time, and the texts it gathers from them."""

import hashlib
import json
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

from embedder.errors import AppError

_ROWS = 4096
_BATCH_TEXTS = 4096


class InvalidMining(AppError):
    """A table, a pool or a setting that negatives cannot be mined with."""


def identity(text: str) -> bytes:
    """Sixteen bytes that are equal for texts that differ only in width, case or white space."""
    plain = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    return hashlib.blake2b(plain.encode("utf-8", "surrogatepass"), digest_size=16).digest()


@dataclass(frozen=True, slots=True)
class TableFile:
    """A parquet or JSONL file that is read again and again, never whole.

    Attributes:
        path: Where it lies.
        schema: Its columns.
    """

    path: Path
    schema: pa.Schema

    @classmethod
    def open(cls, path: Path) -> Self:
        """Look at the columns; of a JSONL file every line is read for them.

        Raises:
            InvalidMining: If the file is not there, of another kind, damaged or without rows.
        """
        if path.suffix not in (".parquet", ".jsonl"):
            raise InvalidMining(f"{path.name} is not a table that can be read; give a .parquet or .jsonl file.")
        try:
            if path.suffix == ".parquet":
                file = pq.ParquetFile(path)
                schema, count = file.schema_arrow, file.metadata.num_rows
            else:
                schemas = [pa.Table.from_pylist(rows).schema for rows in _json_rows(path)]
                schema, count = pa.unify_schemas(schemas or [pa.schema([])], promote_options="permissive"), len(schemas)
        except (OSError, ValueError, pa.ArrowException) as error:
            raise InvalidMining(f"{path} cannot be read ({_reason(error)}); check the file.") from error
        if not count:
            raise InvalidMining(f"{path} is empty; give a table with rows.")
        return cls(path, schema)

    def batches(self, columns: Iterable[str] | None = None) -> Iterator[pa.Table]:
        """Its rows in order, in tables of at most a few thousand.

        Raises:
            InvalidMining: If a part of it is damaged.
        """
        wanted = self.schema.names if columns is None else [*columns]
        try:
            if self.path.suffix == ".parquet":
                batches = pq.ParquetFile(self.path).iter_batches(_ROWS, columns=wanted)
                yield from (pa.Table.from_batches([batch]) for batch in batches)
            else:
                schema = pa.schema([self.schema.field(name) for name in wanted])
                yield from (pa.Table.from_pylist(rows, schema=schema) for rows in _json_rows(self.path))
        except (OSError, ValueError, pa.ArrowException) as error:
            raise InvalidMining(f"{self.path} cannot be read ({_reason(error)}); check the file.") from error


class TextFile:
    """Texts on disk by number: written once, then read in any order through a memory map."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._schema = pa.schema([("text", pa.large_string())])
        self._writer = pa.ipc.new_file(path, self._schema)
        self._waiting: list[str] = []
        self._count = 0
        self._batches: list[pa.RecordBatch] = []

    def __len__(self) -> int:
        """Number of texts."""
        return self._count

    def append(self, text: str) -> int:
        """Add a text; returns its number."""
        self._waiting.append(text)
        self._count += 1
        if len(self._waiting) == _BATCH_TEXTS:
            self._write()
        return self._count - 1

    def seal(self) -> None:
        """End writing, so that reading may begin."""
        self._write()
        self._writer.close()
        self._map = pa.memory_map(str(self._path))
        reader = pa.ipc.open_file(self._map)
        self._batches = [reader.get_batch(number) for number in range(reader.num_record_batches)]

    def __getitem__(self, number: int) -> str:
        """One text."""
        text: str = self._batches[number // _BATCH_TEXTS].column(0)[number % _BATCH_TEXTS].as_py()
        return text

    def __enter__(self) -> Self:
        """Close it in the end."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let go of the file."""
        self._writer.close()
        self._batches.clear()

    def _write(self) -> None:
        if self._waiting:
            self._writer.write_batch(pa.record_batch([pa.array(self._waiting, pa.large_string())], schema=self._schema))
            self._waiting = []


def with_negatives(table: pa.Table, column: str, negatives: list[list[str]]) -> pa.Table:
    """The table with one column replaced, or added where there is none of that name."""
    cells = pa.array(negatives, pa.list_(pa.string()))
    if column in table.column_names:
        return table.set_column(table.column_names.index(column), column, cells)
    return table.append_column(column, cells)


def _json_rows(path: Path) -> Iterator[list[dict[str, Any]]]:
    with path.open(encoding="utf-8", errors="replace") as lines:
        numbered = ((number, line) for number, line in enumerate(lines, start=1) if line.strip())
        rows = (_json_row(path, number, line) for number, line in numbered)
        while some := list(islice(rows, _ROWS)):
            yield some


def _json_row(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise InvalidMining(f"Line {number} of {path} is not JSON; every line must be an object.") from error
    if not isinstance(row, dict):
        raise InvalidMining(f"Line {number} of {path} is not an object; every line must be one.")
    return row


def _reason(error: Exception) -> str:
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__).splitlines()[0]
