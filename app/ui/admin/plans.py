"""What a build would do: files by what has to happen to them, time, and what the vectors would take."""

import streamlit as st

from app.services.errands import Errand
from app.services.plans import KeptPlan
from app.ui.admin import errands, pieces
from app.ui.admin.desk import Desk
from app.ui.i18n import Translator

_CHANGES = ("add", "update", "move", "delete")


def draw(desk: Desk, name: str) -> None:
    """How far a look at the folder is, and what was seen when somebody looked last."""
    if errands.follow(desk, [Errand.PLAN], name):
        return
    kept = desk.errands.plan(desk.person, name)
    if kept is None:
        return
    t = desk.t
    with st.container(border=True, key="plan"):
        st.html(pieces.heading(t("admin.plan.title", name=name), t))
        st.html(pieces.line(t("admin.plan.made", date=pieces.moment(kept.made, t)), t))
        if kept.is_current:
            _tables(kept, t)
        else:
            st.html(pieces.badge(t("admin.plan.outdated"), "busy"))
            st.html(pieces.line(t("admin.plan.outdated.text"), t))
            with st.expander(t("admin.plan.outdated.show")):
                _tables(kept, t)


def _tables(kept: KeptPlan, t: Translator) -> None:
    is_empty = not any(kept.shares[share].files for share in _CHANGES)
    if kept.must_be_rebuilt:
        st.html(pieces.said(t("admin.plan.rebuild"), True, t))
    else:
        st.html(pieces.line(t("admin.plan.nothing") if is_empty else _time(kept, t), t))
    st.html(_shares(kept, t))
    for kind in _CHANGES:
        share = kept.shares[kind]
        if share.files:
            st.html(pieces.names(t(f"admin.plan.{kind}"), share.names, share.files, t))
    if kept.storage:
        st.html(pieces.line(t("admin.plan.passages", n=t.number(kept.passages or 0)), t))
        st.html(_storage(kept, t))


def _shares(kept: KeptPlan, t: Translator) -> str:
    rows = [
        (t(f"admin.plan.{name}"), t.number(share.files), pieces.size(share.bytes))
        for name, share in kept.shares.items()
    ]
    columns = [t("admin.plan.kind"), t("admin.plan.files"), t("admin.plan.size")]
    return pieces.table(t("admin.plan.caption"), columns, rows, t, numbers=(1, 2))


def _time(kept: KeptPlan, t: Translator) -> str:
    if kept.seconds is None:
        return t("admin.plan.unmeasured", model=kept.model)
    return t("admin.plan.time", time=pieces.duration(kept.seconds, t), run=str(kept.measured_in))


def _storage(kept: KeptPlan, t: Translator) -> str:
    sizes: dict[int, dict[str, int]] = {}
    for each in kept.storage:
        sizes.setdefault(each.dim, {})[each.quantisation] = each.bytes
    kinds = list(next(iter(sizes.values())))
    rows = [(str(dim), *(pieces.size(by_kind[kind]) for kind in kinds)) for dim, by_kind in sizes.items()]
    numbers = range(len(kinds) + 1)
    return pieces.table(t("admin.plan.storage"), [t("admin.plan.dim"), *kinds], rows, t, numbers=numbers)
