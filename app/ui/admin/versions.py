"""Versions of an index: one built with other parts beside the one in use, checked, swapped, gone back from."""

from collections.abc import Sequence

import streamlit as st

from app.services.models import ModelInfo
from app.ui.admin import pieces
from app.ui.admin.desk import Desk, change, corpus_picker
from app.ui.admin.state import AdminState, Section
from app.ui.i18n import Translator
from app.ui.markup import notice
from indexer.gate import Check
from indexer.pipeline import KEPT_GENERATIONS
from indexer.versions import Version

_CHECKS = "admin_checks"


def draw(desk: Desk, state: AdminState) -> None:
    """Draw the section."""
    t = desk.t
    names = [each.info.name for each in desk.admin.corpora(desk.person)]
    desk.show_said()
    if not names:
        st.html(notice(t, t("admin.corpora.none"), t("admin.corpora.none.text")))
        return
    name = corpus_picker(names, state, t)
    found = desk.admin.versions(desk.person, name)
    if found:
        st.html(_table(found, t))
        st.html(pieces.line(t("admin.versions.kept", n=t.number(KEPT_GENERATIONS)), t))
    else:
        st.html(notice(t, t("admin.versions.none"), t("admin.versions.none.text")))
    _waiting(desk, name, found)
    _earlier(desk, name, found)
    _rebuild_form(desk, name)


def _table(found: Sequence[Version], t: Translator) -> str:
    columns = ("number", "standing", "built", "model", "dim", "documents", "passages", "engine")
    rows = [
        (
            str(each.generation.number),
            _standing(each, t),
            pieces.moment(each.generation.created, t),
            each.generation.manifest.model,
            str(each.generation.manifest.dim),
            t.number(each.generation.documents),
            t.number(each.generation.chunks),
            each.generation.manifest.engine,
        )
        for each in found
    ]
    return pieces.table(
        t("admin.section.versions"), [t(f"admin.versions.{name}") for name in columns], rows, t, numbers=(4, 5, 6)
    )


def _standing(version: Version, t: Translator) -> pieces.Html:
    if version.is_live:
        return pieces.badge(t("admin.versions.live"), "good")
    return pieces.badge(t("admin.versions.waits"), "busy") if version.waits else pieces.badge(t("admin.versions.old"))


def _waiting(desk: Desk, name: str, found: Sequence[Version]) -> None:
    """The version that waits: what the checks say of it, and what to do with it."""
    t = desk.t
    waiting = next((each.generation.number for each in found if each.waits), None)
    if waiting is None:
        return
    st.html(pieces.heading(t("admin.versions.waiting", n=str(waiting)), t))
    with st.container(horizontal=True, key="version_actions"):
        checked = st.button(t("admin.versions.check"), key="check", icon=":material/fact_check:")
        swapped = st.button(t("admin.versions.swap"), key="swap", icon=":material/swap_horiz:", type="primary")
        with st.popover(t("admin.versions.more"), key="version_more"):
            st.html(pieces.line(t("admin.versions.force.text"), t))
            forced = st.button(t("admin.versions.force"), key="force")
            st.html(pieces.line(t("admin.versions.discard.text"), t))
            discarded = st.button(t("admin.versions.discard"), key="discard")
    if checked:
        with st.spinner(t("admin.versions.checking")):
            desk.act(lambda: _check(desk, name, waiting))
        st.rerun()
    if swapped or forced:
        with st.spinner(t("admin.versions.checking")):
            desk.act(lambda: t("admin.versions.swapped", n=str(desk.admin.swap(desk.person, name, force=forced))))
        st.rerun()
    if discarded:
        desk.act(lambda: t("admin.versions.discarded", n=", ".join(map(str, desk.admin.discard(desk.person, name)))))
        st.rerun()
    seen = st.session_state.get(_CHECKS)
    if seen and seen[:2] == (name, waiting):
        st.html(_report(seen[2], t))


def _check(desk: Desk, name: str, waiting: int) -> str:
    checks = desk.admin.check(desk.person, name)
    st.session_state[_CHECKS] = (name, waiting, checks)
    passed = sum(check.passed for check in checks)
    return desk.t("admin.versions.checked", passed=desk.t.number(passed), all=desk.t.number(len(checks)))


def _report(checks: Sequence[Check], t: Translator) -> str:
    rows = [
        (
            check.name,
            pieces.badge(t("admin.passed"), "good") if check.passed else pieces.badge(t("admin.not_passed"), "bad"),
            check.found,
        )
        for check in checks
    ]
    columns = [t("admin.versions.gate.check"), t("admin.versions.gate.result"), t("admin.versions.gate.found")]
    return pieces.table(t("admin.versions.gate"), columns, rows, t)


def _earlier(desk: Desk, name: str, found: Sequence[Version]) -> None:
    t = desk.t
    for each in found:
        if not each.is_live and not each.waits:
            number = each.generation.number
            st.button(
                t("admin.versions.rollback", n=str(number)),
                key=f"rollback_{number}",
                icon=":material/undo:",
                on_click=_rollback,
                args=(desk, name, number),
            )


def _rollback(desk: Desk, name: str, number: int) -> None:
    desk.act(lambda: desk.t("admin.versions.rolled_back", n=str(desk.admin.rollback(desk.person, name, number))))


def _rebuild_form(desk: Desk, name: str) -> None:
    t = desk.t
    st.html(pieces.heading(t("admin.rebuild.title"), t))
    st.html(pieces.line(t("admin.rebuild.text"), t))
    here = {model.name: model for model in desk.upkeep.models(desk.person) if model.is_here}
    default = next((each for each in here if here[each].is_default), None)
    with st.container(horizontal=True, vertical_alignment="bottom", key="rebuild"):
        model = st.selectbox(
            t("admin.rebuild.model"),
            list(here),
            index=list(here).index(default) if default else 0,
            key="rebuild_model",
            width=320,
        )
        chosen: ModelInfo | None = here.get(model)
        dims = list(chosen.dims) if chosen else []
        dim = st.selectbox(t("admin.rebuild.dim"), dims, format_func=str, key=f"rebuild_dim_{model}", width=120)
        pressed = st.button(t("admin.rebuild"), key="rebuild_do", icon=":material/build:")
    if pressed:
        with st.spinner(t("admin.rebuild.busy")):
            desk.act(lambda: _rebuild(desk, name, model, dim))
        st.rerun()


def _rebuild(desk: Desk, name: str, model: str | None, dim: int | None) -> str:
    run = desk.admin.rebuild(desk.person, name, model, dim)
    change(section=Section.JOBS, corpus=name)
    return desk.t("admin.build.queued", name=name, run=str(run.id))
