"""From headings and bodies to a document: the one place where offsets are made."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from indexer.readers.decoding import clean
from indexer.readers.errors import UnreadableFile
from indexer.readers.language import detect_language
from indexer.records import Document, Section

_NO_TEXT = "The file holds no text that could be searched; there is nothing to index."
_TITLE_CHARS = 100
_METADATA_CHARS = 1000
_EXTRA_LINES = re.compile(r"\n{3,}")


@dataclass(frozen=True, slots=True)
class Part:
    """A heading and what stands directly below it.

    Attributes:
        level: 1 for the outermost headings; 0 for a part that has no heading.
        heading: The heading as text; empty at level 0.
        body: The text below it; may be blank.
    """

    level: int
    heading: str
    body: str


def one_line(text: str, limit: int = 0) -> str:
    """The text with every run of white space as one space; cut with an ellipsis where longer than ``limit``."""
    line = " ".join(clean(text).split())
    if not limit or len(line) <= limit:
        return line
    cut = line[:limit]
    # A word is not cut, unless there is no space to cut at, as in Chinese.
    spaced = cut.rsplit(" ", 1)[0]
    return (spaced if len(spaced) > limit // 2 else cut).rstrip(" ,;:\uff0c\uff1b\uff1a\u3001") + "\u2026"


def file_stem(uri: str) -> str:
    """The file's name without suffix: the title of last resort, never empty."""
    return one_line(PurePosixPath(uri).stem) or "untitled"


def about(author: str = "", date: str = "", **others: str) -> dict[str, str]:
    """Metadata of what a file says of itself, in one line each; what it does not say is left out.

    Args:
        author: Names.
        date: Day or moment, ISO 8601.
        others: Further fields.
    """
    fields = {"author": author, "date": date, **others}
    lines = {name: one_line(value, _METADATA_CHARS) for name, value in fields.items()}
    return {name: line for name, line in lines.items() if line}


def make_document(
    uri: str, file_type: str, title: str, parts: Iterable[Part], metadata: Mapping[str, str] | None = None
) -> Document:
    """Lay the parts out as one document.

    Args:
        uri: Path relative to the corpus root; its stem is the title where ``title`` is blank.
        file_type: One of those named at ``Document.file_type``.
        title: What the file calls itself; may be blank or have several lines.
        parts: In the order of the text.
        metadata: Further fields.

    Raises:
        UnreadableFile: If no part has any text.
    """
    text, sections = lay_out(parts)
    return finish_document(uri, file_type, title, text, sections, metadata)


def finish_document(
    uri: str,
    file_type: str,
    title: str,
    text: str,
    sections: Sequence[Section],
    metadata: Mapping[str, str] | None = None,
) -> Document:
    """A whole-file document of text that is already laid out.

    Raises:
        UnreadableFile: If there is no section.
    """
    if not sections:
        raise UnreadableFile(_NO_TEXT)
    return Document(
        uri=uri,
        title=one_line(title, 2 * _TITLE_CHARS) or file_stem(uri),
        text=text,
        sections=tuple(sections),
        file_type=file_type,
        language=detect_language(text),
        metadata=dict(metadata or {}),
    )


def lay_out(parts: Iterable[Part]) -> tuple[str, tuple[Section, ...]]:
    """Text and sections of the parts; each heading opens its section, under the path of the headings above.

    A heading with nothing below it but a deeper heading opens that one's section, so that no section is a
    lone heading.
    """
    pieces: list[tuple[str, tuple[str, ...]]] = []
    path: list[tuple[int, str]] = []
    waiting: list[str] = []
    all_parts = list(parts)
    for number, part in enumerate(all_parts):
        heading, body = one_line(part.heading), tidy(part.body)
        path = [(level, above) for level, above in path if level < part.level]
        if heading:
            path.append((part.level, heading))
            waiting.append(heading)
        following = all_parts[number + 1] if number + 1 < len(all_parts) else None
        if not body and following is not None and following.level > part.level:
            continue
        text = "\n\n".join(filter(None, (*waiting, body)))
        waiting = []
        if text:
            pieces.append((text, tuple(above for _, above in path)))
    return place((text, headings, None) for text, headings in pieces)


def place(pieces: Iterable[tuple[str, tuple[str, ...], int | None]]) -> tuple[str, tuple[Section, ...]]:
    """Join pieces of (text, headings, page) with a blank line between, one section for each; blank ones go."""
    texts: list[str] = []
    sections: list[Section] = []
    start = 0
    for text, headings, page in pieces:
        if not text.strip():
            continue
        texts.append(text)
        sections.append(Section(start, start + len(text), headings, page))
        start += len(text) + 2
    return "\n\n".join(texts), tuple(sections)


def tidy(text: str) -> str:
    """Cleaned text without trailing spaces, surrounding blank lines, or two blank lines in a row."""
    # Line by line, not by one expression: that would take quadratic time over a long run of spaces.
    lines = "\n".join(line.rstrip() for line in clean(text).split("\n"))
    return _EXTRA_LINES.sub("\n\n", lines).strip("\n")
