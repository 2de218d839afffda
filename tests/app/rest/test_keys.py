import asyncio
import hashlib
import logging
import re
import threading
import time
from dataclasses import replace

import pytest
from rest_cases import LIMITS, connect, eventually, refusal, stand_in
from sqlalchemy import create_engine, text

from app.rest import guard
from app.rest.application import PATHS, create_application
from app.services.access import Role
from app.services.keys import KeyRing
from indexer.catalog.audit_tables import AuditTable
from indexer.catalog.corpora import Catalog
from indexer.catalog.key_tables import KeyRefused

NO_KEY = "There is no key yet, so only programs on the server's own machine may ask; kalm key add NAME makes one."


@pytest.fixture
def locked_application(locked, monkeypatch):
    """An interface to an installation for keys, which reads them anew for every request."""
    monkeypatch.setattr(guard, "_KNOWN_SECONDS", 0.0)
    return create_application(lambda: locked, LIMITS)


def rows(services):
    with create_engine(services.settings.catalog_url).connect() as connection:
        return [row._asdict() for row in connection.execute(text("SELECT * FROM api_keys"))]


# The keys


def test_a_key_is_kept_as_a_hash_only(locked):
    secret = locked.keys.add("notebook", Role.EDITOR)
    assert re.fullmatch(r"kalm_[\w-]{43}", secret)
    (row,) = rows(locked)
    assert row["digest"] == hashlib.blake2b(secret.encode(), digest_size=32).hexdigest()
    assert secret.removeprefix("kalm_") not in str(row)
    assert (row["name"], row["role"], row["used"], row["revoked"]) == ("notebook", "editor", None, None)
    assert secret not in repr(locked.keys.all())


def test_a_ring_finds_valid_keys_by_their_secret_only(locked):
    first, second = locked.keys.add("first", Role.VIEWER), locked.keys.add("second", Role.ADMIN)
    ring = locked.keys.ring()
    assert (ring.find(first).name, ring.find(second).role) == ("first", Role.ADMIN)
    for wrong in ("", "kalm_", first[:-1], first + "x", first.upper(), "\ud800"):
        assert ring.find(wrong) is None
    locked.keys.revoke("first")
    ring = locked.keys.ring()
    assert ring.find(first) is None
    assert ring.find(second).name == "second"


def test_a_name_is_free_again_once_its_key_is_revoked(locked):
    old = locked.keys.add("notebook", Role.VIEWER)
    with pytest.raises(KeyRefused, match="already; choose another name, or revoke it first with kalm key revoke"):
        locked.keys.add("notebook", Role.VIEWER)
    locked.keys.revoke("notebook")
    new = locked.keys.add("notebook", Role.VIEWER)
    ring = locked.keys.ring()
    assert (ring.find(old), ring.find(new).name) == (None, "notebook")
    assert [key.revoked is None for key in locked.keys.all()] == [False, True]


@pytest.mark.parametrize("name", ["", " ", "a b", "-a", "a" * 65, "a\n"])
def test_a_key_has_a_proper_name(locked, name):
    with pytest.raises(KeyRefused, match="cannot be the name of a key"):
        locked.keys.add(name, Role.VIEWER)


def test_roles_cover_those_before_them():
    assert [[role.covers(needed) for needed in Role] for role in Role] == [
        [True, False, False],
        [True, True, False],
        [True, True, True],
    ]


def test_the_command_shows_a_key_once(cli):
    assert "There are no keys" in cli("key", "list").out
    added = cli("key", "add", "notebook", "--role", "admin")
    assert added.err == "This is the key notebook; it is shown only now.\n"
    secret = added.out.strip()
    listed = cli("key", "list").out
    assert "notebook" in listed
    assert "admin" in listed
    assert secret not in listed
    assert "already" in cli("key", "add", "notebook").refusal
    assert cli("key", "revoke", "notebook").out == "The key notebook is no longer valid.\n"
    assert cli("key", "revoke", "notebook").refusal == (
        "There is no valid key notebook; kalm key list shows which there are."
    )
    catalog = Catalog(f"sqlite:///{cli.data / 'catalog.sqlite'}")
    noted = [(each.action, each.subject, dict(each.details)) for each in AuditTable(catalog.database).latest(9, None)]
    catalog.close()
    assert noted == [("key.revoke", "notebook", {}), ("key.add", "notebook", {"role": "admin"})]


