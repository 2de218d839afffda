"""Storage: what takes how much room, what can go, and backups."""

from datetime import datetime

import streamlit as st

from app.services.errands import OF_STORAGE, Errand
from app.services.storage import Backup, StorageReport, Taken
from app.services.upkeep import BACKUP
from app.ui.admin import errands, pieces
from app.ui.admin.desk import Desk
from app.ui.admin.state import AdminState
from app.ui.frame import calm_errors
from app.ui.i18n import Translator
from indexer.catalog.task_tables import TaskState

_SECONDS = 2.0


def draw(desk: Desk, state: AdminState) -> None:
    """Draw the section."""
    t = desk.t
    desk.show_said()
    is_busy = errands.follow(desk, OF_STORAGE)
    st.button(
        t("admin.storage.measure"),
        key="measure",
        icon=":material/straighten:",
        disabled=is_busy,
        on_click=errands.begin,
        args=(desk, Errand.STORAGE),
    )
    measured = desk.errands.storage_report(desk.person)
    if measured is None:
        st.html(pieces.line(t("admin.storage.unmeasured"), t))
    else:
        _report(desk, *measured, is_busy)
    st.html(pieces.heading(t("admin.backups"), t))
    _backups(desk)


def _report(desk: Desk, report: StorageReport, when: datetime, is_busy: bool) -> None:
    """What was found when it was measured last."""
    t = desk.t
    st.html(pieces.line(t("admin.storage.measured", date=pieces.moment(when, t)), t))
    st.html(_facts(report, t))
    columns = [t(f"admin.storage.{name}") for name in ("what", "corpus", "version", "size")]
    rows = [_row(each, t) for each in sorted(report.taken, key=lambda each: -each.bytes)]
    st.html(pieces.table(t("admin.section.storage"), columns, rows, t, numbers=(3,)))
    label, is_off = t("admin.storage.drop", size=pieces.size(report.unused)), is_busy or not report.unused
    with st.popover(label, disabled=is_off, key="drop"):
        st.html(pieces.line(t("admin.storage.drop.text"), t))
        st.button(t("admin.storage.drop.do"), key="drop_do", on_click=errands.begin, args=(desk, Errand.CLEAN))


def _facts(report: StorageReport, t: Translator) -> str:
    pairs = (
        (t("admin.storage.taken"), pieces.size(sum(each.bytes for each in report.taken))),
        (t("admin.storage.free"), pieces.size(report.free)),
        (t("admin.storage.disk"), pieces.size(report.total)),
    )
    return pieces.facts(pairs, t)


def _row(each: Taken, t: Translator) -> list[str]:
    version = pieces.NOTHING
    if each.generation is not None:
        tone = {"live": "good", "unused": "bad"}.get(each.state, "")
        badge = pieces.badge(t(f"admin.storage.state.{each.state}"), tone)
        version = pieces.Html(f"{each.generation:d} {badge}")
    return [t(f"admin.storage.kind.{each.kind}"), each.subject or pieces.NOTHING, version, pieces.size(each.bytes)]


@st.fragment(run_every=_SECONDS)
def _backups(desk: Desk) -> None:
    with calm_errors(desk.t):
        t = desk.t
        task = desk.upkeep.task(desk.person, BACKUP)
        is_going = task is not None and not task.state.is_final
        st.html(pieces.line(t("admin.backups.text"), t))
        st.button(
            t("admin.backups.make"),
            key="back_up",
            icon=":material/archive:",
            disabled=is_going,
            on_click=_back_up,
            args=(desk,),
        )
        if is_going:
            st.html(pieces.badge(t("admin.backups.going"), "busy"))
        elif task is not None and task.state is TaskState.FAILED:
            st.html(pieces.said(task.error, True, t))
        made = desk.upkeep.backups(desk.person)
        if made:
            columns = [t(f"admin.backups.{name}") for name in ("made", "size", "path")]
            rows = [
                (pieces.moment(each.made, t), pieces.size(each.bytes), pieces.code(str(each.path))) for each in made
            ]
            st.html(pieces.table(t("admin.backups"), columns, rows, t, numbers=(1,)))
            _remove_form(desk, made)


def _remove_form(desk: Desk, made: list[Backup]) -> None:
    t = desk.t
    with st.popover(t("admin.backups.remove"), icon=":material/delete:", key="remove_backup"):
        name = st.selectbox(t("admin.backups.which"), [each.path.name for each in made], key="backup_name")
        st.button(t("admin.backups.remove.do"), key="remove_backup_do", on_click=_remove, args=(desk, name))


def _back_up(desk: Desk) -> None:
    def work() -> str:
        desk.upkeep.back_up(desk.person)
        return desk.t("admin.backups.begun")

    desk.act(work)


def _remove(desk: Desk, name: str) -> None:
    def work() -> str:
        desk.upkeep.drop_backup(desk.person, name)
        return desk.t("admin.backups.removed", name=name)

    desk.act(work)
