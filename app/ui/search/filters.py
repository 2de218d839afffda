"""Filters with counts that follow the question. File types and languages are always there, the others on demand."""

from collections.abc import Callable, Mapping, Sequence
from datetime import date

import streamlit as st

from app.ui.i18n import Translator
from app.ui.markup import as_label
from app.ui.search import cards
from app.ui.search.state import FIRST_DAY, LAST_DAY, PageState
from app.ui.search.widgets import change, read_state, seed
from indexer.search import FacetCount, Facets, LabelFacet

_SHOWN_VALUES = 8
"""More are behind a button, so that a corpus of a thousand authors does not fill the page with them."""

_MOST_VALUES = 100

Values = frozenset[str]


def quick_filters(state: PageState, facets: Facets, t: Translator) -> None:
    """File types and languages; a choice of one is no choice and is left out."""
    rows = (
        ("file_types", facets.file_types, state.file_types, t.file_type),
        ("languages", facets.languages, state.languages, t.document_language),
    )
    shown = [row for row in rows if len(row[1]) > 1 or row[2]]
    if not shown:
        return
    with st.container(horizontal=True, key="filters"):
        for key, counts, selected, name in shown:
            _pills(key, t(f"filter.{key}"), counts, selected, name, _field(key), t)


def more_filters(state: PageState, facets: Facets, t: Translator) -> None:
    """A small window with folders, authors, days and what maps and classifiers say."""
    with st.popover(t("filter.open"), icon=":material/tune:", type="tertiary"):
        rows = (("folders", facets.folders, state.folders), ("authors", facets.authors, state.authors))
        for key, counts, selected in rows:
            if counts or selected:
                st.html(cards.hint(t(f"filter.{key}"), t))
                _pills(key, t(f"filter.{key}"), counts, selected, str, _field(key), t)
        for labels in facets.labels:
            _label_filter(labels, state, t)
        st.html(cards.hint(t("filter.days"), t))
        with st.container(horizontal=True, key="days"):
            _day("after", state.after, t)
            _day("before", state.before, t)


def _label_filter(labels: LabelFacet, state: PageState, t: Translator) -> None:
    selected = frozenset(value for name, value in state.labels if name == labels.name)
    if not labels.labels and not selected:
        return
    title = t(f"filter.{labels.kind}" if labels.kind in ("map", "classifier") else "filter.labels", name=labels.name)
    st.html(cards.hint(title, t))

    def store(values: Values) -> None:
        others = frozenset(one for one in read_state().labels if one[0] != labels.name)
        change(labels=others | {(labels.name, value) for value in values})

    _pills(f"labels_{labels.name}", as_label(title), labels.labels, selected, str, store, t)


def _field(key: str) -> Callable[[Values], None]:
    return lambda values: change(**{key: values})


def _pills(
    key: str,
    label: str,
    counts: Sequence[FacetCount],
    selected: Values,
    name: Callable[[str], str],
    store: Callable[[Values], None],
    t: Translator,
) -> None:
    """The values of one filter, most frequent first; those that are chosen are always among them."""
    documents = {count.value: count.documents for count in counts} | {
        value: 0 for value in sorted(selected) if value not in {count.value for count in counts}
    }
    limit = _MOST_VALUES if st.session_state.get(f"all_{key}") else _SHOWN_VALUES
    shown = [value for place, value in enumerate(documents) if place < limit or value in selected]
    seed(key, [value for value in shown if value in selected])
    st.pills(
        label,
        shown,
        format_func=lambda value: _counted(name(value), documents, value, t),
        selection_mode="multi",
        key=key,
        label_visibility="collapsed",
        wrap=True,
        on_change=lambda: store(frozenset(st.session_state[key])),
    )
    hidden = min(len(documents), _MOST_VALUES) - len(shown)
    if hidden > 0:
        st.button(t.count("filter.more", hidden), key=f"more_{key}", type="tertiary", on_click=_show_all, args=(key,))


def _counted(name: str, documents: Mapping[str, int], value: str, t: Translator) -> str:
    """A value and how many documents found have it; one that only others have stands alone."""
    count = documents.get(value, 0)
    return f"{as_label(name)} {t.number(count)}" if count else as_label(name)


def _show_all(key: str) -> None:
    st.session_state[f"all_{key}"] = True


def _day(key: str, day: date | None, t: Translator) -> None:
    seed(key, day)
    st.date_input(
        t(f"filter.{key}"),
        key=key,
        value=None,
        min_value=FIRST_DAY,
        max_value=LAST_DAY,
        format="YYYY-MM-DD",
        width=160,
        on_change=lambda: change(**{key: st.session_state[key]}),
    )
