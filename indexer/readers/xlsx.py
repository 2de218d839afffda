"""Workbooks: rows as documents where a column is named as a text is, else a section for each sheet.

A sheet of questions and answers is a table like a CSV file. A sheet of figures is not: one column of each row would
be searched and the others not, so that its rows are lines of one document, each cell after the name of its column.
"""

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from itertools import chain

from indexer.readers.columns import Row, names_a_text
from indexer.readers.decoding import clean
from indexer.readers.errors import UnreadableFile
from indexer.readers.layout import finish_document, one_line, place
from indexer.readers.parts import Parts, attribute, local_name, named
from indexer.readers.source import Source
from indexer.readers.tables import column_names, row_documents
from indexer.records import Document

_MAIN = "xl/workbook.xml"
_KIND = "Excel workbook"
_MAX_COLUMNS = 16_384
_HEADER_ROWS = 20
"""A header is looked for so far down, below a sheet's title."""
_REFERENCE = re.compile(r"([A-Z]{1,3})\d*")
_DATE_FORMATS = frozenset((*range(14, 23), *range(27, 37), *range(45, 48), *range(50, 59)))
_NOT_DATE_PART = re.compile(r"\"[^\"]*\"|\\.|\[(?!h+\]|m+\]|s+\])[^\]]*\]|[_*].", re.IGNORECASE)
_DATE_PART = re.compile(r"[ymdhs年月日]", re.IGNORECASE)
_EPOCH, _EPOCH_1904 = datetime(1899, 12, 30), datetime(1904, 1, 1)

Cells = list[str]


def read_xlsx(source: Source) -> Iterator[Document]:
    """Read a workbook, sheet after sheet, in the order of its tabs, hidden ones too.

    The rows of a sheet with a column of a text's name are documents, with keys like ``Sheet1!row-3``. All other
    sheets together are one document without key. Cells have the values that were last computed.

    Raises:
        UnreadableFile: If the file is empty, protected, damaged, not a workbook, or has no text; perhaps only after
            some rows.
        OSError: If the file cannot be opened or read.
    """
    with Parts(source, "xlsx", _KIND) as parts:
        title, metadata = parts.properties()
        workbook = _Workbook(parts)
        if len(workbook.sheets) > source.limits.pages:
            raise UnreadableFile(f"The workbook has more than {source.limits.pages:,} sheets; split it and index.")
        texts: list[tuple[str, tuple[str, ...], int | None]] = []
        found = False
        for name, part in workbook.sheets:
            above, header, rows = _head(workbook.rows(part))
            names = column_names(header)
            if names_a_text(names):
                try:
                    for document in row_documents(_named(names, rows), source.uri, "xlsx", f"{name}!"):
                        found = True
                        yield document
                    continue
                except UnreadableFile:
                    if _has_rows(workbook.rows(part)):
                        raise
                    above, rows = [header], iter(())
            texts.append((_sheet_text(name, above, names, rows, source.limits.document_chars), (name,), None))
    text, sections = place(texts)
    if sections or not found:
        yield finish_document(source.uri, "xlsx", title, text, sections, metadata)


