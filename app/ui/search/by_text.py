"""A whole text as the question: pasted, or out of a file. Too long for the URL, so it is kept in the session."""

import streamlit as st

from app.services.searching import TEXT_FILE_MEGABYTES, TEXT_FILES
from app.ui.i18n import Translator
from app.ui.search import cards, widgets
from app.ui.search.contract import SearchBackend
from embedder.errors import AppError
from indexer.search import MAX_TEXT_CHARACTERS

_KEPT, _NAME, _REFUSAL = "question_text", "question_name", "question_refusal"
_ROUND = "question_round"
"""How many texts were searched by: under another key the window is a new one, and so closed."""


def current() -> tuple[str, str]:
    """The text that is searched by and what to call it; empty where there is none."""
    return st.session_state.get(_KEPT, ""), st.session_state.get(_NAME, "")


def forget() -> None:
    """Search by what is typed again."""
    for key in (_KEPT, _NAME, _REFUSAL):
        st.session_state.pop(key, None)


def text_search(backend: SearchBackend, corpus: str, t: Translator) -> None:
    """A small window in which a text is pasted or a file chosen."""
    key = f"by_text_{st.session_state.get(_ROUND, 0)}"
    with st.popover(t("text.open"), icon=":material/description:", type="tertiary", key=key):
        st.html(cards.hint(t("text.help"), t))
        st.text_area(t("text.label"), key="pasted", height=160, max_chars=MAX_TEXT_CHARACTERS, on_change=_pasted)
        st.file_uploader(
            t("text.file"), type=[ending[1:] for ending in TEXT_FILES], key="file", max_upload_size=TEXT_FILE_MEGABYTES
        )
        st.button(t("text.search"), key="search_by_text", type="primary", on_click=_take, args=(backend, corpus, t))
        if refusal := st.session_state.get(_REFUSAL):
            st.html(cards.refusal(refusal, t))


def _pasted() -> None:
    st.session_state.pop(_REFUSAL, None)


def _take(backend: SearchBackend, corpus: str, t: Translator) -> None:
    """Make the file, else the pasted text, the question; what is refused leaves the one before."""
    upload, pasted = st.session_state.get("file"), (st.session_state.get("pasted") or "").strip()
    try:
        text = backend.text_of(upload.name, upload.getvalue()) if upload else pasted
    except AppError as error:
        st.session_state[_REFUSAL] = str(error)
        return
    if not text:
        st.session_state[_REFUSAL] = t("text.empty")
        return
    forget()
    st.session_state[_KEPT] = text
    st.session_state[_ROUND] = st.session_state.get(_ROUND, 0) + 1
    st.session_state[_NAME] = upload.name if upload else " ".join(pasted.split())
    widgets.change(query="", corpus=corpus)
