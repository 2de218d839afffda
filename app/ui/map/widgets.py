"""The controls of the map page: how a map is to be made, which one is shown, what is done with it."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

import streamlit as st

from app.services.access import Role
from app.services.maps.clusters import MOST_CLUSTERS, Method
from app.services.maps.runs import Plan, Run
from app.ui.frame import told, visitor
from app.ui.i18n import Translator
from app.ui.map.contract import MapBackend
from app.ui.map.state import MapState
from app.ui.markup import as_label, notice, plain
from app.ui.search.cards import refusal
from app.ui.search.contract import CorpusInfo
from indexer.catalog.label_tables import Unit
from indexer.catalog.task_tables import Task, TaskState

_REFRESH_SECONDS = 1.0


def read_state() -> MapState:
    """The state in the address bar."""
    return MapState.from_params(st.query_params.to_dict())


def change(**changes: Any) -> None:  # noqa: ANN401 - fields of MapState
    """Write a changed state to the address bar."""
    st.query_params.from_dict(read_state().changed(**changes).to_params())


def may_change() -> bool:
    """Whether to show what only editors may do."""
    return visitor().role.covers(Role.EDITOR)


def refusals(t: Translator) -> AbstractContextManager[None]:
    """Show what is refused inside as a line there, so that the rest of the page stays."""
    return told(lambda sentence: st.html(refusal(sentence, t)), t)


def corpus_picker(corpora: Sequence[CorpusInfo], chosen: CorpusInfo, t: Translator) -> None:
    """Which corpus to map."""
    _seed("corpus", chosen.name)
    st.selectbox(
        t("corpus.label"),
        [corpus.name for corpus in corpora],
        key="corpus",
        label_visibility="collapsed",
        width=208,
        on_change=lambda: change(corpus=st.session_state["corpus"]),
    )


def run_picker(runs: Sequence[Run], chosen: Run, t: Translator) -> None:
    """Which of the saved maps to show."""
    by_id = {run.id: run for run in runs}
    _seed("run", chosen.id)
    st.selectbox(
        t("map.saved"),
        list(by_id),
        format_func=lambda run_id: _described(by_id[run_id], t) if run_id in by_id else run_id,
        key="run",
        on_change=lambda: change(run=st.session_state["run"]),
    )


def other_picker(runs: Sequence[Run], run: Run, state: MapState, t: Translator) -> Run | None:
    """Which of the saved maps of the same kind to compare with."""
    by_id = {other.id: other for other in runs if other.id != run.id and other.plan.unit is run.plan.unit}
    if not by_id:
        st.caption(t("map.compare.none"))
        return None
    _seed("against", state.against if state.against in by_id else None)
    st.selectbox(
        t("map.compare.with"),
        list(by_id),
        index=None,
        placeholder=t("map.compare.choose"),
        format_func=lambda run_id: _described(by_id[run_id], t) if run_id in by_id else run_id,
        key="against",
        on_change=lambda: change(against=st.session_state["against"] or ""),
    )
    return by_id.get(state.against)


def new_map(backend: MapBackend, corpus: CorpusInfo, runs: Sequence[Run], t: Translator) -> None:
    """The form for a new map; sending it has it made."""
    with st.form("new_map", border=False):
        first, second, third = st.columns(3)
        name = first.text_input(t("map.name"), _free_name(t("map.name.default"), runs), max_chars=64, key="new_name")
        unit = second.segmented_control(
            t("map.unit"),
            list(Unit),
            default=Unit.DOCUMENT,
            format_func=lambda each: t(f"map.unit.{each}"),
            required=True,
            key="new_unit",
        )
        method = third.segmented_control(
            t("map.method"),
            list(Method),
            default=Method.KMEANS,
            format_func=lambda each: t(f"map.method.{each}"),
            required=True,
            key="new_method",
            help=t("map.method.help"),
        )
        count = first.number_input(t("map.count"), 2, MOST_CLUSTERS, 10, key="new_count", help=t("map.count.help"))
        least = second.number_input(t("map.least"), 2, 10_000, 5, key="new_least", help=t("map.least.help"))
        seed = third.number_input(t("map.seed"), 0, 2**31 - 1, 0, key="new_seed", help=t("map.seed.help"))
        threshold = first.slider(
            t("map.threshold"), 0.0, 1.0, 0.02, 0.01, key="new_threshold", help=t("map.threshold.help")
        )
        is_aligned = second.checkbox(t("map.aligned"), value=True, key="new_aligned", help=t("map.aligned.help"))
        if not st.form_submit_button(t("map.make"), type="primary", key="make"):
            return
    plan = Plan(
        corpus=corpus.name,
        name=name.strip(),
        unit=Unit(unit),
        method=Method(method),
        count=int(count),
        least=int(least),
        threshold=float(threshold),
        seed=int(seed),
        is_aligned=bool(is_aligned),
    )
    _start(backend, plan)


def divide(backend: MapBackend, run: Run, number: int, runs: Sequence[Run], t: Translator) -> None:
    """The form for a map of one cluster."""
    with st.form(f"divide-{run.id}-{number}", border=False):
        name = st.text_input(t("map.name"), _free_name(f"{run.plan.name} {number + 1}", runs), max_chars=64)
        count = st.number_input(t("map.count"), 2, MOST_CLUSTERS, 4)
        if not st.form_submit_button(t("map.divide")):
            return
    plan = run.plan
    divided = Plan(
        corpus=plan.corpus,
        name=name.strip(),
        unit=plan.unit,
        method=plan.method,
        count=int(count),
        least=max(2, plan.least // 2),
        threshold=plan.threshold,
        seed=plan.seed,
        is_aligned=plan.is_aligned,
        parent=run.id,
        parent_cluster=number,
    )
    _start(backend, divided)


def rename(backend: MapBackend, run: Run, number: int, t: Translator) -> None:
    """The form for another name of a cluster."""
    with st.form(f"rename-{run.id}-{number}", border=False):
        name = st.text_input(t("map.rename"), run.clusters[number].name, max_chars=120)
        if st.form_submit_button(t("map.rename.do")):
            backend.rename(visitor(), run, number, name)
            st.rerun()


def threshold(backend: MapBackend, run: Run, t: Translator) -> float:
    """The outliers' slider; what it shows is tried out at once, and kept on request."""
    key = f"threshold-{run.id}"
    tried = st.slider(t("map.threshold"), 0.0, 1.0, run.plan.threshold, 0.01, key=key, help=t("map.threshold.help"))
    if tried != run.plan.threshold and may_change() and st.button(t("map.threshold.keep"), key="keep_threshold"):
        with refusals(t):
            backend.set_threshold(visitor(), run, tried)
            st.rerun()
    return float(tried)


