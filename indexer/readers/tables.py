"""Tables as text: each row of a CSV or JSON Lines file is a document. Rows are read as they are asked for."""

import csv
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from decimal import Decimal
from itertools import chain, islice

from indexer.readers.columns import Columns, Row, choose_columns
from indexer.readers.decoding import EMPTY, clean, open_text, text_lines
from indexer.readers.errors import UnreadableFile
from indexer.readers.language import detect_language
from indexer.readers.layout import one_line
from indexer.readers.source import Source
from indexer.records import Document, Section

_SAMPLE_ROWS = 100
_SAMPLE_LINES = 50
_DELIMITERS = (",", ";", "\t", "|")
_EXCEL_HINT = re.compile(r"\ufeff?sep=(.)[\r\n]*", re.IGNORECASE)
_TITLE_CHARS = 80
_NO_ROWS = "The table has no rows below its header; there is nothing to index."
_NO_TEXT = "The table has no column with text; add one named text and index again."


def read_csv(source: Source) -> Iterator[Document]:
    """Read each row of a CSV file, whose first row names the columns, as one document.

    The delimiter is the one of comma, semicolon, tab and bar that fits the first lines. Rows without text are
    left out; they count in ``row-N`` all the same.

    Raises:
        UnreadableFile: If the file is empty, is not text, or has no rows or no text; after the rows before it, if
            a quotation mark is never closed or a line or field is too long.
        OSError: If the file cannot be opened or read.
    """
    return row_documents(_csv_rows(source), source.uri, "csv")


def read_jsonl(source: Source) -> Iterator[Document]:
    """Read each line of a JSON Lines file, a JSON object, as one document.

    Raises:
        UnreadableFile: If the file is empty, is not text, or has no rows or no text; after the rows before it, if
            a line is not a JSON object or is too long.
        OSError: If the file cannot be opened or read.
    """
    return row_documents(_jsonl_rows(source), source.uri, "jsonl")


def row_documents(rows: Iterator[Row], uri: str, file_type: str, prefix: str = "") -> Iterator[Document]:
    """Make each row that has text a document.

    Args:
        rows: All with the same columns.
        uri: Path of the file.
        file_type: One of those named at ``Document.file_type``.
        prefix: What the key of each begins with, where the file has several tables.

    Raises:
        UnreadableFile: If there are no rows, or none with text.
    """
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
            key = prefix + _key(row, columns, number, keys)
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


def _csv_rows(source: Source) -> Iterator[Row]:
    try:
        yield from _parsed_csv(source)
    except csv.Error as error:
        raise UnreadableFile(f"The table cannot be read ({error}); correct it and index again.") from error


def _parsed_csv(source: Source) -> Iterator[Row]:
    limits = source.limits
    # The default of 128 KiB is less than a long article.
    csv.field_size_limit(limits.document_chars)
    with open_text(source) as file:
        all_lines = text_lines(file, limits.line_chars)
        head = list(islice(all_lines, _SAMPLE_LINES))
        hint = _EXCEL_HINT.fullmatch(head[0]) if head else None
        delimiter = hint.group(1) if hint else _delimiter(head)
        lines = _Lines(chain(head[1:] if hint else head, all_lines), 1 if hint else 0, limits.document_chars)
        reader = csv.reader(lines, delimiter=delimiter)
        header = next((row for row in reader if any(map(str.strip, row))), None)
        if header is None:
            raise UnreadableFile(EMPTY)
        lines.check_closed(delimiter)
        names = column_names(header)
        for cells in reader:
            lines.check_closed(delimiter)
            values = [clean(cell).strip() for cell in _fitted(cells, len(names), delimiter)]
            if any(values):
                yield dict(zip(names, values, strict=False))


class _Lines:
    """The lines of a file, of which those of the row last read are kept."""

    def __init__(self, lines: Iterator[str], number: int, max_chars: int) -> None:
        self._lines = lines
        self._row: list[str] = []
        self._number = number
        self._chars, self._max_chars = 0, max_chars

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = next(self._lines)
        self._number += 1
        self._row.append(line)
        self._chars += len(line)
        if self._chars > self._max_chars:
            first = self._number - len(self._row) + 1
            raise UnreadableFile(
                f"The row at line {first} is longer than {self._max_chars:,} characters; look for a quotation mark "
                "that is never closed and index again."
            )
        return line

    def check_closed(self, delimiter: str) -> None:
        """Forget the lines of the row just read, once it is clear that it ended before the file did.

        Raises:
            UnreadableFile: If it did not; the csv module takes all rows after the mark for one field.
        """
        lines, self._row, self._chars = self._row, [], 0
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


def column_names(header: Sequence[str]) -> list[str]:
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


def _jsonl_rows(source: Source) -> Iterator[Row]:
    with open_text(source) as file:
        for number, line in enumerate(text_lines(file, source.limits.line_chars), start=1):
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
            yield object_row(value)


def object_row(fields: Mapping[str, object]) -> Row:
    """Named values as a row."""
    return {one_line(str(name)): scalar(value) for name, value in fields.items()}


def scalar(value: object) -> str:
    """A field as text; empty for null, and for lists and objects, which are no text."""
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, str):
        return clean(value).strip()
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int | float | Decimal) else ""
