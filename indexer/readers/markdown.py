"""Markdown as text: headings into sections, code and lists kept, marks of emphasis and links taken away."""

import re
from collections.abc import Iterator

from indexer.readers.decoding import read_text
from indexer.readers.front_matter import split_front_matter
from indexer.readers.layout import Part, make_document
from indexer.readers.lines import join_lines
from indexer.readers.markdown_inline import plain_inline
from indexer.readers.source import Source
from indexer.records import Document

_FENCE = re.compile(r"(?P<indent>[ \t]*(?:>[ \t]?)*(?:(?:[-*+]|\d{1,9}[.)])[ \t]+)?)(?P<marks>`{3,}(?=[^`]*$)|~{3,})")
_QUOTE = re.compile(r"[ \t]*(?:>[ \t]?)+")
_ADMONITION = re.compile(r"\[!(\w+)\]")
_HEADING = re.compile(r" {0,3}(#{1,6})(?:[ \t]+(.*))?")
_HEADING_END = re.compile(r" ?\{#[^{}]{0,200}\}$| #+$|^#+$")
_UNDERLINE = re.compile(r" {0,3}(?:=+|-{2,})[ \t]*")
_RULE = re.compile(r" {0,3}([-*_])(?:[ \t]*\1){2,}[ \t]*")
_ITEM = re.compile(r"([ \t]*)([-*+]|\d{1,9}[.)])(?:[ \t]+(.*)|$)")
_TABLE_RULE = re.compile(r"\|?:?-+:?(?:\|:?-+:?)*\|?")
_CELL_END = re.compile(r"(?<!\\)\|")
_DEFINITION = re.compile(r" {0,3}\[(?!\^)[^\]]+\]:[ \t]*\S")
# What a site generator reads and a person does not: MDX imports and components, shortcodes, fences of asides.
_GENERATOR = re.compile(
    r"import\b.*\bfrom[ \t]+[\"'][^\"']*[\"'];?|</?[A-Z][\w.]*(?:[ \t][^<>]*)?/?>"
    r"|\{\{[<%][^}]*[>%]\}\}|:{3,}"
)
_ASIDE = re.compile(r"[ \t]*:{3,}[ \t]*\{?\.?([\w-]+)\}?[ \t]*(.*)")
_CODE_INDENT = re.compile(r" {4}|\t")


def read_markdown(source: Source) -> Iterator[Document]:
    """Read a Markdown file as one document.

    Its title is that of the front matter, else the first heading of the highest level, else the file name.

    Raises:
        UnreadableFile: If the file is empty, is not text, or is in an unknown encoding.
        OSError: If the file cannot be opened or read.
    """
    fields, text = split_front_matter(read_text(source))
    parts = outline_markdown(text)
    title = fields.pop("title", "") or first_heading(parts)
    yield make_document(source.uri, "markdown", title, parts, fields)


def first_heading(parts: list[Part]) -> str:
    """The first heading of the highest level there is; empty where there is none."""
    headings = [part for part in parts if part.heading]
    return min(headings, key=lambda part: part.level).heading if headings else ""


def outline_markdown(text: str) -> list[Part]:
    """Headings and what stands below each, as text."""
    outline = _Outline()
    for line, is_code in _told_apart(text.split("\n")):
        if is_code:
            outline.add_code(line)
        else:
            outline.add_prose(line)
    return outline.finish()


def _told_apart(lines: list[str]) -> Iterator[tuple[str, bool]]:
    """Each line with whether it is fenced code; fences and HTML comments are left out."""
    last_comment_end = max((number for number, line in enumerate(lines) if "-->" in line), default=-1)
    fence = indent = ""
    in_comment = False
    for number, line in enumerate(lines):
        if fence:
            if _closes(line, fence):
                fence = ""
                yield "", False
            else:
                yield _without_prefix(line, indent), True
            continue
        if not in_comment and (opening := _FENCE.match(line)):
            fence, indent = opening["marks"], opening["indent"]
            yield (indent if indent.strip(" \t>") else ""), False
            continue
        # A comment that is never closed is text: better a stray mark than the rest of the file lost.
        kept, in_comment = _without_comments(line, in_comment, closes_later=number < last_comment_end)
        if kept is not None:
            yield kept, False


def _closes(line: str, fence: str) -> bool:
    marks = line.strip(" \t>")
    return len(marks) >= len(fence) and set(marks) == {fence[0]}


def _without_prefix(line: str, indent: str) -> str:
    """A line of code without the quote marks and the indentation of its fence."""
    if ">" in indent and (quote := _QUOTE.match(line)):
        line = line[quote.end() :]
    spaces = len(line) - len(line.lstrip(" \t"))
    return line[min(spaces, len(indent.replace(">", ""))) :]


