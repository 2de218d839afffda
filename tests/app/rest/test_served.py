"""``kalm serve`` as programs meet it: OpenAI's client, and fifty at a time."""

import asyncio
import os
import re
import time
from pathlib import Path

import httpx2
import numpy as np
import openai
import pytest
from conftest import skip_or_fail

from embedder.langchain import KaLMEmbeddings
from embedder.langchain_remote import KaLMRemoteEmbeddings

CLIENTS = 50
SECONDS = float(os.environ.get("KALM_TEST_SOAK", "2"))
LONG_SECONDS = 30
"""Every thread keeps memory once it has computed; before that has happened, growth means nothing."""

GROWTH_BYTES = 64 * 2**20
ROUNDING = 0.02
"""Every process times for itself whether bfloat16 is faster, so that the server may round where this one does not."""


@pytest.fixture(scope="module")
def server(installation, serve, tiny_model):
    """A running server on the installation's data."""
    with serve(installation.settings.data_dir, KALM_MODEL=tiny_model) as running:
        deadline = time.monotonic() + 60
        while httpx2.get(f"{running.url}/readyz").status_code == 503:
            assert time.monotonic() < deadline, "the server does not get ready"
            time.sleep(0.05)
        yield running


def test_pages_and_programs_are_served_side_by_side(server):
    page = httpx2.get(server.url)
    assert page.headers["content-type"].startswith("text/html")
    assert "x-request-id" not in page.headers
    listed = httpx2.get(f"{server.url}/v1/corpora")
    assert [corpus["name"] for corpus in listed.json()["corpora"]] == ["empty", "samples"]
    assert httpx2.get(f"{server.url}/v1/nothing").json()["error"]["code"] is None


def test_openais_client_gets_the_vectors_of_the_model(server, installation):
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none") as client:
        answer = client.embeddings.create(model="default", input=["Bees make honey.", "蜂蜜"], dimensions=16)
        with pytest.raises(openai.NotFoundError, match="is not served here"):
            client.embeddings.create(model="gpt", input="a")
    expected = installation.encoders.default().resized(16).encode_documents(["Bees make honey.", "蜂蜜"])
    np.testing.assert_allclose([item.embedding for item in answer.data], expected, atol=ROUNDING)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"dim": 16, "task": "STS"},
        {"query_instruction": "Find the hive", "document_instruction": "Keep this"},
    ],
)
def test_a_program_that_moves_to_a_server_keeps_its_vectors_and_their_name(server, tiny_model, settings):
    remote = KaLMRemoteEmbeddings(url=server.url, **settings)
    there = remote.namespace
    here = KaLMEmbeddings(model=str(tiny_model), dtype=there.split("-")[-2], **settings)
    assert there == here.namespace
    np.testing.assert_allclose(remote.embed_query("蜂蜜"), here.embed_query("蜂蜜"), atol=ROUNDING)
    texts = ["Bees make honey.", ""]
    np.testing.assert_allclose(remote.embed_documents(texts), here.embed_documents(texts), atol=ROUNDING)


@pytest.fixture(scope="module")
def crowd(installation):
    """A text for each of fifty clients and its vector, so far from the others' that no answer can be another's."""
    texts = [" ".join(str(pow(7, 8 * row + word, 10_007)) for word in range(1, 2 + row % 8)) for row in range(CLIENTS)]
    expected = installation.encoders.default().encode_documents(texts)
    apart = np.abs(expected[:, None] - expected).max(axis=-1) + 2 * np.eye(CLIENTS)
    assert apart.min() > 2 * ROUNDING
    return texts, expected


def test_fifty_clients_get_the_right_vectors_and_no_errors(server, crowd):
    assert asyncio.run(_ask_for(server.url, *crowd, SECONDS / 2)) >= CLIENTS


@pytest.mark.skipif(SECONDS < LONG_SECONDS, reason=f"KALM_TEST_SOAK is not {LONG_SECONDS} (seconds) or more")
def test_memory_stays_flat_under_fifty_clients(server, crowd):
    asyncio.run(_ask_for(server.url, *crowd, SECONDS / 2))
    before = _resident_bytes(server.process.pid)
    asyncio.run(_ask_for(server.url, *crowd, SECONDS / 2))
    assert _resident_bytes(server.process.pid) - before < GROWTH_BYTES


async def _ask_for(url, texts, expected, seconds):
    """Every text by a client of its own, again and again; how many answers there were, all of them right."""
    until = time.monotonic() + seconds
    answered = 0

    async def ask(client, row):
        nonlocal answered
        while True:
            if row % 5:
                answer = await client.post("/v1/embeddings", json={"input": texts[row]})
                assert answer.status_code == 200, answer.text
                np.testing.assert_allclose(answer.json()["data"][0]["embedding"], expected[row], atol=ROUNDING)
            else:
                answer = await client.post("/v1/search", json={"corpus": "samples", "query": f"honey {row}"})
                assert answer.status_code == 200, answer.text
                assert {result["uri"] for result in answer.json()["results"]} >= {"bees.md", "tea.txt"}
            answered += 1
            if time.monotonic() > until:
                return

    async with httpx2.AsyncClient(base_url=url, timeout=60, limits=httpx2.Limits(max_connections=CLIENTS)) as client:
        await asyncio.gather(*(ask(client, row) for row in range(len(texts))))
    return answered


def _resident_bytes(process):
    status = Path(f"/proc/{process}/status")
    if not status.exists():
        skip_or_fail("this system does not show how much memory a process has")
    return int(re.search(r"VmRSS:\s+(\d+)", status.read_text()).group(1)) * 1024