# The guard, while there is no key


@pytest.mark.parametrize("host", ["localhost", "localhost:8501", "127.0.0.1:8501", "[::1]:8501", "[::1]"])
@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"])
async def test_without_a_key_this_machine_may_ask(application, address, host):
    async with connect(application, address, host) as client:
        assert (await client.get("/v1/corpora")).status_code == 200


@pytest.mark.parametrize(
    ("address", "host", "headers"),
    [
        ("192.0.2.7", "localhost", {}),
        ("::ffff:192.0.2.7", "localhost", {}),
        ("testclient", "localhost", {}),
        ("127.0.0.1", "rebound.example", {}),
        ("127.0.0.1", "localhost.example:8501", {}),
        ("127.0.0.1", "localhost", {"x-forwarded-for": "127.0.0.1"}),
        ("127.0.0.1", "localhost", {"forwarded": "for=127.0.0.1"}),
    ],
)
async def test_without_a_key_nobody_else_may(application, address, host, headers):
    async with connect(application, address, host, **headers) as client:
        for path in PATHS - guard.OPEN:
            answer = await client.get(path)
            assert refusal(answer, 401, "invalid_api_key") == NO_KEY
            assert answer.headers["www-authenticate"] == "Bearer"
        for path in guard.OPEN:
            assert (await client.get(path)).status_code == 200


async def test_a_broken_host_is_nobody_here(application):
    async with connect(application) as client:
        assert (await client.get("/v1/corpora", headers={"host": "[:::"})).status_code == 401


# The guard, once there is one


async def test_a_key_is_asked_of_everybody_once_there_is_one(locked, locked_application):
    async with connect(locked_application) as here, connect(locked_application, "192.0.2.7", "any.example") as there:
        assert (await here.get("/v1/corpora")).status_code == 200
        secret = locked.keys.add("notebook", Role.VIEWER)
        for client in (here, there):
            for path in PATHS - guard.OPEN | {"/v1/unknown"}:
                assert "This needs a key" in refusal(await client.get(path), 401, "invalid_api_key")
            for path in guard.OPEN:
                assert (await client.get(path)).status_code == 200
            for scheme in ("Bearer", "bearer"):
                answer = await client.get("/v1/corpora", headers={"authorization": f"{scheme} {secret}"})
                assert answer.status_code == 200


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer ", "Basic {}", "{}", "Bearer {}x", "Bearer x"])
async def test_a_wrong_key_is_refused_and_told_to_nobody(locked, locked_application, caplog, header):
    secret = locked.keys.add("notebook", Role.VIEWER)
    async with connect(locked_application) as client:
        sent = header.format(secret)
        answer = await client.get("/v1/corpora", headers={"authorization": sent})
        refusal(answer, 401, "invalid_api_key")
        metrics = await client.get(
            "/metrics", headers={"authorization": f"Bearer {locked.keys.add('prometheus', Role.ADMIN)}"}
        )
    assert metrics.status_code == 200
    for said in (answer.text, str(answer.headers), metrics.text, caplog.text):
        assert secret not in said


async def test_a_revoked_key_is_refused_and_the_last_one_locks_up(locked, locked_application):
    secret = locked.keys.add("notebook", Role.VIEWER)
    async with connect(locked_application) as client:
        header = {"authorization": f"Bearer {secret}"}
        assert (await client.get("/v1/corpora", headers=header)).status_code == 200
        locked.keys.revoke("notebook")
        assert "not valid" in refusal(await client.get("/v1/corpora", headers=header), 401, "invalid_api_key")
        assert "This needs a key" in refusal(await client.get("/v1/corpora"), 401, "invalid_api_key")


