from dataclasses import fields, replace
from datetime import date
from urllib.parse import parse_qs

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.ui.search.state import (
    FIRST_DAY,
    LAST_DAY,
    MAX_EXAMPLES,
    MAX_PAGE,
    MAX_QUERY_CHARS,
    NO_FILTERS,
    PageState,
    clean_query,
)
from indexer.search import Mode

codes = st.from_regex(r"[a-z0-9][a-z0-9._+-]{0,9}", fullmatch=True)
names = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=12)
days = st.none() | st.dates(FIRST_DAY, LAST_DAY)
examples = st.lists(st.uuids().map(str), max_size=6, unique=True)
states = st.builds(
    lambda ids, liked, **fields: PageState(like=tuple(ids[:liked]), unlike=tuple(ids[liked:]), **fields),
    ids=examples,
    liked=st.integers(0, 6),
    balance=st.integers(0, 100),
    folders=st.frozensets(names, max_size=3),
    authors=st.frozensets(names, max_size=3),
    labels=st.frozensets(st.tuples(names, names), max_size=3),
    after=days,
    before=days,
    diverse=st.booleans(),
    query=st.text(max_size=60).map(clean_query),
    corpus=st.text(max_size=20).map(str.strip),
    mode=st.sampled_from(Mode),
    page=st.integers(1, MAX_PAGE),
    file_types=st.frozensets(codes, max_size=4),
    languages=st.frozensets(codes.filter(lambda code: code != "und") | st.just(""), max_size=4),
    interface=st.sampled_from(["", "en", "zh"]),
)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(states)
def test_a_url_reproduces_the_state(state):
    assert PageState.from_params(state.to_params()) == state


@given(
    st.dictionaries(
        st.sampled_from(
            "q corpus mode page type doc_lang lang other balance folder author label after before diverse like".split()
        ),
        st.lists(st.text(max_size=30), max_size=3),
    )
)
def test_any_url_gives_a_state_that_reproduces_itself(params):
    state = PageState.from_params(params)
    assert PageState.from_params(state.to_params()) == state
    assert 1 <= state.page <= MAX_PAGE


def test_defaults_leave_no_trace_in_the_url():
    assert PageState().to_params() == {}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("mode", "telepathy"),
        ("page", "0"),
        ("page", "-1"),
        ("page", "1e3"),
        ("page", "９"),
        ("page", "9" * 5000),
        ("page", str(MAX_PAGE + 1)),
        ("lang", "tlh"),
        ("type", "<script>"),
        ("doc_lang", "../etc"),
        ("q", " \t\x00\n "),
        ("balance", "101"),
        ("balance", "-1"),
        ("after", "2024-02-30"),
        ("before", "0001-01-01"),
        ("after", "2024-W01-1"),
        ("diverse", "yes"),
        ("like", "../etc"),
        ("label", "no colon"),
        ("label", ":value"),
        ("folder", "a\x00b"),
        ("author", "x" * 201),
    ],
)
def test_nonsense_in_the_url_becomes_the_default(name, value):
    assert PageState.from_params({name: [value]}) == PageState()


def test_a_query_is_one_bearable_line():
    assert clean_query("  black\n\thole\x00s ") == "black hole s"
    assert len(clean_query("x" * 5000)) == MAX_QUERY_CHARS


def test_the_last_of_repeated_parameters_counts():
    assert PageState.from_params({"q": ["first", "second"]}).query == "second"


def test_documents_of_unknown_language_have_a_name_in_the_url():
    state = PageState(languages=frozenset({"", "zh"}))
    assert state.to_params() == {"doc_lang": ["und", "zh"]}


@pytest.mark.parametrize("name", [field.name for field in fields(PageState) if field.name != "page"])
def test_every_change_goes_back_to_the_first_page(name):
    state = PageState(page=7)
    assert state.changed(**{name: getattr(state, name)}).page == 1


def test_turning_the_page_keeps_everything_else():
    state = PageState(query="q", mode=Mode.KEYWORD, file_types=frozenset({"pdf"}))
    assert state.changed(page=2) == PageState(query="q", mode=Mode.KEYWORD, file_types=frozenset({"pdf"}), page=2)


def test_the_way_back_is_everything_but_what_other_pages_know_by_themselves():
    state = PageState("q", "samples", Mode.KEYWORD, 3, frozenset({"pdf", "csv"}), interface="zh", like=(ID,))
    back = PageState.from_params(parse_qs(state.way_back))
    assert back == replace(state, query="", corpus="", interface="")
    assert PageState("q", "samples", interface="zh").way_back == ""


ID, OTHER = "00000000-0000-0000-0000-000000000001", "00000000-0000-0000-0000-000000000002"


def test_a_document_is_an_example_of_one_side_only():
    state = PageState(like=(ID,), unlike=(OTHER,))
    assert state.with_example(OTHER, liked=True) == {"like": (ID, OTHER), "unlike": ()}
    assert state.with_example(ID, liked=True) == {"like": (ID,), "unlike": (OTHER,)}
    assert state.without_example(ID) == {"like": (), "unlike": (OTHER,)}
    assert PageState.from_params({"like": [ID], "unlike": [ID, OTHER, OTHER]}) == state


def test_one_example_too_many_takes_the_place_of_the_oldest():
    state = PageState(like=tuple(f"{ID[:-2]}{n:02d}" for n in range(MAX_EXAMPLES)))
    assert state.with_example(OTHER[:-1] + "f", liked=True)["like"][0] == state.like[1]


def test_what_is_asked_is_the_state():
    state = PageState(query="bees", corpus="a", balance=70, labels=frozenset({("map", "wax: old")}), like=(ID,))
    request = state.request("a text")
    assert (request.query, request.balance, request.labels, request.text) == ("bees", 0.7, state.labels, "")
    assert PageState(query="type:pdf", corpus="a").request("a text").text == "a text"
    assert (request.page, request.page_size) == (1, 10)


def test_every_filter_narrows_and_can_be_taken_away():
    for name, value in (("file_types", {"pdf"}), ("labels", {("a", "b")}), ("after", date(2024, 1, 1))):
        state = PageState(**{name: value if name == "after" else frozenset(value)})
        assert state.is_narrowed
        assert state.changed(**NO_FILTERS) == PageState()


def test_another_corpus_drops_the_filters_and_the_examples():
    assert PageState(corpus="a", folders=frozenset({"x"}), like=(ID,)).changed(corpus="b") == PageState(corpus="b")
    state = PageState(corpus="a", file_types=frozenset({"pdf"}), languages=frozenset({"zh"}))
    assert state.changed(corpus="b") == PageState(corpus="b")
    assert state.changed(corpus="a").file_types == {"pdf"}
