"""One ASGI application: the Streamlit pages, and beside them what programs ask for."""

import logging
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import streamlit as st
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from app.bootstrap import close_services, search_backend

_WAIT_SECONDS = 10.0
"""How long the end of the server waits for a model that is just being loaded: cut off inside torch, it would abort."""

log = logging.getLogger(__name__)


@asynccontextmanager
async def lifespan(_: st.App) -> AsyncIterator[None]:
    """Warm up beside the first visitors; in the end close what is open, so that no private copy of an index stays."""
    warming = threading.Thread(target=_warm_up, name="warm-up", daemon=True)
    warming.start()
    yield
    close_services()
    warming.join(_WAIT_SECONDS)


def _warm_up() -> None:
    try:
        search_backend().warm_up()
    except Exception as error:  # the first visitor is told
        log.warning("Could not warm up: %s", error)


async def healthz(_: Request) -> JSONResponse:
    """Say that the process answers. Touches no model and no database, so that it always answers at once."""
    return JSONResponse({"status": "ok"})


app = st.App(str(Path(__file__).parent / "ui" / "main.py"), lifespan=lifespan, routes=[Route("/healthz", healthz)])
