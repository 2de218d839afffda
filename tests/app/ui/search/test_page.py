import logging
import re
from urllib.parse import quote_plus

import pytest
import streamlit as st

from app.services.access import Person, Role
from embedder.errors import AppError
from indexer.search import Facets, Mode


def html(page):
    return "\n".join(element.value for element in page.main.get("html"))


def shown(page):
    assert not page.exception
    return html(page)


def words(page):
    return re.sub(r"<[^>]+>", "", shown(page))


def url(page):
    return {name: value if isinstance(value, str) else value[-1] for name, value in page.query_params.items()}


def buttons(page):
    return {button.key: button for button in page.button}


def test_no_corpus_says_which_commands_make_one(backend, open_page):
    backend.known = []
    page = open_page()
    assert "No corpus yet" in shown(page)
    assert page.code[0].value == "kalm corpus add NAME PATH\nkalm index build NAME"
    assert not page.text_input


def test_a_corpus_not_built_yet_says_how_to_build_it(backend, open_page, make_corpus):
    backend.known.append(make_corpus("my $ papers", searchable=False))
    page = open_page(corpus="my $ papers", q="stars")
    assert "“my $ papers” has not been built yet" in shown(page)
    assert page.code[0].value == "kalm index build 'my $ papers'"
    assert backend.requests == []


@pytest.mark.parametrize("known", [[], ["my $ papers"]])
def test_who_may_build_is_led_to_the_page_that_does(backend, open_page, make_corpus, monkeypatch, known):
    backend.known = [make_corpus(name, searchable=False) for name in known]
    address = f'href="admin?corpus={quote_plus("".join(known))}&amp;lang=en"'
    assert address in shown(open_page())
    monkeypatch.setattr("app.ui.frame._nobody", lambda: Person("vera", Role.VIEWER))
    assert "admin?" not in shown(open_page())


def test_the_first_corpus_that_can_be_searched_is_the_default(backend, open_page, make_corpus):
    backend.known.insert(0, make_corpus("new", searchable=False))
    assert open_page().selectbox(key="corpus").value == "samples"


def test_the_welcome_invites_with_examples_and_facts(open_page):
    page = open_page()
    assert "Ask the way you would ask a person" in shown(page)
    assert "5,678" in shown(page)
    page.button(key="example_2").click().run()
    assert url(page) == {"q": "黑洞是怎样形成的？", "corpus": "samples"}
    assert page.text_input(key="query").value == "黑洞是怎样形成的？"
    assert "kalm-card" in shown(page)


def test_another_corpus_is_welcomed_without_the_examples_of_the_samples(open_page):
    page = open_page(corpus="papers")
    assert "Ask the way you would ask a person" in shown(page)
    assert "Some questions" not in shown(page)
    assert not [key for key in buttons(page) if key.startswith("example_")]


def test_a_question_gives_cards_and_then_best_sentences(backend, open_page):
    page = open_page()
    page.text_input(key="query").input("  black   holes ").run()
    assert backend.requests[-1].query == "black holes"
    assert shown(page).count("<article") == 10
    assert "Results 1–10 · 38 ms" in words(page)
    assert shown(page).count("kalm-best") == 10
    assert url(page) == {"q": "black holes", "corpus": "samples"}


def test_cards_stay_when_best_sentences_fail(backend, open_page, caplog):
    backend.sentence_error = RuntimeError("out of memory")
    page = open_page(q="stars")
    assert shown(page).count("<article") == 10
    assert "kalm-best" not in shown(page)
    assert "out of memory" in caplog.text


def test_cards_are_drawn_before_best_sentences_are_asked_for(backend, open_page):
    backend.best_sentences = lambda *_: st.stop()  # as when a reader moves on meanwhile
    assert shown(open_page(q="stars")).count("<article") == 10


def test_a_copied_url_reproduces_the_page(backend, open_page):
    first = open_page(q="stars", mode="keyword", lang="zh", type=["markdown"], doc_lang=["en"], page="2")
    request = backend.requests[-1]
    assert (request.mode, request.page) == (Mode.KEYWORD, 2)
    assert (request.file_types, request.languages) == ({"markdown"}, {"en"})
    assert first.segmented_control(key="mode").value == Mode.KEYWORD
    assert first.pills(key="file_types").value == ["markdown"]
    assert first.pills(key="languages").value == ["en"]
    second = open_page(**first.query_params)
    assert backend.requests[-1] == request
    assert shown(second) == shown(first)


def test_nonsense_in_the_url_falls_back(backend, open_page):
    page = open_page(
        q="stars", corpus="gone", mode="x", page="999", type=["exe", "markdown"], doc_lang=["tlh"], lang="?"
    )
    last = backend.requests[-1]
    assert (last.corpus, last.mode, last.page) == ("samples", Mode.HYBRID, 1)
    assert (last.file_types, last.languages) == ({"markdown"}, frozenset())
    assert shown(page).count("<article") == 10


