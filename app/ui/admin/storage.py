"""Storage: what takes how much room, what can go, and backups."""

import streamlit as st

from app.services.storage import Backup, StorageReport, Taken
from app.services.upkeep import BACKUP
from app.ui.admin import pieces
from app.ui.admin.desk import Desk
from app.ui.admin.state import AdminState
from app.ui.frame import calm_errors
from app.ui.i18n import Translator
from indexer.task_tables import TaskState

_SECONDS = 2.0


def draw(desk: Desk, state: AdminState) -> None:
    """Draw the section."""
    t = desk.t
    report = desk.upkeep.storage(desk.person)
    desk.show_said()
    st.html(_facts(report, t))
    columns = [t(f"admin.storage.{name}") for name in ("what", "corpus", "version", "size")]
    rows = [_row(each, t) for each in sorted(report.taken, key=lambda each: -each.bytes)]
    st.html(pieces.table(t("admin.section.storage"), columns, rows, t, numbers=(3,)))
    with st.popover(t("admin.storage.drop", size=pieces.size(report.unused)), disabled=not report.unused, key="drop"):
        st.html(pieces.line(t("admin.storage.drop.text"), t))
        st.button(t("admin.storage.drop.do"), key="drop_do", on_click=_drop, args=(desk,))
    st.html(pieces.heading(t("admin.backups"), t))
    _backups(desk)


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


def _drop(desk: Desk) -> None:
    desk.act(lambda: desk.t("admin.storage.dropped", size=pieces.size(desk.upkeep.drop_unused(desk.person))))


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
