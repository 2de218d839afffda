"""Presentations: a section for each slide, with its notes."""

import xml.etree.ElementTree as ET
from collections.abc import Iterator

from indexer.readers.errors import UnreadableFile
from indexer.readers.layout import finish_document, one_line, place
from indexer.readers.parts import Parts, attribute, local_name, named
from indexer.readers.source import Source
from indexer.records import Document

_MAIN = "ppt/presentation.xml"
_KIND = "PowerPoint presentation"
_TITLES = ("title", "ctrTitle")
_ORNAMENTS = ("dt", "ftr", "sldNum", "hdr", "sldImg")
"""Placeholders that say the same on every slide."""


def read_pptx(source: Source) -> Iterator[Document]:
    """Read a presentation as one document, a section for each slide, under the slide's title.

    Its title is that of its properties, else that of the first slide that has one, else the file name.

    Raises:
        UnreadableFile: If the file is empty, protected, damaged, not a presentation, or has no text.
        OSError: If the file cannot be opened or read.
    """
    with Parts(source, "pptx", _KIND) as parts:
        names = _slides(parts)
        limit = source.limits.pages
        if len(names) > limit:
            raise UnreadableFile(f"The presentation has more than {limit:,} slides; split it and index the parts.")
        slides = [_slide(parts, name) for name in names]
        title, metadata = parts.properties()
    text, sections = place(
        (text, (heading,) if heading else (), number) for number, (heading, text) in enumerate(slides, start=1)
    )
    if one_line(title).lower() in ("", "powerpoint presentation", "powerpoint 演示文稿"):
        title = next((heading for heading, _ in slides if heading), "")
    yield finish_document(source.uri, "pptx", title, text, sections, metadata)


def _slides(parts: Parts) -> list[str]:
    """Names of the parts that the slides are, in the order they are shown."""
    targets = parts.targets(_MAIN)
    found = (targets.get(_relation(slide), ("", "")) for slide in named(parts.tree(_MAIN), "sldId"))
    return [name for kind, name in found if kind == "slide" and name in parts]


def _relation(element: ET.Element) -> str:
    """The id of the relationship: of the two attributes named ``id`` the one in a namespace."""
    return next((value for key, value in element.items() if key.endswith("}id")), "")


def _slide(parts: Parts, name: str) -> tuple[str, str]:
    """Title and text of a slide; the text begins with the title."""
    heading, blocks = _shapes(parts.tree(name))
    for kind, target in parts.targets(name).values():
        if kind == "notesSlide" and target in parts:
            # A notes page shows the slide again, as a picture.
            blocks.extend(_shapes(parts.tree(target), only="body")[1])
    return heading, "\n\n".join(filter(None, (heading, *blocks)))


def _shapes(root: ET.Element, only: str = "") -> tuple[str, list[str]]:
    """The title, and the texts of the other shapes; of one sort of placeholder only where that is named."""
    heading = ""
    blocks = []
    for shape in named(root, "sp", "tbl"):
        if local_name(shape) == "tbl":
            rows = [[one_line(_lines(cell)) for cell in named(row, "tc")] for row in named(shape, "tr")]
            blocks.append("\n".join(" | ".join(row) for row in rows if any(row)))
            continue
        placeholder = next((attribute(mark, "type") or "body" for mark in named(shape, "ph")), "")
        if placeholder in _ORNAMENTS or (only and placeholder != only):
            continue
        text = _lines(shape)
        if placeholder in _TITLES and not heading:
            heading = one_line(text)
        elif text.strip():
            blocks.append(text)
    return heading, blocks


def _lines(element: ET.Element) -> str:
    """The paragraphs of a shape or cell, one on each line."""
    lines = []
    for paragraph in named(element, "p"):
        pieces = ("\n" if local_name(run) == "br" else run.text or "" for run in named(paragraph, "t", "br"))
        lines.append("".join(pieces).strip())
    return "\n".join(filter(None, lines))
