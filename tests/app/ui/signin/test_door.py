"""The door before the pages, over HTTP and WebSocket, with real accounts and sessions."""

import asyncio
import re
from urllib.parse import parse_qs, urlsplit

import pytest
from argon2 import PasswordHasher
from rest_cases import connect
from starlette.responses import PlainTextResponse
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from app.cli.serve import serve
from app.services.access import OWNER, Person, Role
from app.services.accounts import Accounts
from app.services.audit import AuditLog
from app.services.sessions import COOKIE, Sessions, SignInRefused
from app.settings import Access
from app.ui.signin.door import Door
from app.ui.signin.headers import SecurityHeaders
from indexer.catalog.audit_tables import AuditTable
from indexer.catalog.corpora import Catalog
from indexer.catalog.session_tables import SessionTable

PASSWORD = "correct horse battery"
HTML = {"accept": "text/html"}


async def pages(scope, receive, send):
    await PlainTextResponse("the pages")(scope, receive, send)


@pytest.fixture
def accounts(tmp_path, monkeypatch):
    made = Accounts(tmp_path / "accounts.json", tmp_path / "lock")
    monkeypatch.setattr(made, "_hasher", PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
    return made


@pytest.fixture(scope="module")
def audit(tmp_path_factory):
    catalog = Catalog(f"sqlite:///{tmp_path_factory.mktemp('catalog') / 'catalog.sqlite'}")
    yield AuditLog(AuditTable(catalog.database)), SessionTable(catalog.database)
    catalog.close()


@pytest.fixture
def sessions(accounts, audit):
    return Sessions(accounts, audit[1], audit[0], hours=1.0)


@pytest.fixture
def signed(accounts, sessions):
    accounts.add("ann", Role.ADMIN, PASSWORD)
    return sessions


def door(sessions, access=Access.LOCAL):
    return SecurityHeaders(Door(pages, lambda: sessions, access, hours=1.0))


async def sign_in(client, name="ann", password=PASSWORD, **fields):
    return await client.post("/login", data={"name": name, "password": password} | fields)


async def test_without_accounts_this_machine_gets_in_and_nobody_else(sessions):
    assert sessions.person({}) == OWNER
    async with connect(door(sessions)) as here:
        assert (await here.get("/")).text == "the pages"
        assert (await here.get("/login")).headers["location"] == "/"
    for elsewhere in (
        connect(door(sessions), address="10.0.0.8"),
        connect(door(sessions), host="evil.example"),
        connect(door(sessions), **{"X-Forwarded-For": "1.2.3.4"}),
    ):
        async with elsewhere as client:
            answer = await client.get("/", headers=HTML)
            assert answer.status_code == 403
            assert "kalm user add" in answer.text
            assert (await client.get("/static/js/index.js")).text == "the pages"


async def test_an_open_installation_lets_everybody_in(sessions):
    async with connect(door(sessions, Access.OPEN), address="10.0.0.8", host="search.example") as client:
        assert (await client.get("/")).text == "the pages"


async def test_with_accounts_everybody_has_to_sign_in(signed):
    async with connect(door(signed)) as client:
        answer = await client.get("/map?corpus=a&q=b", headers=HTML)
        assert answer.status_code == 303
        form = urlsplit(answer.headers["location"])
        assert (form.path, parse_qs(form.query)["next"]) == ("/login", ["/map?corpus=a&q=b"])
        for path in ("/_stcore/upload_file/x", "/media/x.csv", "/_stcore/host-config"):
            assert (await client.get(path)).status_code == 401


async def test_signing_in_leads_on_and_out_again(signed, audit):
    async with connect(door(signed)) as client:
        answer = await sign_in(client, next="/map?corpus=a")
        assert (answer.status_code, answer.headers["location"]) == (303, "/map?corpus=a")
        cookie = answer.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=lax" in cookie
        assert "Secure" not in cookie
        assert (await client.get("/", headers=HTML)).text == "the pages"
        assert signed.person(dict(client.cookies)) == Person("ann", Role.ADMIN)
        kept = {COOKIE: client.cookies[COOKIE]}
        assert (await client.get("/logout")).status_code == 200
        assert signed.person(kept)
        await client.post("/logout")
        assert (await client.get("/", headers=HTML | {"cookie": f"{COOKIE}={kept[COOKIE]}"})).status_code == 303
    assert [(entry.action, entry.person) for entry in audit[0].latest(1)] == [("session.begin", "ann")]


async def test_a_cookie_over_https_is_for_https_only(signed):
    async with connect(door(signed), **{"X-Forwarded-Proto": "https"}) as client:
        assert "Secure" in (await sign_in(client)).headers["set-cookie"]


async def test_a_changed_account_counts_at_once(signed, accounts):
    accounts.add("bob", Role.VIEWER, PASSWORD)
    secret = signed.sign_in("bob", PASSWORD, "here")
    accounts.change("bob", role=Role.EDITOR)
    assert signed.person({COOKIE: secret}).role is Role.EDITOR
    signed.end_all_of("bob")
    async with connect(door(signed), cookie=f"{COOKIE}={secret}") as client:
        assert (await client.get("/")).status_code == 401


@pytest.mark.parametrize(
    "secret", ["", "x", "null", "a" * 5000, "é", "' OR 1=1 --", "%00", "../../etc/passwd", "\\u0000"]
)
async def test_no_made_up_cookie_gets_in(signed, secret):
    async with connect(door(signed)) as client:
        answer = await client.get("/", headers={"cookie": f"{COOKIE}={secret}".encode()})
        assert answer.status_code == 401


async def test_wrong_tries_say_the_same_and_then_have_to_wait(signed):
    async with connect(door(signed)) as client:
        answers = [await sign_in(client, name=name, password="wrong wrong") for name in ["ann", "eve"]]
        assert {answer.status_code for answer in answers} == {401}
        assert "do not belong together" in answers[0].text
        assert answers[0].text == answers[1].text
        for _ in range(5):
            answer = await sign_in(client, password="wrong wrong")
        assert answer.status_code == 429
        assert int(answer.headers["retry-after"]) > 0
        assert (await sign_in(client)).status_code == 429


async def test_wrong_tries_keep_nobody_else_out(signed, accounts):
    accounts.add("bob", Role.VIEWER, PASSWORD)
    async with connect(door(signed)) as here, connect(door(signed), address="10.0.0.8") as elsewhere:
        for _ in range(6):
            answer = await sign_in(here, password="wrong wrong")
        assert answer.status_code == 429
        assert (await sign_in(here, name="bob")).status_code == 303
        assert (await sign_in(elsewhere)).status_code == 303


@pytest.mark.parametrize("guess", [lambda n: (f"name{n}", "here"), lambda n: ("ann", f"10.0.0.{n}")])
def test_very_many_wrong_tries_have_to_wait_whatever_they_vary(signed, accounts, monkeypatch, guess):
    monkeypatch.setattr(accounts, "_nobody", accounts._hasher.hash(""))
    for n in range(100):
        with pytest.raises(SignInRefused, match="do not belong together"):
            signed.sign_in(guess(n)[0], "wrong wrong", guess(n)[1])
    with pytest.raises(SignInRefused, match="too many tries"):
        signed.sign_in(guess(100)[0], "wrong wrong", guess(100)[1])


@pytest.mark.parametrize(
    ("trusted", "address"), [("", "10.0.0.8"), ("10.0.0.0/8, 192.168.1.1", "203.0.113.9"), ("10.0.0.9", "10.0.0.8")]
)
async def test_a_proxy_that_is_trusted_says_who_comes(signed, audit, monkeypatch, trusted, address):
    given = {}
    monkeypatch.setattr("uvicorn.run", lambda _, **options: given.update(options))
    monkeypatch.setattr("app.cli.serve._check_address", lambda *_: None)
    monkeypatch.setattr("app.settings._kept_flags", {})
    monkeypatch.setenv("KALM_TRUSTED_PROXIES", trusted)
    serve(host=None, port=None)
    served = ProxyHeadersMiddleware(door(signed), given["forwarded_allow_ips"])
    forged_then_seen = {"X-Forwarded-For": "198.51.100.1, 203.0.113.9, 10.0.0.7"}
    async with connect(served, address="10.0.0.8", **forged_then_seen) as client:
        assert (await sign_in(client)).status_code == 303
    assert audit[0].latest(1)[0].details["address"] == address


@pytest.mark.parametrize(
    "address",
    ["//evil.example", "/\\evil.example", "https://evil.example", "javascript:alert(1)", "", "evil", "/\nx", "/login"],
)
async def test_no_address_leads_away_from_here(signed, address):
    async with connect(door(signed)) as client:
        assert (await sign_in(client, next=address)).headers["location"] == "/"


async def test_a_form_of_another_site_is_refused(signed):
    async with connect(door(signed), origin="https://evil.example") as client:
        assert (await sign_in(client)).status_code == 403
        assert (await client.post("/logout")).status_code == 403
    async with connect(door(signed), **{"sec-fetch-site": "cross-site"}) as client:
        assert (await sign_in(client)).status_code == 403
    async with connect(door(signed), origin="http://localhost") as client:
        assert (await sign_in(client)).status_code == 303


async def test_what_is_typed_is_shown_letter_for_letter_and_never_the_password(signed):
    nasty = '"><script>alert(1)</script>'
    async with connect(door(signed)) as client:
        answer = await sign_in(client, name=nasty, password="s3cret s3cret", next=f"/map?q={nasty}")
        assert "<script>" not in answer.text
        assert "s3cret" not in answer.text
        assert (await client.post("/login", content=b"name=" + b"x" * 100_000)).status_code == 401


async def test_the_form_speaks_the_browsers_language(signed):
    async with connect(door(signed), **{"accept-language": "zh-CN,zh;q=0.9"}) as client:
        assert "用户名" in (await client.get("/login")).text
        assert "Password" in (await client.get("/login?lang=en")).text
        answers = [await sign_in(client, password="wrong wrong") for _ in range(6)]
        assert "用户名与密码不匹配" in answers[0].text
        assert "尝试次数过多" in answers[-1].text


async def test_the_language_that_was_chosen_stays(signed):
    async with connect(door(signed)) as client:
        answer = await client.get("/map?corpus=a&lang=zh", headers=HTML)
        form = await client.get(answer.headers["location"])
        assert "用户名" in form.text
        action = re.search('action="([^"]+)"', form.text)[1]
        assert 'lang="zh-Hans"' in (await client.post(action, data={"name": "ann", "password": "wrong wrong"})).text
        answer = await client.post("/logout?lang=zh")
        assert parse_qs(urlsplit(answer.headers["location"]).query) == {"next": ["/?lang=zh"], "lang": ["zh"]}
        assert "lang=zh" in (await client.get("/logout?lang=zh")).text


async def test_every_answer_has_the_headers_that_keep_browsers_safe(signed):
    async with connect(door(signed)) as client:
        for path in ("/", "/login", "/static/x"):
            headers = (await client.get(path)).headers
            assert "frame-ancestors 'none'" in headers["content-security-policy"]
            assert headers["x-content-type-options"] == "nosniff"
            assert "strict-transport-security" not in headers


async def test_a_spoilt_password_file_lets_nobody_in(signed, tmp_path):
    (tmp_path / "accounts.json").write_text("{")
    async with connect(door(signed)) as client:
        answer = await client.get("/", headers=HTML)
        assert answer.status_code == 503
        assert "cannot be read" in answer.text


async def test_a_websocket_is_refused_before_it_opens(signed):
    scope = {
        "type": "websocket",
        "path": "/_stcore/stream",
        "headers": [],
        "query_string": b"",
        "client": ("127.0.0.1", 1),
    }
    sent: list[dict] = []

    async def receive():
        return {"type": "websocket.connect"}

    async def send(message):
        sent.append(message)

    await asyncio.wait_for(door(signed)(scope, receive, send), 20)
    assert sent == [{"type": "websocket.close", "code": 1008}]
