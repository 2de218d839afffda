"""The admin page: which section is shown to whom. Each section has a module of its own."""

from collections.abc import Callable
from pathlib import Path

import streamlit as st

from app.services.access import Person, Role
from app.services.admin import AdminService
from app.services.errands import Errands
from app.services.upkeep import UpkeepService
from app.ui.admin import audit, corpora, health, jobs, models, settings, storage, versions
from app.ui.admin.desk import Desk, change, forget_said, read_state
from app.ui.admin.state import AdminState, Section, sections_for
from app.ui.frame import begin, calm_errors, header, translator, visitor
from app.ui.i18n import Translator

_STYLE = Path(__file__).with_name("style.css")

_DRAW: dict[Section, Callable[[Desk, AdminState], None]] = {
    Section.CORPORA: corpora.draw,
    Section.JOBS: jobs.draw,
    Section.VERSIONS: versions.draw,
    Section.MODELS: models.draw,
    Section.STORAGE: storage.draw,
    Section.HEALTH: health.draw,
    Section.SETTINGS: settings.draw,
    Section.AUDIT: audit.draw,
}


def render(admin: AdminService, upkeep: UpkeepService, errands: Errands, who: Callable[[], Person] = visitor) -> None:
    """Draw the section of the URL for whoever is at the page."""
    t = translator()
    begin(f"{t('nav.admin')} · {t('app.title')}", style=_STYLE)
    header(t)
    with calm_errors(t):
        desk = Desk(admin, upkeep, errands, who, t)
        desk.person.must_be(Role.EDITOR)
        state = read_state()
        allowed = sections_for(desk.person.role)
        section = state.section if state.section in allowed else allowed[0]
        _navigation(allowed, section, t)
        _DRAW[section](desk, state)


def _navigation(allowed: tuple[Section, ...], shown: Section, t: Translator) -> None:
    if st.session_state.get("admin_section") != shown:
        st.session_state["admin_section"] = shown
    st.segmented_control(
        t("admin.sections"),
        allowed,
        format_func=lambda section: t(f"admin.section.{section}"),
        required=True,
        key="admin_section",
        label_visibility="collapsed",
        wrap=True,
        on_change=_open_section,
    )


def _open_section() -> None:
    forget_said()
    change(section=st.session_state["admin_section"])
