"""A passage as HTML: safe, cut around its best match, with words and sentence emphasised. Pure functions."""

import re
from collections.abc import Iterable, Sequence

from app.ui.markup import plain
from indexer.search import Span

SNIPPET_CHARS = 400
SNIPPET_CHARS_WIDE = 240
"""Shown of a long passage; fewer where the text is mostly Chinese, whose characters are twice as wide."""

_SLACK = 1.25
"""A passage only this much longer than the limit is shown whole: hiding its last few words helps nobody."""

_SNAP_CHARS = 24
_WIDE = re.compile("[\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\uff00-\uff60\U00020000-\U0003ffff]")


def merge_spans(spans: Iterable[Span], length: int) -> list[Span]:
    """The same characters as sorted spans that neither touch nor leave ``0..length``."""
    merged: list[Span] = []
    for start, end in sorted((max(0, start), min(end, length)) for start, end in spans):
        if start >= end:
            continue
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((start, end))
    return merged


def snippet_window(text: str, highlights: Sequence[Span], best: Span | None) -> Span:
    """The part of a passage to show: all of a short one, else about 400 characters around the best match.

    The window stands where most highlighted characters are, and moves only when the best sentence is not in it, so
    that the text stays still under the reader's eyes when that sentence becomes known.
    """
    limit = SNIPPET_CHARS_WIDE if len(_WIDE.findall(text)) * 2 > len(text) else SNIPPET_CHARS
    if len(text) <= limit * _SLACK:
        return 0, len(text)
    window = _around(_densest(merge_spans(highlights, len(text)), limit), limit, len(text))
    for sentence in merge_spans([best] if best else [], len(text)):
        if not (window[0] <= sentence[0] and sentence[1] <= window[1]):
            window = _around(sentence, limit, len(text))
    return _snapped(text, window)


def emphasised(text: str, window: Span, highlights: Sequence[Span], best: Span | None) -> str:
    """The window of a passage as HTML: ``mark`` around the words, one soft span around the best sentence.

    A word that crosses the edge of the sentence is marked in two pieces, so the tags always nest.
    """
    start, end = window
    marks = merge_spans(((max(a, start), min(b, end)) for a, b in highlights), len(text))
    sentence = (max(best[0], start), min(best[1], end)) if best else (start, start)
    if sentence[0] >= sentence[1]:
        body = _marked(text, start, end, marks)
    else:
        body = (
            _marked(text, start, sentence[0], marks)
            + f'<span class="kalm-best">{_marked(text, *sentence, marks)}</span>'
            + _marked(text, sentence[1], end, marks)
        )
    return ("… " if start > 0 else "") + body + (" …" if end < len(text) else "")


def _marked(text: str, start: int, end: int, marks: Sequence[Span]) -> str:
    pieces: list[str] = []
    at = start
    for a, b in marks:
        a, b = max(a, start), min(b, end)
        if a < b:
            pieces += [plain(text[at:a]), "<mark>", plain(text[a:b]), "</mark>"]
            at = b
    return "".join(pieces) + plain(text[at:end])


def _densest(spans: Sequence[Span], limit: int) -> Span:
    """From the first to the last of the spans that together cover most within ``limit`` characters."""
    best, most = (0, 0), 0
    for i, (start, _) in enumerate(spans):
        within = [span for span in spans[i : i + limit] if span[1] <= start + limit] or [spans[i]]
        covered = sum(b - a for a, b in within)
        if covered > most:
            best, most = (start, within[-1][1]), covered
    return best


def _around(target: Span, limit: int, length: int) -> Span:
    """``limit`` characters with the target in their middle, moved to stay inside the text."""
    start, end = target
    if end - start >= limit:  # too long to fit: better its beginning than its middle
        return min(start, length - limit), min(start + limit, length)
    start = min(max(0, (start + end - limit) // 2), length - limit)
    return start, start + limit


def _snapped(text: str, window: Span) -> Span:
    """The window grown to whole words where a space is near (Chinese is cut anywhere), and to the ends of the text."""
    start, end = window
    if start > 0:
        spaces = [match.end() for match in re.finditer(r"\s", text[max(0, start - _SNAP_CHARS) : start])]
        start = max(0, start - _SNAP_CHARS) + spaces[-1] if spaces else start
    if end < len(text):
        space = re.search(r"\s", text[end : end + _SNAP_CHARS])
        end = end + space.start() if space else end
    return (0 if start <= _SNAP_CHARS else start), (len(text) if end + _SNAP_CHARS >= len(text) else end)
