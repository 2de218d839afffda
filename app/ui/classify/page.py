"""The classify page: what is shown when. The steps are in ``labels``, ``review`` and ``use``, the URL in ``state``."""

from pathlib import Path

import streamlit as st

from app.ui.classify import labels, review, use
from app.ui.classify.contract import Backend
from app.ui.classify.state import ClassifyState, Step, change, read_state
from app.ui.classify.work import running
from app.ui.frame import begin, calm_errors, header, translator
from app.ui.i18n import Translator

_STYLE = Path(__file__).parent / "style.css"


def render(backend: Backend) -> None:
    """Draw the page for the state in the URL."""
    t = translator()
    begin(f"{t('nav.classify')} · {t('app.title')}", style=_STYLE, wide=True)
    header(t)
    with calm_errors(t):
        _steps(read_state(), t)
        if running(backend.tasks, read_state(), t):
            return
        state = read_state()  # without a task that has ended
        match state.step:
            case Step.LABELS:
                labels.render(backend, state, t)
            case Step.TRAIN:
                review.render(backend, state, t)
            case Step.USE:
                use.render(backend, state, t)


def _steps(state: ClassifyState, t: Translator) -> None:
    if st.session_state.get("step") != state.step:
        st.session_state["step"] = state.step
    st.segmented_control(
        t("classify.step"),
        list(Step),
        format_func=lambda step: t(f"classify.step.{step}"),
        required=True,
        key="step",
        label_visibility="collapsed",
        on_change=lambda: change(step=st.session_state["step"]),
    )
