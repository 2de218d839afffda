"""Health: everything looked at on demand in the background, and what can be done about what was found."""

from dataclasses import asdict

import streamlit as st

from app.services.errands import Errand
from app.services.health import Remedy, remedy_for
from app.services.upkeep import EXAMINATION
from app.ui.admin import errands, pieces
from app.ui.admin.desk import Desk, change
from app.ui.admin.state import AdminState, Section
from app.ui.frame import calm_errors
from app.ui.i18n import Translator, catalogue
from app.ui.markup import as_label
from indexer.catalog.task_tables import Task, TaskState
from indexer.upkeep.doctor import Finding

_SECONDS = 2.0


def draw(desk: Desk, state: AdminState) -> None:
    """Draw the section."""
    _live(desk)


@st.fragment(run_every=_SECONDS)
def _live(desk: Desk) -> None:
    with calm_errors(desk.t):
        t = desk.t
        task = desk.upkeep.task(desk.person, EXAMINATION)
        desk.show_said()
        st.html(pieces.line(t("admin.health.text"), t))
        is_going = task is not None and not task.state.is_final
        st.button(
            t("admin.health.examine"),
            key="examine",
            icon=":material/health_and_safety:",
            type="primary",
            disabled=is_going,
            on_click=_examine,
            args=(desk,),
        )
        if task is not None:
            _show(desk, task)


def _show(desk: Desk, task: Task) -> None:
    t = desk.t
    if not task.state.is_final:
        st.progress(task.progress, text=as_label(t("admin.health.going", subject=task.stage or "…")))
    elif task.state is TaskState.DONE:
        findings = [Finding(**finding) for finding in task.result["findings"]]
        wrong = [finding for finding in findings if not finding.is_well]
        when = pieces.moment(task.ended or task.created, t)
        said = t.count("admin.health.wrong", len(wrong)) if wrong else t("admin.health.well")
        st.html(pieces.heading(t("admin.health.result", date=when), t))
        st.html(pieces.said(said, bool(wrong), t))
        for number, finding in enumerate(wrong):
            _wrong(desk, number, finding)
        st.html(_table(findings, t))
    else:
        st.html(pieces.said(task.error or t("admin.health.cancelled"), True, t))


def _wrong(desk: Desk, number: int, finding: Finding) -> None:
    t, remedy = desk.t, remedy_for(finding)
    with st.container(border=True, horizontal=True, vertical_alignment="center", key=f"finding_{number}"):
        pair = (f"{_subject(finding, t)} · {_name(finding, t)}", finding.found)
        st.html(pieces.facts([pair], t))
        if remedy is Remedy.NONE:
            st.html(pieces.line(finding.remedy, t))
        else:
            if st.button(t(f"admin.remedy.{remedy}"), key=f"repair_{number}"):
                errands.begin(desk, Errand.REPAIR, corpus=finding.subject, finding=asdict(finding))
                change(section=Section.JOBS, corpus=finding.subject)
                st.rerun()  # the whole page, not only this fragment


def _table(findings: list[Finding], t: Translator) -> str:
    rows = [
        (
            _subject(finding, t),
            _name(finding, t),
            pieces.badge(t("admin.health.ok"), "good")
            if finding.is_well
            else pieces.badge(t("admin.health.bad"), "bad"),
            finding.found,
        )
        for finding in findings
    ]
    columns = [t(f"admin.health.{name}") for name in ("subject", "aspect", "state", "found")]
    return pieces.table(t("admin.section.health"), columns, rows, t)


def _subject(finding: Finding, t: Translator) -> str:
    return t("admin.health.installation") if finding.subject == "installation" else finding.subject


def _name(finding: Finding, t: Translator) -> str:
    key = f"admin.health.name.{finding.name}"
    return t(key) if key in catalogue(t.language) else finding.name


def _examine(desk: Desk) -> None:
    def work() -> str:
        desk.upkeep.examine(desk.person)
        return desk.t("admin.health.begun")

    desk.act(work)
