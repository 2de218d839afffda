"""What can be done with a result: the row of small buttons under its card, and what they open."""

import logging
from dataclasses import dataclass

import streamlit as st

from app.ui.i18n import Translator
from app.ui.search import cards, widgets
from app.ui.search.contract import SearchBackend
from app.ui.search.state import PageState
from embedder.errors import AppError
from indexer.search import Mode, SearchRequest, SearchResult

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Shown:
    """The results a card stands among.

    Attributes:
        state: What the page shows.
        request: What was asked.
        scored_by: What the scores are.
    """

    state: PageState
    request: SearchRequest
    scored_by: Mode


@st.fragment
def actions(backend: SearchBackend, shown: Shown, result: SearchResult, t: Translator) -> None:
    """The row under a card. A fragment: what is opened here redraws nothing else."""
    opened = f"opened_{result.chunk_id}"
    with st.container(horizontal=True, width="content", key=f"actions_{result.document_id}"):
        if result.more_passages:
            _passages_switch(result, opened, t)
        _example(shown.state, result, liked=True, t=t)
        _example(shown.state, result, liked=False, t=t)
    if result.more_passages and st.session_state.get(opened):
        st.html(_others(backend, shown, result, t))
    if result.duplicates:
        st.html(cards.duplicates(result, shown.state, t))


def _others(backend: SearchBackend, shown: Shown, result: SearchResult, t: Translator) -> str:
    """The further passages, or why they are not to be had: the card and the page stay."""
    try:
        found = backend.further_passages(shown.request, result.document_id)
        return cards.passages(found, shown.scored_by, shown.state, t)
    except AppError as error:
        return cards.refusal(str(error), t)
    except Exception:
        log.exception("Could not find the further passages")
        return cards.refusal(t("error.unexpected"), t)


def _passages_switch(result: SearchResult, opened: str, t: Translator) -> None:
    is_open = bool(st.session_state.get(opened))
    st.button(
        t("result.less_passages") if is_open else t.count("result.more", result.more_passages),
        key=f"passages_{result.document_id}",
        icon=":material/expand_less:" if is_open else ":material/expand_more:",
        type="tertiary",
        on_click=_turn,
        args=(opened,),
    )


def _turn(key: str) -> None:
    st.session_state[key] = not st.session_state.get(key)


def _example(state: PageState, result: SearchResult, *, liked: bool, t: Translator) -> None:
    """Make the document an example. The whole page changes, so the whole script runs."""
    name = "like" if liked else "unlike"
    clicked = st.button(
        t(f"example.{name}"),
        key=f"{name}_{result.document_id}",
        help=t(f"example.{name}.help"),
        icon=":material/add:" if liked else ":material/remove:",
        type="tertiary",
    )
    if clicked:
        widgets.change(corpus=state.corpus, **state.with_example(result.document_id, liked=liked))
        st.rerun(scope="app")
