"""One ASGI application: the Streamlit pages for people, and beside them the REST interface for programs."""

import gc
import importlib
import logging
import math
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import streamlit as st
from starlette.types import Receive, Scope, Send
from streamlit import config

from app.bootstrap import close_services, page_sessions, rest_backend
from app.rest.application import create_application, is_rest
from app.rest.limits import Limits
from app.settings import load_settings
from app.ui.signin.door import Door
from app.ui.signin.headers import SecurityHeaders

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
    _warm(lambda: importlib.import_module("app.ui.main"))  # a second that the first visitor need not wait
    _warm(_load_model)
    _warm(lambda: rest_backend().search.warm_up())
    _set_aside()


def _set_aside() -> None:
    """Leave what is loaded by now out of garbage collections: nothing of it ever goes away.

    Through all of torch one takes 0.3 s, in which everybody waits.
    """
    gc.collect()
    gc.freeze()


def _load_model() -> None:
    """Before the indexes, so that those made with it share it; where there are none, nobody may ever ask for it."""
    backend = rest_backend()
    if any(corpus.searchable for corpus in backend.search.corpora()):
        backend.vectors.load()


def _warm(part: Callable[[], object]) -> None:
    try:
        part()
    except Exception as error:  # the first visitor is told
        log.warning("Could not warm up: %s", error)


def _receive_uploads(megabytes: float) -> None:
    """Let a file as large as an upload may be reach the page, whose own bound is in plain words.

    What Streamlit compares with its bound has the frame of the form around the file.
    """
    usual = config.get_option("server.maxUploadSize")  # no less: other forms of the pages count on it
    config.set_option("server.maxUploadSize", max(usual, math.ceil(megabytes) + 1))


_settings = load_settings()
_streamlit = st.App(str(Path(__file__).parent / "ui" / "main.py"), lifespan=lifespan)
_receive_uploads(_settings.upload_megabytes)
pages = SecurityHeaders(Door(_streamlit, page_sessions, _settings.access, _settings.session_hours))
rest = SecurityHeaders(create_application(rest_backend, Limits.of(_settings)))


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Give each request to whom it is for.

    Beside each other rather than one within the other: what Streamlit wraps around pages, sessions and compression,
    would only cost a program time.
    """
    is_for_rest = scope["type"] == "http" and is_rest(scope["path"])
    await (rest if is_for_rest else pages)(scope, receive, send)
