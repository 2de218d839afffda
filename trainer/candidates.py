"""The texts a query's negatives are mined from, and what is known to be right for it."""

from array import array
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import pyarrow as pa

from embedder.prompts import instruction_for, template
from trainer.columns import Columns, Row, check_table, find_columns, read_rows
from trainer.mining_tables import InvalidMining, TableFile, TextFile, identity
from trainer.neighbours import Ids

_NONE: Ids = np.empty(0, dtype=np.int64)


class Candidates:
    """Texts by number, each once: those that are searched first, then those only needed for comparison.

    Two texts are one if they differ only in width, case or white space. Of every text a number and sixteen bytes
    are in memory, of every row its positives' numbers; the texts are on disk.
    """

    def __init__(self, path: Path, *, by_class: bool) -> None:
        """Begin with none.

        Args:
            path: File for the texts.
            by_class: Whether rows with the same label are right for each other.
        """
        self.texts = TextFile(path)
        self.searchable = 0
        """How many are searched; set by :meth:`gather`."""
        self.rows = 0
        """How many rows were read."""
        self._numbers: dict[bytes, int] = {}
        self._by_class = by_class
        self._queries: dict[bytes, int] = {}
        self._asked, self._answers = array("q"), array("q")
        self._classes: dict[bytes, set[str]] = {}
        self._starts, self._sorted = _NONE, _NONE

    def __enter__(self) -> Self:
        """Let go of the file in the end."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let go of the file."""
        self.texts.__exit__(kind, error, trace)

    def gather(self, rows: Iterable[Row], pool: Iterable[str] | None) -> None:
        """Take the texts of a pool, or else those of all rows, and note what answers what.

        Args:
            rows: The table.
            pool: Texts to search instead of the table's own.

        Raises:
            InvalidMining: If there is no text to search.
        """
        for text in pool or ():
            self._add(text)
        self.searchable = len(self.texts)
        for row in rows:
            self._note(row)
            if pool is None:
                for text in row.negatives:
                    self._add(text)
        if pool is None:
            self.searchable = len(self.texts)
        if not self.searchable:
            raise InvalidMining("There is no text to mine from; give a table or a pool with rows.")
        self.texts.seal()
        order = np.argsort(np.frombuffer(self._asked, dtype=np.int64), kind="stable")
        self._sorted = np.frombuffer(self._answers, dtype=np.int64)[order]
        counts = np.bincount(np.frombuffer(self._asked, dtype=np.int64), minlength=len(self._queries))
        self._starts = np.concatenate([[0], np.cumsum(counts)])

    def number(self, text: str) -> int | None:
        """Number of a text, or None where it is not among them."""
        return self._numbers.get(identity(text))

    def answers(self, query: str) -> Ids:
        """Numbers of all positives of a query, those of other rows that ask the same included."""
        asked = self._queries[identity(query)]
        return np.unique(self._sorted[self._starts[asked] : self._starts[asked + 1]])

    def is_of_class(self, number: int, label: str | None) -> bool:
        """Whether a candidate is known to be of a class."""
        if not self._by_class or label is None:
            return False
        return label in self._classes.get(identity(self.texts[number]), ())

    def blocks(self, size: int) -> Iterator[list[str]]:
        """All texts in order, ``size`` at a time; the last of the searchable ones ends a block."""
        for first, last in ((0, self.searchable), (self.searchable, len(self.texts))):
            for start in range(first, last, size):
                yield [self.texts[number] for number in range(start, min(start + size, last))]

    def _note(self, row: Row) -> None:
        self.rows += 1
        asked = self._queries.setdefault(identity(bare_query(row.query)[1]), len(self._queries))
        for text in row.positives:
            self._asked.append(asked)
            self._answers.append(self._add(text))
        if self._by_class and row.label is not None:
            for text in (bare_query(row.query)[1], *row.positives):
                self._classes.setdefault(identity(text), set()).add(row.label)

    def _add(self, text: str) -> int:
        key = identity(text)
        if key not in self._numbers:
            self._numbers[key] = self.texts.append(text)
        return self._numbers[key]


def bare_query(query: str) -> tuple[str | None, str]:
    r"""A query and the instruction that a table has put before it, in the KaLM template; None where it has none.

    >>> bare_query("Instruct: Find it \n Query: honey")
    ('Find it', 'honey')
    """
    head, tail = template().split("{instruction}")
    instruction, found, bare = query.removeprefix(head).partition(tail)
    return (instruction, bare) if found and query.startswith(head) else (None, query)


def training_columns(table: TableFile) -> Columns:
    """Which column of the table plays which part.

    Raises:
        InvalidMining: If it has no positives.
        InvalidData: If it has no queries.
    """
    columns = find_columns(table.schema.names, table.path.name)
    if columns.positive is None:
        raise InvalidMining(f"{table.path.name} has no positives; negatives can be mined only for rows that have one.")
    return columns


def training_rows(table: TableFile, columns: Columns) -> Iterator[tuple[pa.Table, list[Row]]]:
    """The table a few thousand rows at a time, as it is and as rows.

    Raises:
        InvalidMining: If it has scored pairs.
        InvalidData: If a row has no query or no positive.
    """
    for batch in table.batches():
        check_table(table.path.name, batch, columns, "contrastive")
        if columns.score and batch[columns.score].null_count < len(batch):
            raise InvalidMining(
                f"{table.path.name} has pairs with a score, which need no negatives; if every pair is a positive one, "
                f"take the column {columns.score} out."
            )
        rows = read_rows(batch, columns)
        if bare := next((row for row in rows if not row.positives), None):
            raise InvalidMining(f"{table.path.name} has a row without a positive, to the query {bare.query[:80]!r}.")
        yield batch, rows


def open_pool(path: Path) -> TableFile:
    """A table of texts to mine from.

    Raises:
        InvalidMining: If it has no column ``text``.
    """
    table = TableFile.open(path)
    if "text" not in table.schema.names:
        raise InvalidMining(f"The pool {path.name} has no column 'text'; it has {', '.join(table.schema.names)}.")
    kind = table.schema.field("text").type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        raise InvalidMining(f"The column 'text' of the pool {path.name} holds {kind}; it must hold texts.")
    return table


def pool_texts(path: Path) -> Iterator[str]:
    """The texts of a pool, empty ones left out."""
    for batch in open_pool(path).batches(["text"]):
        yield from filter(None, batch["text"].to_pylist())


def by_class(task: str) -> bool:
    """Whether a task puts texts into classes: those of one class are right for each other."""
    query, document = (instruction_for(task, side) for side in ("query", "document"))
    return document is None and query != instruction_for("Retrieval", "query")
