"""The second step: what was learnt, what it is worth, and what would make it better."""

import pandas as pd
import streamlit as st

from app.services.classify.desk import Training, Work
from app.services.classify.figures import Figures, decided, figures, likely_errors, threshold_curve
from app.services.classify.tables import Example
from app.ui.classify import cards, charts
from app.ui.classify.contract import Backend
from app.ui.classify.labels import learn
from app.ui.classify.state import ClassifyState, Step, change
from app.ui.frame import visitor
from app.ui.i18n import Translator
from app.ui.markup import as_option, notice

_SHOWN_ERRORS = 30
_SHOWN_TEXTS = 20
_SHOWN_PAIRS = 30
_CONFIG = {"displayModeBar": False}


def render(backend: Backend, state: ClassifyState, t: Translator) -> None:
    """Draw the step."""
    work = backend.classify.work(state.work) if state.work else None
    if work is None or work.training is None:
        st.html(notice(t, t("classify.nothing.title"), t("classify.nothing.text")))
        st.button(t("classify.step.labels"), key="to_labels", on_click=change, kwargs={"step": Step.LABELS})
        return
    training = work.training
    if work.is_stale:
        _stale(backend, work, t)
    threshold = _threshold(state, t)
    judged = figures(training.trained.probabilities, training.targets, training.labels, threshold)
    st.html(cards.worth(judged, training, t))
    _curve(training, threshold, t)
    _matrix(work, training, judged, state, threshold, t)
    _classes(judged, t)
    if not work.is_stale:  # places are those of the examples that were learnt from
        _errors(backend, work, training, t)
        _next(backend, work, training, t)
    st.button(t("classify.step.use"), key="to_use", type="primary", on_click=change, kwargs={"step": Step.USE})


def _stale(backend: Backend, work: Work, t: Translator) -> None:
    st.html(notice(t, t("classify.stale.title"), t("classify.stale.text")))
    if st.button(t("classify.learn.again"), type="primary", key="learn_again"):
        learn(backend, work.id, len(work.examples) + len(work.unlabelled), t)


def _threshold(state: ClassifyState, t: Translator) -> float:
    if st.session_state.get("threshold") != state.threshold:
        st.session_state["threshold"] = state.threshold
    st.slider(
        t("classify.threshold"),
        0,
        100,
        key="threshold",
        format="%d%%",
        help=t("classify.threshold.help"),
        on_change=lambda: change(threshold=st.session_state["threshold"]),
    )
    return state.threshold / 100


def _curve(training: Training, threshold: float, t: Translator) -> None:
    st.html(cards.heading(t("classify.curve"), t, t("classify.curve.help")))
    points = threshold_curve(training.trained.probabilities, training.targets)
    st.plotly_chart(charts.curve(points, threshold, t), key="curve", config=_CONFIG, alt=t("classify.curve.help"))
    with st.expander(t("classify.as_table")):
        rows = [(cards.percent(p.threshold), cards.percent(p.coverage), cards.percent(p.accuracy)) for p in points]
        names = [t("classify.threshold.axis"), t("classify.coverage"), t("classify.accuracy")]
        st.dataframe(pd.DataFrame(rows, columns=names), hide_index=True)


def _matrix(
    work: Work, training: Training, judged: Figures, state: ClassifyState, threshold: float, t: Translator
) -> None:
    st.html(cards.heading(t("classify.matrix"), t, t("classify.matrix.help")))
    chart = st.plotly_chart(
        charts.confusion(judged.confusion, training.labels, t),
        key="matrix",
        config=_CONFIG,
        on_select="rerun",
        selection_mode="points",
        alt=t("classify.matrix.help"),
    )
    points = chart["selection"]["points"] if chart else []
    clicked = f"{points[0]['y']:.0f}.{points[0]['x']:.0f}" if points else ""
    if clicked and clicked != st.session_state.get("clicked"):
        change(pair=clicked)
        state = ClassifyState(pair=clicked)
    st.session_state["clicked"] = clicked
    _texts(work, training, judged, state, threshold, t)
    with st.expander(t("classify.as_table")):
        columns = [*training.labels, t("classify.abstained")]
        unique = [f"{name} " if name in columns[:n] else name for n, name in enumerate(columns)]
        st.dataframe(pd.DataFrame(judged.confusion, index=list(training.labels), columns=unique))


