"""Results as a file. It is made when the button is pressed and not before."""

import streamlit as st

from app.services.exports import KINDS, Format, exported
from app.ui.i18n import Translator
from app.ui.search.actions import Shown
from app.ui.search.contract import SearchBackend
from indexer.search import SearchPage

SHOWN = 0
"""Stands for the results of the page that is shown."""

_AMOUNTS = (SHOWN, 100, 1_000)


def export(backend: SearchBackend, shown: Shown, page: SearchPage, t: Translator) -> None:
    """A small window with the choice of how many results, and in which format."""
    with st.popover(t("export.open"), icon=":material/download:", type="tertiary"):
        _choice(backend, shown, page, t)


@st.fragment
def _choice(backend: SearchBackend, shown: Shown, page: SearchPage, t: Translator) -> None:
    amount = st.segmented_control(
        t("export.amount"),
        _AMOUNTS,
        format_func=lambda n: t("export.first", n=t.number(n)) if n else t("export.shown"),
        required=True,
        default=SHOWN,
        key="export_amount",
    )
    chosen = st.segmented_control(
        t("export.format"),
        list(Format),
        format_func=lambda form: t(f"export.{form}"),
        required=True,
        default=Format.CSV,
        key="export_format",
    )
    form, limit = Format(chosen or Format.CSV), int(amount or SHOWN)

    def made() -> str:
        if limit == SHOWN:
            return exported(page.results, form, (shown.request.page - 1) * shown.request.page_size + 1)
        return exported(backend.first(shown.request, limit), form)

    kind = KINDS[form]
    st.download_button(
        t("export.save"),
        made,
        file_name=f"{shown.request.corpus}.{kind.ending}",
        mime=kind.media_type,
        key="export_save",
        on_click="ignore",
        type="primary",
    )
