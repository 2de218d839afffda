"""The audit log: who changed what, filtered by words, and as a table for a spreadsheet."""

import csv
import io
from collections.abc import Sequence
from datetime import UTC

import streamlit as st

from app.services.audit import AuditEntry
from app.ui.admin import pieces
from app.ui.admin.desk import Desk, change
from app.ui.admin.state import AdminState
from app.ui.i18n import Translator

_READ = 2_000
_SHOWN = 200
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""Begins what a spreadsheet would calculate instead of show."""


def draw(desk: Desk, state: AdminState) -> None:
    """Draw the section."""
    t = desk.t
    if st.session_state.get("audit_words") != state.words:
        st.session_state["audit_words"] = state.words
    st.text_input(
        t("admin.audit.filter"),
        key="audit_words",
        type="search",
        placeholder=t("admin.audit.filter.hint"),
        on_change=lambda: change(words=st.session_state["audit_words"] or ""),
    )
    found = matching(desk.upkeep.entries(desk.person, _READ), state.words)
    st.html(pieces.line(t.count("admin.audit.found", len(found)), t))
    if not found:
        return
    columns = [t(f"admin.audit.{name}") for name in ("when", "person", "action", "subject", "details")]
    rows = [
        (pieces.moment(each.when, t), each.person, pieces.code(each.action), each.subject, _details(each))
        for each in found[:_SHOWN]
    ]
    st.html(pieces.table(t("admin.section.audit"), columns, rows, t))
    if len(found) > _SHOWN:
        st.html(pieces.line(_rest(len(found) - _SHOWN, t), t))
    st.download_button(
        t("admin.audit.export"),
        data=as_csv(found),
        file_name="audit.csv",
        mime="text/csv",
        key="audit_csv",
        icon=":material/download:",
        on_click="ignore",
    )


def matching(entries: Sequence[AuditEntry], words: str) -> list[AuditEntry]:
    """Entries that hold every word somewhere, whatever their capitals."""
    wanted = words.casefold().split()
    return [each for each in entries if all(word in _text(each) for word in wanted)]


def as_csv(entries: Sequence[AuditEntry]) -> bytes:
    """A table with a byte order mark, by which spreadsheets know it for UTF-8, and no cell that is a formula."""
    written = io.StringIO()
    writer = csv.writer(written)
    writer.writerow(("when", "person", "action", "subject", "details"))
    for each in entries:
        cells = (each.when.astimezone(UTC).isoformat(), each.person, each.action, each.subject, _details(each))
        writer.writerow([f"'{cell}" if cell.startswith(_FORMULA) else cell for cell in cells])
    return written.getvalue().encode("utf-8-sig", "replace")


def _details(entry: AuditEntry) -> str:
    return "; ".join(f"{name}: {value}" for name, value in entry.details.items())


def _text(entry: AuditEntry) -> str:
    return " ".join((entry.person, entry.action, entry.subject, _details(entry))).casefold()


def _rest(count: int, t: Translator) -> str:
    return t.count("admin.rest", count)
