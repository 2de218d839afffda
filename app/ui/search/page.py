"""The search page: what is shown when. Controls are in ``widgets``, HTML in ``cards``, the URL in ``state``."""

import logging
import shlex
from collections.abc import Sequence
from dataclasses import replace
from urllib.parse import urlencode

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from app.services.access import Role
from app.ui.frame import begin, calm_errors, header, translator, visitor
from app.ui.i18n import Translator
from app.ui.markup import notice, plain
from app.ui.search import by_text, cards, filters, widgets
from app.ui.search.actions import Shown, actions
from app.ui.search.chips import chips
from app.ui.search.contract import CorpusInfo, SearchBackend
from app.ui.search.export import export
from app.ui.search.note_contract import NoteBackend
from app.ui.search.notebook import Notebook
from app.ui.search.state import NO_FILTERS, PageState
from embedder.errors import AppError
from indexer.catalog.label_tables import LabelsRefused
from indexer.search import Example, Facets, Mode, SearchPage, SearchRequest

log = logging.getLogger(__name__)
_SENTENCES_OF_RESULTS = 5


def render(backend: SearchBackend, notes: NoteBackend | None = None) -> None:
    """Draw the page for the state in the URL; without ``notes`` nobody's are kept."""
    state = widgets.read_state()
    t = translator()
    title = t("app.title")
    begin(f"{state.query} · {title}" if state.query else title)
    picker = header(t)
    with calm_errors(t):
        corpora = backend.corpora()
        if not corpora:
            _no_corpora(t)
            return
        corpus = _chosen(corpora, state.corpus)
        with picker:
            widgets.corpus_picker(corpora, corpus, t)
        if not corpus.searchable:
            _not_built(corpus, t)
            return
        state = replace(state, corpus=corpus.name)
        if state.has_words:  # they take the place of a text
            by_text.forget()
        widgets.search_field(state, corpus, t)
        widgets.mode_switch(state, t)
        notebook = Notebook(notes, visitor(), t)
        with st.container(horizontal=True, vertical_alignment="top", key="tools_row"):
            tools = st.container(horizontal=True, width="stretch", key="tools")
            notebook.place_book()
        notebook.place_line()
        with tools:
            widgets.tuning(state, t)
            by_text.text_search(backend, corpus.name, t)
        if warnings := cards.notes(corpus, t):
            st.html(warnings)
        if state.query or state.like or state.unlike or by_text.current()[0]:
            _results(backend, state, notebook, tools, t)
        else:
            widgets.welcome(corpus, t)
            notebook.suggest(corpus.name)


def _chosen(corpora: Sequence[CorpusInfo], name: str) -> CorpusInfo:
    """The corpus of that name, else the first that can be searched, else the first."""
    by_name = {corpus.name: corpus for corpus in corpora}
    return by_name.get(name) or next((corpus for corpus in corpora if corpus.searchable), corpora[0])


def _no_corpora(t: Translator) -> None:
    st.html(notice(t, t("none.title"), t("none.text")))
    _admin_link("", t("none.admin"), t)
    st.code("kalm corpus add NAME PATH\nkalm index build NAME", language=None)
    st.button(t("recheck"), key="recheck")


def _not_built(corpus: CorpusInfo, t: Translator) -> None:
    st.html(notice(t, t("unbuilt.title", name=corpus.name), t("unbuilt.text")))
    _admin_link(corpus.name, t("unbuilt.admin"), t)
    st.code(f"kalm index build {shlex.quote(corpus.name)}", language=None)
    st.button(t("recheck"), key="recheck")


def _admin_link(corpus: str, words: str, t: Translator) -> None:
    """To where it can be done without a command, for whoever may."""
    if visitor().role.covers(Role.EDITOR):
        address = f"admin?{urlencode({'corpus': corpus, 'lang': t.language})}"
        st.html(f'<a class="kalm-open" href="{plain(address)}" target="_self">{plain(words)}</a>')


