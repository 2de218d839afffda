"""What was asked for and takes long: how far it is, and what came of it. All of it stands in the table of tasks.

So a page that is left, loaded anew or opened by somebody else shows the same.
"""

from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import streamlit as st

from app.services.errands import Errand
from app.ui.admin import pieces
from app.ui.admin.desk import Desk
from app.ui.frame import calm_errors
from app.ui.i18n import Translator
from app.ui.markup import as_label
from indexer.catalog.task_tables import Task, TaskState

_SECONDS = 0.5
_TOLD, _ERROR_TOLD = timedelta(minutes=10), timedelta(days=1)
"""So long what came of something is told; what it changed, the page shows anyway."""

_TO_THE_END = (Errand.CANCEL, Errand.REMOVE, Errand.SWAP, Errand.ROLLBACK, Errand.DISCARD, Errand.CLEAN)
"""Quick ones that had better not be ended half-way."""


def begin(desk: Desk, errand: Errand, **asked: Any) -> None:  # noqa: ANN401 - JSON values
    """Have something done; the next run of the whole page shows how far it is."""

    def work() -> str:
        desk.errands.begin(desk.person, errand, **asked)
        return ""

    desk.act(work)


def follow(desk: Desk, errands: Collection[Errand], corpus: str = "") -> bool:
    """Show how far the newest of these errands is or, for a while, what came of it. True while it is under way."""
    task = desk.errands.last(desk.person, errands, corpus)
    if task is None:
        return False
    if not task.state.is_final:
        _progress(desk, task.id)
        return True
    ended, is_error = task.ended or task.created, task.state is not TaskState.DONE
    is_told = datetime.now(UTC) - ended < (_ERROR_TOLD if is_error else _TOLD)
    if is_told and (sentence := _outcome(task, desk.t)):
        st.html(pieces.said(f"{sentence} · {pieces.moment(ended, desk.t)}", is_error, desk.t))
    return False


def is_under_way(desk: Desk, errands: Collection[Errand], corpus: str = "") -> bool:
    """Whether the newest of these errands is not over, for what is drawn before ``follow``."""
    task = desk.errands.last(desk.person, errands, corpus)
    return task is not None and not task.state.is_final


@st.fragment(run_every=_SECONDS)
def _progress(desk: Desk, task_id: str) -> None:
    """How far it is, until it is over; then the whole page shows what it changed."""
    with calm_errors(desk.t):
        task = desk.errands.one(desk.person, task_id)
        if task.state.is_final:
            st.rerun()
        with st.container(horizontal=True, vertical_alignment="center", key=f"errand_{task_id}"):
            st.progress(task.progress, text=as_label(_doing(task, desk.t)))
            if task.state is TaskState.QUEUED or task.kind not in _TO_THE_END:
                st.button(
                    desk.t("admin.errand.stop"), key=f"errand_cancel_{task_id}", on_click=_stop, args=(desk, task_id)
                )


def _stop(desk: Desk, task_id: str) -> None:
    def work() -> str:
        desk.errands.stop(desk.person, task_id)
        return ""

    desk.act(work)


def _doing(task: Task, t: Translator) -> str:
    about = task.parameters.get("corpus") or task.parameters.get("model") or ""
    stage = f".{task.stage}" if task.stage else ""
    return t(f"admin.errand.{Errand(task.kind).name.lower()}{stage}", name=str(about))


def _outcome(task: Task, t: Translator) -> str:
    """One sentence; none where the page has more to show than a sentence."""
    if task.state is TaskState.CANCELLED:
        return t("admin.errand.cancelled")
    if task.state is TaskState.FAILED:
        return task.error
    tell = _TELL.get(Errand(task.kind))
    return tell(task, t) if tell else ""


def _entered(task: Task, t: Translator) -> str:
    name, run = str(task.parameters["corpus"]), task.result["run"]
    return t("admin.build.queued", name=name, run=str(run)) if run else t("admin.build.current", name=name)


def _checked(task: Task, t: Translator) -> str:
    if "checks" not in task.result:
        return _swapped(task, t)
    checks = task.result["checks"]
    passed = sum(check["passed"] for check in checks)
    return t("admin.versions.checked", passed=t.number(passed), all=t.number(len(checks)))


def _swapped(task: Task, t: Translator) -> str:
    return t("admin.versions.swapped", n=str(task.result["version"]))


def _proven(task: Task, t: Translator) -> str:
    proof = task.result
    return t(
        "admin.models.proven",
        name=proof["name"],
        dim=str(proof["dim"]),
        dtype=proof["dtype"],
        device=proof["device"],
        time=t.seconds(proof["seconds"]),
        fingerprint=proof["fingerprint"][:12],
    )


_TELL: Mapping[Errand, Callable[[Task, Translator], str]] = {
    Errand.BUILD: _entered,
    Errand.RETRY: _entered,
    Errand.RETRY_FAILED: _entered,
    Errand.REBUILD: _entered,
    Errand.REPAIR: _entered,
    Errand.CANCEL: lambda task, t: t(
        "admin.jobs.now", run=str(task.result["run"]), state=t(f"admin.state.{task.result['state']}")
    ),
    Errand.REMOVE: lambda task, t: t("admin.remove.done", name=task.result["corpus"]),
    Errand.GATE: _checked,
    Errand.SWAP: _swapped,
    Errand.ROLLBACK: lambda task, t: t("admin.versions.rolled_back", n=str(task.result["version"])),
    Errand.DISCARD: lambda task, t: t("admin.versions.discarded", n=", ".join(map(str, task.result["versions"]))),
    Errand.CLEAN: lambda task, t: t("admin.storage.dropped", size=pieces.size(task.result["freed"])),
    Errand.PROOF: _proven,
}
