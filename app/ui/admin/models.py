"""Models: which there are, who uses which, and whether one does what it should."""

import streamlit as st

from app.services.errands import Errand
from app.services.models import ModelInfo
from app.ui.admin import errands, pieces
from app.ui.admin.desk import Desk
from app.ui.admin.state import AdminState
from app.ui.i18n import Translator
from app.ui.markup import plain
from indexer.catalog.task_tables import Task, TaskState


def draw(desk: Desk, state: AdminState) -> None:
    """Draw the section."""
    t = desk.t
    found = desk.upkeep.models(desk.person)
    desk.show_said()
    is_busy = errands.follow(desk, [Errand.PROOF])
    proofs = desk.errands.proofs(desk.person)
    columns = ("name", "about", "licence", "dims", "here", "proof", "corpora")
    rows = [_row(model, proofs.get(model.name), t) for model in found]
    st.html(pieces.table(t("admin.section.models"), [t(f"admin.models.{name}") for name in columns], rows, t))
    st.html(pieces.line(t("admin.models.text"), t))
    here = [model.name for model in found if model.is_here]
    with st.container(horizontal=True, vertical_alignment="bottom", key="prove"):
        name = st.selectbox(t("admin.models.name"), here, key="prove_model", width=320)
        st.button(
            t("admin.models.prove"),
            key="prove_do",
            icon=":material/verified:",
            disabled=is_busy or not name,
            on_click=errands.begin,
            args=(desk, Errand.PROOF),
            kwargs={"model": name},
        )


def _row(model: ModelInfo, tried: Task | None, t: Translator) -> list[str]:
    mark = f" {pieces.badge(t('admin.models.default'))}" if model.is_default else ""
    name = pieces.Html(f"<bdi>{plain(model.name)}</bdi>{mark}")
    if model.is_loaded:
        here: str = pieces.badge(t("admin.models.loaded"), "good")
    else:
        here = t("admin.models.on_disk") if model.is_here else t("admin.models.away")
    dims = ", ".join(map(str, model.dims)) or pieces.NOTHING
    return [
        name,
        model.about or pieces.NOTHING,
        model.licence or pieces.NOTHING,
        dims,
        here,
        _proof(model, tried, t),
        ", ".join(model.corpora) or pieces.NOTHING,
    ]


def _proof(model: ModelInfo, tried: Task | None, t: Translator) -> str:
    """What came of opening it, and when; one in memory was proven when the server opened it."""
    if tried is None:
        return pieces.badge(t("admin.passed"), "good") if model.is_loaded else t("admin.models.unproven")
    is_well = tried.state is TaskState.DONE
    badge = pieces.badge(t("admin.passed"), "good") if is_well else pieces.badge(t("admin.not_passed"), "bad")
    return pieces.Html(f"{badge} {plain(pieces.moment(tried.ended or tried.created, t))}")
