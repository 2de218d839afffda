"""PDF: one section for each page, its lines joined to paragraphs."""

import ctypes
import re
import threading
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from indexer.readers.decoding import EMPTY
from indexer.readers.errors import UnreadableFile
from indexer.readers.layout import about, finish_document, one_line, place
from indexer.readers.pdf_lines import Line, line_spans, paragraphs, plain_line, without_running_lines
from indexer.readers.source import Source
from indexer.records import Document

if TYPE_CHECKING:
    import pypdfium2

_NOT_A_PDF = "The file is named .pdf but is not a PDF; give it the suffix of what it is and index again."
_DAMAGED = "The PDF is damaged or was cut off; get a complete copy and index again."
_PASSWORD = "The PDF is protected by a password; remove the protection and index again."
_SCANNED = "The PDF holds no text, only pictures of pages; run text recognition (OCR) on it and index again."
_GARBLED = "The PDF does not say which letters its glyphs are; run text recognition (OCR) on it and index again."

_HEADER_BYTES = 1024
_MAX_TITLE_CHARS = 120
_MAX_GARBLED_SHARE = 0.3
_COMPOUND = re.compile(r"[^\W\d_]+(?:-[^\W\d_]+)+")
_GARBLED_CHARS = re.compile("[\ufffd\ue000-\uf8ff]")
# What programs write where nobody gave a title.
_NO_TITLE = re.compile(
    r"(?:microsoft (?:word|powerpoint|excel) - )?(?:untitled|document|title|slide)?[\s\d_-]*"
    r"|.*\.(?:docx?|pptx?|xlsx?|rtf|indd|tex|dvi|qxd|pdf|odt|wps|html?)|powerpoint presentation"
    r"|无标题|文档\s*\d*|幻灯片\s*\d*",
    re.IGNORECASE,
)
_DATE = re.compile(r"(?:D:)?(\d{4})(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])")
_PROGRAM = re.compile(r"microsoft (?:word|powerpoint|excel) - ", re.IGNORECASE)

_pdfium = threading.Lock()
"""PDFium keeps global state: one document is read at a time."""

Bookmark = tuple[int, str, int]
"""Level from 0, title, and number of the page from 0."""


def read_pdf(source: Source) -> Iterator[Document]:
    """Read a PDF as one document.

    Its title is that of its metadata, else its first line, else the file name. The headings of a page are the
    bookmarks that hold where the page begins.

    Raises:
        UnreadableFile: If the file is empty, not a PDF, damaged, protected by a password, or has no text.
        OSError: If the file cannot be opened or read.
    """
    _check_header(source.head(_HEADER_BYTES))
    # Here, not above: loading the library takes as long as reading a small PDF.
    import pypdfium2

    with _pdfium:
        try:
            with pypdfium2.PdfDocument(source.content) as pdf:
                _check_pages(len(pdf), source.limits.pages)
                title, metadata = _metadata_value(pdf, "Title"), _metadata(pdf)
                bookmarks = _bookmarks(pdf)
                raw_pages = [_page_lines(pdf, number) for number in range(len(pdf))]
        except pypdfium2.PdfiumError as error:
            protected = error.err_code == pypdfium2.raw.FPDF_ERR_PASSWORD
            raise UnreadableFile(_PASSWORD if protected else _DAMAGED) from error
    _check_text(raw_pages)
    pages = without_running_lines(raw_pages)
    compounds = _compounds(pages)
    headings = _headings_by_page(bookmarks, pages)
    text, sections = place(
        (paragraphs(lines, compounds), headings[number], number + 1) for number, lines in enumerate(pages)
    )
    first_line = next((line.text for lines in pages for line in lines if any(map(str.isalnum, line.text))), "")
    title = _title(title, source.uri) or first_line[: _MAX_TITLE_CHARS + 1]
    title = title if len(title) <= _MAX_TITLE_CHARS else ""
    yield finish_document(source.uri, "pdf", title, text, sections, metadata)


def _check_header(head: bytes) -> None:
    if not head.strip():
        raise UnreadableFile(EMPTY)
    if b"%PDF-" not in head:
        raise UnreadableFile(_NOT_A_PDF)


