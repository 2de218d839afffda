import threading

import pytest
from rest_cases import LIMITS, connect, eventually, refusal, stand_in

from app.rest import readiness
from app.rest.application import create_application
from embedder.errors import AppError


def series(text):
    return dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))


async def test_a_process_that_lives_says_so_without_any_backend():
    async with connect(create_application(lambda: 1 / 0, LIMITS), "192.0.2.7", "any.example") as client:
        answer = await client.get("/healthz")
    assert (answer.status_code, answer.content) == (200, b'{"status":"ok"}')


async def test_ready_means_the_catalog_and_the_model_are_there(client):
    answer = await client.get("/readyz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


@pytest.mark.parametrize("part", ["corpora", "load"])
@pytest.mark.parametrize("error", [AppError, RuntimeError])
async def test_what_is_missing_is_named_and_its_place_only_logged(caplog, part, error):
    def broken():
        raise error("at postgresql://someone:word@host")

    backend = stand_in(**{part: broken})
    async with connect(create_application(lambda: backend, LIMITS), "192.0.2.7") as client:
        message = refusal(await client.get("/readyz"), 503, "not_ready")
        setattr(backend.search if part == "corpora" else backend.vectors, part, list)
        assert (await client.get("/readyz")).status_code == 200
    assert message.startswith("The catalog cannot be read" if part == "corpora" else "The model cannot be loaded")
    assert "someone" not in message
    assert "someone" in caplog.text


async def test_probes_share_one_attempt_to_load(monkeypatch):
    monkeypatch.setattr(readiness, "_PATIENCE_SECONDS", 0.05)
    loads, going = [], threading.Event()

    def load():
        loads.append(1)
        assert going.wait(30)

    async with connect(create_application(lambda: stand_in(load=load), LIMITS)) as client:
        for _ in range(3):
            assert "being loaded" in refusal(await client.get("/readyz"), 503, "not_ready")
        going.set()

        async def is_ready():
            return (await client.get("/readyz")).status_code == 200

        await eventually(is_ready)
    assert len(loads) <= 2  # the attempt all shared, and at most a new one after it


async def test_counts_are_by_route_and_status(installation):
    async with connect(create_application(lambda: installation, LIMITS)) as client:
        tokens = (await client.post("/v1/embeddings", json={"input": ["bee", "tea"]})).json()["usage"]["total_tokens"]
        await client.post("/v1/search", json={"corpus": "nowhere", "query": "a"})
        for path in ("/made-up/1", "/made-up/2"):
            await client.get(path)
        counts = series((await client.get("/metrics")).text)
    assert counts['kalm_requests_total{route="/v1/embeddings",status="200"}'] == "1.0"
    assert counts['kalm_requests_total{route="/v1/search",status="404"}'] == "1.0"
    assert counts['kalm_requests_total{route="other",status="404"}'] == "2.0"
    assert counts['kalm_request_seconds_count{route="/v1/embeddings"}'] == "1.0"
    assert float(counts["kalm_encoder_tokens_total"]) == tokens
    assert counts["kalm_refusals_total"] == "0.0"


async def test_every_answer_has_a_number_and_headers_that_keep_browsers_out(client):
    for path in ("/healthz", "/v1/corpora", "/nowhere"):
        headers = (await client.get(path)).headers
        assert len(headers["x-request-id"]) == 32
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"
        assert "default-src 'none'" in headers["content-security-policy"]
    own = await client.get("/healthz", headers={"x-request-id": "trace-7"})
    assert own.headers["x-request-id"] == "trace-7"
    for strange in ("a b", "x" * 65, "<script>"):
        answer = await client.get("/healthz", headers={"x-request-id": strange})
        assert answer.headers["x-request-id"] != strange


async def test_a_fault_of_ours_is_one_sentence_with_a_number_for_the_log(caplog):
    def search(request):
        raise ZeroDivisionError("deep inside")

    async with connect(create_application(lambda: stand_in(search=search), LIMITS)) as client:
        answer = await client.post("/v1/search", json={"corpus": "a", "query": "b"})
    number = answer.headers["x-request-id"]
    assert (
        refusal(answer, 500, "internal_error")
        == f"Something went wrong here; the server's log has more under {number}."
    )
    assert "deep inside" not in answer.text
    assert f"Request {number} failed" in caplog.text
    assert "deep inside" in caplog.text


async def test_a_backend_that_cannot_be_made_is_not_described(caplog):
    made = []

    def backend():
        made.append(1)
        if len(made) > 1:
            raise AppError("The catalog 'postgresql://someone:word@host' cannot be opened.")
        return stand_in()

    async with connect(create_application(backend, LIMITS)) as client:
        answer = await client.get("/v1/corpora")
    assert refusal(answer, 503, "unavailable") == "Nothing can be answered now; the server's log says why."
