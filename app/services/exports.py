"""Results as files for other programs: CSV, JSON Lines, Markdown with citations. Pure functions."""

import csv
import io
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum

from indexer.search import SearchResult

_COLUMNS = (
    "rank",
    "score",
    "title",
    "uri",
    "key",
    "page",
    "headings",
    "text",
    "file_type",
    "language",
    "author",
    "date",
    "document_id",
    "chunk_id",
)
_FORMULA = tuple("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")
"""What makes spreadsheets take a cell for a formula, in both widths."""

_MARKDOWN = re.compile(r"([\\`*_{}\[\]()<>#+\-.!|~$&:])")
_DOTS = " · "


class Format(StrEnum):
    """What results can be written as."""

    CSV = "csv"
    JSONL = "jsonl"
    MARKDOWN = "markdown"


@dataclass(frozen=True, slots=True)
class FileKind:
    """How a format is called by systems."""

    ending: str
    media_type: str


KINDS: Mapping[Format, FileKind] = {
    Format.CSV: FileKind("csv", "text/csv"),
    Format.JSONL: FileKind("jsonl", "application/jsonl"),
    Format.MARKDOWN: FileKind("md", "text/markdown"),
}


def exported(results: Sequence[SearchResult], form: Format, first: int = 1) -> str:
    """Results in a format.

    Args:
        results: Best first.
        form: Which one.
        first: Rank of the first of them.
    """
    return _WRITERS[form](results, first)


def as_csv(results: Sequence[SearchResult], first: int = 1) -> str:
    """A table with a row for each result, and a byte order mark, without which spreadsheets misread Chinese.

    Cells that a spreadsheet would run as a formula begin with an apostrophe.
    """
    written = io.StringIO()
    table = csv.writer(written)
    table.writerow(_COLUMNS)
    for rank, result in enumerate(results, start=first):
        values = asdict(result) | {"rank": rank, "headings": " > ".join(result.headings)}
        table.writerow([_cell(values[name]) for name in _COLUMNS])
    return "\ufeff" + written.getvalue()


def as_jsonl(results: Sequence[SearchResult], first: int = 1) -> str:
    """An object on a line for each result, with all that it holds."""
    ranked = enumerate(results, start=first)
    return "".join(json.dumps({"rank": rank} | asdict(one), ensure_ascii=False) + "\n" for rank, one in ranked)


def as_markdown(results: Sequence[SearchResult], first: int = 1) -> str:
    """Each passage as a quotation, with where it is from."""
    return "\n".join(_quotation(rank, one) for rank, one in enumerate(results, start=first))


def citation(result: SearchResult) -> str:
    """Where a passage is from: author, title, day, file, place in it."""
    place = [f"p. {result.page}" if result.page is not None else "", result.key]
    named = [result.author, result.title, result.date, result.uri, *place]
    return _DOTS.join(part for part in map(_one_line, named) if part)


def _quotation(rank: int, result: SearchResult) -> str:
    lines = [_escaped(line) for line in result.text.splitlines()]
    quoted = "\n".join(f"> {line}".rstrip() for line in lines)
    return f"## {rank}\\. {_escaped(_one_line(result.title))}\n\n{quoted}\n\n{_escaped(citation(result))}\n"


def _cell(value: object) -> object:
    if not isinstance(value, str):
        return value
    shown = value.replace("\0", "")
    return f"'{shown}" if shown.lstrip(" ").startswith(_FORMULA) else shown


def _escaped(text: str) -> str:
    """Text that Markdown shows letter for letter."""
    return _MARKDOWN.sub(r"\\\1", text)


def _one_line(text: str) -> str:
    return " ".join(text.split())


_WRITERS: Mapping[Format, Callable[[Sequence[SearchResult], int], str]] = {
    Format.CSV: as_csv,
    Format.JSONL: as_jsonl,
    Format.MARKDOWN: as_markdown,
}
