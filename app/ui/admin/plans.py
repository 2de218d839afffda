"""What a build would do: files by what has to happen to them, time, and what the vectors would take."""

import streamlit as st

from app.services.outlook import Outlook
from app.ui.admin import pieces
from app.ui.admin.desk import Desk
from app.ui.i18n import Translator

_CHANGES = ("add", "update", "move", "delete")


def draw(desk: Desk, name: str) -> None:
    """Look at the folder, and show what has changed in it."""
    t = desk.t
    with st.spinner(t("admin.plan.busy")):
        ahead = desk.admin.outlook(desk.person, name)
    with st.container(border=True, key="plan"):
        st.html(pieces.heading(t("admin.plan.title", name=name), t))
        is_empty = not any(ahead.shares[share].files for share in _CHANGES)
        st.html(pieces.line(t("admin.plan.nothing") if is_empty else _time(ahead, t), t))
        st.html(_shares(ahead, t))
        for share in _CHANGES:
            if files := ahead.shares[share].files:
                st.html(pieces.names(t(f"admin.plan.{share}"), _named(ahead, share, files), t))
        if ahead.storage:
            st.html(pieces.line(t("admin.plan.passages", n=t.number(ahead.passages or 0)), t))
            st.html(_storage(ahead, t))


def _shares(ahead: Outlook, t: Translator) -> str:
    rows = [
        (t(f"admin.plan.{name}"), t.number(len(share.files)), pieces.size(share.bytes))
        for name, share in ahead.shares.items()
    ]
    columns = [t("admin.plan.kind"), t("admin.plan.files"), t("admin.plan.size")]
    return pieces.table(t("admin.plan.caption"), columns, rows, t, numbers=(1, 2))


def _named(ahead: Outlook, share: str, files: tuple[str, ...]) -> list[str]:
    if share != "move":
        return list(files)
    return [f"{before} → {now}" for before, now in zip(ahead.moved_from, files, strict=True)]


def _time(ahead: Outlook, t: Translator) -> str:
    if ahead.seconds is None:
        return t("admin.plan.unmeasured", model=ahead.model)
    return t("admin.plan.time", time=pieces.duration(ahead.seconds, t), run=str(ahead.measured_in))


def _storage(ahead: Outlook, t: Translator) -> str:
    sizes: dict[int, dict[str, int]] = {}
    for kept in ahead.storage:
        sizes.setdefault(kept.dim, {})[kept.quantisation] = kept.bytes
    kinds = list(next(iter(sizes.values())))
    rows = [(str(dim), *(pieces.size(by_kind[kind]) for kind in kinds)) for dim, by_kind in sizes.items()]
    numbers = range(len(kinds) + 1)
    return pieces.table(t("admin.plan.storage"), [t("admin.plan.dim"), *kinds], rows, t, numbers=numbers)
