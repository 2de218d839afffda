from types import SimpleNamespace

import pytest
from streamlit.testing.v1 import AppTest

from app.services.answering import Reply
from app.ui.ask.answers import answer_html, sources_html
from app.ui.i18n import Translator

EN = Translator("en")


class Backend:
    def __init__(self, sources, *pieces):
        self.sources, self.pieces, self.asked = sources, pieces, 0

    def corpora(self):
        return [SimpleNamespace(name="samples", searchable=True), SimpleNamespace(name="new", searchable=False)]

    def ask(self, corpus, question):
        self.asked += 1
        return Reply(self.sources, iter(self.pieces))


@pytest.fixture
def open_ask():
    def page(backend):
        from app.ui.ask.page import render

        render(backend)

    def load(backend, **params):
        test = AppTest.from_function(page, args=(backend,), default_timeout=20)
        test.query_params.update(params)
        return test.run()

    return load


def shown(page):
    return "".join(element.value for element in page.get("html"))


def test_a_question_is_answered_once_with_its_sources(open_ask, make_result):
    backend = Backend([make_result(1), make_result(2)], "Stars ", "collapse [2].")
    page = open_ask(backend, q="why", corpus="samples")
    assert not page.exception
    assert 'href="#source-2"' in shown(page)
    assert 'id="source-2"' in shown(page)
    assert 'id="source-1"' not in shown(page)
    assert 'href="document?corpus=samples&amp;doc=2&amp;passage=2&amp;lang=en"' in shown(page)
    page.run()
    assert backend.asked == 1


def test_before_a_question_the_page_says_what_it_does(open_ask):
    backend = Backend([])
    assert "A chat model answers" in shown(open_ask(backend))
    assert backend.asked == 0


def test_whatever_the_model_says_is_text(make_result, nasty):
    source = make_result(1, title=nasty, text=nasty, uri=nasty)
    for html in (answer_html(f"{nasty} [1] [7]", [source], EN), sources_html("a&b", f"{nasty} [1]", [source], EN)):
        assert "<script>" not in html
        assert "[7]</a>" not in html