def _check_pages(count: int, limit: int) -> None:
    if count > limit:
        raise UnreadableFile(f"The PDF has more than {limit:,} pages; split it and index the parts.")


def _check_text(pages: Sequence[Sequence[Line]]) -> None:
    text = "".join(line.text for lines in pages for line in lines)
    if not pages:
        raise UnreadableFile(_DAMAGED)
    if not text:
        raise UnreadableFile(_SCANNED)
    if len(_GARBLED_CHARS.findall(text)) > _MAX_GARBLED_SHARE * len(text):
        raise UnreadableFile(_GARBLED)


def _page_lines(pdf: "pypdfium2.PdfDocument", number: int) -> list[Line]:
    """Lines of a page; none where that page alone is broken."""
    import pypdfium2

    try:
        page = pdf[number]
        text_page = page.get_textpage()
    except pypdfium2.PdfiumError:
        return []
    try:
        text = str(text_page.get_text_range())
        return [
            _line(text_page, plain, start, end)
            for start, end in line_spans(text)
            if (plain := plain_line(text[start:end]))
        ]
    finally:
        text_page.close()
        page.close()


def _line(text_page: "pypdfium2.PdfTextPage", text: str, start: int, end: int) -> Line:
    from pypdfium2 import raw

    left, right, baseline, ignored = (ctypes.c_double() for _ in range(4))
    raw.FPDFText_GetCharOrigin(text_page, start, left, baseline)
    raw.FPDFText_GetCharOrigin(text_page, end - 1, right, ignored)
    size = round(float(raw.FPDFText_GetFontSize(text_page, start)), 1)
    return Line(text, size, baseline.value, right.value - left.value)


def _bookmarks(pdf: "pypdfium2.PdfDocument") -> list[Bookmark]:
    found: list[Bookmark] = []
    for mark in pdf.get_toc():
        target = mark.get_dest()
        page = target.get_index() if target else None
        try:
            title = one_line(mark.get_title(), 2 * _MAX_TITLE_CHARS)
        except UnicodeDecodeError:
            continue  # a damaged ornament is no reason to do without the text
        if page is not None and title:
            found.append((mark.level, title, page))
    return found


def _metadata(pdf: "pypdfium2.PdfDocument") -> dict[str, str]:
    date = _DATE.match(_metadata_value(pdf, "CreationDate"))
    return about(_metadata_value(pdf, "Author"), "-".join(filter(None, date.groups())) if date else "")


def _metadata_value(pdf: "pypdfium2.PdfDocument", name: str) -> str:
    try:
        return str(pdf.get_metadata_value(name))
    except UnicodeDecodeError:
        return ""


def _headings_by_page(bookmarks: Sequence[Bookmark], pages: Sequence[Sequence[Line]]) -> list[tuple[str, ...]]:
    """For each page the path of bookmarks that holds at its top: from an earlier page, or opening the page."""
    path: list[tuple[int, str]] = []
    headings: list[tuple[str, ...]] = []
    for number, lines in enumerate(pages):
        top = _letters("".join(line.text for line in lines[:3]))
        starting = [mark for mark in bookmarks if mark[2] == number]
        opening = 0
        while opening < len(starting) and (not path or _letters(starting[opening][1])[:20] in top):
            path = _opened(path, starting[opening])
            opening += 1
        headings.append(tuple(title for _, title in path))
        for mark in starting[opening:]:
            path = _opened(path, mark)
    return headings


def _opened(path: Sequence[tuple[int, str]], mark: Bookmark) -> list[tuple[int, str]]:
    return [*(above for above in path if above[0] < mark[0]), mark[:2]]


def _letters(text: str) -> str:
    return "".join(filter(str.isalnum, text)).lower()


def _compounds(pages: Sequence[Sequence[Line]]) -> frozenset[str]:
    """The hyphenated words that stand within a line somewhere: these keep their hyphen at a line end."""
    return frozenset(word.lower() for lines in pages for line in lines for word in _COMPOUND.findall(line.text))


def _title(title: str, uri: str) -> str:
    """The metadata's title, unless it is what a program made up or the file's own name."""
    title = one_line(title)
    if _NO_TITLE.fullmatch(title) or title == PurePosixPath(uri).name:
        return ""
    return _PROGRAM.sub("", title)
