"""One ASGI application: the Streamlit pages, and beside them what programs ask for."""

from pathlib import Path

import streamlit as st
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route


async def healthz(_: Request) -> JSONResponse:
    """Say that the process answers. Touches no model and no database, so that it always answers at once."""
    return JSONResponse({"status": "ok"})


app = st.App(str(Path(__file__).parent / "ui" / "main.py"), routes=[Route("/healthz", healthz)])
