"""The first step: labels described, or examples brought or typed in."""

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from app.services.classify.classifiers import Label
from app.services.classify.service import AT_ONCE, ClassifyRequest
from app.services.classify.tables import MAX_MEGABYTES, Example, guess_columns, labelled, read_table
from app.ui.classify import cards
from app.ui.classify.contract import Backend
from app.ui.classify.state import ClassifyState, Step, Way, as_label_params, change
from app.ui.classify.work import submit
from app.ui.frame import visitor
from app.ui.i18n import Translator
from app.ui.markup import as_option

_FIRST_LABELS = 3
_TYPED_ROWS = 6


def render(backend: Backend, state: ClassifyState, t: Translator) -> None:
    """Draw the step."""
    if st.session_state.get("way") != state.way:
        st.session_state["way"] = state.way
    st.segmented_control(
        t("classify.way"),
        list(Way),
        format_func=lambda way: t(f"classify.way.{way}"),
        required=True,
        key="way",
        on_change=lambda: change(way=st.session_state["way"]),
    )
    st.html(cards.hint(t(f"classify.way.{state.way}.help"), t))
    match state.way:
        case Way.DESCRIBE:
            _describe(backend, state, t)
        case Way.UPLOAD:
            _upload(backend, t)
        case Way.TYPE:
            _type(backend, t)


def _describe(backend: Backend, state: ClassifyState, t: Translator) -> None:
    known = state.labels or [
        (t(f"classify.first.{n}"), t(f"classify.first.{n}.text")) for n in range(1, _FIRST_LABELS + 1)
    ]
    if "described" not in st.session_state or st.session_state.get("described_from") != state.label:
        # The frame an editor begins with must not change while somebody edits it.
        st.session_state["described"] = pd.DataFrame(known, columns=["name", "text"])
        st.session_state["described_from"] = state.label
    with st.form("describe", border=False):
        edited = st.data_editor(
            st.session_state["described"],
            num_rows="dynamic",
            hide_index=True,
            width="stretch",
            column_config={
                "name": st.column_config.TextColumn(t("classify.label"), width="small", max_chars=200),
                "text": st.column_config.TextColumn(t("classify.description"), width="large", max_chars=2000),
            },
        )
        texts = st.text_area(
            t("classify.texts"), placeholder=t("classify.texts.hint"), height=140, key="texts", max_chars=50_000
        )
        threshold = st.slider(
            t("classify.threshold"), 0, 100, state.threshold, format="%d%%", help=t("classify.threshold.help")
        )
        asked = st.form_submit_button(t("classify.ask"), type="primary")
    found = [
        (str(name).strip(), str(text or "").strip()) for name, text in edited.fillna("").to_numpy() if str(name).strip()
    ]
    if asked:
        label = as_label_params(found)
        st.session_state["described"], st.session_state["described_from"] = edited, label
        change(label=label, threshold=threshold)
        st.session_state["asked"] = True
    if st.session_state.get("asked"):
        _answer(backend, [Label(name, text) for name, text in found], texts or "", threshold, t)
    _keep(backend, [Label(name, text) for name, text in found], threshold, t)


def _answer(backend: Backend, labels: Sequence[Label], given: str, threshold: int, t: Translator) -> None:
    lines = [line.strip() for line in given.splitlines() if line.strip()]
    texts = lines[:AT_ONCE]
    if not texts:
        st.html(cards.hint(t("classify.texts.none"), t))
        return
    if len(lines) > AT_ONCE:
        st.html(cards.hint(t("classify.texts.most", n=t.number(AT_ONCE)), t))
    with st.spinner(t("classify.busy")):
        answer = backend.classify.classify(ClassifyRequest(texts, labels=labels, threshold=threshold / 100))
    st.html(cards.predicted(texts, answer.predictions, t))


def _keep(backend: Backend, labels: Sequence[Label], threshold: int, t: Translator) -> None:
    with st.popover(t("classify.keep.described")):
        name = st.text_input(t("classify.name"), key="described_name", max_chars=64, help=t("classify.name.help"))
        if st.button(t("classify.save"), key="save_described", disabled=not name):
            kept = backend.classify.save_described(visitor(), name.strip(), labels, threshold / 100, "")
            change(step=Step.USE, classifier=kept.name)
            st.rerun()


def _upload(backend: Backend, t: Translator) -> None:
    file = st.file_uploader(
        t("classify.file"), type=["csv", "tsv", "txt"], key="examples_file", max_upload_size=MAX_MEGABYTES
    )
    if file is None:
        return
    table = read_table(file.getvalue())
    text, label = guess_columns(table)
    columns = list(table.columns)
    with st.container(horizontal=True, key="columns"):
        chosen_text = st.selectbox(
            t("classify.column.text"), columns, columns.index(text), format_func=as_option, key="text_column"
        )
        chosen_label = st.selectbox(
            t("classify.column.label"),
            columns,
            columns.index(label) if label else min(1, len(columns) - 1),
            format_func=as_option,
            key="label_column",
        )
    found = labelled(table, chosen_text, chosen_label)
    st.html(cards.table_summary(table, found, t))
    _learn(backend, found.examples, found.unlabelled, t)


def _type(backend: Backend, t: Translator) -> None:
    if "typed" not in st.session_state:
        st.session_state["typed"] = pd.DataFrame([("", "")] * _TYPED_ROWS, columns=["text", "label"])
    edited = st.data_editor(
        st.session_state["typed"],
        num_rows="dynamic",
        hide_index=True,
        width="stretch",
        key="typed_editor",
        column_config={
            "text": st.column_config.TextColumn(t("classify.text"), width="large"),
            "label": st.column_config.TextColumn(t("classify.label"), width="small", max_chars=200),
        },
    )
    rows = [(str(text).strip(), " ".join(str(label).split())) for text, label in edited.fillna("").to_numpy()]
    examples = [Example(text, label) for text, label in rows if text and label]
    _learn(backend, examples, [text for text, label in rows if text and not label], t)


def _learn(backend: Backend, examples: Sequence[Example], unlabelled: Sequence[str], t: Translator) -> None:
    with st.expander(t("classify.more_choices")):
        instruction = st.text_input(
            t("classify.instruction"),
            key="instruction",
            max_chars=1000,
            placeholder="Classifying the category of the given text",
            help=t("classify.instruction.help"),
        )
    if st.button(t("classify.learn"), type="primary", key="learn", disabled=not examples):
        work = backend.classify.begin(visitor(), examples, unlabelled, instruction)
        learn(backend, work, len(examples) + len(unlabelled), t)


def learn(backend: Backend, work: str, texts: int, t: Translator) -> None:
    """Learn from work in hand: at once where that is quick, else as long work; then show what came of it."""
    if texts > AT_ONCE:
        submit(backend.tasks, "classify.train", {"work": work}, step=Step.TRAIN, work=work, pair="")
    with st.spinner(t("classify.learning")):
        backend.classify.train(visitor(), work)
    change(step=Step.TRAIN, work=work, task="", pair="")
    st.rerun()
