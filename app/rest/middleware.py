"""What holds for every request: a number, headers, counts, and a body that is whole and not too large."""

import asyncio
import logging
import re
import time
import uuid
from collections.abc import Mapping

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.rest.errors import failure
from app.rest.metrics import Metrics

REQUEST_ID = "x-request-id"
_OWN_ID = re.compile(r"[\w.-]{1,64}", re.ASCII)

_HEADERS: Mapping[str, str] = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}

_CLIENT_LEFT = 499
_READ_ANYWAY = 8
"""Times the limit that is read and thrown away: who is still sending when the answer comes may never see it."""

log = logging.getLogger(__name__)


class Observed:
    """Numbers requests, counts answers, and makes an answer of whatever goes wrong."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get(REQUEST_ID, "")
        number = given if _OWN_ID.fullmatch(given) else uuid.uuid4().hex
        started, status = time.perf_counter(), _CLIENT_LEFT

        async def send_marked(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message).update({**_HEADERS, REQUEST_ID: number})
            await send(message)

        try:
            await self._app(scope, receive, send_marked)
        except Exception:
            log.exception("Request %s failed", number)
            if status == _CLIENT_LEFT:  # nothing is sent yet
                text = f"Something went wrong here; the server's log has more under {number}."
                await failure(500, text, code="internal_error")(scope, receive, send_marked)
        finally:
            self._metrics.request(scope["path"], status, time.perf_counter() - started)


class WholeBody:
    """Reads a body before anything is done with it, so that a slow client keeps nobody else waiting."""

    def __init__(self, app: ASGIApp, max_bytes: int, timeout_seconds: float) -> None:
        self._app = app
        self._max_bytes = max_bytes
        self._timeout_seconds = timeout_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            async with asyncio.timeout(self._timeout_seconds):
                body = await self._read(receive)
        except TimeoutError:
            text = f"The body did not arrive within {self._timeout_seconds:g} s; send it faster."
            await failure(408, text, code="slow_body")(scope, receive, send)
            return
        if body is None:
            return
        if len(body) > self._max_bytes:
            text = f"The body is larger than {self._max_bytes:,} bytes; send fewer texts at once."
            await failure(413, text, code="body_too_large")(scope, receive, send)
            return
        if body and not _is_json(Headers(scope=scope).get("content-type", "")):
            text = "The body is not said to be JSON; send it with Content-Type: application/json."
            await failure(415, text, code="not_json")(scope, receive, send)
            return
        await self._app(scope, _replay(body, receive), send)

    async def _read(self, receive: Receive) -> bytes | None:
        """The body, one byte too long where it is too long; None where the client left."""
        parts: list[bytes] = []
        size = 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            part: bytes = message.get("body", b"")
            parts.append(part[: max(0, self._max_bytes + 1 - size)])
            size += len(part)
            if not message.get("more_body", False) or size > _READ_ANYWAY * self._max_bytes:
                return b"".join(parts)


def _is_json(content_type: str) -> bool:
    return content_type.partition(";")[0].strip().lower() == "application/json"


def _replay(body: bytes, receive: Receive) -> Receive:
    is_read = False

    async def again() -> Message:
        nonlocal is_read
        if is_read:
            return await receive()
        is_read = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again
