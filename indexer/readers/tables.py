"""Tables: each row of a CSV or JSON Lines file is a document. Rows are read as they are asked for."""

import csv
import json
import re
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from pathlib import Path

from indexer.readers.columns import Columns, Row, choose_columns
from indexer.readers.decoding import EMPTY, clean, open_text
from indexer.readers.errors import UnreadableFile
from indexer.readers.language import detect_language
from indexer.readers.layout import one_line
from indexer.records import Document, Section

_SAMPLE_ROWS = 100
_SAMPLE_LINES = 50
_DELIMITERS = (",", ";", "\t", "|")
_EXCEL_HINT = re.compile(r"\ufeff?sep=(.)[\r\n]*", re.IGNORECASE)
_TITLE_CHARS = 80
_MAX_FIELD_CHARS = 2**31 - 1
_NO_ROWS = "The table has no rows below its header; there is nothing to index."
_NO_TEXT = "The table has no column with text; add one named text and index again."


def read_csv(path: Path, uri: str) -> Iterator[Document]:
    """Read each row of a CSV file, whose first row names the columns, as one document.

    The delimiter is the one of comma, semicolon, tab and bar that fits the first lines. Rows without text are
    left out; they count in ``row-N`` all the same.

    Raises:
        UnreadableFile: If the file is empty, is not text, or has no rows or no text; after the rows before it, if
            a quotation mark is never closed.
        OSError: If the file cannot be opened or read.
    """
    return _documents(_csv_rows(path), uri, "csv")


def read_jsonl(path: Path, uri: str) -> Iterator[Document]:
    """Read each line of a JSON Lines file, a JSON object, as one document.

    Raises:
        UnreadableFile: If the file is empty, is not text, or has no rows or no text; after the rows before it, if
            a line is not a JSON object.
        OSError: If the file cannot be opened or read.
    """
    return _documents(_jsonl_rows(path), uri, "jsonl")


def _documents(rows: Iterator[Row], uri: str, file_type: str) -> Iterator[Document]:
    sample = list(islice(rows, _SAMPLE_ROWS))
    if not sample:
        raise UnreadableFile(_NO_ROWS)
    columns = choose_columns(sample)
    if columns is None:
        raise UnreadableFile(_NO_TEXT)
    keys: set[str] = set()
    for number, row in enumerate(chain(sample, rows), start=1):
        title = one_line(row.get(columns.title, ""))
        text = (row.get(columns.text, "") or ("" if columns.is_question else title)).strip()
        if text:
            key = _key(row, columns, number, keys)
            yield _document(row, columns, key, title, text, uri, file_type)


def _key(row: Row, columns: Columns, number: int, keys: set[str]) -> str:
    """The row's id; its number where it has none of its own, since the index would keep only one of the two."""
    if not columns.key:
        return f"row-{number}"
    key = one_line(row.get(columns.key, "")) or f"row-{number}"
    while key in keys:
        key += f"-row-{number}"
    keys.add(key)
    return key


def _document(row: Row, columns: Columns, key: str, title: str, text: str, uri: str, file_type: str) -> Document:
    used = (columns.text, columns.title, columns.key)
    return Document(
        uri=uri,
        key=key,
        title=title or one_line(text, _TITLE_CHARS),
        text=text,
        sections=(Section(0, len(text)),),
        file_type=file_type,
        language=detect_language(text),
        metadata={name: value for name, value in row.items() if value and name not in used},
    )


def _csv_rows(path: Path) -> Iterator[Row]:
    # The default of 128 KiB is less than a long article.
    csv.field_size_limit(_MAX_FIELD_CHARS)
    with open_text(path) as file:
        head = list(islice(file, _SAMPLE_LINES))
        hint = _EXCEL_HINT.fullmatch(head[0]) if head else None
        delimiter = hint.group(1) if hint else _delimiter(head)
        lines = _Lines(chain(head[1:] if hint else head, file), number=1 if hint else 0)
        reader = csv.reader(lines, delimiter=delimiter)
        header = next((row for row in reader if any(map(str.strip, row))), None)
        if header is None:
            raise UnreadableFile(EMPTY)
        lines.check_closed(delimiter)
        names = _column_names(header)
        for cells in reader:
            lines.check_closed(delimiter)
            values = [clean(cell).strip() for cell in _fitted(cells, len(names), delimiter)]
            if any(values):
                yield dict(zip(names, values, strict=False))


class _Lines:
    """The lines of a file, of which those of the row last read are kept."""

    def __init__(self, lines: Iterator[str], number: int) -> None:
        self._lines = lines
        self._row: list[str] = []
        self._number = number

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = next(self._lines)
        self._number += 1
        self._row.append(line)
        return line

    def check_closed(self, delimiter: str) -> None:
        """Forget the lines of the row just read, once it is clear that it ended before the file did.

        Raises:
            UnreadableFile: If it did not; the csv module takes all rows after the mark for one field.
        """
        lines, self._row = self._row, []
        if len(lines) == 1:
            return
        try:
            list(csv.reader(lines, delimiter=delimiter, strict=True))
        except csv.Error as error:
            if "unexpected end" in str(error):
                first = self._number - len(lines) + 1
                reason = (
                    f"The quotation mark opened in the row at line {first} is never closed; close it and index again."
                )
                raise UnreadableFile(reason) from error


def _delimiter(head: Sequence[str]) -> str:
    """The delimiter by which most of the first rows have as many cells as the header."""
    scores = {delimiter: _fit(head, delimiter) for delimiter in _DELIMITERS}
    return max(_DELIMITERS, key=scores.__getitem__)


def _fit(head: Sequence[str], delimiter: str) -> tuple[float, int]:
    rows = [row for row in csv.reader(head, delimiter=delimiter) if row]
    if not rows or len(rows[0]) == 1:
        return 0.0, 0
    width = len(rows[0])
    # The last of many lines may be the first half of a row.
    body = rows[1:-1] if len(head) == _SAMPLE_LINES else rows[1:]
    return sum(len(row) == width for row in body) / max(1, len(body)), width


def _column_names(header: Sequence[str]) -> list[str]:
    """The header's cells, each named and none named twice."""
    names: list[str] = []
    for number, cell in enumerate(header, start=1):
        name = one_line(cell) or f"column-{number}"
        names.append(name if name not in names else f"{name}-{number}")
    return names


def _fitted(cells: Sequence[str], width: int, delimiter: str) -> Sequence[str]:
    """The cells, those beyond the header put back into the last: its text has the delimiter without quotes."""
    if len(cells) <= width:
        return cells
    return [*cells[: width - 1], delimiter.join(cells[width - 1 :]).rstrip(delimiter)]


def _jsonl_rows(path: Path) -> Iterator[Row]:
    with open_text(path) as file:
        for number, line in enumerate(file, start=1):
            if not clean(line).strip():
                continue
            try:
                value = json.loads(line.strip("\x00\ufeff \t\r\n"))
            except (ValueError, RecursionError) as error:
                raise UnreadableFile(f"Line {number} is not valid JSON; correct it and index again.") from error
            if not isinstance(value, dict):
                raise UnreadableFile(
                    f"Line {number} is not a JSON object; write one object on each line and index again."
                )
            yield {one_line(name): _scalar(field) for name, field in value.items()}


def _scalar(value: object) -> str:
    """A field as text; empty for null, and for lists and objects, which are no text."""
    if isinstance(value, str):
        return clean(value).strip()
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int | float) else ""
