from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.ui.search.state import MAX_PAGE, MAX_QUERY_CHARS, PageState, clean_query
from indexer.search import Mode

codes = st.from_regex(r"[a-z0-9][a-z0-9._+-]{0,9}", fullmatch=True)
states = st.builds(
    PageState,
    query=st.text(max_size=60).map(clean_query),
    corpus=st.text(max_size=20).map(str.strip),
    mode=st.sampled_from(Mode),
    page=st.integers(1, MAX_PAGE),
    file_types=st.frozensets(codes, max_size=4),
    languages=st.frozensets(codes.filter(lambda code: code != "und") | st.just(""), max_size=4),
    interface=st.sampled_from(["", "en", "zh"]),
)


@given(states)
def test_a_url_reproduces_the_state(state):
    assert PageState.from_params(state.to_params()) == state


@given(
    st.dictionaries(
        st.sampled_from(["q", "corpus", "mode", "page", "type", "doc_lang", "lang", "other"]),
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


def test_another_corpus_drops_the_filters():
    state = PageState(corpus="a", file_types=frozenset({"pdf"}), languages=frozenset({"zh"}))
    assert state.changed(corpus="b") == PageState(corpus="b")
    assert state.changed(corpus="a").file_types == {"pdf"}
