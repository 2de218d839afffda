"""reStructuredText as text: without directives, roles and link targets, its headings kept for ``outline_text``."""

import re
from collections.abc import Iterator

# Directives whose content is no text of the document.
_WITHOUT_TEXT = frozenset("image figure raw contents toctree include meta highlight role default-role".split())
_WITH_TEXT_BESIDE = frozenset(
    "note tip hint important warning caution attention danger seealso topic admonition rubric".split()
)
_DIRECTIVE = re.compile(r"( *)\.\. +(?:\|[^|]+\| +)?([A-Za-z][\w:.-]*?)::(?: +(.*))?")
_EXPLICIT = re.compile(r"( *)\.\.(?: .*)?")
_FOOTNOTE = re.compile(r"( *)\.\. \[[^\]]+\] ?(.*)")
_OPTION = re.compile(r" +:[\w -]+:(?: .*)?")
_BADGES = re.compile(r"\s*(?:\|[^|\s][^|]*\|_{0,2}\s*)+")

_TABLE_RULE = re.compile(r"\s*(?:\+[-=+]{3,}|=+(?: +=+)+)\s*")
_TABLE_ROW = re.compile(r"\s*\|\s.*\s\|\s*")

# Marks may span the lines of a paragraph; bounded, so that a stray one costs no quadratic time.
_INLINE = (
    (re.compile(r"``(.{1,500}?)``", re.DOTALL), r"\1"),
    (re.compile(r":[a-zA-Z][\w:.+-]{0,50}:`([^`<]{1,300}?)\s{0,20}(?:<[^`>]{0,1000}>)?`"), r"\1"),
    (re.compile(r"`([^`<]{1,300}?)\s{0,20}<[^`>]{0,1000}>`_{1,2}"), r"\1"),
    (re.compile(r"`([^`]{1,300})`_{0,2}"), r"\1"),
    (re.compile(r"\*\*(?=\S)([^*]{1,300})(?<=\S)\*\*"), r"\1"),
    (re.compile(r"(?<![\w*])\*(?=[^\s*])([^*]{1,300})(?<=\S)\*(?![\w*])"), r"\1"),
)
_DOUBLE_COLON = re.compile(r"^[ \t]*::[ \t]*$|(?<=[ \t])::[ \t]*$|:(?=:[ \t]*$)", re.MULTILINE)
_PARAGRAPH_END = re.compile(r"\n(?:[ \t]*\n)+")


def plain_text_of_rst(text: str) -> str:
    """The text that a reader of the rendered page would see, its underlined headings as they are."""
    text = "\n".join(line.rstrip() for line in _without_directives(text.split("\n")))
    return "\n\n".join(_inline(paragraph) for paragraph in _PARAGRAPH_END.split(text))


def _without_directives(lines: list[str]) -> Iterator[str]:
    skipped_indent = -1  # of the directive whose content is left out; -1 outside one
    in_options = False
    for line in lines:
        indent = len(line) - len(line.lstrip())
        if skipped_indent >= 0 and (not line.strip() or indent > skipped_indent):
            continue
        skipped_indent = -1
        in_options = in_options and _OPTION.fullmatch(line) is not None
        if in_options or _BADGES.fullmatch(line) or _TABLE_RULE.fullmatch(line):
            continue
        if footnote := _FOOTNOTE.fullmatch(line):
            yield footnote.group(1) + footnote.group(2)
        elif directive := _DIRECTIVE.fullmatch(line):
            if directive.group(2) in _WITHOUT_TEXT:
                skipped_indent = indent
            in_options = True
            yield directive.group(1) + (directive.group(3) or "") if directive.group(2) in _WITH_TEXT_BESIDE else ""
        elif _EXPLICIT.fullmatch(line):
            skipped_indent = indent  # a comment or a link target
        else:
            yield _row(line) if _TABLE_ROW.fullmatch(line) else line


def _row(line: str) -> str:
    return " | ".join(" ".join(cell.split()) for cell in line.strip().strip("|").split("|")).strip()


def _inline(paragraph: str) -> str:
    if "`" in paragraph or "*" in paragraph:
        for pattern, replacement in _INLINE:
            paragraph = pattern.sub(replacement, paragraph)
    return _DOUBLE_COLON.sub("", paragraph)
