"""What visitors leave behind, on the search page: saved and recent searches, suggestions, judgments.

One ``Notebook`` serves one drawing of the page. Where no notes are kept it draws nothing.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from app.services.access import Person
from app.ui.i18n import Translator
from app.ui.markup import as_label, lang_attribute, plain
from app.ui.search import judging, widgets
from app.ui.search.note_contract import NoteBackend
from app.ui.search.state import PageState
from embedder.errors import AppError
from indexer.catalog.note_tables import PastQuery, SavedSearch
from indexer.search import SearchPage, SearchRequest, SearchResult

_SHOWN_RECENT, _SHOWN_FREQUENT = 3, 6
_LABEL_CHARACTERS = 48
_PROBLEM = "notes_problem"
_ASKED = "notes_asked"

log = logging.getLogger(__name__)


class Notebook:
    """The visitor's notes, around one drawing of the page."""

    def __init__(self, notes: NoteBackend | None, person: Person, t: Translator) -> None:
        self._notes = notes
        self._person = person
        self._t = t
        self._line: DeltaGenerator | None = None
        self._book: DeltaGenerator | None = None
        self._state: PageState | None = None
        self._request: SearchRequest | None = None
        self._grades: Mapping[str, int] = {}
        self._new: frozenset[str] = frozenset()

    def place_book(self) -> None:
        """Keep room for what is saved."""
        if self._notes is not None:
            self._book = st.container(width="content", key="notes_book")

    def place_line(self) -> None:
        """Keep room for a line of suggestions."""
        if self._notes is None:
            return
        self._line = st.container(horizontal=True, vertical_alignment="center", key="notes_line")
        if problem := st.session_state.pop(_PROBLEM, ""):
            st.html(f'<p class="kalm-notes" role="alert">{plain(problem)}</p>')

    def suggest(self, corpus: str) -> None:
        """Before a question: what the visitor asked lately, and words the corpus is about, each in one click."""
        if self._notes is None or self._line is None:
            return
        found = self._notes.suggestions(self._person, corpus)
        with self._line:
            for number, past in enumerate(found.recent[:_SHOWN_RECENT]):
                self._again(past, f"recent_chip_{number}")
            for number, word in enumerate(found.frequent[:_SHOWN_FREQUENT]):
                asked = {"query": word, "corpus": corpus}
                st.button(
                    as_label(word), key=f"frequent_{number}", type="tertiary", on_click=widgets.change, kwargs=asked
                )
        self._fill(corpus)

    def answer(self, state: PageState, request: SearchRequest, page: SearchPage) -> None:
        """After a question: whether it was mistyped, what was said of its results before, which of them are new."""
        if self._notes is None or self._line is None:
            return
        self._state, self._request = state, request
        self._grades = self._notes.judged(self._person, request.corpus, request.query)
        self._new = self._notes.look(self._person, request.corpus, kept_state(state))
        meant = self._notes.did_you_mean(request.corpus, request.query, page.results)
        if meant is not None:
            with self._line:
                st.html(f'<p class="kalm-hint">{plain(self._t("notes.meant"))}</p>', width="content")
                st.button(
                    as_label(meant), key="meant", type="tertiary", on_click=widgets.change, kwargs={"query": meant}
                )

    def foot(self, result: SearchResult) -> None:
        """The row under a result."""
        if self._notes is None or self._request is None or self._state is None:
            return
        corpus, query, notes = self._request.corpus, self._request.query, self._notes

        def judge(result: SearchResult, grade: int | None) -> None:
            _calmly(lambda: notes.judge(self._person, corpus, query, result, grade))

        grade = self._grades.get(result.chunk_id)
        is_new = result.document_id in self._new
        asked = judge if self._state.has_words else None  # likeness to a text or a document is no question
        judging.foot(result, corpus, query, grade, asked, self._t, is_new=is_new)

    def close(self) -> None:
        """When everything else is drawn: remember the question, and fill in what is saved."""
        if self._notes is None or self._state is None or self._request is None:
            return
        asked = (self._request.corpus, self._request.query)
        if st.session_state.get(_ASKED) != asked:  # a click on the page is no new question
            st.session_state[_ASKED] = asked
            try:
                self._notes.record(self._person, self._request, kept_state(self._state))
            except AppError:
                log.exception("A question was not remembered")
        self._fill(self._request.corpus)

    def _fill(self, corpus: str) -> None:
        """Saved and recent searches, behind one button that says how many of them have something new."""
        notes, book, t = self._notes, self._book, self._t
        if notes is None or book is None:
            return
        saved = notes.saved(self._person)
        recent = notes.suggestions(self._person, corpus).recent
        unread = sum(search.unread for search in saved)
        label = t.count("notes.title.new", unread) if unread else t("notes.title")
        with book, st.popover(label, icon=":material/bookmark:", type="tertiary", key="notes"):
            if self._request is not None and self._state is not None:
                self._save_form(notes, self._state, self._request, saved)
            self._saved_list(notes, saved, corpus)
            self._recent_list(notes, recent, corpus)

    def _save_form(
        self, notes: NoteBackend, state: PageState, request: SearchRequest, saved: Sequence[SavedSearch]
    ) -> None:
        t, kept = self._t, kept_state(state)
        if request.text:
            _line(t("notes.save.text"), t)
            return
        mine = next((search for search in saved if (search.corpus, search.state) == (request.corpus, kept)), None)
        if mine is not None:
            _line(t("notes.saved.as", name=mine.name), t)
            return
        key, itself = "save_name", state.query[:_LABEL_CHARACTERS]
        st.text_input(t("notes.name"), max_chars=120, key=key, placeholder=itself)

        def save() -> None:
            name = (st.session_state[key] or "").strip() or itself
            st.session_state[key] = ""
            _calmly(lambda: notes.save(self._person, name, request, kept))

        st.button(t("notes.save"), key="save_search", icon=":material/bookmark_add:", on_click=save)

    def _saved_list(self, notes: NoteBackend, saved: Sequence[SavedSearch], corpus: str) -> None:
        t = self._t
        _heading(t("notes.saved"), t)
        if not saved:
            _line(t("notes.saved.none"), t)
        for search in saved:
            with st.container(horizontal=True, vertical_alignment="center", key=f"saved_row_{search.id}"):
                name = _short(search.name if search.corpus == corpus else f"{search.name} · {search.corpus}")
                new = f" · **{t.count('notes.new.count', len(search.fresh))}**" if search.unread else ""
                st.button(
                    f"{as_label(name)}{new}",
                    key=f"saved_{search.id}",
                    type="tertiary",
                    icon=":material/bookmark:",
                    on_click=_go,
                    args=(search.state,),
                )
                st.button(
                    t("notes.forget"),
                    key=f"forget_{search.id}",
                    type="tertiary",
                    help=t("notes.forget.help", name=as_label(search.name)),
                    on_click=_calmly,
                    args=(_forgetting(notes, self._person, search.id),),
                )

    def _recent_list(self, notes: NoteBackend, recent: Sequence[PastQuery], corpus: str) -> None:
        t = self._t
        if not recent:
            return
        _heading(t("notes.recent"), t)
        for number, past in enumerate(recent):
            self._again(past, f"recent_{number}")
        person = self._person
        st.button(
            t("notes.forget.recent"),
            key="forget_recent",
            on_click=lambda: _calmly(lambda: notes.forget_history(person, corpus)),
        )

    def _again(self, past: PastQuery, key: str) -> None:
        """A question asked before, to ask again."""
        icon, label = ":material/history:", as_label(_short(past.query))
        st.button(label, key=key, type="tertiary", icon=icon, on_click=_go, args=(past.state,))