class _Workbook:
    """What the cells of all sheets refer to.

    Attributes:
        sheets: Name and part of each.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        root = parts.tree(_MAIN)
        targets = parts.targets(_MAIN)
        parts_by_kind = {kind: name for kind, name in targets.values() if name in parts}
        self.sheets: list[tuple[str, str]] = []
        for sheet in named(root, "sheet"):
            id = next((value for key, value in sheet.items() if key.endswith("}id")), "")
            kind, name = targets.get(id, ("", ""))
            if kind == "worksheet" and name in parts:
                self.sheets.append((one_line(attribute(sheet, "name")) or "Sheet", name))
        is_1904 = any(attribute(settings, "date1904") in ("1", "true") for settings in named(root, "workbookPr"))
        self._epoch = _EPOCH_1904 if is_1904 else _EPOCH
        shared = parts_by_kind.get("sharedStrings", "")
        self._shared = [_string(item) for item in parts.elements(shared, "si")] if shared else []
        styles = parts_by_kind.get("styles", "")
        self._is_date = _date_styles(parts.tree(styles)) if styles else []

    def rows(self, part: str) -> Iterator[Cells]:
        """The rows of a sheet that are not blank."""
        for row in self._parts.elements(part, "row"):
            cells: dict[int, str] = {}
            for at, cell in enumerate(child for child in row if local_name(child) == "c"):
                value = clean(self._value(cell)).strip()
                number = _column(attribute(cell, "r"), at)
                if value and number < _MAX_COLUMNS:
                    cells[number] = value
            if cells:
                yield [cells.get(number, "") for number in range(max(cells) + 1)]

    def _value(self, cell: ET.Element) -> str:
        kind = attribute(cell, "t")
        if kind == "inlineStr":
            return _string(cell)
        value = next((child.text or "" for child in cell if local_name(child) == "v"), "").strip()
        match kind:
            case "s":
                known = value.isdecimal() and len(value) < 10 and int(value) < len(self._shared)
                return self._shared[int(value)] if known else ""
            case "b":
                return "true" if value == "1" else "false" if value else ""
            case "e":
                return ""
            case "str":
                return value
            case "d":
                return value
        style = attribute(cell, "s")
        is_date = style.isdecimal() and len(style) < 10 and self._is_date[int(style) : int(style) + 1] == [True]
        return _number(value, self._epoch if is_date else None)


def _string(element: ET.Element) -> str:
    """A string of several runs, without phonetic readings."""
    pieces = []
    for part in element.iter():
        if local_name(part) == "rPh":
            part.clear()
        elif local_name(part) == "t":
            pieces.append(part.text or "")
    return "".join(pieces)


def _number(value: str, epoch: datetime | None) -> str:
    """A number as people write it, or the day and time that it counts from an epoch."""
    try:
        number = float(value)
        if epoch is None:
            return str(int(number)) if number.is_integer() and abs(number) < 1e15 else f"{number:.15g}"
        moment = epoch + timedelta(seconds=round(number * 86_400))
    except (ValueError, OverflowError):
        return value
    if number < 1:
        return moment.time().isoformat()
    return moment.isoformat(" ") if moment.time().isoformat() != "00:00:00" else moment.date().isoformat()


def _column(reference: str, default: int) -> int:
    """Number from 0 of the column in a reference such as ``BC12``."""
    match = _REFERENCE.match(reference)
    if match is None:
        return default
    number = 0
    for letter in match.group(1):
        number = number * 26 + ord(letter) - 64
    return number - 1


def _date_styles(root: ET.Element) -> list[bool]:
    """For each style of cells whether it shows a number as a date."""
    codes = {attribute(code, "numFmtId"): attribute(code, "formatCode") for code in named(root, "numFmt")}
    styles = next(named(root, "cellXfs"), None)
    found = []
    for style in styles if styles is not None else ():
        id = attribute(style, "numFmtId")
        if id in codes:
            found.append(_DATE_PART.search(_NOT_DATE_PART.sub("", codes[id])) is not None)
        else:
            found.append(id.isdecimal() and len(id) < 10 and int(id) in _DATE_FORMATS)
    return found


def _head(rows: Iterator[Cells]) -> tuple[list[Cells], Cells, Iterator[Cells]]:
    """The rows above the header, the header, and the rows below it.

    The header is the first row with several cells; a sheet that has none begins with it.
    """
    above: list[Cells] = []
    for row in rows:
        if sum(map(bool, row)) > 1:
            return above, row, rows
        above.append(row)
        if len(above) == _HEADER_ROWS:
            break
    return [], above[0] if above else [], chain(above[1:], rows)


def _named(names: Sequence[str], rows: Iterator[Cells]) -> Iterator[Row]:
    """Rows by the names of the columns; cells beyond the header have a name of their own, as have those without."""
    for row in rows:
        further = {f"column-{number}": cell for number, cell in enumerate(row, start=1) if number > len(names)}
        yield {**dict.fromkeys(names, ""), **dict(zip(names, row, strict=False)), **further}


def _has_rows(rows: Iterator[Cells]) -> bool:
    return len(list(zip(range(2), rows, strict=False))) > 1


def _sheet_text(name: str, above: list[Cells], names: list[str], rows: Iterator[Cells], limit: int) -> str:
    """A sheet as lines, its name above them; empty where it has none."""
    if len(names) == 1 or not any(names):
        above, names = [*above, names], []  # one column is no table
    lines = [" | ".join(filter(None, row)) for row in above if any(row)]
    length, found = 0, False
    for row in rows:
        found = True
        cells = zip(row, [*names, *([""] * (len(row) - len(names)))], strict=False)
        lines.append("; ".join(_cell(one_line(cell), column) for cell, column in cells if cell))
        length += len(lines[-1])
        if length > limit:
            raise UnreadableFile(
                f"The sheet {name} has more than {limit:,} characters; save it as CSV, or split it, and index again."
            )
    if not found and names:
        lines.append(" | ".join(names))
    return "\n".join((name, "", *lines)) if lines else ""


def _cell(value: str, column: str) -> str:
    return f"{column}: {value}" if column else value
