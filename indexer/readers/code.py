"""Source code, as it stands: a section for each definition in Python, else for each block between empty lines."""

import ast
import re
import warnings
from collections.abc import Iterator
from pathlib import PurePosixPath

from indexer.readers.decoding import read_text
from indexer.readers.formats import PROGRAMMING_LANGUAGES
from indexer.readers.layout import finish_document, place, tidy
from indexer.readers.source import Source
from indexer.records import Document

_BLOCK_START = re.compile(r"\n\n(?=[^\s})\]])")
_MIN_BLOCK_CHARS = 400
_MAX_PARSED_CHARS = 1_000_000


def read_code(source: Source) -> Iterator[Document]:
    """Read a file of source code as one document; ``programming_language`` is in its metadata.

    Its title is the file's name with the suffix. Nothing but trailing spaces and extra empty lines is changed.

    Raises:
        UnreadableFile: If the file is empty, too large, is not text, or is in an unknown encoding.
        OSError: If the file cannot be opened or read.
    """
    name = PurePosixPath(source.uri)
    language = PROGRAMMING_LANGUAGES.get(name.suffix.lower(), "")
    text = tidy(read_text(source))
    pieces = _definitions(text) if language == "python" else []
    text, sections = place((piece, headings, None) for piece, headings in pieces or _blocks(text))
    metadata = {"programming_language": language} if language else {}
    yield finish_document(source.uri, "code", name.name, text, sections, metadata)


def _definitions(text: str) -> list[tuple[str, tuple[str, ...]]]:
    """Top-level functions and classes under their names, what is between them without; empty where it is no Python."""
    if len(text) > _MAX_PARSED_CHARS:
        return []
    try:
        with warnings.catch_warnings(action="ignore"):  # of the code that is read
            tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # the last: nested deeper than the parser goes
        return []
    lines = text.split("\n")
    pieces: list[tuple[str, tuple[str, ...]]] = []
    done = 0
    for node in tree.body:
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) or node.end_lineno is None:
            continue
        start = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)]) - 1
        while start > done and lines[start - 1].startswith("#"):
            start -= 1
        if start < done:
            continue  # two on one line
        pieces.append(("\n".join(lines[done:start]).strip("\n"), ()))
        pieces.append(("\n".join(lines[start : node.end_lineno]), (node.name,)))
        done = node.end_lineno
    pieces.append(("\n".join(lines[done:]).strip("\n"), ()))
    return pieces


def _blocks(text: str) -> list[tuple[str, tuple[str, ...]]]:
    """Cut where an empty line is followed by one that is not indented, into pieces that are not too short."""
    pieces: list[str] = []
    for block in _BLOCK_START.split(text):
        if pieces and len(pieces[-1]) < _MIN_BLOCK_CHARS:
            pieces[-1] += f"\n\n{block}"
        else:
            pieces.append(block)
    return [(piece, ()) for piece in pieces]
