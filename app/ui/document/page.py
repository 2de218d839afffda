"""The document page: a document opened at the place that a result showed."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from urllib.parse import urljoin

import streamlit as st

from app.services.documents import MOST_DOWNLOAD_BYTES, WINDOW_CHARACTERS, DocumentView, Original
from app.ui.document import text
from app.ui.document.contract import DocumentBackend
from app.ui.document.links import Place, document_address, results_address
from app.ui.frame import begin, calm_errors, header, translator
from app.ui.i18n import Translator
from app.ui.markup import lang_attribute, notice, plain
from embedder.errors import AppError

_STYLE = Path(__file__).with_name("style.css")
_NAME = re.compile(r"[^\w. ()-]+")


def render(backend: DocumentBackend) -> None:
    """Draw the page for the place in the URL."""
    place = Place.from_params({name: st.query_params.get_all(name) for name in st.query_params})
    t = translator()
    with calm_errors(t):
        view = (
            backend.view(place.corpus, place.document, place.passage, page=place.page, start=place.start)
            if place.corpus and place.document
            else None
        )
    begin(f"{view.title} · {t('app.title')}" if view else t("app.title"), style=_STYLE)
    header(t)
    with calm_errors(t):
        if view is None:
            st.html(notice(t, t("document.gone.title"), t("document.gone")))
            _back(place, t)
            return
        st.html(text.head(view, t))
        _actions(backend, place, view, t)
        _remarks(place, view, t)
        _turning(place, view, t, "top")
        if view.has_picture:
            _picture(backend, view, t)
        st.html(text.body(view, t))
        _turning(place, view, t, "bottom")
        if about := text.fields(view, t):
            st.html(about)
        _scroll(view)


def _back(place: Place, t: Translator) -> None:
    words = t("document.back") if place.query or place.back else t("document.search")
    link = f'<a class="kalm-open" href="{plain(results_address(place))}">{plain(words)}</a>'
    st.html(f'<p class="kalm-foot"{lang_attribute(t.language)}>{link}</p>', width="content")


def _actions(backend: DocumentBackend, place: Place, view: DocumentView, t: Translator) -> None:
    with st.container(horizontal=True, vertical_alignment="center", key="document_actions"):
        _back(place, t)
        if view.original is not Original.GONE and view.size <= MOST_DOWNLOAD_BYTES:
            st.download_button(
                t("document.download"),
                data=lambda: backend.download(view.corpus, view.id),
                file_name=_NAME.sub("_", view.file_name)[-120:] or "document",
                mime="application/octet-stream",
                key="download",
                icon=":material/download:",
                type="tertiary",
                on_click="ignore",
            )
        with st.popover(t("document.link"), icon=":material/link:", type="tertiary", key="link"):
            st.html(f'<p class="kalm-hint"{lang_attribute(t.language)}>{plain(t("document.link.help"))}</p>')
            shared = document_address(replace(place, interface="", back=""))
            st.code(urljoin(st.context.url or "", shared), language=None)


def _remarks(place: Place, view: DocumentView, t: Translator) -> None:
    """What the reader should know before trusting what they see."""
    lines = []
    if view.original is Original.GONE:
        lines.append(t("document.original.gone"))
    if view.original is Original.CHANGED:
        lines.append(t("document.original.changed"))
    if place.passage and not view.has_passage:
        lines.append(t("document.passage.gone"))
    if lines:
        paragraphs = "".join(f"<p>{plain(line)}</p>" for line in lines)
        st.html(f'<div class="kalm-notes"{lang_attribute(t.language)}>{paragraphs}</div>')


def _picture(backend: DocumentBackend, view: DocumentView, t: Translator) -> None:
    """The page as it looks; where it cannot be drawn its text is still there."""
    if view.page is None:
        return
    try:
        picture = backend.page_image(view.corpus, view.id, view.page)
    except AppError as error:
        st.html(f'<div class="kalm-notes"><p>{plain(str(error))}</p></div>')
        return
    alt = t("document.picture", n=t.number(view.page), title=view.title)
    st.image(picture, width="stretch", alt=alt)
    heading = plain(t("document.text", n=t.number(view.page)))
    st.html(f'<h3 class="kalm-subtitle"{lang_attribute(t.language)}>{heading}</h3>')


def _turning(place: Place, view: DocumentView, t: Translator, where: str) -> None:
    """Other pages, or other parts of a long text."""
    with st.container(horizontal=True, horizontal_alignment="center", vertical_alignment="center", key=f"turn_{where}"):
        if view.page is not None and len(view.pages) > 1:
            at = view.pages.index(view.page)
            before = view.pages[at - 1] if at else None
            after = view.pages[at + 1] if at + 1 < len(view.pages) else None
            _button(
                "document.page.previous", where, t, None if before is None else replace(place, page=before, start=None)
            )
            counted = t("document.page", n=t.number(view.page), last=t.number(view.pages[-1]))
            st.html(f'<p class="kalm-hint">{plain(counted)}</p>', width="content")
            _button("document.page.next", where, t, None if after is None else replace(place, page=after, start=None))
        if view.start > view.first or view.end < view.last:
            length = max(1, view.last - view.first)
            earlier = max(view.first, view.start - WINDOW_CHARACTERS)
            is_first, is_last = view.start <= view.first, view.end >= view.last
            _button("document.earlier", where, t, None if is_first else _at(place, view, earlier))
            percent = t.number(round(100 * (view.start - view.first) / length))
            st.html(f'<p class="kalm-hint">{plain(t("document.part", percent=percent))}</p>', width="content")
            _button("document.later", where, t, None if is_last else _at(place, view, view.end))


def _at(place: Place, view: DocumentView, start: int) -> Place:
    return replace(place, page=view.page, start=start)


def _button(key: str, where: str, t: Translator, target: Place | None) -> None:
    st.button(
        t(key), key=f"{key}_{where}", type="tertiary", disabled=target is None, on_click=_going_to(target or Place())
    )


def _going_to(place: Place) -> Callable[[], None]:
    return lambda: st.query_params.from_dict(place.to_params())


def _scroll(view: DocumentView) -> None:
    """Bring the passage into sight, unless the picture of its page comes first; a page just turned starts at its top.

    The script is a constant. The offset is in it only to make it new, since Streamlit runs it once for each text.
    """
    shown = (view.id, view.page, view.start)
    if st.session_state.get("shown_place") == shown:
        return
    is_first = "shown_place" not in st.session_state
    st.session_state["shown_place"] = shown
    has_mark = any(piece.marked for piece in view.pieces)
    to_mark = "document.querySelector('.kalm-place')?.scrollIntoView({block: 'center'})"
    to_top = "document.querySelector('[data-testid=stMain]')?.scrollTo({top: 0})"
    script = to_mark if has_mark and not view.has_picture else "" if is_first else to_top
    if script:
        st.html(f"<script>/* {view.start:d} */ {script}</script>", unsafe_allow_javascript=True)
