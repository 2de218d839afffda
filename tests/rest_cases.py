"""What the tests of the REST interface share: a corpus, clients, stand-ins, and the shape of a failure."""

import asyncio
import time
from types import SimpleNamespace

import httpx2

from app.rest.limits import Limits
from app.services.keys import KeyRing

FILES = {
    "bees.md": "# How bees make honey\n\nBees dry nectar with their wings until it becomes honey.\n",
    "tea.txt": "Tea\n\nHoney is put into tea against coughs.\n",
    "蜂蜜.txt": "蜂蜜\n\n蜜蜂用花蜜酿造蜂蜜，储存在蜂巢里过冬。\n",
}
LIMITS = Limits(body_bytes=200_000, texts=300, characters=5_000, waiting=100, timeout_seconds=30.0)


def connect(application, address="127.0.0.1", host="localhost", **headers):
    """A client at an address."""
    transport = httpx2.ASGITransport(application, client=(address, 50_000))
    return httpx2.AsyncClient(transport=transport, base_url=f"http://{host}", headers=headers)


def stand_in(encode=None, search=None, load=lambda: None, corpora=list, classify=None):
    """A backend without keys whose parts do what the test says."""
    return SimpleNamespace(
        search=SimpleNamespace(search=search, corpora=corpora),
        vectors=SimpleNamespace(encode=encode, load=load),
        classify=SimpleNamespace(classify=classify),
        keys=SimpleNamespace(ring=lambda: KeyRing([])),
    )


def refusal(response, status, code=None, param=None):
    """The sentence of a failure, once all around it is as it should be."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert (error["code"], error["param"]) == (code, param)
    assert error["message"].endswith(".")
    assert "Traceback" not in response.text
    return error["message"]


async def eventually(condition):
    """Wait until an awaited condition holds."""
    deadline = time.monotonic() + 60
    while not await condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)
