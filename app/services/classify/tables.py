"""Tables of examples people bring, and tables of predictions they take away.

Encoding and delimiter are found out. A row that cannot be used is one problem with its number, counted as a
spreadsheet does (the header is row 1); what makes the whole table useless is an error.
"""

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from embedder.errors import AppError
from indexer.readers.decoding import clean, detect_encoding
from indexer.readers.errors import UnreadableFile

MAX_MEGABYTES = 50
MAX_ROWS = 50_000
MAX_CELL_CHARACTERS = 100_000

_DELIMITERS = (",", ";", "\t", "|")
_SAMPLE_ROWS = 50
_HINT = re.compile(r"sep=(.)\r?\n", re.IGNORECASE)
"""What Excel puts before the header where the delimiter is not that of the country."""

_TEXT_NAMES = ("text", "content", "sentence", "question", "query", "utterance", "文本", "内容", "正文", "句子", "问题")
_LABEL_NAMES = ("label", "class", "category", "intent", "topic", "target", "标签", "类别", "分类", "类型")
_FORMULA = "=+-@＝＋－＠"
_FORMULA_SPACE = "\t\r\n"


class TableRefused(AppError):
    """A table that cannot be used, or lacks what is needed of it."""


class Trouble(StrEnum):
    """Why a row cannot be used as it is."""

    NO_TEXT = "no_text"
    NO_LABEL = "no_label"
    CELLS = "cells"
    TWO_LABELS = "two_labels"


@dataclass(frozen=True, slots=True)
class Problem:
    """One row, and what is the matter with it.

    Attributes:
        row: As a spreadsheet counts.
        other: For ``TWO_LABELS``, the earlier row that has the same text and another label; else 0.
    """

    row: int
    trouble: Trouble
    other: int = 0


