"""Documents for reading: the place, the picture, the file; and nothing outside the corpus."""

import io
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from shelf import Shelf, document

from app.services import documents as module
from app.services.documents import WINDOW_CHARACTERS, DocumentService, NotHandedOut, Original
from app.services.page_image import MOST_PIXELS, PageNotDrawn, render_page
from indexer.catalog.documents import Documents
from indexer.records import Section

PAGE = "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 {0} {1}] /Contents 4 0 R >>"


def make_pdf(width=300, height=400):
    """A PDF of two pages, the first with a black square in its corner; without a table of offsets, which is rebuilt."""
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        "<< /Type /Pages /Kids [3 0 R 5 0 R] /Count 2 >>",
        PAGE.format(width, height),
        "<< /Length 17 >>\nstream\n0 0 100 100 re f\n\nendstream",
        PAGE.format(width, height).replace("/Contents 4 0 R", ""),
    ]
    body = "".join(f"{number} 0 obj\n{each}\nendobj\n" for number, each in enumerate(objects, start=1))
    return f"%PDF-1.4\n{body}trailer\n<< /Size 6 /Root 1 0 R >>\n%%EOF\n".encode()


@pytest.fixture
def shelf(tmp_path):
    made = Shelf(tmp_path)
    yield made
    made.catalog.close()


@pytest.fixture
def service(shelf):
    return DocumentService(shelf.catalog, Documents(shelf.catalog.database))


def text_of(view):
    return "".join(piece.text for piece in view.pieces)


def marked_in(view):
    return [piece.text[slice(*piece.marked)] for piece in view.pieces if piece.marked]


def test_a_short_document_is_shown_whole_with_its_passage_marked(shelf, service):
    text = "Bees\n\nThey make honey.\n\nWax\n\nThey make wax too."
    sections = (Section(0, 22, ("Bees",)), Section(24, len(text), ("Bees", "Wax")))
    bees = document("bees.md", text, sections=sections, chunks=[(0, 22), (24, len(text))], file_type="markdown")
    (shelf.root / "bees.md").write_text(text)
    shelf.put(bees)
    view = service.view("books", bees.id, bees.chunks[1].id)
    assert [piece.headings for piece in view.pieces] == [("Bees",), ("Bees", "Wax")]
    assert marked_in(view) == ["Wax\n\nThey make wax too."]
    assert (view.original, view.page, view.pages, view.has_picture) == (Original.SAME, None, (), False)
    assert service.download("books", bees.id) == text.encode()
    assert not service.view("books", bees.id, "ffff").has_passage


def test_what_is_not_in_the_live_generation_is_not_there(shelf, service):
    assert service.view("books", "0" * 36) is None
    assert service.view("no such corpus", "0" * 36) is None
    old = document("old.txt")
    shelf.put(old)
    assert service.view("books", old.id) is not None
    number = shelf.catalog.reserve("books", shelf.catalog.generations("books")[0].manifest, None)
    shelf.catalog.make_live("books", number, 0)
    assert service.view("books", old.id) is None
    with pytest.raises(NotHandedOut, match="no longer in the corpus"):
        service.download("books", old.id)


@pytest.mark.parametrize("line", [80, 10**7])
def test_a_long_document_is_shown_in_parts_that_miss_nothing(shelf, service, line):
    words = "".join(f"word{number}" + ("\n" if number % line == line - 1 else " ") for number in range(20_000)).rstrip()
    place = words.index("word15000 ")
    long = document("long.txt", words, chunks=[(0, 50), (place, place + 400)])
    shelf.put(long)
    around = service.view("books", long.id, long.chunks[1].id)
    assert around.end - around.start <= WINDOW_CHARACTERS
    assert marked_in(around) == [words[place : place + 400]]
    seen, start = "", 0
    while start < len(words):
        part = service.view("books", long.id, start=start)
        assert (part.start, part.last) == (start, len(words))
        assert part.end - part.start <= WINDOW_CHARACTERS
        seen, start = seen + text_of(part), part.end
    assert seen == words
    assert service.view("books", long.id, start=10**9).end == len(words)


@settings(max_examples=60, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 9_000), min_size=1, max_size=6),
    passage=st.tuples(st.integers(0, 50_000), st.integers(1, 3_000)),
    start=st.none() | st.integers(0, 60_000),
    page=st.none() | st.integers(0, 8),
    paged=st.booleans(),
)
def test_any_place_gives_a_bounded_part_of_the_text(lengths, passage, start, page, paged):
    bounds, offset = [], 0
    for number, length in enumerate(lengths, start=1):
        bounds.append(Section(offset, offset + length, (), number if paged else None))
        offset += length + 1
    text = " ".join("x" * length for length in lengths)
    first = min(passage[0], len(text) - 1)
    one = document("a.txt", text, sections=bounds, chunks=[(first, min(len(text), first + passage[1]))])
    chosen = module._page(one.document, one.chunks[0], page)
    scope = module._scope(one.document, chosen)
    begin, end = module._window(one.document, scope, one.chunks[0], start)
    assert scope[0] <= begin < end <= scope[1]
    assert end - begin <= WINDOW_CHARACTERS
    for piece in module._pieces(one.document, (begin, end), one.chunks[0]):
        assert piece.text
        assert piece.marked is None or 0 <= piece.marked[0] < piece.marked[1] <= len(piece.text)


