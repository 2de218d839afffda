"""The fields that site generators expect before a text, between lines of ``---`` (YAML) or ``+++`` (TOML)."""

import re

_BLOCK = re.compile(r"\A(---|\+\+\+)[ \t]*\n(.*?)^\1[ \t]*(?:\n|\Z)", re.DOTALL | re.MULTILINE)
_FIELD = re.compile(r"([^\W\d][\w.-]*)[ \t]*[:=][ \t]*(.*)")
_BELONGS_TO_FIELD = re.compile(r"[ \t\-#\[\]{}]|$")
_NO_SCALAR = re.compile(r"[|>&*\[{!]")


def split_front_matter(text: str) -> tuple[dict[str, str], str]:
    """The fields, and the text below them; no fields and the whole text where it has no front matter.

    Only fields of one line are kept, their names in lower case. The full YAML is not parsed: what is searched
    is the text, and a library that can build objects from a file is not needed for a title.
    """
    block = _BLOCK.match(text)
    if block is None:
        return {}, text
    fields: dict[str, str] = {}
    for line in block.group(2).split("\n"):
        field = _FIELD.fullmatch(line)
        if field is None and not _BELONGS_TO_FIELD.match(line):
            return {}, text  # two dividers with prose between them
        if field is None:
            continue
        value = field.group(2).strip()
        if value and not _NO_SCALAR.match(value):
            fields[field.group(1).lower()] = _unquoted(value)
    return {name: value for name, value in fields.items() if value}, text[block.end() :]


def _unquoted(value: str) -> str:
    if len(value) >= 2 and value[0] == value[-1] and value[0] in "\"'":
        return value[1:-1].strip()
    return value.split(" #")[0].rstrip()