def delete(backend: MapBackend, run: Run, t: Translator) -> None:
    """A button behind a question."""
    with st.popover(t("map.delete")):
        st.html(f'<p class="kalm-hint">{plain(t("map.delete.text"))}</p>')
        if st.button(t("map.delete.do"), key="delete", type="primary"):
            with refusals(t):
                backend.drop(visitor(), run)
                change(run="")
                st.rerun()


def watched(backend: MapBackend, state: MapState, corpus: str) -> str:
    """Id of the making of a map to show: the one in the address, else any of this corpus; empty for none."""
    if state.task:
        return state.task
    return next((task.id for task in backend.making(corpus)), "")


@st.fragment(run_every=_REFRESH_SECONDS)
def progress(backend: MapBackend, task_id: str, t: Translator) -> None:
    """How far the making of a map is, again and again until it is over; then the map."""
    with refusals(t):  # only the first of these runs is inside the page's own
        task = backend.task(task_id)
        if task is None:
            change(task="")
            st.rerun()
        elif task.state is TaskState.DONE:
            change(task="", run=str(task.result["run"]))
            st.rerun()
        elif task.state.is_final:
            words = task.error or t("map.stopped.text")
            st.html(notice(t, t("map.stopped"), words, alert=True))
            st.button(t("map.dismiss"), key="dismiss", on_click=change, kwargs={"task": ""})
        else:
            _bar(backend, task, t)


def _bar(backend: MapBackend, task: Task, t: Translator) -> None:
    stage = t(f"map.stage.{task.stage or 'waiting'}")
    words = t("map.making", name=str(task.parameters["name"]), stage=stage)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.progress(task.progress, as_label(words))
        if may_change():
            st.button(t("map.stop"), key="stop", on_click=_stop, args=(backend, task.id, t))
    if refused := st.session_state.get(_refused(task.id)):
        st.html(refusal(refused, t))


def _stop(backend: MapBackend, task_id: str, t: Translator) -> None:
    """End the making of a map; a refusal is kept for the runs that follow."""
    with told(lambda sentence: st.session_state.update({_refused(task_id): sentence}), t):
        backend.stop(visitor(), task_id)


def _refused(task_id: str) -> str:
    return f"stop_refused_{task_id}"


def _start(backend: MapBackend, plan: Plan) -> None:
    change(task=backend.start(visitor(), plan))
    st.rerun()


def _described(run: Run, t: Translator) -> str:
    unit, method = t(f"map.unit.{run.plan.unit}"), t(f"map.method.{run.plan.method}")
    return f"{run.plan.name} · {unit} · {method} · {t.date(run.created)}"


def _free_name(wanted: str, runs: Sequence[Run]) -> str:
    """A name that no map has yet, to begin with."""
    taken, number, name = {run.plan.name for run in runs}, 1, wanted[:60]
    while name in taken:
        number += 1
        name = f"{wanted[:60]} {number}"
    return name


def _seed(key: str, value: object) -> None:
    """Set a widget from the URL, but only where it differs."""
    if st.session_state.get(key) != value:
        st.session_state[key] = value
