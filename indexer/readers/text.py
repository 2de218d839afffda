"""Plain text: paragraphs, and headings where they are marked beyond doubt."""

import re
from collections.abc import Iterator

from indexer.readers.decoding import read_text
from indexer.readers.front_matter import split_front_matter
from indexer.readers.layout import Part, make_document, tidy
from indexer.readers.lines import display_width, unwrap
from indexer.readers.source import Source
from indexer.records import Document

_MAX_TITLE_WIDTH = 100
_MAX_HEADING_WIDTH = 200
_TITLE_FIELD = re.compile(r"(?:title|\u6807\u9898|\u9898\u76ee)[ \t]*[:\uff1a][ \t]*(\S.*)", re.IGNORECASE)
_TITLE_FIELD_LINES = 10
_HASHES = re.compile(r"(#{1,6})[ \t]+(?=\S)")
_RULE = re.compile(r"([=\-~^\"*+#])\1{2,}")


def read_plain_text(source: Source) -> Iterator[Document]:
    """Read a text file as one document.

    Its title is the first line with a letter in it, if that is short, or what a line "Title: ..." near the
    top says; else the file name. Headings are those underlined as in reStructuredText, and those with ``#``
    that stand between empty lines.

    Raises:
        UnreadableFile: If the file is empty, is not text, or is in an unknown encoding.
        OSError: If the file cannot be opened or read.
    """
    fields, text = split_front_matter(read_text(source))
    title = fields.pop("title", "") or guess_title(text)
    yield make_document(source.uri, "text", title, outline_text(text), fields)


def guess_title(text: str) -> str:
    """The title by the first lines; empty where the first is too long to be one."""
    first = ""
    seen = 0
    for line in map(str.strip, text.split("\n")):
        if not any(char.isalnum() for char in line):
            continue
        if field := _TITLE_FIELD.fullmatch(line):
            return field.group(1)
        first = first or line
        seen += 1
        if seen == _TITLE_FIELD_LINES:
            break
    title = first[marked.end() :].rstrip(" \t#") if (marked := _HASHES.match(first)) else first
    return title if display_width(title) <= _MAX_TITLE_WIDTH else ""


def outline_text(text: str) -> list[Part]:
    """Headings and what stands below each, wrapped paragraphs joined."""
    lines = tidy(text).split("\n")
    parts: list[Part] = []
    level, heading, body = 0, "", list[str]()
    styles: list[str] = []
    number = 0
    while number < len(lines):
        found = _heading_at(lines, number)
        if found is None:
            body.append(lines[number])
            number += 1
            continue
        parts.append(Part(level, heading, unwrap(tidy("\n".join(body)))))
        style, heading, length = found
        body = []
        level = _level(style, styles)
        number += length
    parts.append(Part(level, heading, unwrap(tidy("\n".join(body)))))
    return parts


def _level(style: str, styles: list[str]) -> int:
    """Level of a style of heading: number of ``#``, or the order in which underlines first came up."""
    if style.startswith("#"):
        return len(style)
    if style not in styles:
        styles.append(style)
    return styles.index(style) + 1


def _heading_at(lines: list[str], number: int) -> tuple[str, str, int] | None:
    """Style, text and number of lines of the heading that begins at a line, if one does."""
    line = lines[number]
    if not line or (number and lines[number - 1]):
        return None
    after = [*lines[number + 1 : number + 3], "", ""]
    if _RULE.fullmatch(line) and after[1] == line and _can_be_underlined(after[0], line):
        return f"over {line[0]}", after[0].strip(), 3
    if _RULE.fullmatch(after[0]) and _can_be_underlined(line, after[0]):
        return f"under {after[0][0]}", line.strip(), 2
    if not after[0] and (hashes := _HASHES.match(line)):
        return hashes.group(1), line[hashes.end() :].rstrip(" \t#"), 1
    return None


def _can_be_underlined(line: str, rule: str) -> bool:
    """Whether the rule is the underline of the line: about as long, where a divider is as wide as the page."""
    if not any(char.isalnum() for char in line) or len(line) > _MAX_HEADING_WIDTH:
        return False
    # Some count a Chinese character as one column, reStructuredText as two.
    return 0.8 * len(line.strip()) <= len(rule) <= display_width(line) + 8
