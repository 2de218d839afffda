"""What begins the row under a result: open it at its place, say whether it answers the question, whether it is new."""

import re
from collections.abc import Callable

import streamlit as st

from app.ui.document.links import document_link
from app.ui.i18n import Translator
from app.ui.markup import lang_attribute, plain
from app.ui.search.widgets import read_state
from indexer.search import SearchResult

_GRADES = {"yes": 1, "no": 0}
_ICONS = {"yes": ":material/thumb_up:", "no": ":material/thumb_down:"}

_OTHER = re.compile(r"[^\w\s]|_")

Judge = Callable[[SearchResult, int | None], None]
"""Takes a result and its grade; None takes back what was said before."""


def foot(
    result: SearchResult,
    corpus: str,
    query: str,
    grade: int | None,
    judge: Judge | None,
    t: Translator,
    *,
    is_new: bool,
) -> None:
    """The beginning of the row under one result.

    Args:
        result: The result.
        corpus: Where it was found.
        query: The question.
        grade: What the visitor said of it before; None for nothing.
        judge: Called when they say something else; None where there is no question that a result could answer.
        t: Wording.
        is_new: Whether a saved search found it for the first time.
    """
    with st.container(horizontal=True, vertical_alignment="center", width="content", key=f"foot_{result.chunk_id}"):
        new = f'<span class="kalm-new">{plain(t("notes.new"))}</span>' if is_new else ""
        link = document_link(corpus, result.document_id, result.chunk_id, query, t, read_state().way_back)
        st.html(f'<p class="kalm-foot"{lang_attribute(t.language)}>{new}{link}</p>', width="content")
        if judge is not None:
            _thumbs(result, grade, judge, t)


def _thumbs(result: SearchResult, grade: int | None, judge: Judge, t: Translator) -> None:
    # Once a card: the passage stands on one page of results, and the keys are its own.
    key = f"judge_{result.chunk_id}"
    chosen = None if grade is None else "yes" if grade else "no"
    if st.session_state.get(key) != chosen:
        st.session_state[key] = chosen
    st.pills(
        t("judge.label", title=_words(result.title)),
        list(_GRADES),
        format_func=lambda value: f"{_ICONS[value]} {t(f'judge.{value}')}",
        key=key,
        label_visibility="collapsed",
        on_change=_say,
        args=(key, result, judge),
    )


def _words(title: str) -> str:
    """The words of a title alone: what stands beside them could be Markdown, and is read out as it is written."""
    return " ".join(_OTHER.sub(" ", title).split())


def _say(key: str, result: SearchResult, judge: Judge) -> None:
    value = st.session_state[key]
    judge(result, None if value is None else _GRADES[value])
