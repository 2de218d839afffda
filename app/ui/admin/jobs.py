"""Builds: how far each is, what failed in it, and whether anybody works on them. Drawn anew every two seconds."""

from collections.abc import Callable

import streamlit as st

from app.services.errands import OF_BUILDS, Errand
from app.ui.admin import errands, pieces
from app.ui.admin.desk import Desk
from app.ui.admin.state import AdminState
from app.ui.frame import calm_errors
from app.ui.i18n import Translator
from app.ui.markup import as_label, notice
from indexer.records import Run, RunState

_SECONDS = 2.0
_SHOWN = 20
_ICONS = {"pause": "pause", "resume": "play_arrow", "cancel": "close", "retry": "refresh"}
_TONES = {RunState.DONE: "good", RunState.RUNNING: "busy", RunState.FAILED: "bad"}


def draw(desk: Desk, state: AdminState) -> None:
    """Draw the section."""
    errands.follow(desk, OF_BUILDS)
    _live(desk)


@st.fragment(run_every=_SECONDS)
def _live(desk: Desk) -> None:
    with calm_errors(desk.t):
        t = desk.t
        runs = desk.admin.runs(desk.person, _SHOWN)
        desk.show_said()
        _workers(desk, any(run.is_workable for run in runs))
        if not runs:
            st.html(notice(t, t("admin.jobs.none"), t("admin.jobs.none.text")))
            return
        for run in runs:
            if not run.is_over or run.state is RunState.FAILED:
                _open_run(desk, run)
        over = [run for run in runs if run.is_over]
        if over:
            st.html(pieces.heading(t("admin.jobs.over"), t))
            st.html(_table(over, t))
        for run in over:
            if run.failed and run.state is RunState.DONE:
                _failures(desk, run)


def remaining_seconds(run: Run) -> float | None:
    """How much longer the reading of a run takes at its speed so far; None where that cannot be said yet."""
    if not run.bytes_done or not run.seconds or run.state is not RunState.RUNNING:
        return None
    return run.seconds * (run.bytes - run.bytes_done) / run.bytes_done


def share_done(run: Run) -> float:
    """Of the bytes to look at; of the files where they have none."""
    done, whole = (run.bytes_done, run.bytes) if run.bytes else (run.files_done, run.files)
    return min(1.0, done / whole) if whole else 0.0


def _workers(desk: Desk, is_needed: bool) -> None:
    t, workers = desk.t, desk.upkeep.workers(desk.person)
    if workers:
        words = [
            t("admin.worker.busy" if each.is_busy else "admin.worker.idle", pid=str(each.pid), host=each.host)
            for each in workers
        ]
        st.html(pieces.line(" · ".join(words), t))
        return
    failure = desk.upkeep.worker_failure(desk.person)
    if failure:
        st.html(pieces.said(failure, True, t))
    if is_needed:
        st.html(notice(t, t("admin.worker.none.waiting"), t("admin.worker.none.text"), alert=True))
        st.code("kalm worker", language=None)
    else:
        st.html(pieces.line(t("admin.worker.none"), t))
    if desk.is_admin:
        st.button(
            t("admin.worker.start"), key="start_worker", icon=":material/play_arrow:", on_click=_start, args=(desk,)
        )


def _start(desk: Desk) -> None:
    desk.act(lambda: desk.t("admin.worker.started", pid=str(desk.upkeep.start_worker(desk.person))))


def _open_run(desk: Desk, run: Run) -> None:
    t = desk.t
    with st.container(border=True, key=f"run_{run.id}"):
        state = pieces.badge(_state(run, t), _TONES.get(run.state, ""))
        number = t("admin.jobs.run", n=str(run.id))
        st.html(pieces.facts([(number, run.corpus), (t("admin.jobs.state"), state), *_counts(run, t)], t))
        st.progress(share_done(run), text=as_label(_how_far(run, t)))
        if run.error:
            st.html(pieces.said(run.error, True, t))
        _failures(desk, run)
        with st.container(horizontal=True, key=f"run_actions_{run.id}"):
            if run.is_workable:
                _button(desk, run, "pause", desk.admin.pause)
            if run.state in (RunState.PAUSED, RunState.FAILED):
                _button(desk, run, "resume", desk.admin.resume)
            if run.state is not RunState.CANCELLING:
                _errand(desk, run, "cancel", Errand.CANCEL)


def _counts(run: Run, t: Translator) -> list[tuple[str, str]]:
    return [
        (t("admin.jobs.files"), f"{t.number(run.files_done)} / {t.number(run.files)}"),
        (t("admin.jobs.passages"), t.number(run.chunks)),
        (t("admin.jobs.failed"), t.number(run.failed)),
        (t("admin.jobs.model"), run.manifest.model),
    ]


def _state(run: Run, t: Translator) -> str:
    is_writing = run.state is RunState.RUNNING and run.files_done >= run.files
    return t("admin.state.writing") if is_writing else t(f"admin.state.{run.state}")


def _how_far(run: Run, t: Translator) -> str:
    done = t("admin.jobs.bytes", done=pieces.size(run.bytes_done), all=pieces.size(run.bytes))
    left = remaining_seconds(run)
    return f"{done} · {t('admin.jobs.left', time=pieces.duration(left, t))}" if left else done


def _failures(desk: Desk, run: Run) -> None:
    if not run.failed:
        return
    t, found = desk.t, desk.admin.failures(desk.person, run.id)
    if not found:  # looked at again since
        return
    title = t("admin.jobs.failures", run=str(run.id), files=t.count("admin.failed", len(found)))
    st.html(pieces.reasons(title, found, t))
    _errand(desk, run, "retry", Errand.RETRY)


def _errand(desk: Desk, run: Run, what: str, errand: Errand) -> None:
    """A button for what takes long."""
    if st.button(desk.t(f"admin.jobs.{what}"), key=f"{what}_{run.id}", icon=f":material/{_ICONS[what]}:"):
        errands.begin(desk, errand, corpus=run.corpus, run=run.id)
        st.rerun()  # the whole page, not only this fragment


def _button(desk: Desk, run: Run, what: str, do: Callable[..., Run]) -> None:
    def act() -> None:
        def work() -> str:
            now = do(desk.person, run.id)
            return desk.t("admin.jobs.now", run=str(now.id), state=desk.t(f"admin.state.{now.state}"))

        desk.act(work)

    st.button(desk.t(f"admin.jobs.{what}"), key=f"{what}_{run.id}", icon=f":material/{_ICONS[what]}:", on_click=act)


def _table(runs: list[Run], t: Translator) -> str:
    columns = [t(f"admin.jobs.{name}") for name in ("number", "corpus", "state", "files", "failed", "took", "asked")]
    rows = [
        (
            str(run.id),
            run.corpus,
            pieces.badge(_state(run, t), _TONES.get(run.state, "")),
            f"{t.number(run.files_done)} / {t.number(run.files)}",
            t.number(run.failed),
            pieces.duration(run.seconds, t),
            pieces.moment(run.created, t),
        )
        for run in runs
    ]
    return pieces.table(t("admin.jobs.over"), columns, rows, t, numbers=(3, 4, 5))
