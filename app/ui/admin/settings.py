"""Settings as they hold, with where each comes from. Nothing is changed here, and no secret is shown."""

import streamlit as st

from app.services.configuration import Setting
from app.ui.admin import pieces
from app.ui.admin.desk import Desk
from app.ui.admin.state import AdminState
from app.ui.i18n import Translator


def draw(desk: Desk, state: AdminState) -> None:
    """Draw the section."""
    t = desk.t
    columns = [t(f"admin.settings.{name}") for name in ("name", "value", "origin", "variable")]
    rows = [_row(setting, t) for setting in desk.upkeep.settings(desk.person)]
    st.html(pieces.line(t("admin.settings.text"), t))
    st.html(pieces.table(t("admin.section.settings"), columns, rows, t))


def _row(setting: Setting, t: Translator) -> list[str]:
    value = pieces.code(setting.value) if setting.value else t("admin.settings.unset")
    if setting.is_secret:
        value = t("admin.settings.secret")
    tone = "" if setting.origin == "default" else "busy"
    origin = pieces.badge(t(f"admin.settings.origin.{setting.origin}"), tone)
    return [setting.name, value, origin, pieces.code(f"KALM_{setting.name.upper()}")]