@pytest.mark.parametrize(("role", "status"), [(Role.VIEWER, 403), (Role.EDITOR, 403), (Role.ADMIN, 200)])
async def test_counts_are_for_admins(locked, locked_application, role, status):
    secret = locked.keys.add("prometheus", role)
    async with connect(locked_application, authorization=f"Bearer {secret}") as client:
        answer = await client.get("/metrics")
    assert answer.status_code == status
    if status == 403:
        assert refusal(answer, 403, "role") == f"This needs a key of the role admin; this one is a {role.value}'s."


async def test_when_a_key_was_used_is_noted_once_a_minute(locked, locked_application, monkeypatch):
    secret = locked.keys.add("notebook", Role.VIEWER)

    def used():
        return locked.keys.all()[0].used

    async def is_used():
        return used() is not None

    async def is_used_again():
        return used() != first

    async with connect(locked_application, authorization=f"Bearer {secret}") as client:
        await client.get("/v1/corpora")
        await eventually(is_used)
        first = used()
        assert first >= locked.keys.all()[0].created
        await client.get("/v1/corpora")
        monkeypatch.setattr(guard, "_USE_SECONDS", 0.0)
        assert used() == first
        await client.get("/v1/corpora")
        await eventually(is_used_again)


async def test_keys_that_cannot_be_read_let_nobody_in(caplog):
    def broken():
        raise RuntimeError("no database at secret-place")

    async with connect(create_application(broken, LIMITS)) as client:
        answer = await client.get("/v1/corpora")
        assert refusal(answer, 503, "unavailable") == "Keys cannot be checked now; the server's log says why."
        assert (await client.get("/healthz")).status_code == 200
    assert "secret-place" in caplog.text
    assert caplog.records[0].levelno == logging.ERROR


async def test_requests_share_one_look_at_the_keys_and_its_failure(caplog):
    looks = []

    def broken():
        looks.append(1)
        time.sleep(0.2)
        raise RuntimeError("no database")

    async with connect(create_application(broken, LIMITS)) as client:
        for answer in await asyncio.gather(*(client.get("/v1/corpora") for _ in range(8))):
            refusal(answer, 503, "unavailable")
        refusal(await client.get("/v1/corpora"), 503, "unavailable")
    assert len(looks) == 1
    assert [record.message for record in caplog.records if record.name == guard.__name__] == ["Keys cannot be read"]


async def test_keys_that_were_away_are_read_again(monkeypatch):
    monkeypatch.setattr(guard, "_KNOWN_SECONDS", 0.0)
    rings = iter([RuntimeError("no database"), KeyRing([])])
    backend = stand_in()

    def ring():
        if isinstance(found := next(rings), Exception):
            raise found
        return found

    backend.keys.ring = ring
    async with connect(create_application(lambda: backend, LIMITS)) as client:
        statuses = [(await client.get("/v1/corpora")).status_code for _ in range(2)]
    assert statuses == [503, 200]


async def test_who_waits_for_keys_is_answered_within_the_time_of_a_request():
    is_back = threading.Event()
    backend = stand_in()
    backend.keys.ring = lambda: is_back.wait(3) and KeyRing([])
    async with connect(create_application(lambda: backend, replace(LIMITS, timeout_seconds=0.2))) as client:
        for answer in await asyncio.gather(*(client.get("/v1/corpora") for _ in range(4))):
            refusal(answer, 503, "unavailable")
        is_back.set()

        async def is_answered():
            return (await client.get("/v1/corpora")).status_code == 200

        await eventually(is_answered)


def test_no_entry_means_no_key_is_needed():
    assert not KeyRing([]).is_needed