@dataclass(frozen=True, slots=True)
class Table:
    """A table as text.

    Attributes:
        columns: Names, none empty, none twice.
        rows: As many cells as there are columns; rows without any cell filled are left out.
        numbers: Of each row, as a spreadsheet counts.
        encoding: What the file was in.
        delimiter: Between its cells.
        problems: Rows with more cells than columns; they are not among ``rows``.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numbers: tuple[int, ...]
    encoding: str
    delimiter: str
    problems: tuple[Problem, ...] = ()

    def column(self, name: str) -> list[str]:
        """The cells of a column.

        Raises:
            TableRefused: If there is none of that name.
        """
        if name not in self.columns:
            raise TableRefused(f"The table has no column {name}; it has {', '.join(self.columns)}.")
        place = self.columns.index(name)
        return [row[place] for row in self.rows]


@dataclass(frozen=True, slots=True)
class Example:
    """A text and the label somebody gave it."""

    text: str
    label: str


@dataclass(frozen=True, slots=True)
class Labelled:
    """What a table gives to learn from.

    Attributes:
        examples: Rows with text and label.
        unlabelled: Different texts that have no label yet.
        problems: Rows that are no example, or contradict another.
    """

    examples: tuple[Example, ...]
    unlabelled: tuple[str, ...]
    problems: tuple[Problem, ...]


def read_table(data: bytes) -> Table:
    """Read a CSV file whose first row names the columns.

    Raises:
        TableRefused: If it is too large, is not text, has no rows, or a quotation mark in it is never closed.
    """
    if len(data) > MAX_MEGABYTES * 1_000_000:
        raise TableRefused(
            f"The file has {len(data) / 1e6:,.0f} MB and the limit is {MAX_MEGABYTES} MB; split it and take a part."
        )
    text, encoding = _decoded(data)
    hint = _HINT.match(text)
    delimiter = hint[1] if hint else _delimiter(text)
    csv.field_size_limit(MAX_CELL_CHARACTERS)
    rows = _numbered(text[hint.end() :] if hint else text, delimiter, 2 if hint else 1)
    _, header = next(rows, (0, []))
    if not any(header):
        raise TableRefused("The file is empty; its first row should name the columns.")
    columns = _names(header)
    whole, numbers, problems = [], [], []
    for number, cells in rows:
        if any(cells[len(columns) :]):
            problems.append(Problem(number, Trouble.CELLS))
        elif any(cells):
            padded = [*cells, *[""] * len(columns)][: len(columns)]
            whole.append(tuple(padded))
            numbers.append(number)
        if len(whole) > MAX_ROWS:
            raise TableRefused(f"The table has more than {MAX_ROWS:,} rows; split it and take a part.")
    if not whole:
        raise TableRefused("The table has no rows below its header; put the texts there, one in each row.")
    return Table(columns, tuple(whole), tuple(numbers), encoding, delimiter, tuple(problems))


def guess_columns(table: Table) -> tuple[str, str | None]:
    """The columns that hold the texts and, where there is one, the labels: by name, else by how they are filled."""
    by_name = {name.casefold(): name for name in reversed(table.columns)}
    text = next((by_name[name] for name in _TEXT_NAMES if name in by_name), None)
    label = next((by_name[name] for name in _LABEL_NAMES if name in by_name and by_name[name] != text), None)
    if text is None:
        others = [name for name in table.columns if name != label] or list(table.columns)
        text = max(others, key=lambda name: sum(map(len, table.column(name))))
    if label is None:
        label = _few_values(table, [name for name in table.columns if name != text])
    return text, label if label != text else None


def labelled(table: Table, text: str, label: str) -> Labelled:
    """Examples from two columns of a table.

    Raises:
        TableRefused: If there is no such column, both are the same, or no row has a text and a label.
    """
    if text == label:
        raise TableRefused(f"Text and label are both the column {text}; choose two different ones.")
    problems, examples = list(table.problems), []
    unlabelled: dict[str, None] = {}
    first: dict[str, tuple[int, str]] = {}
    for number, words, name in zip(table.numbers, table.column(text), table.column(label), strict=True):
        name = " ".join(name.split())
        if not words:
            problems.append(Problem(number, Trouble.NO_TEXT))
            continue
        if not name:
            problems.append(Problem(number, Trouble.NO_LABEL))
            unlabelled[words] = None
            continue
        row, known = first.setdefault(words, (number, name))
        if known != name:
            problems.append(Problem(number, Trouble.TWO_LABELS, row))
        examples.append(Example(words, name))
    if not examples:
        raise TableRefused(f"No row has both a text in {text} and a label in {label}; choose other columns.")
    return Labelled(tuple(examples), tuple(unlabelled), tuple(sorted(problems, key=lambda one: one.row)))


def write_csv(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> bytes:
    """A table as CSV that spreadsheets open without asking: UTF-8 with its mark, no cell a formula."""
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerow([defused(name) for name in columns])
    writer.writerows([[defused(cell) for cell in row] for row in rows])
    return out.getvalue().encode("utf-8-sig", "replace")


def defused(cell: str) -> str:
    """A cell that no spreadsheet computes: what would begin a formula has an apostrophe before it."""
    start = cell.lstrip()[:1]
    is_formula = bool(start) and start in _FORMULA
    return f"'{cell}" if is_formula or (cell[:1] and cell[0] in _FORMULA_SPACE) else cell


def _decoded(data: bytes) -> tuple[str, str]:
    try:
        encoding = detect_encoding(io.BytesIO(data)) if data else "utf-8"
    except UnreadableFile as error:
        raise TableRefused("The file is not text; save the table as CSV in UTF-8 and take that.") from error
    return data.decode(encoding, "replace").removeprefix("\ufeff"), encoding


def _numbered(text: str, delimiter: str, first: int) -> Iterator[tuple[int, list[str]]]:
    """Every row with its number, cells clean; the first one that is not blank is the header."""
    if opened := _unclosed(text, delimiter):
        raise TableRefused(f"The quotation mark opened in row {opened + first - 1} is never closed; close it.")
    seen = False
    try:
        for number, row in enumerate(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter), start=first):
            cells = [clean(cell).strip() for cell in row]
            if seen or any(cells):
                seen = True
                yield number, cells
    except csv.Error as error:
        raise TableRefused(
            f"A cell has more than {MAX_CELL_CHARACTERS:,} characters, or the table is damaged ({error}); correct it."
        ) from error


def _unclosed(text: str, delimiter: str) -> int:
    """Number of the row that a quotation mark keeps open to the end of the file; 0 where there is none."""
    row = 0
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    while True:
        try:
            row += 1
            next(reader)
        except StopIteration:
            return 0
        except csv.Error as error:
            if "unexpected end" in str(error):
                return row


def _delimiter(text: str) -> str:
    """The delimiter by which most of the first rows have as many cells as the header."""
    sample = "".join(line for line, _ in zip(io.StringIO(text, newline=""), range(_SAMPLE_ROWS), strict=False))

    def fit(delimiter: str) -> tuple[float, int]:
        try:
            rows = [row for row in csv.reader(io.StringIO(sample, newline=""), delimiter=delimiter) if any(row)]
        except csv.Error:
            return 0.0, 0
        width = len(rows[0]) if rows else 0
        if width < 2:
            return 0.0, 0
        body = rows[1:] or rows
        return sum(len(row) == width for row in body) / len(body), width

    return max(_DELIMITERS, key=fit)


def _names(header: Sequence[str]) -> tuple[str, ...]:
    names: list[str] = []
    for number, cell in enumerate(header, start=1):
        name = " ".join(cell.split()) or f"column-{number}"
        while name in names:
            name = f"{name}-{number}"
        names.append(name)
    return tuple(names)


def _few_values(table: Table, names: Sequence[str]) -> str | None:
    """The column whose values come again and again, if there is one."""
    repeats: dict[str, float] = {}
    for name in names:
        filled = [cell for cell in table.column(name) if cell]
        if filled and len(set(filled)) > 1:
            repeats[name] = len(set(filled)) / len(filled)
    best = min(repeats, key=lambda name: repeats[name], default=None)
    return best if best is not None and repeats[best] <= 0.5 else None
