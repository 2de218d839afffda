"""Adding corpora: by upload, or by a folder of the server."""

import math

import streamlit as st

from app.services.errands import Errand
from app.ui.admin import pieces
from app.ui.admin.desk import Desk, change

_FILES, _FOLDER, _PATH = "files", "folder", "path"


def draw(desk: Desk) -> None:
    """The forms for a new corpus."""
    upload_form(desk, "")


def upload_form(desk: Desk, name: str) -> None:
    """Files for a corpus, or where no name is given for a new one, which an admin may also make of a folder."""
    t, key = desk.t, f"upload_{name}"
    if not name:
        st.text_input(t("admin.add.name"), key=f"{key}_name", max_chars=64, autocomplete="off", width=320)
    ways = [_FILES, _FOLDER, *([_PATH] if desk.is_admin and not name else [])]
    way = st.segmented_control(
        t("admin.add.from"),
        ways,
        format_func=lambda each: t(f"admin.add.from.{each}"),
        default=_FILES,
        required=True,
        key=f"{key}_way",
        wrap=True,
    )
    if way == _PATH:
        _path_form(desk, key)
    else:
        _uploader(desk, name, key, way or _FILES)


def _path_form(desk: Desk, key: str) -> None:
    t = desk.t
    st.text_input(t("admin.add.path"), key=f"{key}_path", placeholder="/srv/documents", autocomplete="off")
    roots = desk.admin.roots
    if roots:
        st.html(pieces.line(t("admin.add.roots", folders=", ".join(map(str, roots))), t))
    st.button(t("admin.add"), key=f"{key}_add", type="primary", on_click=_add, args=(desk, key))


def _add(desk: Desk, key: str) -> None:
    name, path = (st.session_state.get(f"{key}_{part}") or "" for part in ("name", "path"))

    def work() -> str:
        corpus = desk.admin.add_folder(desk.person, name.strip(), path)
        change(corpus=corpus.name)
        desk.errands.begin(desk.person, Errand.PLAN, corpus=corpus.name)
        return desk.t("admin.add.done", name=corpus.name)

    desk.act(work)


def _uploader(desk: Desk, name: str, key: str, way: str) -> None:
    t, uploads = desk.t, desk.admin.uploads
    place = f"{key}_{way}_{st.session_state.get(f'{key}_turn', 0)}"
    st.file_uploader(
        t(f"admin.upload.{way}"),
        accept_multiple_files="directory" if way == _FOLDER else True,
        key=place,
        max_upload_size=max(1, math.ceil(uploads.max_bytes / 1e6)),
    )
    bounds = t("admin.upload.bounds", files=t.number(uploads.max_files), size=pieces.size(uploads.max_bytes))
    st.html(pieces.line(bounds, t))
    if name:
        st.checkbox(t("admin.upload.replace"), key=f"{key}_replace")
    label = t("admin.upload.do")
    st.button(
        label,
        key=f"{key}_do",
        icon=":material/upload:",
        type="primary",
        on_click=_upload,
        args=(desk, name, key, place),
    )


def _upload(desk: Desk, known: str, key: str, place: str) -> None:
    name = known or (st.session_state.get(f"{key}_name") or "").strip()
    files = st.session_state.get(place) or []
    replace = bool(st.session_state.get(f"{key}_replace"))

    def work() -> str:
        received = desk.admin.upload(desk.person, name, files, replace=replace)
        change(corpus=name)
        desk.errands.begin(desk.person, Errand.PLAN, corpus=name)
        said = desk.t.count("admin.upload.kept", received.files)
        if received.skipped:
            some = ", ".join(received.skipped[:3])
            said = f"{said} {desk.t.count('admin.upload.skipped', len(received.skipped))} {some}"
        return said

    if desk.act(work):  # another uploader: this one would go on holding the files in memory
        st.session_state[f"{key}_turn"] = st.session_state.get(f"{key}_turn", 0) + 1
