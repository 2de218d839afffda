"""A document as a reader sees it: its text around a passage, the picture of a page, the file it comes from."""

import os
import stat
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from app.services.page_image import render_page
from embedder.errors import AppError
from indexer.catalog.corpora import Catalog
from indexer.catalog.documents import Documents
from indexer.catalog.tables import CatalogError
from indexer.records import ChunkPlace, Corpus, Document, FileState, IndexedDocument, Section
from indexer.retrieval.remembered import Remembered
from indexer.retrieval.results import Span

WINDOW_CHARACTERS = 12_000
"""Of a document's text shown at a time: about six pages of a book."""

MOST_DOWNLOAD_BYTES = 256 << 20
"""Of a file that is handed out through the page, which holds it in memory."""

_BEFORE_PASSAGE = 2_000
_SNAP_CHARACTERS = 400
_REMEMBERED_PICTURES = 24
_DRAWN_AT_ONCE = 2


class NotHandedOut(AppError):
    """A file that is not there, or may not be handed out."""


class Original(StrEnum):
    """What has become of the file a document was read from."""

    SAME = "same"
    CHANGED = "changed"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of a document's text under one heading, or on one page.

    Attributes:
        text: It begins with the heading where the document shows it there.
        marked: The part of ``text`` that belongs to the passage asked for; None where none does.
        is_start: Whether it begins where its section does.
    """

    headings: tuple[str, ...]
    text: str
    marked: Span | None
    is_start: bool


@dataclass(frozen=True, slots=True)
class DocumentView:
    """A document around a place.

    Attributes:
        details: Its further columns or fields.
        pieces: The text from ``start`` to ``end``.
        start: Offset of the first character shown in the text.
        end: Offset after the last.
        first: Offset where the page shown begins, the text's own beginning where there are no pages.
        last: Offset where it ends.
        page: Number of the page shown, from 1; None where the format has none.
        pages: Numbers of all pages with text, in order.
        has_passage: Whether the passage asked for is in the document.
        original: What has become of its file.
        size: Of the file in bytes, as it was read.
        has_picture: Whether the page can be shown as a picture.
    """

    corpus: str
    id: str
    title: str
    uri: str
    key: str
    file_type: str
    language: str
    details: Mapping[str, str]
    pieces: tuple[Piece, ...]
    start: int
    end: int
    first: int
    last: int
    page: int | None
    pages: tuple[int, ...]
    has_passage: bool
    original: Original
    size: int
    has_picture: bool

    @property
    def file_name(self) -> str:
        """Name of the file."""
        return self.uri.rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class _Held:
    """A document as the live generation holds it.

    Attributes:
        file: Its file as it was when it was read; None where the catalog does not say.
    """

    home: Corpus
    indexed: IndexedDocument
    file: FileState | None

    @property
    def document(self) -> Document:
        return self.indexed.document


class DocumentService:
    """The documents of all corpora, for reading. Safe between threads."""

    def __init__(self, catalog: Catalog, documents: Documents) -> None:
        self._catalog = catalog
        self._documents = documents
        self._pictures: Remembered[tuple[str, int, int, int], bytes] = Remembered(_REMEMBERED_PICTURES)
        self._drawing = threading.BoundedSemaphore(_DRAWN_AT_ONCE)

    def view(
        self, corpus: str, document_id: str, passage_id: str = "", *, page: int | None = None, start: int | None = None
    ) -> DocumentView | None:
        """A document around a passage, or around another place of it.

        Args:
            corpus: Its name.
            document_id: The document.
            passage_id: The passage to mark; empty marks none.
            page: Which page to show; None takes the passage's, or the first. Without effect where there are none.
            start: Offset in the text where to begin; None takes a little before the passage.

        Returns:
            None where the corpus does not have it, or no longer.
        """
        held = self._held(corpus, document_id)
        if held is None:
            return None
        document = held.document
        place = next((each for each in held.indexed.chunks if each.id == passage_id), None)
        page = _page(document, place, page)
        first, last = _scope(document, page)
        begin, end = _window(document, (first, last), place, start)
        original = _original(held)
        return DocumentView(
            corpus=corpus,
            id=held.indexed.id,
            title=document.title,
            uri=document.uri,
            key=document.key,
            file_type=document.file_type,
            language=document.language,
            details=document.metadata,
            pieces=_pieces(document, (begin, end), place),
            start=begin,
            end=end,
            first=first,
            last=last,
            page=page,
            pages=_pages(document),
            has_passage=place is not None,
            original=original,
            size=held.file.size if held.file else 0,
            has_picture=_is_pdf(document) and page is not None and original is Original.SAME,
        )

    def page_image(self, corpus: str, document_id: str, page: int) -> bytes:
        """The picture of a page of a PDF, as PNG; the latest ones are remembered.

        Raises:
            NotHandedOut: If the file is gone or has changed since it was read, or is no PDF.
            PageNotDrawn: If the page cannot be drawn.
        """
        held = self._there(corpus, document_id)
        uri = held.document.uri
        if not _is_pdf(held.document) or _original(held) is not Original.SAME or held.file is None:
            raise NotHandedOut(f"The pages of {uri} cannot be shown: its file is not as it was when it was read.")
        path = _safe_path(held.home.root, uri)

        def make() -> bytes:
            with self._drawing:
                return render_page(path, page)

        return self._pictures.get((str(path), held.file.size, held.file.mtime_ns, page), make)

    def download(self, corpus: str, document_id: str) -> bytes:
        """The file a document was read from, as it is now.

        Raises:
            NotHandedOut: If it is gone, leads out of the corpus's folder, or has more than ``MOST_DOWNLOAD_BYTES``.
        """
        held = self._there(corpus, document_id)
        uri = held.document.uri
        path = _safe_path(held.home.root, uri)
        try:
            with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
                if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                    raise NotHandedOut(f"{uri} is no file any more.")
                content = file.read(MOST_DOWNLOAD_BYTES + 1)
        except OSError as error:
            raise NotHandedOut(f"The file {uri} cannot be opened ({error.strerror}).") from error
        if len(content) > MOST_DOWNLOAD_BYTES:
            raise NotHandedOut(f"The file {uri} is too large to be handed out here; open it where it is.")
        return content

    def _held(self, corpus: str, document_id: str) -> _Held | None:
        try:
            home = self._catalog.corpus(corpus)
        except CatalogError:
            return None
        indexed = None if home.live is None else self._documents.one(corpus, home.live, document_id)
        if home.live is None or indexed is None:
            return None
        return _Held(home, indexed, self._catalog.file(corpus, home.live, indexed.document.uri))

    def _there(self, corpus: str, document_id: str) -> _Held:
        found = self._held(corpus, document_id)
        if found is None:
            raise NotHandedOut("This document is no longer in the corpus; search for it again.")
        return found


def _safe_path(root: Path, uri: str) -> Path:
    """Where a file of a corpus is, if no link leads there and nothing leads out of the corpus's folder."""
    try:
        root = root.resolve(strict=True)
        path = root if root.is_file() and root.name == uri else root / uri
        # A link anywhere below the root, and any "..", would make the two differ.
        if path.resolve(strict=True) == path and path.is_relative_to(root) and path.is_file():
            return path
    except (OSError, ValueError):  # gone; or a name that no file can have
        raise NotHandedOut(f"The file {uri} is no longer there.") from None
    raise NotHandedOut(f"The file {uri} is no longer a file of its corpus.")


