"""Corpora: what there is, what a build would do, files that failed, adding and removing."""

import streamlit as st

from app.services.admin import CorpusOverview
from app.services.errands import Errand
from app.ui.admin import adding, errands, pieces, plans
from app.ui.admin.desk import Desk, change, corpus_picker
from app.ui.admin.state import AdminState, Section
from app.ui.i18n import Translator
from app.ui.markup import notice


def draw(desk: Desk, state: AdminState) -> None:
    """Draw the section."""
    t = desk.t
    found = {each.info.name: each for each in desk.admin.corpora(desk.person)}
    desk.show_said()
    is_removing = desk.is_admin and errands.follow(desk, [Errand.REMOVE])
    if found:
        st.html(_table(list(found.values()), t))
        _one(desk, found[corpus_picker(list(found), state, t)], is_removing)
    else:
        st.html(notice(t, t("admin.corpora.none"), t("admin.corpora.none.text")))
    with st.expander(t("admin.add.title"), icon=":material/add:", expanded=not found):
        adding.draw(desk)


def _table(found: list[CorpusOverview], t: Translator) -> str:
    columns = ("corpus", "documents", "passages", "size", "model", "built", "failed")
    return pieces.table(
        t("admin.section.corpora"),
        [t(f"admin.corpora.{name}") for name in columns],
        [_row(each, t) for each in found],
        t,
        numbers=(1, 2, 3),
    )


def _row(each: CorpusOverview, t: Translator) -> list[str]:
    info = each.info
    if each.run is not None:
        built: str = pieces.badge(t(f"admin.state.{each.run.state}"), "busy")
    else:
        built = pieces.moment(info.updated, t) if info.updated else pieces.badge(t("admin.corpora.unbuilt"))
    failed = pieces.badge(t.number(info.failed_files), "bad") if info.failed_files else t.number(0)
    return [
        info.name,
        t.number(info.documents),
        t.number(info.chunks),
        pieces.size(each.bytes),
        info.model or pieces.NOTHING,
        built,
        failed,
    ]


def _one(desk: Desk, each: CorpusOverview, is_removing: bool) -> None:
    t, name = desk.t, each.info.name
    source = t("admin.corpora.uploaded") if each.is_uploaded else str(each.info.root)
    st.html(pieces.facts([(t("admin.corpora.source"), source)], t))
    with st.container(horizontal=True, key="corpus_actions"):
        st.button(
            t("admin.plan.show"),
            key="show_plan",
            icon=":material/checklist:",
            disabled=errands.is_under_way(desk, [Errand.PLAN], name),
            on_click=errands.begin,
            args=(desk, Errand.PLAN),
            kwargs={"corpus": name},
        )
        st.button(
            t("admin.build"),
            key="build",
            icon=":material/play_arrow:",
            type="primary",
            on_click=_build,
            args=(desk, Errand.BUILD, name),
        )
    plans.draw(desk, name)
    _failed_files(desk, name)
    if each.is_uploaded:
        with st.expander(t("admin.upload.more"), icon=":material/upload_file:"):
            adding.upload_form(desk, name)
    if desk.is_admin:
        is_typed = bool(st.session_state.get(f"remove_{name}"))  # it would close when a refusal moves it down
        with st.expander(t("admin.remove.title"), icon=":material/delete:", expanded=is_typed):
            _remove_form(desk, each, is_removing)


def _build(desk: Desk, errand: Errand, name: str) -> None:
    """Have a build entered, which is seen among the builds."""
    errands.begin(desk, errand, corpus=name)
    change(section=Section.JOBS, corpus=name)


def _failed_files(desk: Desk, name: str) -> None:
    failed = desk.admin.failed_files(desk.person, name)
    if not failed:
        return
    st.html(pieces.reasons(desk.t.count("admin.failed", len(failed)), failed, desk.t))
    st.button(
        desk.t("admin.failed.retry"),
        key="retry_failed",
        icon=":material/refresh:",
        on_click=_build,
        args=(desk, Errand.RETRY_FAILED, name),
    )


def _remove_form(desk: Desk, each: CorpusOverview, is_removing: bool) -> None:
    t, name = desk.t, each.info.name
    st.html(pieces.line(t("admin.remove.uploaded" if each.is_uploaded else "admin.remove.folder"), t))
    st.text_input(t("admin.remove.type"), key=f"remove_{name}", placeholder=name, autocomplete="off", width=320)
    st.button(t("admin.remove"), key="remove", disabled=is_removing, on_click=_remove, args=(desk, name))


def _remove(desk: Desk, name: str) -> None:
    typed = st.session_state.get(f"remove_{name}") or ""
    errands.begin(desk, Errand.REMOVE, corpus=name, typed=typed)
