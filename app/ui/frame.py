"""What every page has: its language, its head, and calm words for what goes wrong."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from app.services.access import OWNER, Person
from app.services.sessions import NotSignedIn
from app.ui.i18n import LANGUAGES, Translator, browser_language
from app.ui.markup import as_label, lang_attribute, notice, plain
from embedder.errors import AppError

_FOLDER = Path(__file__).parent
_ICON = _FOLDER / "icon.svg"
_WHO = "visitor"
_LEAVE = "leave"
_LANGUAGE = "lang"
"""The parameter of the address, and the place in the session, of the language somebody chose."""

log = logging.getLogger(__name__)


def begin(title: str, *, style: Path | None = None, wide: bool = False) -> None:
    """Title in the browser's tab, and the look of things.

    Args:
        title: Plain text.
        style: The page's own style sheet, after the one of all pages.
        wide: Whether the page takes the whole window instead of a column of text.
    """
    st.set_page_config(page_title=title, page_icon=str(_ICON), layout="wide" if wide else "centered")
    st.html(_FOLDER / "style.css")
    if style is not None:
        st.html(style)


def translator() -> Translator:
    """Wording in the language of the address, else the one chosen earlier, else the browser's."""
    chosen = st.query_params.get(_LANGUAGE) or st.session_state.get(_LANGUAGE)
    return Translator(chosen if chosen in LANGUAGES else browser_language(st.context.locale))


def admit(person: Callable[[], Person], leave: Callable[[], None] | None = None) -> None:
    """Say who is at the page.

    Args:
        person: Asked again at every step, since a session may end while the page is open.
        leave: Signs them out; None where that has a page of its own.
    """
    st.session_state[_WHO], st.session_state[_LEAVE] = person, leave


def visitor() -> Person:
    """Who is at the page.

    Raises:
        NotSignedIn: If their session has ended.
    """
    person: Person = st.session_state.get(_WHO, _nobody)()
    return person


def header(t: Translator) -> DeltaGenerator:
    """The page's first row: the name, room for a control of the page (returned), the language."""
    with st.container(horizontal=True, vertical_alignment="center", key="header"):
        st.html(f'<h1 class="kalm-name"{lang_attribute(t.language)}>{plain(t("app.title"))}</h1>', width="content")
        slot = st.empty()
        language_switch(t)
        if (person := visitor()) != OWNER:
            _way_out(t("signin.who", name=person.name), t)
    return slot


def _way_out(who: str, t: Translator) -> None:
    if leave := st.session_state.get(_LEAVE):
        st.button(t("signout.submit"), key="sign_out", type="tertiary", help=as_label(who), on_click=leave)
        return
    address = f"/logout?lang={plain(t.language)}"
    link = f'<a class="kalm-hint" href="{address}" title="{plain(who)}">{plain(t("signout.submit"))}</a>'
    st.html(link, width="content")


def language_switch(t: Translator) -> None:
    """English or 中文."""
    if st.session_state.get("interface") != t.language:
        st.session_state["interface"] = t.language
    st.segmented_control(
        t("interface.label"),
        list(LANGUAGES),
        format_func=LANGUAGES.__getitem__,
        required=True,
        key="interface",
        label_visibility="collapsed",
        on_change=_choose_language,
    )


@contextmanager
def calm_errors(t: Translator) -> Iterator[None]:
    """Show what goes wrong inside as one sentence, in the place of what was to be there."""
    with told(lambda sentence: _failure(sentence, t), t):
        yield


@contextmanager
def told(tell: Callable[[str], object], t: Translator) -> Iterator[None]:
    """Pass on what goes wrong inside as one sentence: the error's own if it was written for users.

    Anything else is a bug; its traceback goes to the log and never to the page.
    """
    try:
        yield
    except AppError as error:
        tell(str(error))
    except Exception:
        log.exception("A page failed")
        tell(t("error.unexpected"))


def _nobody() -> Person:
    """Who is at a page that was drawn without anybody being let in."""
    raise NotSignedIn("You are not signed in; open the page again from its beginning.")


def _choose_language() -> None:
    st.query_params[_LANGUAGE] = st.session_state[_LANGUAGE] = st.session_state["interface"]


def _failure(sentence: str, t: Translator) -> None:
    st.html(notice(t, t("error.title"), sentence, alert=True))
    st.button(t("error.retry"), key="retry")