def _results(
    backend: SearchBackend, state: PageState, notebook: Notebook, tools: DeltaGenerator, t: Translator
) -> None:
    text, text_name = by_text.current()
    chosen = st.container(key="chosen")
    try:
        with st.spinner(t("query.busy")):
            state, request, page = _search(backend, state, text)
    except AppError:
        with chosen:  # or the reader could not take away what the search refuses
            chips(state, _unknown(state, t), text_name if text else "", t)
        raise
    notebook.answer(state, request, page)
    shown = Shown(state, request, page.scored_by)
    with chosen:
        chips(state, page.examples, text_name if request.text else "", t)
    with tools:
        filters.more_filters(state, page.facets, t)
        if page.results:
            export(backend, shown, page, t)
    if page.results:
        st.html(cards.status_line(request, page, t))
    filters.quick_filters(state, page.facets, t)
    if not page.results:
        _nothing_found(state, t)
        notebook.close()
        return
    slots = []
    for result in page.results:
        slots.append(st.empty())
        slots[-1].html(cards.card(result, page.scored_by, None, t))
        with st.container(horizontal=True, vertical_alignment="center", key=f"footer_{result.chunk_id}"):
            notebook.foot(result)
            actions(backend, shown, result, t)
    widgets.paging(state, page.has_more, t)
    _back_to_top(request)
    if state.has_words:
        _fill_in_best_sentences(backend, state, page, slots, t)
    notebook.close()


def _search(backend: SearchBackend, state: PageState, text: str) -> tuple[PageState, SearchRequest, SearchPage]:
    """Ask the backend, letting go of what an old or mistyped URL asks for and the corpus does not have.

    First sets of labels, then file types the corpus lacks, then languages (each list counts under the other's
    selection, so they cannot be judged together), then a page after the last.
    """

    def ask(state: PageState) -> tuple[PageState, SearchRequest, SearchPage]:
        request = state.request(text)
        return state, request, backend.search(request)

    try:
        state, request, page = ask(state)
    except LabelsRefused:
        state, request, page = ask(replace(state, labels=frozenset()))
    if page.facets != Facets():
        file_types = state.file_types & {count.value for count in page.facets.file_types}
        if file_types != state.file_types:
            state, request, page = ask(replace(state, file_types=file_types))
        languages = state.languages & {count.value for count in page.facets.languages}
        if languages != state.languages:
            state, request, page = ask(replace(state, languages=languages))
    if state.page > 1 and not page.results:
        state, request, page = ask(replace(state, page=1))
    return state, request, page


def _unknown(state: PageState, t: Translator) -> list[Example]:
    """The examples of a search that was refused, which therefore did not say what they are called."""
    sides = ((True, state.like), (False, state.unlike))
    return [Example(id, t("chip.unknown"), "", "", liked) for liked, ids in sides for id in ids]


def _fill_in_best_sentences(
    backend: SearchBackend,
    state: PageState,
    page: SearchPage,
    slots: Sequence[DeltaGenerator],
    t: Translator,
) -> None:
    """The second pass: the cards are there already, so its failure costs an emphasis, not the page.

    In parts, since a reader who asks something else meanwhile is heard when the next card is drawn.
    """
    try:
        for start in range(0, len(slots), _SENTENCES_OF_RESULTS):
            part = slice(start, start + _SENTENCES_OF_RESULTS)
            spans = backend.best_sentences(state.corpus, state.query, page.results[part])
            for slot, result, span in zip(slots[part], page.results[part], spans, strict=True):
                slot.html(cards.card(result, page.scored_by, span, t))
    except Exception:
        log.exception("Could not find the best sentences")


def _nothing_found(state: PageState, t: Translator) -> None:
    """Say so, and offer in one click what is likely to help."""
    narrowed = state.is_narrowed
    advice = [t("empty.text")]
    if narrowed:
        advice.insert(0, t("empty.filters.text"))
    if state.mode is not Mode.HYBRID:
        advice.insert(0, t("empty.hybrid.text"))
    st.html(notice(t, t("empty.title"), *advice))
    with st.container(horizontal=True, key="advice"):
        if state.mode is not Mode.HYBRID:
            st.button(t("empty.hybrid"), key="use_hybrid", on_click=widgets.change, kwargs={"mode": Mode.HYBRID})
        if narrowed:
            st.button(t("empty.filters"), key="drop_filters", on_click=widgets.change, kwargs=dict(NO_FILTERS))


def _back_to_top(request: SearchRequest) -> None:
    """Scroll up when the reader turned the page; Streamlit would leave them at the bottom of the new one.

    The script is a constant. The page number is in it only to make it new, since Streamlit runs it once for each text.
    """
    last = st.session_state.get("shown_page")
    st.session_state["shown_page"] = request.page
    if last not in (None, request.page):
        script = "document.querySelector('[data-testid=stMain]')?.scrollTo({top: 0})"
        st.html(f"<script>/* {request.page:d} */ {script}</script>", unsafe_allow_javascript=True)
