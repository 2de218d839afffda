"""What steers the results beside the words, each to be taken away with one click."""

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from app.ui.i18n import Translator
from app.ui.markup import as_label
from app.ui.search import by_text
from app.ui.search.state import PageState
from app.ui.search.widgets import change
from indexer.search import Example

_LONGEST = 48


def chips(state: PageState, examples: Sequence[Example], text_name: str, t: Translator) -> None:
    """A row with the text, the examples and the filters that have no row of their own.

    Args:
        state: What the page shows.
        examples: The documents that results should be like or unlike, with their titles.
        text_name: What the text that is searched by is called; empty where none is.
        t: The wording.
    """
    shown = [*_examples(state, examples, t), *_filters(state, t)]
    if not shown and not text_name:
        return
    with st.container(horizontal=True, key="chips"):
        if text_name:
            _chip("text", t("chip.text", name=_short(text_name)), by_text.forget, {}, t)
        for number, (label, changes) in enumerate(shown):
            _chip(str(number), label, change, changes, t)


def _examples(state: PageState, examples: Sequence[Example], t: Translator) -> list[tuple[str, Mapping[str, Any]]]:
    return [
        (
            t("chip.like" if one.liked else "chip.unlike", name=_short(one.title)),
            state.without_example(one.document_id),
        )
        for one in examples
    ]


def _filters(state: PageState, t: Translator) -> list[tuple[str, Mapping[str, Any]]]:
    found: list[tuple[str, Mapping[str, Any]]] = []
    found += [(t("chip.folder", name=_short(one)), {"folders": state.folders - {one}}) for one in sorted(state.folders)]
    found += [(t("chip.author", name=_short(one)), {"authors": state.authors - {one}}) for one in sorted(state.authors)]
    found += [
        (t("chip.label", set=_short(name), name=_short(value)), {"labels": state.labels - {(name, value)}})
        for name, value in sorted(state.labels)
    ]
    if state.after:
        found.append((t("chip.after", day=state.after.isoformat()), {"after": None}))
    if state.before:
        found.append((t("chip.before", day=state.before.isoformat()), {"before": None}))
    if state.diverse:
        found.append((t("chip.diverse"), {"diverse": False}))
    return found


def _chip(name: str, label: str, on_click: Any, changes: Mapping[str, Any], t: Translator) -> None:  # noqa: ANN401
    st.button(
        as_label(label),
        key=f"chip_{name}",
        help=t("chip.remove"),
        icon=":material/close:",
        icon_position="right",
        on_click=on_click,
        kwargs=dict(changes),
    )


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST else line[: _LONGEST - 1] + "…"