def _texts(
    work: Work, training: Training, judged: Figures, state: ClassifyState, threshold: float, t: Translator
) -> None:
    """The texts of one cell, which may be chosen by a click or from the list of what is mistaken most."""
    names = [*training.labels, t("classify.abstained")]
    wrong = [(int(count), f"{row}.{column}") for (row, column), count in _cells(judged) if row != column]
    pairs = [pair for _, pair in sorted(wrong, key=lambda one: (-one[0], one[1]))[:_SHOWN_PAIRS]]
    row, _, column = state.pair.partition(".")
    is_cell = bool(state.pair) and int(row) < len(training.labels) and int(column) < len(names)
    chosen = state.pair if is_cell else None
    options = pairs if chosen is None or chosen in pairs else [chosen, *pairs]
    if st.session_state.get("pair") != chosen:
        st.session_state["pair"] = chosen

    def shown(pair: str) -> str:
        has, given = (int(part) for part in pair.split("."))
        count = t.number(int(judged.confusion[has, given]))
        return as_option(t("classify.pair", has=names[has], given=names[given], count=count))

    st.selectbox(
        t("classify.pairs"),
        options,
        index=None,
        format_func=shown,
        placeholder=t("classify.pairs.hint"),
        key="pair",
        on_change=lambda: change(pair=st.session_state["pair"] or ""),
    )
    if chosen is None or work.is_stale:
        return
    has, given = (int(part) for part in chosen.split("."))
    probabilities = training.trained.probabilities
    here = (training.targets == has) & (decided(probabilities, threshold) == given)
    found = [
        (work.examples[place].text, t("classify.sure", score=cards.percent(float(probabilities[place].max()))))
        for place in here.nonzero()[0][:_SHOWN_TEXTS]
    ]
    st.html(cards.texts_of(found, t) if found else cards.hint(t("classify.no_texts"), t))


def _cells(judged: Figures) -> list[tuple[tuple[int, int], int]]:
    rows, columns = judged.confusion.nonzero()
    return [((int(r), int(c)), int(judged.confusion[r, c])) for r, c in zip(rows, columns, strict=True)]


def _classes(judged: Figures, t: Translator) -> None:
    st.html(cards.heading(t("classify.classes"), t, t("classify.classes.help")))
    rows = [
        (one.label, one.examples, cards.percent(one.precision), cards.percent(one.recall), cards.percent(one.f1))
        for one in judged.classes
    ]
    keys = ("label", "count", "precision", "recall", "f1.short")
    st.dataframe(pd.DataFrame(rows, columns=[t(f"classify.{key}") for key in keys]), hide_index=True)


def _errors(backend: Backend, work: Work, training: Training, t: Translator) -> None:
    st.html(cards.heading(t("classify.errors"), t, t("classify.errors.help")))
    doubts = likely_errors(training.trained.probabilities, training.targets, _SHOWN_ERRORS)
    if not doubts:
        st.html(cards.hint(t("classify.errors.none"), t))
        return
    names = training.labels
    rows = [
        (False, work.examples[doubt.place].text, names[doubt.given], names[doubt.likely], cards.percent(doubt.margin))
        for doubt in doubts
    ]
    edited = st.data_editor(
        pd.DataFrame(rows, columns=["take", "text", "given", "likely", "margin"]),
        hide_index=True,
        key=f"errors_{training.digest}",
        disabled=["text", "given", "margin"],
        column_config={
            "take": st.column_config.CheckboxColumn(t("classify.take"), width=96),
            "text": st.column_config.TextColumn(t("classify.text"), width="large"),
            "given": st.column_config.TextColumn(t("classify.label.now")),
            "likely": st.column_config.SelectboxColumn(t("classify.label.likely"), options=list(names), required=True),
            "margin": st.column_config.TextColumn(t("classify.margin.short"), width="small"),
        },
    )
    taken = {
        doubt.place: str(likely)
        for doubt, take, likely in zip(doubts, edited["take"], edited["likely"], strict=True)
        if take
    }
    if st.button(t("classify.correct"), key="correct", disabled=not taken):
        backend.classify.relabel(visitor(), work.id, dict(taken))
        st.rerun()


def _next(backend: Backend, work: Work, training: Training, t: Translator) -> None:
    st.html(cards.heading(t("classify.next"), t, t("classify.next.help")))
    texts = [work.unlabelled[place] for place in training.next]
    if texts:
        edited = st.data_editor(
            pd.DataFrame([(text, None) for text in texts], columns=["text", "label"]),
            hide_index=True,
            key=f"next_{training.digest}_{len(work.unlabelled)}",
            disabled=["text"],
            column_config={
                "text": st.column_config.TextColumn(t("classify.text"), width="large"),
                "label": st.column_config.SelectboxColumn(t("classify.label"), options=list(training.labels)),
            },
        )
        given = [Example(text, str(label)) for text, label in zip(texts, edited["label"], strict=True) if label]
        if st.button(t("classify.add"), key="add", disabled=not given):
            backend.classify.add(visitor(), work.id, given)
            st.rerun()
    else:
        st.html(cards.hint(t("classify.next.none"), t))
    corpora = [corpus.name for corpus in backend.corpora() if corpus.searchable]
    if corpora:
        with st.container(horizontal=True, vertical_alignment="bottom", key="gathering"):
            corpus = st.selectbox(t("classify.gather"), corpora, key="gather_from", width=260)
            if st.button(t("classify.gather.do"), key="gather"):
                backend.classify.gather(visitor(), work.id, corpus)
                whole = backend.classify.work(work.id)
                learn(backend, work.id, len(whole.examples) + len(whole.unlabelled), t)
