"""Markdown within a paragraph as text. Code spans are taken out first: nothing in them is a mark."""

import html
import re

# Every repetition is bounded, so that no line, however long or hostile, takes quadratic time.
_CODE = re.compile(r"(?<![`\\])(`+)(?!`)(.{1,1000}?)(?<!`)\1(?!`)", re.DOTALL)
_LABEL = r"\[((?:[^\[\]\\]|\\.|\[[^\[\]]{0,200}\]){0,1000}?)\]"
_URL = r"(?:<[^<>]{0,1000}>|[^()\s]{0,1000}(?:\([^()\s]{0,200}\)[^()\s]{0,1000}){0,3})"
_TARGET = rf"\(\s{{0,10}}{_URL}(?:\s{{1,10}}[\"'(][^\n]{{0,300}}?[\"')])?\s{{0,10}}\)"
_BADGE = re.compile(rf"\[!{_LABEL}(?:{_TARGET}|\[[^\]]{{0,100}}\])\](?:{_TARGET}|\[[^\]]{{0,100}}\])")
_IMAGE = re.compile(rf"!{_LABEL}(?:{_TARGET}|\[[^\]]{{0,100}}\])")
_LINK = re.compile(rf"(?<!\\){_LABEL}{_TARGET}")
_REFERENCE = re.compile(rf"(?<![A-Za-z0-9_\]\\]){_LABEL}\[[^\[\]]{{0,100}}\]")  # but not in array[0][1]
_FOOTNOTE = re.compile(r"\[\^[^\]\s]{1,50}\]:?")
_AUTOLINK = re.compile(r"<((?:https?|ftp|mailto):[^<>\s]{1,1000}|[^<>\s@]{1,100}@[^<>\s@]{1,100})>")
_BREAK = re.compile(r"<br\s*/?>", re.IGNORECASE)
_TAG = re.compile(
    r"</?(?:a|abbr|article|b|big|blockquote|caption|center|cite|code|col|colgroup|dd|del|details|dfn|div|dl|dt|em|figcaption"
    r"|figure|font|footer|h[1-6]|header|hr|i|iframe|img|input|ins|kbd|li|link|main|mark|nav|ol|p|picture|pre|q|s|samp|section"
    r"|script|small|source|span|strike|strong|style|sub|summary|sup|svg|path|table|tbody|td|tfoot|th|thead|tr|tt|u|ul|var|video"
    r"|audio|wbr)(?:\s[^<>]{0,2000})?/?>",
    re.IGNORECASE,
)
_SHORTCODE = re.compile(r"\{\{[<%][^}]{0,500}[>%]\}\}")
_STARS = re.compile(r"(?<![\\*])(\*{1,3})(?=[^\s*])(.{1,1000}?)(?<=[^\s\\])\1(?!\*)", re.DOTALL)
_UNDERSCORES = re.compile(r"(?<![\w\\])(_{1,3})(?=[^\s_])(.{1,1000}?)(?<=[^\s\\])\1(?!\w)", re.DOTALL)
_STRUCK = re.compile(r"(?<!~)~~(?=[^\s~])(.{1,1000}?)~~(?!~)", re.DOTALL)
_ESCAPE = re.compile(r"\\([!-/:-@\[-`{-~])")
_SPACES = re.compile(r"[^\S\n]{2,}|[\t\xa0]")
_MAX_CHARS = 100_000  # of a paragraph that a person may have written
# Private use: cannot be in the text by then, since a document that has one loses only its looks.
_HOLE = "\ue000"
_HOLES = re.compile(_HOLE)


def plain_inline(text: str) -> str:
    """The text of one paragraph, heading or cell without Markdown and HTML marks."""
    if len(text) > _MAX_CHARS or not any(mark in text for mark in "`[]*_~<>&\\{"):
        return _SPACES.sub(" ", text).strip()
    text = text.replace(_HOLE, "")
    spans = [span.group(2) for span in _CODE.finditer(text)]
    text = _without_marks(_CODE.sub(_HOLE, text))
    codes = iter(spans)
    return _HOLES.sub(lambda _: " ".join(next(codes, "").split()), text).strip()


def _without_marks(text: str) -> str:
    text = _BADGE.sub("", text)
    text = _IMAGE.sub(r"\1", text)
    text = _REFERENCE.sub(r"\1", _LINK.sub(r"\1", text))
    text = _FOOTNOTE.sub("", text)
    text = _AUTOLINK.sub(r"\1", text)
    text = _TAG.sub("", _BREAK.sub("\n", text))
    text = _SHORTCODE.sub("", text)
    for pattern in (_STARS, _STARS, _UNDERSCORES, _UNDERSCORES):  # twice: a strong word in an emphasised phrase
        text = pattern.sub(r"\2", text)
    text = _STRUCK.sub(r"\1", text)
    return _SPACES.sub(" ", html.unescape(_ESCAPE.sub(r"\1", text)))
