"""The document page: its address, its HTML, and what it shows when."""

import io
import re
from dataclasses import replace
from html.parser import HTMLParser
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from streamlit.testing.v1 import AppTest

from app.services.documents import DocumentView, NotHandedOut, Original, Piece
from app.ui.document import text
from app.ui.document.links import Place, document_address, document_link, results_address
from app.ui.i18n import Translator
from embedder.errors import AppError

EN, ZH = Translator("en"), Translator("zh")
VIEW = DocumentView(
    corpus="samples",
    id="aa-11",
    title="Bees",
    uri="en/bees.md",
    key="",
    file_type="markdown",
    language="en",
    details={},
    pieces=(
        Piece(("Bees",), "Bees\n\nThey fly.", None, True),
        Piece(("Bees", "Honey"), "Honey\n\nThey make honey. Much.", (7, 23), True),
    ),
    start=0,
    end=45,
    first=0,
    last=45,
    page=None,
    pages=(),
    has_passage=True,
    original=Original.SAME,
    size=45,
    has_picture=False,
)
PDF = replace(VIEW, uri="a.pdf", file_type="pdf", page=2, pages=(1, 2, 4), has_picture=True)


class Reader(HTMLParser):
    """What a browser makes of it: tags, attributes, text."""

    def __init__(self, source):
        super().__init__(convert_charrefs=True)
        self.tags, self.attributes, self.text, self.open = [], set(), "", []
        self.feed(source)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.open.append(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def test_a_place_survives_its_address():
    place = Place("my corpus & more", "aa-11", "bb-22", 3, 400, "what? 蜜蜂 & <b>", "zh", "mode=keyword&page=2&lang=en")
    assert Place.from_params(parse_qs(urlsplit(document_address(place)).query)) == place
    assert parse_qs(urlsplit(results_address(place)).query) == {
        "q": ["what? 蜜蜂 & <b>"], "corpus": ["my corpus & more"], "lang": ["zh"],
        "mode": ["keyword"], "page": ["2"],
    }  # fmt: skip


@given(
    st.dictionaries(
        st.sampled_from(["corpus", "doc", "passage", "page", "from", "q", "lang", "back"]), st.lists(st.text())
    )
)
def test_no_address_is_an_error(params):
    place = Place.from_params(params)
    assert place.page is None or 0 <= place.page < 10**9
    assert not place.document or re.fullmatch(r"[0-9a-fA-F-]+", place.document)
    assert document_address(place).startswith("document?")


def test_a_link_from_a_result_is_escaped(nasty):
    link = Reader(document_link(f'a"><script>{nasty}', "aa", "bb", nasty, EN))
    assert (link.tags, link.attributes, link.open) == (["a"], {"class", "href"}, [])


def test_headings_stand_once_and_the_passage_is_marked():
    source = text.body(VIEW, EN)
    assert '<h4 dir="auto">Honey</h4>' in source
    assert '<mark class="kalm-place">They make honey.</mark> Much.' in source
    seen = Reader(text.head(VIEW, EN) + source).text
    assert (seen.count("Bees"), seen.count("Honey")) == (1, 1)


def test_a_row_of_a_table_is_a_small_table():
    row = replace(
        VIEW, file_type="csv", key="row-7", details={"topic": "food"}, pieces=(Piece((), "Dough.", None, True),)
    )
    seen = Reader(text.body(row, EN))
    assert seen.tags.count("tr") == 3
    assert re.sub(r"\s+", " ", seen.text) == "FieldsTitleBeestopicfoodTextDough."
    assert text.fields(row, EN) == ""
    assert "2026-01-02" in text.fields(replace(VIEW, details={"date": "2026-01-02"}), EN)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    words=st.text(max_size=300), name=st.text(max_size=40), marks=st.tuples(st.integers(0, 300), st.integers(1, 300)),
    kind=st.sampled_from(["csv", "code", "pdf", "text"]), key=st.sampled_from(["", "row-1"]),
)  # fmt: skip
def test_any_document_gives_balanced_html(nasty, words, name, marks, kind, key):
    pieces = (Piece((name,), words, (marks[0], sum(marks)), True), Piece((nasty,), f"{nasty}\n{words}", (0, 9), False))
    view = replace(
        VIEW,
        title=nasty + name,
        uri=name,
        key=key,
        file_type=kind,
        language=nasty,
        details={name: words},
        pieces=pieces,
    )
    seen = Reader(text.head(view, ZH) + text.body(view, ZH) + text.fields(view, ZH))
    assert seen.open == []
    assert "script" not in seen.tags
    assert seen.attributes <= {"class", "lang", "dir", "scope", "aria-hidden"}


