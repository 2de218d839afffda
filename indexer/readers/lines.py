"""Lines that belong together: how wide a line is, and how wrapped lines become a paragraph again."""

import re
from collections.abc import Sequence
from itertools import pairwise

# Scripts written without spaces between words, with their punctuation. Hangul is left out: Korean has spaces.
CJK = (
    "\u2e80-\u303e\u3041-\u30ff\u3105-\u312f\u31a0-\u31ff\u3400-\u4dbf\u4e00-\u9fff"
    "\uf900-\ufaff\ufe30-\ufe4f\uff01-\uff60\U00020000-\U0003ffff"
)
_CJK = re.compile(f"[{CJK}]")
_CJK_OR_DIGIT = re.compile(f"[0-9{CJK}]")
_CJK_PUNCTUATION = re.compile(
    "[\u3000-\u3004\u3008-\u3020\ufe30-\ufe4f\uff01-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff60]"
)
_WIDE = re.compile(f"[{CJK}\u1100-\u115f\uac00-\ud7a3\uffe0-\uffe6]")
_DIVIDED = re.compile(r"[^\W\d_]-$")
_UNFINISHED = re.compile(r"[^\W\d_]-$|\w/$")
_MARKS = ".,;:!?()[]\"'\u201c\u201d\u2018\u2019"
_BULLET = re.compile(r"\s*(?:[-*+\u2022\u25e6\u25aa\u2013]|\(?\d{1,3}[.)\u3001]|[a-zA-Z][.)])\s+\S")

_MAX_WORD_CHARS = 100
_MIN_WRAP_WIDTH = 50
"""Nobody wraps prose at fewer columns; shorter blocks are verse, addresses, lists."""
_MIN_FILL = 0.9
_MIN_PROSE_SHARE = 0.9
"""Share of letters, spaces and sentence marks below which a block is code or a drawing."""
_PROSE = re.compile(r"[^\W\d_]|[\s.,;:!?'\"()\u2010-\u201f\u3001-\u3011\uff01-\uff1f-]")


def display_width(text: str) -> int:
    """Columns the text takes in a terminal: two for a Chinese, Japanese or Korean character, else one."""
    return len(text) + len(_WIDE.findall(text))


def starts_item(line: str) -> bool:
    """Whether the line begins with the mark of a list item."""
    return _BULLET.match(line) is not None


def join_lines(lines: Sequence[str], *, divided: bool = False, compounds: frozenset[str] = frozenset()) -> str:
    """Make one line of the wrapped lines of a paragraph.

    Chinese and Japanese lines meet without a space, a path or a hyphenated word meets its next part, all
    others meet with one space.

    Args:
        lines: The lines; blank ones are left out.
        divided: Whether a hyphen at a line end is the typesetter's, to be taken away, as in a PDF.
        compounds: Words that keep their hyphen all the same ("well-known").
    """
    joined = ""
    for line in filter(None, (line.strip() for line in lines)):
        if divided and _DIVIDED.search(joined[-2:]) and line[0].islower():
            joined = _join_word(joined, line, compounds)
        else:
            joined += _gap(joined, line) + line
    return joined


def _join_word(left: str, right: str, compounds: frozenset[str]) -> str:
    word = left[-_MAX_WORD_CHARS:].split()[-1] + right.split()[0]
    keeps_hyphen = word.strip(_MARKS).lower() in compounds
    return (left if keeps_hyphen else left[:-1]) + right


def _gap(left: str, right: str) -> str:
    if not left or (_CJK_OR_DIGIT.match(left[-1]) and _CJK.match(right[0])):
        return ""
    if _CJK.match(left[-1]) and _CJK_OR_DIGIT.match(right[0]):
        return ""
    if _CJK_PUNCTUATION.match(left[-1]) or _CJK_PUNCTUATION.match(right[0]):
        return ""
    if _UNFINISHED.search(left[-2:]) and right[0].isalnum():
        return ""
    return " "


def unwrap(text: str) -> str:
    """Join the lines of paragraphs that were wrapped at a fixed width; leave every other block as it is.

    A Chinese word cut by a line end is found by no keyword, and read as two by a tokenizer. The text is tidy
    (``layout.tidy``), so that one empty line divides two blocks.
    """
    return "\n\n".join(_unwrap_block(block) for block in text.split("\n\n"))


def _unwrap_block(block: str) -> str:
    items: list[list[str]] = []
    for line in block.split("\n"):
        if not items or starts_item(line):
            items.append([])
        items[-1].append(line)
    if all(len(item) == 1 for item in items) or not all(_is_wrapped(item) for item in items):
        return block
    return "\n".join(_indent(item[0]) + join_lines(item) for item in items)


def _indent(line: str) -> str:
    return line[: len(line) - len(line.lstrip())]


def _is_wrapped(lines: Sequence[str]) -> bool:
    """Whether each line but the last is so full that the first word of the next had no room in it."""
    if len(lines) == 1:
        return True
    width = max(display_width(line.rstrip()) for line in lines)
    text = "".join(lines)
    if width < _MIN_WRAP_WIDTH or len(_PROSE.findall(text)) < _MIN_PROSE_SHARE * len(text):
        return False
    if any(re.search(r"\S {3,}\S", line) for line in lines):
        return False  # columns of a table
    if len({len(_indent(line)) for line in lines[1:]}) > 1:
        return False
    # Lines filled by hand are not all as full as they could be.
    full = _MIN_FILL * width
    return all(display_width(line.rstrip()) + _first_word_width(after) >= full for line, after in pairwise(lines))


def _first_word_width(line: str) -> int:
    word = line.split(maxsplit=1)[0]
    # Between Chinese characters a line may break anywhere, except before a mark of punctuation.
    return 6 if _CJK.match(word) else 1 + display_width(word)
