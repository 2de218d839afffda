"""Long work on the page: begun, watched, ended. It goes on without the page, which finds it again by the address."""

from collections.abc import Mapping
from typing import Any

import streamlit as st

from app.ui.classify import cards
from app.ui.classify.contract import TaskBackend
from app.ui.classify.state import ClassifyState, change
from app.ui.frame import calm_errors, visitor
from app.ui.i18n import Translator
from app.ui.markup import notice
from indexer.catalog.task_tables import Task, TaskRefused, TaskState

_STAGES = frozenset({"encoding", "learning"})
_TRAIN = "classify.train"


def submit(tasks: TaskBackend, kind: str, parameters: Mapping[str, Any], **changes: Any) -> None:  # noqa: ANN401 - JSON
    """Have something done in a process of its own, and watch it from now on."""
    change(task=tasks.submit(visitor(), kind, parameters), **changes)
    st.rerun()


def running(tasks: TaskBackend, state: ClassifyState, t: Translator) -> bool:
    """Show how far the long work is; False where there is none, or none any more, and the page may be drawn."""
    if not state.task:
        return False
    try:
        task = tasks.one(state.task)
    except TaskRefused as error:  # an old address
        return _ended(str(error), t)
    if not task.state.is_final:
        _watch(tasks, state.task, t)
        return True
    if task.state is TaskState.DONE:
        if task.kind == _TRAIN:
            change(task="")
        return False
    return _ended(t("classify.task.cancelled") if task.state is TaskState.CANCELLED else task.error, t)


def done(tasks: TaskBackend, state: ClassifyState, kind: str) -> Task | None:
    """The long work of a kind in the address, once it is done."""
    if not state.task:
        return None
    task = tasks.one(state.task)
    return task if task.kind == kind and task.state is TaskState.DONE else None


def _ended(reason: str, t: Translator) -> bool:
    st.html(notice(t, t("classify.task.ended"), reason, alert=True))
    change(task="")
    return False


@st.fragment(run_every=1.0)
def _watch(tasks: TaskBackend, task_id: str, t: Translator) -> None:
    with calm_errors(t):  # the page's own do not hold when only this is drawn anew
        task = tasks.one(task_id)
        if task.state.is_final:
            st.rerun()
        if task.state is TaskState.QUEUED:
            stage = t("classify.stage.queued")
        else:
            stage = t(f"classify.stage.{task.stage}") if task.stage in _STAGES else t("classify.stage.begun")
        st.progress(task.progress, text=stage)
        st.html(cards.hint(t("classify.task.goes_on"), t))
        if st.button(t("classify.task.cancel"), key="cancel_task"):
            tasks.cancel(visitor(), task_id)
            st.rerun()
