"""The door before the pages: who is not signed in gets no further than the form, whatever they ask for."""

import asyncio
import logging
from collections.abc import Callable
from urllib.parse import parse_qs, urlencode

from starlette.datastructures import Headers
from starlette.requests import Request, cookie_parser
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from app.services.origin import is_from_here, is_from_own_page
from app.services.sessions import COOKIE, NotSignedIn, Sessions, SignInRefused
from app.settings import Access
from app.ui.i18n import LANGUAGES, Translator, browser_language
from app.ui.signin.forms import refusal_page, sign_in_form, sign_out_form
from embedder.errors import AppError

SIGN_IN, SIGN_OUT = "/login", "/logout"
_OPEN = ("/static/", "/favicon")
"""Scripts and pictures of the pages: the same for everybody, and nothing in them."""

_MAX_FORM_BYTES = 16_384
_TRIES_AT_ONCE = 2
"""Checking a password takes 64 MiB for a moment."""

log = logging.getLogger(__name__)


class Door:
    """Stands before the pages. Safe for many requests at once."""

    def __init__(self, pages: ASGIApp, sessions: Callable[[], Sessions], access: Access, hours: float) -> None:
        """Make it.

        Args:
            pages: What is behind it.
            sessions: Gives who is signed in; asked in a thread.
            access: Who gets in while there are no accounts.
            hours: How long a session lasts.
        """
        self._pages = pages
        self._sessions = sessions
        self._access = access
        self._hours = hours
        self._tries = asyncio.Semaphore(_TRIES_AT_ONCE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] not in ("http", "websocket") or scope["path"].startswith(_OPEN):
            await self._pages(scope, receive, send)
            return
        answer = await self._answer(scope, receive)
        if answer is None:
            await self._pages(scope, receive, send)
        elif scope["type"] == "websocket":
            await receive()  # the request to connect, which is not granted
            await send({"type": "websocket.close", "code": 1008})
        else:
            await answer(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive) -> Response | None:
        """What is said at the door; None to whoever may pass."""
        try:
            sessions = await asyncio.to_thread(self._sessions)
            if scope["type"] == "http" and scope["path"] in (SIGN_IN, SIGN_OUT):
                return await self._form(Request(scope, receive), sessions)
            if await asyncio.to_thread(lambda: sessions.is_needed):
                return await self._checked(scope, sessions)
            return self._without_accounts(scope)
        except AppError as error:
            return HTMLResponse(refusal_page(_translator(scope), str(error)), 503)
        except Exception:
            log.exception("The door is stuck")
            return HTMLResponse(refusal_page(_translator(scope), _translator(scope)("error.unexpected")), 500)

    async def _checked(self, scope: Scope, sessions: Sessions) -> Response | None:
        cookies = _cookies(scope)
        try:
            await asyncio.to_thread(sessions.person, cookies)
        except NotSignedIn as error:
            is_page = "text/html" in Headers(scope=scope).get("accept", "")
            return RedirectResponse(_to_form(scope), 303) if is_page else PlainTextResponse(str(error), 401)
        return None

    def _without_accounts(self, scope: Scope) -> Response | None:
        client = scope["client"][0] if scope.get("client") else None
        if self._access is not Access.LOCAL or is_from_here(client, Headers(scope=scope)):
            return None
        t = _translator(scope)
        return HTMLResponse(refusal_page(t, t("door.local")), 403)

    async def _form(self, request: Request, sessions: Sessions) -> Response:
        if request.method == "POST":
            if not is_from_own_page(request.headers):
                return PlainTextResponse("This form belongs to another site; open the page itself.", 403)
            is_in = request.url.path == SIGN_IN
            return await (self._sign_in(request, sessions) if is_in else self._sign_out(request, sessions))
        if request.method != "GET":
            return PlainTextResponse("Only GET and POST.", 405, {"allow": "GET, POST"})
        t = _translator(request.scope)
        if request.url.path == SIGN_OUT:
            return _never_kept(HTMLResponse(sign_out_form(t)))
        if not await asyncio.to_thread(lambda: sessions.is_needed):
            return RedirectResponse("/", 303)
        return _never_kept(HTMLResponse(sign_in_form(t, _local(request.query_params.get("next", "/")))))

    async def _sign_in(self, request: Request, sessions: Sessions) -> Response:
        fields = await _fields(request)
        next_path = _local(fields.get("next", "/"))
        address = request.client.host if request.client else ""
        try:
            async with self._tries:
                secret = await asyncio.to_thread(
                    sessions.sign_in, fields.get("name", ""), fields.get("password", ""), address
                )
        except SignInRefused as error:
            t, seconds = _translator(request.scope), f"{error.wait_seconds:.0f}"
            waits = {"retry-after": seconds} if error.wait_seconds else None
            refusal = t("signin.wait", n=seconds) if waits else t("signin.wrong")
            page = sign_in_form(t, next_path, refusal)
            return _never_kept(HTMLResponse(page, 429 if waits else 401, waits))
        answer = RedirectResponse(next_path, 303)
        is_https = "https" in (request.url.scheme, request.headers.get("x-forwarded-proto"))
        answer.set_cookie(COOKIE, secret, int(self._hours * 3600), httponly=True, samesite="lax", secure=is_https)
        return answer

    async def _sign_out(self, request: Request, sessions: Sessions) -> Response:
        await asyncio.to_thread(sessions.sign_out, request.cookies)
        language = _translator(request.scope).language
        answer = RedirectResponse(f"{SIGN_IN}?{urlencode({'next': f'/?lang={language}', 'lang': language})}", 303)
        answer.delete_cookie(COOKIE)
        return answer


def _translator(scope: Scope) -> Translator:
    return Translator(browser_language(_language(scope) or Headers(scope=scope).get("accept-language")))


def _language(scope: Scope) -> str:
    """The language that the address asks for, if it asks for one."""
    asked = parse_qs(scope.get("query_string", b"").decode("latin-1")).get("lang", [""])[-1]
    return asked if asked in LANGUAGES else ""


def _cookies(scope: Scope) -> dict[str, str]:
    return cookie_parser(Headers(scope=scope).get("cookie", ""))


def _to_form(scope: Scope) -> str:
    query = scope.get("query_string", b"").decode("latin-1")
    asked = scope["path"] + (f"?{query}" if query else "")
    language = _language(scope)
    return f"{SIGN_IN}?{urlencode({'next': _local(asked)} | ({'lang': language} if language else {}))}"


def _local(path: str) -> str:
    """A path of this server; anything that a browser could take for another server becomes the first page."""
    is_here = path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable()
    return path if is_here and not path.startswith((SIGN_IN, SIGN_OUT)) else "/"


async def _fields(request: Request) -> dict[str, str]:
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > _MAX_FORM_BYTES:
            return {}
    found = parse_qs(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=16)
    return {name: values[-1] for name, values in found.items()}


def _never_kept(answer: Response) -> Response:
    answer.headers["cache-control"] = "no-store"
    return answer