def _without_comments(line: str, in_comment: bool, *, closes_later: bool) -> tuple[str | None, bool]:
    """The line without comments, None where it was nothing else; and whether one is open at its end."""
    if not in_comment and "<!--" not in line:
        return line, False
    kept = ""
    while True:
        if in_comment:
            end = line.find("-->")
            if end < 0:
                break
            line, in_comment = line[end + 3 :], False
        start = line.find("<!--")
        if start < 0 or (line.find("-->", start) < 0 and not closes_later):
            kept += line
            break
        kept, line, in_comment = kept + line[:start], line[start + 4 :], True
    return (kept if kept.strip() else None), in_comment


class _Outline:
    """Takes lines, gives parts. A paragraph is held open until what ends it, since its lines are one text."""

    def __init__(self) -> None:
        self._parts: list[Part] = []
        self._level, self._heading = 0, ""
        self._body: list[str] = []
        self._paragraph: list[str] = []
        self._prefix = ""  # indentation and mark of the list item that the paragraph is
        self._in_list = False

    def finish(self) -> list[Part]:
        self._close_part()
        return self._parts

    def add_code(self, line: str) -> None:
        self._close_paragraph()
        self._body.append(line)

    def add_prose(self, line: str) -> None:
        if quote := _QUOTE.match(line):
            # A quoted heading is no heading of this text, so only its marks go.
            line = _ADMONITION.sub(lambda kind: kind.group(1).capitalize(), line[quote.end() :].lstrip("#"))
        if not line.strip():
            self._close_paragraph()
            self._body.append("")
        elif not quote and self._is_underline(line):
            heading, self._paragraph = join_lines(self._paragraph), []
            self._open_part(1 if "=" in line else 2, heading)
        elif not quote and (marked := _HEADING.fullmatch(line)):
            self._open_part(len(marked.group(1)), _HEADING_END.sub("", " ".join((marked.group(2) or "").split())))
        elif _RULE.fullmatch(line) or _GENERATOR.fullmatch(line.strip()):
            self._close_paragraph()
        elif not self._paragraph and not self._in_list and _CODE_INDENT.match(line):
            self._body.append(line)
        elif self._paragraph or not _DEFINITION.match(line):
            self._add_text(line)

    def _is_underline(self, line: str) -> bool:
        """Whether the line makes the open paragraph a heading; dashes below several lines are rather a divider."""
        if not self._paragraph or self._prefix or not _UNDERLINE.fullmatch(line):
            return False
        return "=" in line or len(self._paragraph) == 1

    def _add_text(self, line: str) -> None:
        if item := _ITEM.fullmatch(line):
            self._close_paragraph()
            mark = item.group(2) if item.group(2)[0].isdigit() else "-"
            self._prefix, self._in_list = f"{item.group(1)}{mark} ", True
            self._paragraph.append(item.group(3) or "")
        elif aside := _ASIDE.fullmatch(line):
            self._close_paragraph()
            self._body.append(plain_inline(aside.group(2)) or aside.group(1).capitalize())
        elif line.lstrip().startswith("|"):
            self._close_paragraph()
            if not _is_table_rule(line):
                self._body.append(_row(line))
        elif "|" not in line or not _is_table_rule(line):
            if not self._paragraph:
                indented = line[0] in " \t"
                self._in_list = self._in_list and indented
                self._prefix = line[: len(line) - len(line.lstrip())] if self._in_list else ""
            self._paragraph.append(line)

    def _close_paragraph(self) -> None:
        if self._paragraph:
            text = plain_inline(_joined(self._paragraph))
            if text:
                self._body.append(self._prefix + text)
        self._paragraph, self._prefix = [], ""

    def _open_part(self, level: int, heading: str) -> None:
        self._close_part()
        self._level, self._heading, self._in_list = level, plain_inline(heading), False

    def _close_part(self) -> None:
        self._close_paragraph()
        self._parts.append(Part(self._level, self._heading, "\n".join(self._body)))
        self._body = []


def _joined(lines: list[str]) -> str:
    """The lines of a paragraph as one, but for those that end in a hard break."""
    groups: list[list[str]] = [[]]
    for line in lines:
        groups[-1].append(line.rstrip("\\") if line.endswith("\\") else line)
        if line.endswith(("  ", "\\")):
            groups.append([])
    return "\n".join(filter(None, map(join_lines, groups)))


def _is_table_rule(line: str) -> bool:
    return _TABLE_RULE.fullmatch("".join(line.split())) is not None


def _row(line: str) -> str:
    cells = (plain_inline(cell.replace("\\|", "|").strip()) for cell in _CELL_END.split(line.strip().strip("|")))
    return " | ".join(cells)
