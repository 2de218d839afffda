"""The map page: what is shown when. Controls are in ``widgets``, the figure in ``chart``, HTML in ``tables``."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from app.services.maps.clusters import OUTLIER, Labels
from app.services.maps.runs import Points, Run
from app.ui.frame import begin, calm_errors, header, translator
from app.ui.i18n import Translator
from app.ui.map import chart, tables, widgets
from app.ui.map.contract import MapBackend
from app.ui.map.state import MapState, search_link
from app.ui.markup import lang_attribute, notice, plain
from app.ui.search.contract import CorpusInfo

_STYLE = Path(__file__).with_name("style.css")
_TYPICAL = 5
_CONFIG = {"displaylogo": False, "modeBarButtonsToRemove": ["toImage"], "scrollZoom": True}


def render(backend: MapBackend) -> None:
    """Draw the page for the state in the URL."""
    t = translator()
    begin(f"{t('nav.map')} · {t('app.title')}", style=_STYLE, wide=True)
    slot = header(t)
    state = widgets.read_state()
    with calm_errors(t):
        corpora = [corpus for corpus in backend.corpora() if corpus.searchable]
        if not corpora:
            st.html(notice(t, t("map.none.title"), t("map.none.text")))
            return
        corpus = next((each for each in corpora if each.name == state.corpus), corpora[0])
        with slot:
            widgets.corpus_picker(corpora, corpus, t)
        _corpus(backend, replace(state, corpus=corpus.name), corpus, t)


def _corpus(backend: MapBackend, state: MapState, corpus: CorpusInfo, t: Translator) -> None:
    runs = backend.runs(corpus.name)
    task_id = widgets.watched(backend, state, corpus.name)
    if task_id:
        widgets.progress(backend, task_id, t)
    run = next((each for each in runs if each.id == state.run), runs[0] if runs else None)
    if run is None and not task_id:
        st.html(_welcome(t))
    if widgets.may_change():
        is_first = run is None and not task_id
        with st.expander(t("map.new"), icon=":material/add:", expanded=is_first), widgets.refusals(t):
            widgets.new_map(backend, corpus, runs, t)
    if run is not None:
        _map(backend, state, run, runs, t)


def _map(backend: MapBackend, state: MapState, run: Run, runs: Sequence[Run], t: Translator) -> None:
    points = backend.points(run)
    left, right = st.columns([3, 1], vertical_alignment="bottom")
    with left:
        widgets.run_picker(runs, run, t)
    with right:
        tried = widgets.threshold(backend, run, t)
    labels = points.labels(tried)
    st.html(_facts(run, labels, t))
    left, right = st.columns([3, 2], gap="medium")
    with left:
        chosen = _figure(run, points, labels, state, t)
    with right:
        st.html(tables.clusters_table(run, labels, state, t))
    st.html(_notes(run, backend.is_current(run), t))
    if len(chosen):
        _selection(run, points, labels, chosen, t)
    if 1 <= state.cluster <= len(run.clusters):
        _cluster(backend, run, runs, points, labels, state.cluster - 1, t)
    _rest(backend, state, run, runs, points, t)


def _figure(run: Run, points: Points, labels: Labels, state: MapState, t: Translator) -> NDArray[np.int64]:
    """Draw the map; returns the places of the points that are selected on it."""
    looked_at = state.cluster - 1 if 1 <= state.cluster <= len(run.clusters) else OUTLIER
    event = st.plotly_chart(
        chart.figure(points, labels, run.clusters, looked_at, t),
        key=f"map-{run.id}",
        on_select="rerun",
        selection_mode=("points", "box", "lasso"),
        config=_CONFIG,
        alt=t("map.alt", items=t.number(len(points)), clusters=t.number(len(run.clusters))),
    )
    if len(points) > chart.MOST_DRAWN:
        drawn = t("map.drawn", n=t.number(chart.MOST_DRAWN), total=t.number(len(points)))
        st.html(f'<p class="kalm-hint">{plain(drawn)}</p>')
    return chart.selected(event["selection"], points.places)


def _selection(run: Run, points: Points, labels: Labels, chosen: NDArray[np.int64], t: Translator) -> None:
    st.html(_head(t.count("map.selected", len(chosen)), _shown_of(len(chosen), t), t))
    st.html(tables.items_table(points, run, labels, chosen, t))
    _download_csv(points, chosen, f"{run.plan.name}-selection", "selection_csv", t)


def _cluster(
    backend: MapBackend, run: Run, runs: Sequence[Run], points: Points, labels: Labels, number: int, t: Translator
) -> None:
    """One cluster: its words, its most typical items, a search inside it, and what can be done with it."""
    each = run.clusters[number]
    members = np.flatnonzero(labels == number)
    st.html(_head(f"{number + 1} {each.name}", t.count("map.members", len(members)), t))
    words = " · ".join([*each.english[:6], *each.chinese[:6]])
    query = next(iter([*each.english, *each.chinese]), each.name)
    address = search_link(run.plan.corpus, query, t.language, run.plan.name, each.name)
    st.html(
        f'<p class="kalm-words">{plain(words)}</p><p class="kalm-inside"{lang_attribute(t.language)}>'
        f'<a href="{plain(address)}" target="_self">{plain(t("map.inside"))}</a></p>'
    )
    typical = np.asarray(points.typical(labels, number, _TYPICAL), np.int64)
    st.html(tables.items_table(points, run, labels, typical, t))
    _download_csv(points, members, f"{run.plan.name}-{number + 1}", "cluster_csv", t)
    if widgets.may_change():
        left, right = st.columns(2)
        with left, widgets.refusals(t):
            widgets.rename(backend, run, number, t)
        with right, widgets.refusals(t):
            widgets.divide(backend, run, number, runs, t)


def _rest(backend: MapBackend, state: MapState, run: Run, runs: Sequence[Run], points: Points, t: Translator) -> None:
    """Comparing, taking away, deleting."""
    with st.expander(t("map.compare"), expanded=bool(state.against)):
        other = widgets.other_picker(runs, run, state, t)
        if other is not None:
            _comparison(backend, run, other, points, t)
    with st.container(horizontal=True):
        st.download_button(
            t("map.export.csv"),
            lambda: tables.as_csv(points.export(run)),
            f"{run.plan.name}.csv",
            "text/csv",
            key="export_csv",
        )
        st.download_button(
            t("map.export.parquet"),
            lambda: tables.as_parquet(points.export(run)),
            f"{run.plan.name}.parquet",
            "application/vnd.apache.parquet",
            key="export_parquet",
        )
        if widgets.may_change():
            widgets.delete(backend, run, t)


def _comparison(backend: MapBackend, run: Run, other: Run, points: Points, t: Translator) -> None:
    found = backend.compare(other, run)
    figures = {
        t("map.compare.shared"): t.number(found.shared),
        t("map.compare.ari"): f"{found.rand:.2f}",
        t("map.compare.nmi"): f"{found.information:.2f}",
        t("map.moved"): t.number(len(found.moved)),
    }
    st.html(_list(figures, t))
    if found.moved:
        titles = dict(zip(points.column("id"), points.column("title"), strict=True))
        st.html(tables.moved_table(found, titles, t))


def _download_csv(points: Points, chosen: NDArray[np.int64], name: str, key: str, t: Translator) -> None:
    rows = points.rows(chosen)
    st.download_button(t("map.export.csv"), lambda: tables.as_csv(rows), f"{name}.csv", "text/csv", key=key)


def _facts(run: Run, labels: Labels, t: Translator) -> str:
    outliers = float(np.mean(labels == OUTLIER)) if len(labels) else 0.0
    figures = {
        t(f"map.unit.{run.plan.unit}"): t.number(run.items),
        t("map.clusters"): t.number(len(run.clusters)),
        t("map.outliers"): f"{outliers:.1%}",
        t("map.silhouette"): "–" if run.silhouette is None else f"{run.silhouette:.2f}",
        t("map.stability"): "–" if run.stability is None else f"{run.stability:.2f}",
        t("map.made"): f"{t.date(run.created)}",
    }
    return _list(figures, t)


def _list(figures: dict[str, str], t: Translator) -> str:
    pairs = "".join(f"<div><dt>{plain(name)}</dt><dd>{plain(value)}</dd></div>" for name, value in figures.items())
    return f'<dl class="kalm-facts kalm-map-facts"{lang_attribute(t.language)}>{pairs}</dl>'


def _notes(run: Run, is_current: bool, t: Translator) -> str:
    notes = [t("map.note.same", fingerprint=run.fingerprint), t("map.note.figures")]
    if run.total > run.items:
        notes.append(t("map.note.limit", n=t.number(run.items), total=t.number(run.total)))
    if not is_current:
        notes.insert(0, t("map.note.earlier", n=str(run.generation)))
    text = "".join(f"<p>{plain(note)}</p>" for note in notes)
    return f'<div class="kalm-notes"{lang_attribute(t.language)}>{text}</div>'


def _welcome(t: Translator) -> str:
    text = t("map.welcome.text") if widgets.may_change() else t("map.welcome.viewer")
    return (
        f'<section class="kalm-welcome"{lang_attribute(t.language)}><h2>{plain(t("map.welcome.title"))}</h2>'
        f"<p>{plain(text)}</p></section>"
    )


def _head(title: str, hint: str, t: Translator) -> str:
    hint = f'<p class="kalm-hint">{plain(hint)}</p>' if hint else ""
    return f'<h2 class="kalm-map-head"{lang_attribute(t.language)}>{plain(title)}</h2>{hint}'


def _shown_of(count: int, t: Translator) -> str:
    if count <= tables.MOST_ROWS:
        return ""
    return t("map.first", n=t.number(tables.MOST_ROWS), total=t.number(count))
