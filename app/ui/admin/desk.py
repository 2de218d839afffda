"""What every section of the admin page works with, and how it does things for people."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import streamlit as st

from app.services.access import Person, Role
from app.services.admin import AdminService
from app.services.errands import Errands
from app.services.upkeep import UpkeepService
from app.ui.admin import pieces
from app.ui.admin.state import AdminState
from app.ui.i18n import Translator
from embedder.errors import AppError

_SAID = "admin_said"

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Desk:
    """What the page is given.

    Attributes:
        visitor: Who is at the page; asked again whenever something is done, since a session may have ended.
    """

    admin: AdminService
    upkeep: UpkeepService
    errands: Errands
    visitor: Callable[[], Person]
    t: Translator

    @property
    def person(self) -> Person:
        """Who is at the page."""
        return self.visitor()

    @property
    def is_admin(self) -> bool:
        """Whether to show what only admins may do."""
        return self.person.role.covers(Role.ADMIN)

    def act(self, work: Callable[[], str]) -> bool:
        """Do something, and keep the sentence that says what came of it for ``show_said``. False if it failed.

        An empty sentence has nothing said: what came of it is seen otherwise.

        For callbacks of widgets, where an error would end the page.
        """
        try:
            said, is_error = work(), False
        except AppError as error:
            said, is_error = str(error), True
        except Exception:
            log.exception("Something asked for on the admin page failed")
            said, is_error = self.t("error.unexpected"), True
        st.session_state[_SAID] = (said, is_error)
        if not said:
            forget_said()
        return not is_error

    def show_said(self) -> None:
        """Show what came of the last thing done, until the next or until another section is opened."""
        if _SAID in st.session_state:
            said, is_error = st.session_state[_SAID]
            st.html(pieces.said(said, is_error, self.t))


def forget_said() -> None:
    """What was said belongs to the section that was left."""
    st.session_state.pop(_SAID, None)


def read_state() -> AdminState:
    """The state in the address bar."""
    return AdminState.from_params({name: st.query_params.get_all(name) for name in st.query_params})


def change(**changes: Any) -> None:  # noqa: ANN401 - fields of AdminState
    """Write a changed state to the address bar. For callbacks: the run that follows shows it."""
    st.query_params.from_dict(read_state().changed(**changes).to_params())


def corpus_picker(names: list[str], state: AdminState, t: Translator) -> str:
    """Which corpus a section is about: the one of the address, else the first."""
    chosen = state.corpus if state.corpus in names else names[0]
    if st.session_state.get("admin_corpus") != chosen:
        st.session_state["admin_corpus"] = chosen
    st.selectbox(
        t("admin.corpus"),
        names,
        key="admin_corpus",
        width=320,
        on_change=lambda: change(corpus=st.session_state["admin_corpus"]),
    )
    return chosen
