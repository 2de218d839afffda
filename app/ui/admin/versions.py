"""Versions of an index: one built with other parts beside the one in use, checked, swapped, gone back from."""

from collections.abc import Sequence

import streamlit as st

from app.services.models import ModelInfo
from app.ui.admin import pieces
from app.ui.admin.desk import Desk, change, corpus_picker
from app.ui.admin.state import AdminState, Section
from app.ui.frame import calm_errors
from app.ui.i18n import Translator
from app.ui.markup import as_label, notice
from embedder.errors import AppError
from indexer.gate import Check
from indexer.pipeline import KEPT_GENERATIONS
from indexer.task_tables import Task, TaskState
from indexer.versions import Version

_SECONDS = 2.0
_WATCHED = "admin_check"
"""The corpus whose check this session waits for: when it is over, what it changed is drawn anew."""


class CheckFailed(AppError):
    """A check that could not be made, or that a version to be put in use did not pass."""


def draw(desk: Desk, state: AdminState) -> None:
    """Draw the section."""
    t = desk.t
    names = [each.info.name for each in desk.admin.corpora(desk.person)]
    _announce(desk)
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
        for key, icon in (("check", "fact_check"), ("swap", "swap_horiz")):
            st.button(
                t(f"admin.versions.{key}"),
                key=key,
                icon=f":material/{icon}:",
                type="primary" if key == "swap" else "secondary",
                on_click=_begin,
                args=(desk, name, waiting, key == "swap"),
            )
        with st.popover(t("admin.versions.more"), key="version_more"):
            st.html(pieces.line(t("admin.versions.force.text"), t))
            st.button(t("admin.versions.force"), key="force", on_click=_force, args=(desk, name))
            st.html(pieces.line(t("admin.versions.discard.text"), t))
            st.button(t("admin.versions.discard"), key="discard", on_click=_discard, args=(desk, name))
    _check(desk, name, waiting)


def _begin(desk: Desk, name: str, waiting: int, swap: bool) -> None:
    def work() -> str:
        desk.admin.begin_check(desk.person, name, waiting, swap=swap)
        st.session_state[_WATCHED] = name
        return desk.t("admin.versions.checking")

    desk.act(work)


def _force(desk: Desk, name: str) -> None:
    desk.act(lambda: desk.t("admin.versions.swapped", n=str(desk.admin.swap(desk.person, name, force=True))))


def _discard(desk: Desk, name: str) -> None:
    def work() -> str:
        return desk.t("admin.versions.discarded", n=", ".join(map(str, desk.admin.discard(desk.person, name))))

    desk.act(work)


@st.fragment(run_every=_SECONDS)
def _check(desk: Desk, name: str, waiting: int) -> None:
    """How far the check of this version is, and what came of it."""
    with calm_errors(desk.t):
        task = desk.admin.last_check(desk.person, name)
        if task is None or task.parameters["version"] != waiting:
            return
        if not task.state.is_final:
            st.progress(task.progress, text=as_label(desk.t("admin.versions.checking")))
        elif st.session_state.get(_WATCHED) == name:
            st.rerun()
        elif task.state is TaskState.DONE and task.result["checks"]:
            st.html(_report([Check(**check) for check in task.result["checks"]], desk.t))
        elif task.error:
            st.html(pieces.said(task.error, True, desk.t))


def _announce(desk: Desk) -> None:
    """Say what came of the check that this session waited for, once it is over."""
    name = st.session_state.get(_WATCHED)
    task = desk.admin.last_check(desk.person, name) if name else None
    if task is not None and task.state.is_final:
        del st.session_state[_WATCHED]
        desk.act(lambda: _outcome(task, desk.t))


def _outcome(task: Task, t: Translator) -> str:
    if task.state is not TaskState.DONE:
        raise CheckFailed(task.error)
    if task.parameters["swap"]:
        return t("admin.versions.swapped", n=str(task.parameters["version"]))
    checks = task.result["checks"]
    passed = sum(check["passed"] for check in checks)
    return t("admin.versions.checked", passed=t.number(passed), all=t.number(len(checks)))


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
