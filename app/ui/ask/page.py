"""The page that answers a question from the documents, and shows what it rests on."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import streamlit as st

from app.services.answering import Reply
from app.ui.ask.answers import answer_html, sources_html
from app.ui.frame import begin, calm_errors, header, translator
from app.ui.i18n import Translator
from app.ui.markup import notice
from app.ui.search.contract import CorpusInfo
from app.ui.search.state import clean_query

_STYLE = Path(__file__).with_name("style.css")
_ANSWERS = "answers"
"""Place in the session of the answers given, so that another rerun does not ask, and pay, again."""


class AskBackend(Protocol):
    """What the page talks to."""

    def corpora(self) -> Sequence[CorpusInfo]:
        """Every corpus."""
        ...

    def ask(self, corpus: str, question: str) -> Reply:
        """Begin an answer; raises an AppError fit for the user."""
        ...


def render(backend: AskBackend) -> None:
    """Draw the page for the question and the corpus in the URL."""
    t = translator()
    begin(t("ask.title"), style=_STYLE)
    slot = header(t)
    with calm_errors(t):
        names = [corpus.name for corpus in backend.corpora() if corpus.searchable]
        if not names:
            st.html(notice(t, t("none.title"), t("none.text")))
            return
        asked_for = st.query_params.get("corpus", "")
        corpus = asked_for if asked_for in names else names[0]
        with slot:
            st.selectbox(
                t("corpus.label"),
                names,
                index=names.index(corpus),
                key="ask_corpus",
                label_visibility="collapsed",
                width=208,
                on_change=lambda: st.query_params.update(corpus=st.session_state["ask_corpus"]),
            )
        question = _question(t)
        if question:
            _answer(backend, corpus, question, t)
        else:
            st.html(notice(t, t("ask.welcome"), t("ask.welcome.text")))


def _question(t: Translator) -> str:
    question = clean_query(st.query_params.get("q", ""))
    if st.session_state.get("ask_question") != question:
        st.session_state["ask_question"] = question
    st.text_input(
        t("ask.label"),
        placeholder=t("ask.placeholder"),
        key="ask_question",
        label_visibility="collapsed",
        on_change=lambda: st.query_params.update(q=clean_query(st.session_state["ask_question"] or "")),
    )
    return question


def _answer(backend: AskBackend, corpus: str, question: str, t: Translator) -> None:
    """The answer kept from before, or a new one, shown as it comes."""
    given = st.session_state.setdefault(_ANSWERS, {})
    place, below = st.empty(), st.empty()
    if (corpus, question) not in given:
        with st.spinner(t("ask.busy")):
            reply = backend.ask(corpus, question)
            text = ""
            for piece in reply.pieces:
                text += piece
                place.html(answer_html(text, reply.sources, t))
        given.clear()
        given[corpus, question] = (text, reply.sources)
    text, sources = given[corpus, question]
    place.html(answer_html(text, sources, t))
    below.html(sources_html(corpus, text, sources, t))