def kept_state(state: PageState) -> dict[str, list[str]]:
    """The address of a search without what does not belong to it: the page of results, the language of the page."""
    return {name: values for name, values in state.to_params().items() if name not in ("page", "lang")}


def _go(kept: Mapping[str, Any]) -> None:
    """Open a kept address, in the language the page has now."""
    language = st.query_params.get("lang")
    st.query_params.from_dict({**kept, **({"lang": language} if language else {})})


def _forgetting(notes: NoteBackend, person: Person, id: int) -> Callable[[], None]:
    return lambda: notes.forget_saved(person, id)


def _calmly(action: Callable[[], object]) -> None:
    """Do what a button asks for; what stands in its way is said on the page that follows."""
    try:
        action()
    except AppError as error:
        st.session_state[_PROBLEM] = str(error)


def _short(text: str) -> str:
    return text if len(text) <= _LABEL_CHARACTERS else f"{text[: _LABEL_CHARACTERS - 1].rstrip()}…"


def _heading(text: str, t: Translator) -> None:
    st.html(f'<h2 class="kalm-subtitle"{lang_attribute(t.language)}>{plain(text)}</h2>')


def _line(text: str, t: Translator) -> None:
    st.html(f'<p class="kalm-hint"{lang_attribute(t.language)}>{plain(text)}</p>')
