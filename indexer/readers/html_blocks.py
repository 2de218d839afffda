"""Collects the text of an HTML tree, element by element, as the blocks a browser would show."""

import re
from typing import TYPE_CHECKING

from indexer.readers.decoding import clean
from indexer.readers.layout import Part
from indexer.readers.lines import CJK

if TYPE_CHECKING:
    from selectolax.lexbor import LexborNode

_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_BLOCKS = frozenset(
    "address article aside blockquote body caption center dd details div dl dt fieldset figcaption figure footer form"
    " header hr li main ol p section summary table tbody td tfoot th thead tr ul".split()
)
_LISTS = ("ul", "ol")
_NOT_IN_DATA = "h1, h2, h3, h4, pre"
_SEVERAL_CELLS = "td + td, th + td, th + th"
_CJK_LINE_END = re.compile(rf"(?<=[{CJK}])[ \t]*\n\s*(?=[{CJK}])")


class BlockWriter:
    """Takes the events of a walk over the tree, gives parts.

    Blocks are divided by an empty line; the items of a list and the rows of a table follow line on line.
    """

    def __init__(self) -> None:
        self._parts: list[Part] = []
        self._level, self._heading = 0, ""
        self._body: list[str] = []
        self._inline: list[list[str]] = [[]]  # the open block: its lines as <br> divides them, in pieces
        self._lists: list[tuple[str, int]] = []  # open lists, innermost last: tag and number of the last item
        self._mark = ""
        self._tight = False
        self._tables: list[bool] = []  # open tables, innermost last: whether each holds data
        self._cells: list[str] = []
        self._pre = 0

    def text(self, text: str) -> None:
        """Text of the open block."""
        self._inline[-1].append(text)

    def enter(self, node: "LexborNode") -> None:
        """An element opens."""
        tag = node.tag or ""
        if tag == "br":
            self._inline.append([])
        elif tag in _HEADINGS:
            self._flush()
            self._tight = False
        elif tag == "pre":
            self._flush()
            self._pre += 1
        elif tag in _BLOCKS:
            self._flush()
            self._enter_block(tag, node)

    def _enter_block(self, tag: str, node: "LexborNode") -> None:
        if tag in _LISTS:
            self._tight = bool(self._lists)
            self._lists.append((tag, 0))
        elif tag == "li":
            kind, number = self._lists.pop() if self._lists else ("ul", 0)
            self._lists.append((kind, number + 1))
            self._mark = f"{number + 1}. " if kind == "ol" else "- "
        elif tag == "table":
            self._tables.append(_holds_data(node))
            self._tight = False
        elif tag in ("dt", "p") and not self._lists and not self._in_data():
            self._tight = False

    def leave(self, tag: str) -> None:
        """An element closes."""
        if tag in _HEADINGS:
            self._leave_heading(_HEADINGS[tag])
        elif tag == "pre":
            self._leave_pre()
        elif tag in _BLOCKS:
            self._leave_block(tag)

    def _leave_heading(self, level: int) -> None:
        heading = " ".join(self._take().split())
        if heading and any(self._tables):
            self._put(heading)
        elif heading:
            self._close_part()
            self._level, self._heading = level, heading

    def _leave_pre(self) -> None:
        self._pre = max(0, self._pre - 1)
        code = "\n".join("".join(pieces) for pieces in self._inline)
        self._inline = [[]]
        code = "\n".join(line.rstrip() for line in clean(code).split("\n")).strip("\n")
        if code:
            self._put(code)
            self._tight = bool(self._lists)

    def _leave_block(self, tag: str) -> None:
        if tag in ("td", "th") and self._in_data():
            self._cells.append(" ".join(self._take().split()))
            return
        self._flush()
        if tag == "tr" and self._in_data():
            if any(self._cells):
                self._put(" | ".join(self._cells))
                self._tight = True
            self._cells = []
        elif tag in _LISTS and self._lists:
            self._lists.pop()
            self._tight = bool(self._lists)
        elif tag == "table" and self._tables:
            self._tables.pop()
            self._tight = False
        elif tag == "li":
            self._mark, self._tight = "", True
        elif tag == "dt":
            self._tight = True

    def _in_data(self) -> bool:
        return bool(self._tables) and self._tables[-1]

    def _take(self) -> str:
        """The open block's text, white space as a browser shows it; the block is empty afterwards."""
        lines = (_CJK_LINE_END.sub("", clean("".join(pieces))) for pieces in self._inline)
        self._inline = [[]]
        return "\n".join(filter(None, (" ".join(line.split()) for line in lines)))

    def _flush(self) -> None:
        if self._pre:
            return  # an element within <pre>
        if self._in_data():
            self._inline[-1].append(" ")  # a block within a cell
            return
        if text := self._take():
            self._put(text)
            self._tight = bool(self._lists)

    def _put(self, text: str) -> None:
        if self._body:
            self._body.append("\n" if self._tight else "\n\n")
        if self._lists:
            indent = "  " * (len(self._lists) - 1)
            text = indent + (self._mark or "  ") + text.replace("\n", "\n  " + indent)
            self._mark = ""
        self._body.append(text)

    def _close_part(self) -> None:
        self._parts.append(Part(self._level, self._heading, "".join(self._body)))
        self._body, self._tight = [], False

    def finish(self) -> list[Part]:
        """The parts; the writer is of no use afterwards."""
        self._pre = 0
        self._tables = []
        self._flush()
        self._close_part()
        return self._parts


def _holds_data(table: "LexborNode") -> bool:
    """Whether a table is one, and not the layout of a page, whose cells are blocks like any other."""
    return (
        table.css_first(_NOT_IN_DATA) is None
        and table.css_first(_SEVERAL_CELLS) is not None
        and len(table.css("table")) == 1  # the table itself is among them
    )
