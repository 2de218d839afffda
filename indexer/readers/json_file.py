"""JSON: the rows of an array of objects, or one document of names and values."""

import json
from collections.abc import Iterator
from itertools import chain

from indexer.readers.decoding import clean, read_text
from indexer.readers.errors import UnreadableFile
from indexer.readers.layout import Part, make_document, one_line
from indexer.readers.source import Source
from indexer.readers.tables import object_row, row_documents, scalar
from indexer.records import Document

_INVALID = "The file is not valid JSON, or nests too deep; correct it and index again."
_TITLES = ("title", "name", "标题", "名称")
_INDENT = "  "


def read_json(source: Source) -> Iterator[Document]:
    """Read a JSON file: an array of objects as rows, like JSON Lines; anything else as one document.

    The one document has a line for each name and value, and a section for each object or array at the outermost
    level. Its title is the value named title or name, else the file name.

    Raises:
        UnreadableFile: If the file is empty, too large, is not text or not JSON, or has no text.
        OSError: If the file cannot be opened or read.
    """
    try:
        value = json.loads(read_text(source))
    except (ValueError, RecursionError) as error:
        raise UnreadableFile(_INVALID) from error
    if isinstance(value, list) and value and all(isinstance(row, dict) for row in value):
        yield from row_documents(map(object_row, value), source.uri, "json")
        return
    fields = value if isinstance(value, dict) else {}
    title = next((scalar(fields[name]) for name in _TITLES if isinstance(fields.get(name), str)), "")
    yield make_document(source.uri, "json", title, _parts(value))


def _parts(value: object) -> list[Part]:
    """Sections by the outermost names; plain values above them."""
    if not isinstance(value, dict):
        return [Part(0, "", "\n".join(_lines("", value)))]
    nested = {name: field for name, field in value.items() if isinstance(field, dict | list)}
    plain = {name: field for name, field in value.items() if name not in nested}
    outermost = Part(0, "", "\n".join(chain.from_iterable(_lines(name, field) for name, field in plain.items())))
    below = ((name, "\n".join(_lines("", field))) for name, field in nested.items())
    return [outermost, *(Part(1, one_line(name), body) for name, body in below if body)]


def _lines(name: str, value: object) -> Iterator[str]:
    """A line for each value, indented as deep as it stands. No recursion: JSON may nest deeper than Python calls."""
    waiting: list[tuple[int, str, object]] = [(0, one_line(name), value)]
    while waiting:
        depth, label, value = waiting.pop()
        if isinstance(value, dict):
            inner = [(depth + bool(label), one_line(name) or "-", below) for name, below in value.items()]
        elif isinstance(value, list):
            inner = [(depth + bool(label), "-", below) for below in value]
        else:
            text = clean(scalar(value))
            if text:
                yield _INDENT * depth + (f"{label}: {text}" if label not in ("", "-") else f"{label} {text}".strip())
            continue
        if label and inner:
            yield _INDENT * depth + (f"{label}:" if label != "-" else "-")
        waiting.extend(reversed(inner))