@pytest.fixture
def paper(shelf):
    """A PDF of two pages that is indexed."""
    (shelf.root / "paper.pdf").write_bytes(make_pdf())
    made = document(
        "paper.pdf", "One.\n\nTwo.", sections=(Section(0, 4, (), 1), Section(6, 10, (), 2)),
        chunks=[(0, 4), (6, 10)], file_type="pdf",
    )  # fmt: skip
    shelf.put(made)
    return made


def test_a_passage_of_a_pdf_opens_its_page_with_a_picture(service, paper):
    view = service.view("books", paper.id, paper.chunks[1].id)
    assert (view.page, view.pages, view.has_picture, text_of(view)) == (2, (1, 2), True, "Two.")
    assert text_of(service.view("books", paper.id, paper.chunks[1].id, page=1)) == "One."
    picture = Image.open(io.BytesIO(service.page_image("books", paper.id, 1))).convert("L")
    assert picture.size == (600, 800)
    assert (picture.getpixel((50, 750)), picture.getpixel((550, 50))) == (0, 255)


def test_a_picture_is_drawn_once(service, paper, monkeypatch):
    drawn = []
    monkeypatch.setattr(module, "render_page", lambda path, page: drawn.append(page) or b"png")
    assert [service.page_image("books", paper.id, page) for page in (1, 1, 2)] == [b"png"] * 3
    assert drawn == [1, 2]


def test_a_file_that_changed_has_no_picture_and_says_so(shelf, service, paper):
    (shelf.root / "paper.pdf").write_bytes(make_pdf() + b"\n")
    view = service.view("books", paper.id)
    assert (view.original, view.has_picture) == (Original.CHANGED, False)
    with pytest.raises(NotHandedOut, match="not as it was"):
        service.page_image("books", paper.id, 1)
    (shelf.root / "paper.pdf").unlink()
    assert service.view("books", paper.id).original is Original.GONE
    with pytest.raises(NotHandedOut, match="no longer there"):
        service.download("books", paper.id)


def test_a_huge_page_has_a_bounded_picture(tmp_path):
    (tmp_path / "huge.pdf").write_bytes(make_pdf(14_000, 9_000))
    width, height = Image.open(io.BytesIO(render_page(tmp_path / "huge.pdf", 1))).size
    assert width * height <= 1.01 * MOST_PIXELS


@pytest.mark.parametrize(("content", "page"), [(make_pdf(), 3), (b"%PDF-1.4 nothing", 1), (b"", 1)])
def test_what_cannot_be_drawn_is_refused_in_one_sentence(tmp_path, content, page):
    (tmp_path / "bad.pdf").write_bytes(content)
    with pytest.raises(PageNotDrawn, match=rf"Page {page} of bad.pdf cannot be drawn"):
        render_page(tmp_path / "bad.pdf", page)


def test_nothing_outside_the_corpus_is_handed_out(shelf, service, tmp_path):
    secret = tmp_path / "secret.txt"
    secret.write_text("secret")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "inner.txt").write_text("secret")
    (shelf.root / "link.txt").symlink_to(secret)
    (shelf.root / "folder").symlink_to(tmp_path / "folder")
    (shelf.root / "real").mkdir()
    os.mkfifo(shelf.root / "pipe.txt")
    names = ["../secret.txt", str(secret), "link.txt", "folder/inner.txt", "real/../../secret.txt", "real", "pipe.txt"]
    names += ["", ".", "a\0b.txt", "x" * 5_000, "real/./../real"]
    for name in names:
        with pytest.raises(NotHandedOut):
            module._safe_path(shelf.root, name)
    documents = [document(name) for name in names[:7]]
    shelf.put(*documents)
    for each in documents:
        assert service.view("books", each.id).original is Original.GONE
        with pytest.raises(NotHandedOut):
            service.download("books", each.id)


def test_a_corpus_of_one_file_and_a_folder_behind_a_link_are_read(tmp_path):
    (tmp_path / "one.txt").write_text("x")
    (tmp_path / "way").symlink_to(tmp_path)
    assert module._safe_path(tmp_path / "one.txt", "one.txt") == (tmp_path / "one.txt").resolve()
    assert module._safe_path(tmp_path / "way", "one.txt") == (tmp_path / "one.txt").resolve()
    with pytest.raises(NotHandedOut):
        module._safe_path(tmp_path / "one.txt", "two.txt")


def test_a_file_too_large_for_a_page_is_left_where_it_is(shelf, service, monkeypatch):
    (shelf.root / "big.txt").write_text("x" * 100)
    big = document("big.txt")
    shelf.put(big)
    monkeypatch.setattr(module, "MOST_DOWNLOAD_BYTES", 99)
    with pytest.raises(NotHandedOut, match="too large"):
        service.download("books", big.id)
