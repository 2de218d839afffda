"""Word documents: headings into sections, paragraphs, lists and tables as text."""

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping

from indexer.readers.layout import Part, make_document
from indexer.readers.parts import Parts, attribute, local_name
from indexer.readers.source import Source
from indexer.records import Document

_BODY = "word/document.xml"
_STYLES = "word/styles.xml"
_NOTES = ("word/footnotes.xml", "word/endnotes.xml")
_KIND = "Word document"
_HEADING = re.compile(r"(?:heading|标题|標題)\s*([1-9])", re.IGNORECASE)
_TITLE, _ITEM = -1, -2
"""Stand for levels: of a paragraph styled as the document's title, and as an item of a list."""
_MAX_LEVEL = 9
_MAX_BASES = 20
# Text that was deleted or moved away, phonetic readings, and pictures for old versions of what is there already.
_LEFT_OUT = ("del", "moveFrom", "rt", "Fallback", "pPr", "rPr", "instrText", "delText")
_SIGNS = {"tab": "\t", "br": "\n", "cr": "\n", "noBreakHyphen": "-"}


def read_docx(source: Source) -> Iterator[Document]:
    """Read a Word document as one document.

    Its title is the paragraph styled as title, else that of its properties, else the first heading, else the file
    name. Footnotes stand at the end. Headers, footers and comments are left out.

    Raises:
        UnreadableFile: If the file is empty, protected, damaged, not a Word document, or has no text.
        OSError: If the file cannot be opened or read.
    """
    with Parts(source, "docx", _KIND) as parts:
        levels = _style_levels(parts)
        outline = _Outline()
        for block in parts.elements(_BODY, "p", "tbl"):
            if local_name(block) == "tbl":
                outline.add(_table_text(block))
            else:
                outline.paragraph(block, levels)
        for name in _NOTES:
            if name in parts:
                outline.open("", 0)
                for block in parts.elements(name, "p"):
                    outline.add(_text(block))
        title, metadata = parts.properties()
    found = outline.finish()
    title = outline.title or title or next((part.heading for part in found if part.heading), "")
    yield make_document(source.uri, "docx", title, found, metadata)


class _Outline:
    """Takes blocks, gives parts."""

    def __init__(self) -> None:
        self.title = ""
        self._parts: list[Part] = []
        self._level, self._heading = 0, ""
        self._body: list[str] = []
        self._in_list = False

    def paragraph(self, block: ET.Element, levels: Mapping[str, int]) -> None:
        text = _text(block)
        level, is_item = _kind(block, levels)
        if level == _TITLE and not self.title:
            self.title = text.strip()
        if level > 0 and text.strip():
            self.open(text, level)
        else:
            self.add(text, is_item=is_item)

    def add(self, text: str, *, is_item: bool = False) -> None:
        if not text.strip():
            return
        if self._body:
            self._body.append("\n" if is_item and self._in_list else "\n\n")
        self._body.append(f"- {text}" if is_item else text)
        self._in_list = is_item

    def open(self, heading: str, level: int) -> None:
        self._parts.append(Part(self._level, self._heading, "".join(self._body)))
        self._level, self._heading, self._body, self._in_list = level, heading, [], False

    def finish(self) -> list[Part]:
        self.open("", 0)
        return self._parts


def _text(element: ET.Element) -> str:
    """The text of a paragraph, or of the paragraphs within an element, one on each line."""
    pieces: list[str] = []
    # No recursion; an element is entered by putting its children in its place.
    waiting = [element]
    while waiting:
        at = waiting.pop()
        name = local_name(at)
        if name in _LEFT_OUT:
            continue
        if name == "t":
            pieces.append(at.text or "")
        elif name in _SIGNS:
            pieces.append(_SIGNS[name])
        elif name == "p" and pieces:
            pieces.append("\n")
        waiting.extend(reversed(at))
    return "".join(pieces).strip("\n")


def _table_text(table: ET.Element) -> str:
    rows = []
    for row in (child for child in table if local_name(child) == "tr"):  # those of tables within are in its cells
        cells = [" ".join(_text(cell).split()) for cell in row if local_name(cell) in ("tc", "sdt")]
        if any(cells):
            rows.append(" | ".join(cells))
    return "\n".join(rows)


def _kind(paragraph: ET.Element, levels: Mapping[str, int]) -> tuple[int, bool]:
    """Level of the heading that a paragraph is, 0 for none, and whether it is an item of a list."""
    settings = next((child for child in paragraph if local_name(child) == "pPr"), None)
    if settings is None:
        return 0, False
    level, is_item = 0, False
    for setting in settings:
        value = attribute(setting, "val")
        match local_name(setting):
            case "pStyle":
                level = level or levels.get(value, 0)
            case "outlineLvl":
                level = _outline_level(value) or level
            case "numPr":
                is_item = True
    return level, is_item or level == _ITEM


def _outline_level(value: str) -> int:
    return int(value) + 1 if len(value) == 1 and value in "012345678" else 0


def _style_levels(parts: Parts) -> dict[str, int]:
    """What paragraphs of each style are, by their level, also by the style that it is based on."""
    if _STYLES not in parts:
        return {}
    own: dict[str, int] = {}
    bases: dict[str, str] = {}
    for style in parts.elements(_STYLES, "style"):
        id = attribute(style, "styleId")
        values = {local_name(below): attribute(below, "val") for below in style.iter()}
        name = values.get("name", "").strip()
        heading = _HEADING.fullmatch(name)
        if name.lower() in ("title", "标题", "標題"):
            own[id] = _TITLE
        elif level := int(heading.group(1)) if heading else _outline_level(values.get("outlineLvl", "")):
            own[id] = min(level, _MAX_LEVEL)
        elif "numPr" in values:
            own[id] = _ITEM
        bases[id] = values.get("basedOn", "")
    levels = {}
    for id in bases:
        at = id
        for _ in range(_MAX_BASES):  # a chain that leads in a circle ends too
            if at in own or not at:
                break
            at = bases.get(at, "")
        levels[id] = own.get(at, 0)
    return levels
