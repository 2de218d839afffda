from html.parser import HTMLParser

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.ui.i18n import LANGUAGES, Translator
from app.ui.markup import plain
from app.ui.search import cards
from app.ui.search.state import PageState
from indexer.records import Duplicate
from indexer.search import Mode, SearchPage, SearchRequest

EN, ZH = Translator("en"), Translator("zh")
WHY = {"details", "summary", "table", "tbody", "tr", "th", "td"}


class Reader(HTMLParser):
    """What a browser makes of a card: its tags, its attributes and its text."""

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


def test_nothing_in_a_document_becomes_markup(make_result, nasty):
    hostile = make_result(
        title=nasty,
        text=nasty,
        highlights=((3, 9),),
        uri=nasty,
        key=nasty,
        headings=(nasty,),
        language=nasty,
        file_type=nasty,
    )
    seen = Reader(cards.card(hostile, Mode.HYBRID, (0, 12), EN))
    assert set(seen.tags) <= {"article", "p", "bdi", "span", "h2", "mark", "div", *WHY}
    assert seen.attributes <= {"class", "lang", "dir", "title", "aria-hidden", "scope", "colspan"}
    assert seen.text.count("<script>alert(1)</script> **bold** $x^2$ [a](http://b) :smile: &amp; exe") == 5


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(max_size=900), title=st.text(max_size=80), language=st.sampled_from(list(LANGUAGES)))
def test_any_text_gives_balanced_html(make_result, text, title, language):
    hit = make_result(text=text, title=title, highlights=((0, 5), (3, 700)), headings=(title, text[:20]))
    assert Reader(cards.card(hit, Mode.SEMANTIC, (2, 40), Translator(language))).open == []


def test_a_card_says_where_what_and_how_well(make_result):
    hit = make_result(
        uri="reports/moon.pdf",
        page=1234,
        headings=("Title 1", "Tides", "Spring tides"),
        file_type="pdf",
        more_passages=2,
        score=0.6249,
    )
    english = Reader(cards.card(hit, Mode.SEMANTIC, None, EN)).text
    chinese = Reader(cards.card(hit, Mode.SEMANTIC, None, ZH)).text
    for part in ("reports/moon.pdf", "Page 1,234", "PDF", "English", "Similarity 0.62"):
        assert part in english
    assert "Tides › Spring tides" in english
    assert english.count("Title 1") == 1  # a heading that repeats the title is left out
    for part in ("第 1,234 页", "相似度 0.62"):
        assert part in chinese


@pytest.mark.parametrize(("key", "shown"), [("row-12", "Row 12"), ("NGC 224", "Row NGC 224")])
def test_a_row_of_a_table_is_named(make_result, key, shown):
    assert shown in Reader(cards.card(make_result(key=key), Mode.HYBRID, None, EN)).text


@pytest.mark.parametrize(
    ("mode", "shown"),
    [(Mode.SEMANTIC, "Similarity 12.35"), (Mode.KEYWORD, "BM25 12.3"), (Mode.HYBRID, "Fused score 12.3")],
)
def test_a_score_says_its_kind(make_result, mode, shown):
    source = cards.card(make_result(score=12.3456), mode, None, EN)
    assert shown in source
    assert f'title="{plain(EN(f"score.{mode}.help"))}"' in source


def test_chinese_text_asks_for_chinese_glyphs(make_result):
    assert 'lang="zh-Hans"' in cards.card(make_result(language="zh"), Mode.HYBRID, None, EN)


def test_a_short_passage_has_nothing_to_unfold(make_result):
    assert "kalm-whole" not in cards.card(make_result(), Mode.HYBRID, None, EN)


def test_the_title_and_headings_are_not_repeated_in_the_passage(make_result):
    hit = make_result(
        title="Bread", headings=("Bread", "Yeast"), text="Bread\n\nYeast\nDough rises.", highlights=((19, 24),)
    )
    source = cards.card(hit, Mode.HYBRID, (13, 25), EN)
    assert '<span class="kalm-best">Dough <mark>rises</mark>.</span></p>' in source
    assert Reader(source).text.count("Bread") == Reader(source).text.count("Yeast") == 1
    assert "Bread</p>" in cards.card(make_result(title="Bread", text="Bread", highlights=()), Mode.HYBRID, None, EN)


def test_a_long_passage_unfolds_to_the_whole(make_result):
    text = "First words.\n\n" + "filler " * 200 + "Last words."
    source = cards.card(make_result(text=text, highlights=()), Mode.HYBRID, None, EN)
    snippet, whole = source.split("<details")[:2]
    assert "Last words." not in snippet
    assert "\n\n" not in snippet
    assert text in whole
    assert "Show the whole passage" in whole


def test_the_best_sentence_is_emphasised(make_result):
    hit = make_result()
    assert "kalm-best" not in cards.card(hit, Mode.HYBRID, None, EN)
    assert '<span class="kalm-best">Stars collapse.</span> A <mark>black hole</mark>' in cards.card(
        hit, Mode.HYBRID, (0, 15), EN
    )


def page_of(results, has_more=False):
    return SearchPage(tuple(results), has_more, encode_seconds=0.03, store_seconds=0.008)


@pytest.mark.parametrize(
    ("page", "found", "has_more", "shown"),
    [
        (1, 1, False, "1 result · 38 ms"),
        (1, 10, False, "10 results · 38 ms"),
        (1, 10, True, "Results 1–10 · 38 ms"),
        (3, 4, False, "Results 21–24 · 38 ms"),
    ],
)
def test_the_status_line_promises_no_more_than_is_known(make_result, page, found, has_more, shown):
    request = SearchRequest("samples", "q", page=page)
    line = Reader(cards.status_line(request, page_of([make_result()] * found, has_more), EN))
    assert line.text.startswith(shown)
    assert "the sum of both pieces of evidence" in line.text


def test_near_duplicates_stand_behind_their_number(make_result, nasty):
    twins = tuple(Duplicate(str(n), nasty, f"{nasty}{n}", nasty, 0.874) for n in range(23))
    seen = Reader(cards.duplicates(make_result(duplicates=twins), PageState(), EN))
    assert "+23 near-duplicates" in seen.text
    assert "87% alike" in seen.text
    assert seen.text.endswith("and 3 more")
    assert set(seen.tags) == {"details", "summary", "ul", "li", "bdi", "span", "a"}
    assert seen.attributes == {"class", "lang", "dir", "aria-hidden", "href"}
    assert "+1 篇近似重复文档" in cards.duplicates(make_result(duplicates=twins[:1]), PageState(), ZH)


def test_facts_and_notes(make_corpus):
    info = make_corpus(model="<b>", failed_files=3)
    assert [part in Reader(cards.facts(info, EN)).text for part in ("1,234", "5,678", "<b>", "5 March 2026")] == [
        True
    ] * 4
    assert "2026" not in cards.facts(make_corpus(updated=None), EN)
    assert "3 files could not be read" in cards.notes(info, EN)
    assert "3" in cards.notes(info, ZH)
    assert cards.notes(make_corpus(), EN) == ""


def test_matched_words_are_marked_in_the_title_too(make_result):
    hit = make_result(title="<b>Bees</b> make honey", title_highlights=((3, 7),))
    assert "&lt;b&gt;<mark>Bees</mark>&lt;/b&gt; make honey" in cards.card(hit, Mode.HYBRID, None, EN)