def _original(held: _Held) -> Original:
    try:
        status = _safe_path(held.home.root, held.document.uri).stat()
    except (NotHandedOut, OSError):
        return Original.GONE
    known = held.file
    is_same = known is not None and (known.size, known.mtime_ns) == (status.st_size, status.st_mtime_ns)
    return Original.SAME if is_same else Original.CHANGED


def _is_pdf(document: Document) -> bool:
    """Whether the file itself is one; those in archives are not unpacked again."""
    return document.file_type == "pdf" and not document.key


def _pages(document: Document) -> tuple[int, ...]:
    return tuple(sorted({section.page for section in document.sections if section.page is not None}))


def _page(document: Document, place: ChunkPlace | None, wanted: int | None) -> int | None:
    pages = _pages(document)
    if not pages:
        return None
    if wanted in pages:
        return wanted
    there = _section_at(document, place.start) if place is not None else None
    return there.page if there is not None and there.page is not None else pages[0]


def _section_at(document: Document, offset: int) -> Section | None:
    return next((section for section in document.sections if section.end > offset), None)


def _scope(document: Document, page: int | None) -> Span:
    """Where a page begins and ends in the text; all of the text where there are none."""
    mine = [section for section in document.sections if section.page == page]
    if page is None or not mine:
        return 0, len(document.text)
    return mine[0].start, mine[-1].end


def _window(document: Document, scope: Span, place: ChunkPlace | None, start: int | None) -> Span:
    first, last = scope
    if last - first <= WINDOW_CHARACTERS:
        return scope
    is_here = place is not None and first <= place.start < last
    if start is None and place is not None and is_here:
        start = _line_start(document.text, max(first, place.start - _BEFORE_PASSAGE))
    begin = min(max(first, start if start is not None else first), max(first, last - 1))
    end = min(last, begin + WINDOW_CHARACTERS)
    if end < last:
        end = max(begin + 1, _line_start(document.text, end))
    return begin, end


def _line_start(text: str, offset: int) -> int:
    """The beginning of the line, if it is near: texts of one line are cut anywhere."""
    start = text.rfind("\n", max(0, offset - _SNAP_CHARACTERS), offset) + 1
    return start or offset


def _pieces(document: Document, window: Span, place: ChunkPlace | None) -> tuple[Piece, ...]:
    begin, end = window
    made: list[Piece] = []
    for section in document.sections:
        start, stop = max(section.start, begin), min(section.end, end)
        if start >= stop:
            continue
        marked = None
        if place is not None:
            low, high = max(place.start, start) - start, min(place.end, stop) - start
            marked = (low, high) if low < high else None
        made.append(Piece(section.headings, document.text[start:stop], marked, start == section.start))
    return tuple(made)
