"""From the lines of PDF pages to paragraphs: the format knows neither, only where each letter stands."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from statistics import median_low
from typing import NamedTuple

from indexer.readers.decoding import clean
from indexer.readers.lines import join_lines, starts_item

_DIVIDED = "\ufffe"
"""PDFium's mark for a hyphen at a line end, in place of hyphen and line end."""
_LINE_END = re.compile(f"\r\n|[\r\n{_DIVIDED}]")
_EDGE_LINES = 2
_MIN_REPEATS = 3
_RUNNING_CHARS = 24
_MIN_SERIES = 5
_SERIES_CHARS = 9
_DIGITS = re.compile(r"\d+")
_MAX_PAGE_NUMBER_CHARS = 40
_PAGE_NUMBER = re.compile(
    r"[\W_]*(?:page|p\.|\u7b2c)?\s*\d{1,4}\s*\u9875?(?:\s*(?:/|of|\u5171)\s*\d{1,4}\s*\u9875?)?[\W_]*", re.IGNORECASE
)
_LEADERS = re.compile(r"(?:\s?\.){4,}\s*")
_MIN_FILL = 0.8
_MIN_FILL_AT_SENTENCE_END = 0.9
_SENTENCE_END = tuple('.!?:;\u3002\uff01\uff1f\uff1a\uff1b\u2026"\u201d\u300d\u2019)')
_MAX_SIZE_CHANGE = 0.06
_MAX_GAP = 1.3

# Fonts of PDFs have signs of their own for joined letters and for radicals that are also characters; nobody
# types these in a search box.
_PLAIN = {
    code: unicodedata.normalize("NFKC", chr(code))
    for first, last in ((0xFB00, 0xFB06), (0x2F00, 0x2FD5), (0x2E9F, 0x2E9F), (0x2EF3, 0x2EF3))
    for code in range(first, last + 1)
}


class Line(NamedTuple):
    """A line of a page; lengths in points.

    Attributes:
        text: What it says, never blank.
        size: Of the font of its first letter.
        baseline: Height of its first letter above the lower edge of the page.
        width: From its first letter to its last.
    """

    text: str
    size: float
    baseline: float
    width: float


def line_spans(text: str) -> Iterator[tuple[int, int]]:
    """Where the lines of a page begin and end in the text that PDFium gives."""
    start = 0
    for end in _LINE_END.finditer(text):
        yield start, end.start() + (end.group() == _DIVIDED)
        start = end.end()
    yield start, len(text)


def plain_line(text: str) -> str:
    """A line as a person would type it: single spaces, no joined letters, no rows of dots."""
    text = clean(text.replace(_DIVIDED, "-")).translate(_PLAIN)
    return _LEADERS.sub(" \u2026 ", " ".join(text.split())).strip()


def without_running_lines(pages: Sequence[Sequence[Line]]) -> list[list[Line]]:
    """The pages without page numbers, and without the lines at top or bottom that come back page after page."""
    tops = Counter(key for lines in pages for line in lines[:_EDGE_LINES] for key in set(_running_keys(line)))
    bottoms = Counter(key for lines in pages for line in lines[-_EDGE_LINES:] for key in set(_running_keys(line)))
    stripped: list[list[Line]] = []
    for lines in pages:
        kept = list(lines)
        for _ in range(_EDGE_LINES):
            if len(kept) > 1 and _is_running(kept[0], tops, len(pages)):
                kept = kept[1:]
            if len(kept) > 1 and _is_running(kept[-1], bottoms, len(pages)):
                kept = kept[:-1]
        stripped.append(kept)
    return stripped


def _running_keys(line: Line) -> tuple[str, str]:
    """A line but for its numbers, and how it begins, as in "Chapter 1. ..."."""
    pattern = _DIGITS.sub("#", line.text)
    return pattern[:_RUNNING_CHARS], pattern[:_SERIES_CHARS]


def _is_running(line: Line, repeats: Counter[str], pages: int) -> bool:
    if _PAGE_NUMBER.fullmatch(line.text[:_MAX_PAGE_NUMBER_CHARS]):
        return True
    same, begins_same = _running_keys(line)
    return repeats[same] >= _MIN_REPEATS or repeats[begins_same] >= max(_MIN_SERIES, pages / 2)


def paragraphs(lines: Sequence[Line], compounds: frozenset[str]) -> str:
    """The lines of one page as paragraphs, an empty line between two.

    A paragraph ends where the font changes its size, where a line stands lower than usual, where one stops well
    before the right edge, and where a list item begins.
    """
    if not lines:
        return ""
    full_width = _high(line.width for line in lines)
    leading = _leading(lines)
    text, group = "", [lines[0].text]
    for before, line in pairwise(lines):
        ends = _is_short(before, full_width) or starts_item(line.text)
        if ends or _is_apart(before, line, leading):
            # Short lines close together are code, an address, a table: they keep their line ends.
            tight = ends and _is_short(line, full_width) and not _is_apart(before, line, leading)
            text += join_lines(group, divided=True, compounds=compounds) + ("\n" if tight else "\n\n")
            group = []
        group.append(line.text)
    return text + join_lines(group, divided=True, compounds=compounds)


def _high(values: Iterable[float]) -> float:
    """What nine of ten of the values do not exceed; one line may stick out of its column."""
    ordered = sorted(values)
    return ordered[(len(ordered) - 1) * 9 // 10]


def _leading(lines: Sequence[Line]) -> float:
    """The usual distance between two baselines; 0 where there is none."""
    gaps = [before.baseline - line.baseline for before, line in pairwise(lines) if before.size == line.size]
    gaps = [gap for gap in gaps if gap > 0]
    return median_low(gaps) if gaps else 0.0


def _is_apart(before: Line, line: Line, leading: float) -> bool:
    if abs(before.size - line.size) > _MAX_SIZE_CHANGE * max(before.size, line.size):
        return True
    # A heading of two lines has a wider leading than the text. A next column begins higher up: no sign of anything.
    usual = max(leading, _MAX_GAP * line.size) if leading else _MAX_GAP * line.size
    return before.baseline - line.baseline > _MAX_GAP * usual


def _is_short(line: Line, full_width: float) -> bool:
    # Lines of ragged text lack a word at most; those that end a sentence more likely end its paragraph too.
    ends_sentence = line.text.endswith(_SENTENCE_END)
    return line.width < (_MIN_FILL_AT_SENTENCE_END if ends_sentence else _MIN_FILL) * full_width
