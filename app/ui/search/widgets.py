"""The controls of the search page. Each one writes the URL when used and is set from it before it is drawn."""

from collections.abc import Sequence
from typing import Any

import streamlit as st

from app.ui.i18n import Translator
from app.ui.search import cards
from app.ui.search.contract import CorpusInfo
from app.ui.search.state import PageState, clean_query
from indexer.search import Mode

EXAMPLES = 4
_SAMPLES = "samples"
"""The corpus that the examples are questions to."""


def read_state() -> PageState:
    """The state in the address bar."""
    return PageState.from_params({name: st.query_params.get_all(name) for name in st.query_params})


def change(**changes: Any) -> None:  # noqa: ANN401 - fields of PageState
    """Write a changed state to the address bar. For callbacks: the run that follows shows it."""
    st.query_params.from_dict(read_state().changed(**changes).to_params())


def seed(key: str, value: object) -> None:
    """Set a widget from the URL, but only where it differs, so that nothing a reader is typing is overwritten."""
    current = st.session_state.get(key)
    same = set(current) == set(value) if isinstance(current, list) and isinstance(value, list) else current == value
    if not same:
        st.session_state[key] = value


def corpus_picker(corpora: Sequence[CorpusInfo], chosen: CorpusInfo, t: Translator) -> None:
    """Which corpus to search."""
    built = {corpus.name: corpus.searchable for corpus in corpora}
    seed("corpus", chosen.name)
    st.selectbox(
        t("corpus.label"),
        list(built),
        format_func=lambda name: name if built.get(name, True) else t("corpus.unbuilt", name=name),
        key="corpus",
        label_visibility="collapsed",
        width=208,
        on_change=_store,
        kwargs={"key": "corpus"},
    )


def search_field(state: PageState, corpus: CorpusInfo, t: Translator) -> None:
    """The question."""
    seed("query", state.query)
    st.text_input(
        t("query.label"),
        type="search",
        placeholder=t("query.placeholder"),
        key="query",
        label_visibility="collapsed",
        on_change=_ask_typed,
        args=(corpus.name,),
    )


def mode_switch(state: PageState, t: Translator) -> None:
    """How to search, with one line on what the choice does."""
    seed("mode", state.mode)
    with st.container(horizontal=True, vertical_alignment="center", key="mode_row"):
        st.segmented_control(
            t("mode.label"),
            [Mode.HYBRID, Mode.SEMANTIC, Mode.KEYWORD],
            format_func=lambda mode: t(f"mode.{mode}"),
            required=True,
            key="mode",
            label_visibility="collapsed",
            on_change=_store,
            kwargs={"key": "mode"},
        )
        st.html(cards.hint(t(f"mode.{state.mode}.help"), t), width="content")


def tuning(state: PageState, t: Translator) -> None:
    """A small window with what meaning and words count in a hybrid search, and whether results are to vary."""
    with st.popover(t("tune.open"), icon=":material/balance:", type="tertiary"):
        if state.mode is Mode.HYBRID:
            seed("balance", state.balance)
            st.slider(
                t("tune.balance"),
                0,
                100,
                step=10,
                format="%d%%",
                key="balance",
                help=t("tune.balance.help"),
                on_change=_store,
                kwargs={"key": "balance"},
            )
        seed("diverse", state.diverse)
        st.toggle(
            t("tune.diverse"),
            key="diverse",
            help=t("tune.diverse.help"),
            on_change=_store,
            kwargs={"key": "diverse"},
        )


def paging(state: PageState, has_more: bool, t: Translator) -> None:
    """Previous and next; the number of pages is not known, so none is promised."""
    if state.page == 1 and not has_more:
        return
    with st.container(horizontal=True, horizontal_alignment="center", vertical_alignment="center", key="paging"):
        for key, step, possible in (("previous", -1, state.page > 1), ("next", 1, has_more)):
            st.button(
                t(f"paging.{key}"), key=key, disabled=not possible, on_click=change, kwargs={"page": state.page + step}
            )
            if key == "previous":
                st.html(cards.hint(t("paging.page", n=t.number(state.page)), t), width="content")


def welcome(corpus: CorpusInfo, t: Translator) -> None:
    """A first screen that invites: what there is to search and, of the samples, examples to click."""
    has_examples = corpus.name == _SAMPLES
    st.html(cards.welcome(has_examples, t))
    if has_examples:
        _examples(corpus, t)
    st.html(cards.facts(corpus, t))


def _examples(corpus: CorpusInfo, t: Translator) -> None:
    with st.container(key="examples", gap=None):
        for number in range(1, EXAMPLES + 1):
            question = t(f"welcome.example.{number}")
            st.button(
                question,
                key=f"example_{number}",
                on_click=change,
                kwargs={"query": question, "corpus": corpus.name},
                icon=":material/search:",
                type="tertiary",
            )


def _store(key: str) -> None:
    value = st.session_state[key]
    if value is not None:  # a choice whose words change with the language, at that moment: the URL sets it again
        change(**{key: value})


def _ask_typed(corpus: str) -> None:
    # The corpus goes into the URL with the question: the default may be another one tomorrow.
    change(query=clean_query(st.session_state["query"] or ""), corpus=corpus)
