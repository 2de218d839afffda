"""Who may ask: anybody on this machine while there is no key, afterwards whoever has one."""

import asyncio
import logging
import time
from collections.abc import Mapping

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from app.rest.contract import MakeBackend
from app.rest.errors import failure
from app.services.access import Role
from app.services.keys import ApiKey, KeyRing
from app.services.origin import is_from_here

OPEN = frozenset({"/healthz", "/readyz"})
"""Asked by machines that watch over others and hold no key."""

_NEEDED: Mapping[str, Role] = {"/metrics": Role.ADMIN}
"""What more than looking takes; the rest is for every role."""

_KNOWN_SECONDS = 1.0
"""How long a revoked key may still work, and how long nobody asks again once keys could not be read."""

_USE_SECONDS = 60.0
"""A key's time of use is written again only after this long: asking should not cost a write."""

_NO_KEY = "There is no key yet, so only programs on the server's own machine may ask; kalm key add NAME makes one."

log = logging.getLogger(__name__)


class Guard:
    """Lets requests through or answers them with 401 or 403. Keys are looked at here and go no further."""

    def __init__(self, app: ASGIApp, backend: MakeBackend, timeout_seconds: float) -> None:
        self._app = app
        self._backend = backend
        self._timeout_seconds = timeout_seconds
        self._ring: KeyRing | None = None
        self._due = 0.0
        self._reading: asyncio.Task[None] | None = None
        self._noted: dict[int, float] = {}
        self._notes: set[asyncio.Task[None]] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        refusal = await self._refusal(scope) if scope["type"] == "http" and scope["path"] not in OPEN else None
        await (refusal or self._app)(scope, receive, send)

    async def _refusal(self, scope: Scope) -> Response | None:
        ring = await self._current()
        if ring is None:
            return failure(503, "Keys cannot be checked now; the server's log says why.", code="unavailable")
        if not ring.is_needed:
            client = scope["client"][0] if scope.get("client") else None
            return None if is_from_here(client, Headers(scope=scope)) else _unknown(_NO_KEY)
        kind, _, secret = Headers(scope=scope).get("authorization", "").partition(" ")
        if kind.lower() != "bearer" or not secret:
            return _unknown("This needs a key; send it as Authorization: Bearer KEY.")
        key = ring.find(secret.strip())
        if key is None:
            return _unknown("This key is not valid; ask whoever runs this server for another.")
        if not key.role.covers(needed := _NEEDED.get(scope["path"], Role.VIEWER)):
            return failure(403, f"This needs a key of the role {needed}; this one is a {key.role}'s.", code="role")
        self._note(key)
        return None

    async def _current(self) -> KeyRing | None:
        """The keys as they were a moment ago, read once for all who wait; None where they cannot be had in time."""
        if time.monotonic() < self._due:
            return self._ring
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._read())
        done, _ = await asyncio.wait({self._reading}, timeout=self._timeout_seconds)
        if not done:
            log.error("Keys were not read within %g s", self._timeout_seconds)
        return self._ring if done else None

    async def _read(self) -> None:
        try:
            self._ring = await asyncio.to_thread(lambda: self._backend().keys.ring())
        except Exception:
            log.exception("Keys cannot be read")
            self._ring = None
        self._due = time.monotonic() + _KNOWN_SECONDS

    def _note(self, key: ApiKey) -> None:
        """Have the time of use written, which nobody waits for."""
        now = time.monotonic()
        if now < self._noted.get(key.id, -_USE_SECONDS) + _USE_SECONDS:
            return
        self._noted[key.id] = now
        note = asyncio.create_task(self._write(key))
        self._notes.add(note)
        note.add_done_callback(self._notes.discard)

    async def _write(self, key: ApiKey) -> None:
        try:
            await asyncio.to_thread(lambda: self._backend().keys.note_use(key))
        except Exception:
            log.exception("The use of the key %s could not be noted", key.name)


def _unknown(message: str) -> Response:
    return failure(401, message, code="invalid_api_key", headers={"WWW-Authenticate": "Bearer"})
