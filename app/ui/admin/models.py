"""Models: which there are, who uses which, and whether one does what it should."""

import streamlit as st

from app.services.models import ModelInfo
from app.ui.admin import pieces
from app.ui.admin.desk import Desk
from app.ui.admin.state import AdminState
from app.ui.i18n import Translator
from app.ui.markup import plain

_PROOFS = "admin_proofs"


def draw(desk: Desk, state: AdminState) -> None:
    """Draw the section."""
    t = desk.t
    found = desk.upkeep.models(desk.person)
    desk.show_said()
    proofs = st.session_state.get(_PROOFS, {})
    columns = ("name", "about", "licence", "dims", "here", "proof", "corpora")
    rows = [_row(model, proofs.get(model.name), t) for model in found]
    st.html(pieces.table(t("admin.section.models"), [t(f"admin.models.{name}") for name in columns], rows, t))
    st.html(pieces.line(t("admin.models.text"), t))
    here = [model.name for model in found if model.is_here]
    with st.container(horizontal=True, vertical_alignment="bottom", key="prove"):
        name = st.selectbox(t("admin.models.name"), here, key="prove_model", width=320)
        pressed = st.button(t("admin.models.prove"), key="prove_do", icon=":material/verified:")
    if pressed and name:
        with st.spinner(t("admin.models.proving")):
            is_proven = desk.act(lambda: _prove(desk, name))
        st.session_state[_PROOFS] = proofs | {name: is_proven}
        st.rerun()


def _prove(desk: Desk, name: str) -> str:
    proof = desk.upkeep.prove_model(desk.person, name)
    return desk.t(
        "admin.models.proven",
        name=proof.name,
        dim=str(proof.dim),
        dtype=proof.dtype,
        device=proof.device,
        time=desk.t.seconds(proof.seconds),
        fingerprint=proof.fingerprint[:12],
    )


def _row(model: ModelInfo, proven: bool | None, t: Translator) -> list[str]:
    mark = f" {pieces.badge(t('admin.models.default'))}" if model.is_default else ""
    name = pieces.Html(f"<bdi>{plain(model.name)}</bdi>{mark}")
    if model.is_loaded:
        here: str = pieces.badge(t("admin.models.loaded"), "good")
    else:
        here = t("admin.models.on_disk") if model.is_here else t("admin.models.away")
    if proven is False:
        proof: str = pieces.badge(t("admin.not_passed"), "bad")
    else:
        proof = pieces.badge(t("admin.passed"), "good") if proven or model.is_loaded else t("admin.models.unproven")
    dims = ", ".join(map(str, model.dims)) or pieces.NOTHING
    return [
        name,
        model.about or pieces.NOTHING,
        model.licence or pieces.NOTHING,
        dims,
        here,
        proof,
        ", ".join(model.corpora) or pieces.NOTHING,
    ]
