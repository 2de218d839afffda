"""HTML as text: the main content, its headings into sections, without menus, scripts and other furniture.

Own walk over selectolax' tree rather than trafilatura: on the Debian manuals, English and Chinese, the latter lost
the headings of most pages, and was four times slower.
"""

import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from indexer.readers.decoding import EMPTY, decode
from indexer.readers.errors import UnreadableFile
from indexer.readers.html_blocks import BlockWriter
from indexer.readers.html_furniture import NO_TEXT_TAGS, is_furniture
from indexer.readers.layout import Part, make_document
from indexer.readers.source import Source
from indexer.records import Document

if TYPE_CHECKING:
    from selectolax.lexbor import LexborHTMLParser, LexborNode

_HEAD_BYTES = 4096
_CHARSET = re.compile(rb"(?:charset|encoding)\s*=\s*[\"']?\s*([\w:.-]{2,40})", re.IGNORECASE)
_XML = re.compile(r"\s*<\?xml|\s*<!DOCTYPE[^>]*XHTML", re.IGNORECASE)
_EMPTY_ELEMENT = re.compile(
    r"<(a|b|i|em|span|div|p|td|th|li|dt|dd|script|style|title|iframe)(\s[^<>]*?)?/>", re.IGNORECASE
)
_MAIN = ("main", "[role=main]", "article", "#main-content", "#content", "#mw-content-text", ".markdown-body")
_MIN_MAIN_SHARE = 0.25
"""A "main" element with a smaller share of the page's text is a teaser or a slip of the template."""


def read_html(source: Source) -> Iterator[Document]:
    """Read an HTML file as one document.

    Its title is the first ``<h1>`` of the main content, else ``<title>``, else the first heading, else the
    file name.

    Raises:
        UnreadableFile: If the file is empty, is not text, is in an unknown encoding, or shows no text.
        OSError: If the file cannot be opened or read.
    """
    title, parts = html_parts(source.read())
    yield make_document(source.uri, "html", title, parts)


def html_parts(data: bytes) -> tuple[str, list[Part]]:
    """Title and main content of a page; the title is empty where it has none.

    Raises:
        UnreadableFile: If the page is empty, is not text, or is in an unknown encoding.
    """
    # Here, not above: only this reader needs the parser.
    from selectolax.lexbor import LexborHTMLParser

    declared = _CHARSET.search(data[:_HEAD_BYTES])
    markup = decode(data, declared.group(1).decode("ascii", "replace") if declared else "")
    if _XML.match(markup):
        # An HTML parser takes <a id="x"/> for an anchor left open, and the rest of the page for its text.
        markup = _EMPTY_ELEMENT.sub(r"<\1\2></\1>", markup)
    try:
        page = LexborHTMLParser(markup)
    except Exception as error:  # the parser has no error class of its own
        raise UnreadableFile("The HTML could not be parsed; open it in a browser, save it again and index.") from error
    if page.body is None:
        raise UnreadableFile(EMPTY)
    parts = _main_content(page.body)
    return _title(page, parts), parts


def _title(page: "LexborHTMLParser", parts: list[Part]) -> str:
    headings = [part for part in parts if part.heading]
    first = next((part.heading for part in headings if part.level == 1), "")
    title = page.css_first("head > title")
    return first or (title.text().strip() if title else "") or (headings[0].heading if headings else "")


def _main_content(body: "LexborNode") -> list[Part]:
    """Parts of the element that holds the content; of the whole body where all of it looks like furniture."""
    parts = _parts(body, is_furniture)
    everything = _length(parts)
    for selector in _MAIN:
        candidates = body.css(selector)
        # Several articles are a list of teasers, or an article and its comments: the body has them all.
        if len(candidates) == 1:
            main = _parts(candidates[0], is_furniture)
            if _length(main) >= max(1.0, _MIN_MAIN_SHARE * everything):
                return main
    return parts if everything else _parts(body, _shows_nothing)


def _shows_nothing(node: "LexborNode") -> bool:
    return node.tag in NO_TEXT_TAGS


def _length(parts: list[Part]) -> int:
    return sum(len(part.body) for part in parts)


def _parts(root: "LexborNode", leave_out: Callable[["LexborNode"], bool]) -> list[Part]:
    writer = BlockWriter()
    for event, node in _walk(root, leave_out):
        if event == "text":
            writer.text(node.text_content or "")
        elif event == "enter":
            writer.enter(node)
        else:
            writer.leave(node.tag or "")
    return writer.finish()


def _walk(root: "LexborNode", leave_out: Callable[["LexborNode"], bool]) -> Iterator[tuple[str, "LexborNode"]]:
    """Events in document order. No recursion: broken pages nest thousands of elements."""
    ancestors: list[LexborNode] = []
    node = root.first_child
    while node is not None:
        if node.is_text_node:
            yield "text", node
        elif node.is_element_node and not leave_out(node):
            yield "enter", node
            if node.first_child is not None:
                ancestors.append(node)
                node = node.first_child
                continue
            yield "leave", node
        while node.next is None:
            if not ancestors:
                return
            node = ancestors.pop()
            yield "leave", node
        node = node.next