class FakeDocuments:
    """Has one document."""

    def __init__(self):
        self.one = VIEW
        self.error = None
        self.asked = []

    def view(self, corpus, document_id, passage_id="", *, page=None, start=None):
        self.asked.append((corpus, document_id, passage_id, page, start))
        return self.one

    def page_image(self, corpus, document_id, page):
        if self.error:
            raise self.error
        picture = io.BytesIO()
        Image.new("L", (1, 1)).save(picture, "PNG")
        return picture.getvalue()

    def download(self, corpus, document_id):
        raise NotHandedOut("unused")


@pytest.fixture
def documents():
    return FakeDocuments()


@pytest.fixture
def open_document(documents):
    def page(documents):  # runs on its own, without this module's names
        from app.ui.document.page import render

        render(documents)

    def load(**params):
        test = AppTest.from_function(page, args=(documents,), default_timeout=60)
        test.context = {"locale": "en-US"}
        test.query_params.update({"corpus": "samples", "doc": "aa-11", "passage": "bb-22", "q": "honey"} | params)
        return test.run()

    return load


def html(page):
    assert not page.exception
    return "\n".join(element.value for element in page.main.get("html"))


def buttons(page):
    return {button.key: button for button in page.button}


def test_a_document_is_shown_with_a_way_back_and_a_link_to_pass_on(open_document, documents):
    page = open_document(back="mode=keyword&type=pdf&type=epub")
    assert documents.asked == [("samples", "aa-11", "bb-22", None, None)]
    assert '<mark class="kalm-place">' in html(page)
    address = "./?q=honey&amp;corpus=samples&amp;mode=keyword&amp;type=pdf&amp;type=epub"
    assert f'{address}">Back to the results' in html(page)
    assert page.code[0].value.endswith("document?corpus=samples&doc=aa-11&passage=bb-22&q=honey")
    assert page.get("download_button")
    assert buttons(page) == {}


def test_a_document_that_is_gone_is_one_calm_sentence(open_document, documents):
    documents.one = None
    page = open_document()
    assert "This document is not here" in html(page)
    assert "Back to the results" in html(page)
    assert not page.get("download_button")
    assert "This document is not here" in html(open_document(doc="../etc/passwd"))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"original": Original.GONE}, "no longer where it was"),
        ({"original": Original.CHANGED}, "has changed since it was indexed"),
        ({"has_passage": False}, "is no longer in the document"),
    ],
)
def test_what_has_changed_is_said(open_document, documents, changes, said):
    documents.one = replace(VIEW, **changes)
    page = open_document()
    assert said in html(page)
    assert bool(page.get("download_button")) == (documents.one.original is not Original.GONE)


def test_a_page_of_a_pdf_has_its_picture_and_its_neighbours(open_document, documents):
    documents.one = PDF
    page = open_document()
    assert page.get("image")
    assert "Page 2 of 4" in html(page)
    buttons(page)["document.page.next_top"].click().run()
    assert page.query_params["page"] in ("4", ["4"])
    assert documents.asked[-1] == ("samples", "aa-11", "bb-22", 4, None)


def test_a_page_that_cannot_be_drawn_still_has_its_text(open_document, documents):
    documents.one, documents.error = PDF, AppError("Page 2 of a.pdf cannot be drawn; open the file itself to see it.")
    page = open_document()
    assert "cannot be drawn" in html(page)
    assert "They make honey." in html(page)
    assert not page.get("image")


def test_a_long_document_has_earlier_and_later_parts(open_document, documents):
    documents.one = replace(VIEW, start=20_000, end=32_000, last=50_000)
    page = open_document()
    assert "from 40% on" in html(page)
    buttons(page)["document.later_bottom"].click().run()
    assert documents.asked[-1][-1] == 32_000
    buttons(page)["document.earlier_top"].click().run()
    assert documents.asked[-1][-1] == 8_000
    documents.one = replace(VIEW, start=0, end=12_000, last=50_000)
    assert buttons(open_document())["document.earlier_top"].disabled