def test_the_address_bar_rules_so_that_back_works(backend, open_page):
    page = open_page(q="stars", mode="keyword")
    page.query_params = {"q": ["moons"]}
    page.run()
    assert page.text_input(key="query").value == "moons"
    assert page.segmented_control(key="mode").value == Mode.HYBRID
    assert backend.requests[-1].query == "moons"


def test_the_mode_switch_asks_again_and_explains_itself(backend, open_page):
    page = open_page(q="stars", page="2")
    page.segmented_control(key="mode").set_value(Mode.SEMANTIC).run()
    assert url(page) == {"q": "stars", "mode": "semantic"}
    assert backend.requests[-1].mode is Mode.SEMANTIC
    assert "Looks for the same meaning" in words(page)
    assert "Similarity 0.50" in words(page)


def test_paging(backend, open_page):
    page = open_page(q="stars")
    assert (buttons(page)["previous"].disabled, buttons(page)["next"].disabled) == (True, False)
    page.button(key="next").click().run()
    assert url(page) == {"q": "stars", "page": "2"}
    assert "Results 11–14" in words(page)
    assert "scrollTo" in shown(page)
    assert (buttons(page)["previous"].disabled, buttons(page)["next"].disabled) == (False, True)
    page.button(key="previous").click().run()
    assert url(page) == {"q": "stars"}


def test_one_page_has_no_paging(backend, open_page):
    backend.results = backend.results[:3]
    page = open_page(q="stars")
    assert "3 results · 38 ms" in words(page)
    assert "next" not in buttons(page)


def test_filters_carry_counts_and_narrow_the_search(backend, open_page):
    page = open_page(q="stars", page="2")
    assert page.pills(key="file_types").options == ["Markdown 1,200", "PDF 34"]
    assert page.pills(key="languages").options == ["English 1,000", "中文 234"]
    page.pills(key="languages").select("zh").run()
    assert url(page) == {"q": "stars", "doc_lang": "zh"}
    assert shown(page).count("<article") == 1
    page.pills(key="languages").unselect("zh").run()
    assert url(page) == {"q": "stars"}


def test_a_filter_without_a_choice_is_not_shown(backend, open_page):
    backend.facets = Facets(backend.facets.file_types[:1], ())
    page = open_page(q="stars")
    assert not page.pills


def test_another_corpus_forgets_the_filters(backend, open_page):
    page = open_page(q="stars", corpus="samples", type=["pdf"])
    page.selectbox(key="corpus").set_value("papers").run()
    assert url(page) == {"q": "stars", "corpus": "papers"}
    assert backend.requests[-1].corpus == "papers"


def test_nothing_found_offers_a_way_on(backend, open_page):
    backend.results = []
    page = open_page(q="stars", mode="keyword", type=["pdf"])
    assert "Nothing found" in shown(page)
    page.button(key="drop_filters").click().run()
    assert url(page) == {"q": "stars", "mode": "keyword"}
    page.button(key="use_hybrid").click().run()
    assert url(page) == {"q": "stars"}
    assert not {"drop_filters", "use_hybrid"} & buttons(page).keys()


def test_an_error_for_users_is_shown_as_it_is(backend, open_page):
    backend.error = AppError("Corpus <samples> was built with another model; rebuild it.")
    page = open_page(q="stars")
    assert "Corpus &lt;samples&gt; was built with another model; rebuild it." in shown(page)
    backend.error = None
    page.button(key="retry").click().run()
    assert "kalm-card" in shown(page)


@pytest.mark.parametrize("broken", ["search", "corpora"])
def test_a_bug_is_a_plain_sentence_and_its_details_are_logged(backend, open_page, caplog, monkeypatch, broken):
    def fail(*_):
        raise RuntimeError("secret detail")

    monkeypatch.setattr(backend, broken, fail)
    with caplog.at_level(logging.ERROR, logger="app.ui.search.page"):
        page = open_page(q="stars")
    assert "Something unexpected happened" in shown(page)
    assert "secret" not in shown(page)
    assert "Traceback" in caplog.text
    assert "secret detail" in caplog.text


def test_the_browser_chooses_the_language_and_the_reader_may_change_it(open_page):
    page = open_page(locale="zh-CN", q="stars", page="2")
    assert "KaLM 检索" in shown(page)
    assert "第 11–14 条结果 · 38 毫秒" in words(page).replace(
        '<span class="kalm-dot" aria-hidden="true"> · </span>', " · "
    )
    page.segmented_control(key="interface").set_value("en").run()
    assert url(page) == {"q": "stars", "page": "2", "lang": "en"}
    assert "KaLM Search" in shown(page)
    assert "Results 11–14" in words(page)


def test_lost_files_are_mentioned(backend, open_page, make_corpus):
    backend.known = [make_corpus(failed_files=1)]
    assert "1 file could not be read" in shown(open_page(q="stars"))


def test_document_text_reaches_the_page_only_escaped(backend, open_page):
    page = open_page(q="stars", type=["pdf"])
    assert "<script>" not in shown(page)
    assert "&lt;script&gt;alert(1)&lt;/script&gt; **bold** $x^2$" in shown(page)
    assert not page.markdown
