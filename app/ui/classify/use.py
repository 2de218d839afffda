"""The third step: keep a classifier, try it, label a table, label a corpus."""

import streamlit as st

from app.services.classify.classifiers import Classifier
from app.services.classify.service import AT_ONCE, ClassifyRequest
from app.services.classify.tables import MAX_MEGABYTES, guess_columns, read_table
from app.ui.classify import cards
from app.ui.classify.contract import Backend
from app.ui.classify.state import ClassifyState, Step, change
from app.ui.classify.work import done, submit
from app.ui.frame import visitor
from app.ui.i18n import Translator
from app.ui.markup import as_option, notice

_PREDICT, _APPLY = "classify.predict", "classify.apply"


def render(backend: Backend, state: ClassifyState, t: Translator) -> None:
    """Draw the step."""
    if state.work:
        _keep(backend, state, t)
    kept = {one.name: one for one in backend.classify.classifiers()}
    if not kept:
        st.html(notice(t, t("classify.none.title"), t("classify.none.text")))
        st.button(t("classify.step.labels"), key="to_labels", on_click=change, kwargs={"step": Step.LABELS})
        return
    chosen = kept[_pick(list(kept), state, t)]
    st.html(cards.about(chosen, t))
    _try(backend, chosen, t)
    _table(backend, chosen, state, t)
    _corpus(backend, chosen, state, t)
    _forget(backend, chosen, t)


def _keep(backend: Backend, state: ClassifyState, t: Translator) -> None:
    """Save what was just learnt."""
    if backend.classify.work(state.work).training is None:
        return
    with st.form("keep", border=True):
        st.html(cards.hint(t("classify.keep.help", threshold=cards.percent(state.threshold / 100)), t))
        with st.container(horizontal=True, vertical_alignment="bottom", key="keeping"):
            name = st.text_input(t("classify.name"), key="name", max_chars=64, help=t("classify.name.help"), width=320)
            asked = st.form_submit_button(t("classify.save"), type="primary")
    if asked and name:
        kept = backend.classify.save(visitor(), state.work, name.strip(), state.threshold / 100)
        change(classifier=kept.name)
        st.rerun()


def _pick(names: list[str], state: ClassifyState, t: Translator) -> str:
    chosen = state.classifier if state.classifier in names else names[0]
    if st.session_state.get("classifier") != chosen:
        st.session_state["classifier"] = chosen
    st.selectbox(
        t("classify.classifier"),
        names,
        key="classifier",
        width=320,
        on_change=lambda: change(classifier=st.session_state["classifier"], table="", task=""),
    )
    return chosen


def _try(backend: Backend, chosen: Classifier, t: Translator) -> None:
    st.html(cards.heading(t("classify.try"), t))
    with st.form("try", border=False):
        text = st.text_area(t("classify.text"), key="try_text", height=100, max_chars=20_000)
        asked = st.form_submit_button(t("classify.ask"))
    if asked and text and text.strip():
        with st.spinner(t("classify.busy")):
            answer = backend.classify.classify(ClassifyRequest([text], chosen.name))
        st.html(cards.predicted([text], answer.predictions, t))


def _table(backend: Backend, chosen: Classifier, state: ClassifyState, t: Translator) -> None:
    st.html(cards.heading(t("classify.table"), t, t("classify.table.help")))
    file = st.file_uploader(
        t("classify.file"), type=["csv", "tsv", "txt"], key="texts_file", max_upload_size=MAX_MEGABYTES
    )
    if file is not None:
        table = read_table(file.getvalue())
        columns = list(table.columns)
        text, _ = guess_columns(table)
        column = st.selectbox(
            t("classify.column.text"), columns, columns.index(text), format_func=as_option, key="predict_column"
        )
        st.html(cards.hint(t.count("classify.rows", len(table.rows)), t) + cards.problems(table.problems, t))
        if st.button(t("classify.predict"), key="predict", type="primary"):
            table_id = backend.classify.put_table(visitor(), file.getvalue())
            _predict(backend, chosen.name, table_id, column, len(table.rows), t)
    task = done(backend.tasks, state, _PREDICT)
    ready = str(task.result["table"]) if task else state.table
    if ready:
        st.download_button(
            t("classify.download"),
            backend.classify.predictions(ready),
            file_name=f"{chosen.name}.csv",
            mime="text/csv",
            key="download",
            icon=":material/download:",
            on_click="ignore",
        )


def _predict(backend: Backend, name: str, table_id: str, column: str, rows: int, t: Translator) -> None:
    if rows > AT_ONCE:
        parameters = {"classifier": name, "table": table_id, "column": column}
        submit(backend.tasks, _PREDICT, parameters, classifier=name, table="")
    with st.spinner(t("classify.busy")):
        backend.classify.predict_table(visitor(), name, table_id, column)
    change(classifier=name, table=table_id, task="")
    st.rerun()


def _corpus(backend: Backend, chosen: Classifier, state: ClassifyState, t: Translator) -> None:
    corpora = [corpus.name for corpus in backend.corpora() if corpus.searchable]
    if not corpora:
        return
    st.html(cards.heading(t("classify.apply"), t, t("classify.apply.help")))
    with st.container(horizontal=True, vertical_alignment="bottom", key="applying"):
        corpus = st.selectbox(t("classify.gather"), corpora, key="apply_to", width=260)
        if st.button(t("classify.apply.do"), key="apply"):
            submit(backend.tasks, _APPLY, {"classifier": chosen.name, "corpus": corpus}, classifier=chosen.name)
    task = done(backend.tasks, state, _APPLY)
    if task is not None:
        counts = [(str(label), int(count)) for label, count in task.result["counts"].items()]
        st.html(cards.hint(t("classify.applied", corpus=str(task.parameters["corpus"])), t) + cards.counts(counts, t))


def _forget(backend: Backend, chosen: Classifier, t: Translator) -> None:
    with st.popover(t("classify.forget")):
        st.html(cards.hint(t("classify.forget.help", name=chosen.name), t))
        if st.button(t("classify.forget.do"), key="forget"):
            backend.classify.remove(visitor(), chosen.name)
            change(classifier="", table="", task="")
            st.rerun()
