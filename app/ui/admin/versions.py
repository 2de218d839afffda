"""Versions of an index: one built with other parts beside the one in use, checked, swapped, gone back from."""

from collections.abc import Sequence

import streamlit as st

from app.services.errands import OF_VERSIONS, Errand
from app.services.models import ModelInfo
from app.ui.admin import errands, pieces
from app.ui.admin.desk import Desk, change, corpus_picker
from app.ui.admin.state import AdminState, Section
from app.ui.i18n import Translator
from app.ui.markup import notice
from indexer.upkeep.gate import Check
from indexer.upkeep.versions import Version


def draw(desk: Desk, state: AdminState) -> None:
    """Draw the section."""
    t = desk.t
    names = [each.info.name for each in desk.admin.corpora(desk.person)]
    desk.show_said()
    if not names:
        st.html(notice(t, t("admin.corpora.none"), t("admin.corpora.none.text")))
        return
    name = corpus_picker(names, state, t)
    is_busy = errands.follow(desk, OF_VERSIONS, name)
    found = desk.admin.versions(desk.person, name)
    if found:
        st.html(_table(found, t))
        st.html(pieces.line(t("admin.versions.kept", n=t.number(desk.admin.kept_versions(desk.person))), t))
    else:
        st.html(notice(t, t("admin.versions.none"), t("admin.versions.none.text")))
    _waiting(desk, name, found, is_busy)
    _earlier(desk, name, found, is_busy)
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


def _waiting(desk: Desk, name: str, found: Sequence[Version], is_busy: bool) -> None:
    """The version that waits: what the checks say of it, and what to do with it."""
    t = desk.t
    waiting = next((each.generation.number for each in found if each.waits), None)
    if waiting is None:
        return
    asked = {"corpus": name, "version": waiting}
    st.html(pieces.heading(t("admin.versions.waiting", n=str(waiting)), t))
    with st.container(horizontal=True, key="version_actions"):
        for key, icon in (("check", "fact_check"), ("swap", "swap_horiz")):
            st.button(
                t(f"admin.versions.{key}"),
                key=key,
                icon=f":material/{icon}:",
                type="primary" if key == "swap" else "secondary",
                disabled=is_busy,
                on_click=errands.begin,
                args=(desk, Errand.GATE),
                kwargs=asked | {"swap": key == "swap"},
            )
        with st.popover(t("admin.versions.more"), key="version_more", disabled=is_busy):
            for key, errand in (("force", Errand.SWAP), ("discard", Errand.DISCARD)):
                st.html(pieces.line(t(f"admin.versions.{key}.text"), t))
                label = t(f"admin.versions.{key}")
                st.button(label, key=key, on_click=errands.begin, args=(desk, errand), kwargs=asked)
    _checks(desk, name, waiting)


def _checks(desk: Desk, name: str, waiting: int) -> None:
    """What came of the last check of this version."""
    task = desk.errands.last(desk.person, [Errand.GATE], name)
    if task is None or task.parameters["version"] != waiting:
        return
    if checks := task.result.get("checks"):
        st.html(_report([Check(**check) for check in checks], desk.t))


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


def _earlier(desk: Desk, name: str, found: Sequence[Version], is_busy: bool) -> None:
    t = desk.t
    for each in found:
        if not each.is_live and not each.waits:
            number = each.generation.number
            st.button(
                t("admin.versions.rollback", n=str(number)),
                key=f"rollback_{number}",
                icon=":material/undo:",
                disabled=is_busy,
                on_click=errands.begin,
                args=(desk, Errand.ROLLBACK),
                kwargs={"corpus": name, "version": number},
            )


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
        errands.begin(desk, Errand.REBUILD, corpus=name, model=model, dim=dim)
        change(section=Section.JOBS, corpus=name)
        st.rerun()
