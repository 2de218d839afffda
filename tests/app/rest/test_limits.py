import asyncio
import threading

import httpx2
import pytest
from rest_cases import LIMITS, connect, refusal, stand_in

from app.rest.application import create_application
from app.rest.limits import Limits
from app.rest.workers import Overloaded, TooSlow, Workers
from app.settings import Settings
from embedder.turns import EncoderBusy

EMBED = ("POST", "/v1/embeddings")


def test_limits_are_settings(tmp_path):
    settings = Settings(data_dir=tmp_path, rest_max_megabytes=1.5, rest_max_texts=7, rest_timeout_seconds=2)
    assert Limits.of(settings) == Limits(1_500_000, 7, 100_000, 128, 2.0)


@pytest.mark.parametrize("size", [LIMITS.body_bytes + 1, 9 * LIMITS.body_bytes])
async def test_a_body_too_large_is_refused(client, size):
    async def pieces():
        for start in range(0, size, 60_000):
            yield b" " * min(60_000, size - start)

    assert "200,000 bytes" in refusal(await client.request(*EMBED, content=b" " * size), 413, "body_too_large")
    assert "200,000 bytes" in refusal(await client.request(*EMBED, content=pieces()), 413, "body_too_large")


async def test_a_body_too_large_is_read_on_for_a_while(client):
    sent = []

    async def pieces(count):
        for number in range(count):
            sent.append(number)
            yield b" " * LIMITS.body_bytes

    for count, read in ((5, 5), (20, 9)):
        sent.clear()
        refusal(await client.request(*EMBED, content=pieces(count)), 413, "body_too_large")
        assert len(sent) == read


async def test_the_largest_body_is_read(client):
    body = b'{"input": "bee"}'.ljust(LIMITS.body_bytes)
    answer = await client.request(*EMBED, content=body, headers={"content-type": "application/json; charset=utf-8"})
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(
    "kind", ["", "text/plain", "application/x-www-form-urlencoded", "application/jsonx", "a/b;json"]
)
async def test_only_json_is_read(client, kind):
    answer = await client.request(*EMBED, content=b'{"input": "bee"}', headers={"content-type": kind})
    assert "Content-Type: application/json" in refusal(answer, 415, "not_json")


async def test_a_body_that_does_not_arrive_is_given_up():
    limits = Limits(1000, 1, 1, 0, timeout_seconds=0.05)

    async def never():
        yield b"{"
        await asyncio.Event().wait()

    async with connect(create_application(stand_in, limits)) as client:
        answer = await client.request(*EMBED, content=never())
    assert "did not arrive within 0.05 s" in refusal(answer, 408, "slow_body")


async def test_a_client_that_leaves_while_sending_gets_nothing_and_costs_nothing(application):
    sent = []

    async def gone():
        return {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/embeddings",
        "client": ("127.0.0.1", 1),
        "query_string": b"",
    }
    await application(scope | {"headers": [(b"host", b"localhost")]}, gone, send)
    assert sent == []


async def test_a_model_that_is_busy_asks_for_patience():
    def encode(request, is_abandoned):
        raise EncoderBusy("1024 questions are waiting for the model already; ask again in a moment.")

    async with connect(create_application(lambda: stand_in(encode), LIMITS)) as client:
        answer = await client.request(*EMBED, json={"input": "bee"})
        assert "ask again in a moment" in refusal(answer, 429, "model_busy")
        assert answer.headers["retry-after"] == "1"
        assert "kalm_refusals_total 1.0" in (await client.get("/metrics")).text


async def test_a_full_line_is_refused_and_empties_again():
    going, started = threading.Event(), threading.Semaphore(0)

    def work(is_abandoned):
        started.release()
        assert going.wait(30)
        return 17

    workers = Workers(waiting=2, timeout_seconds=30, threads=2)
    running = [asyncio.create_task(workers.run(work)) for _ in range(4)]
    for _ in range(2):
        await asyncio.to_thread(started.acquire)
    with pytest.raises(Overloaded, match="in a moment"):
        await workers.run(work)
    going.set()
    assert await asyncio.gather(*running) == [17] * 4
    assert await asyncio.gather(*(workers.run(lambda _: 4) for _ in range(4))) == [4] * 4


async def test_what_takes_too_long_is_given_up_and_keeps_its_place_until_it_ends():
    ended = threading.Event()

    def work(is_abandoned):
        while not is_abandoned():
            pass
        assert ended.wait(30)

    workers = Workers(waiting=1, timeout_seconds=0.05, threads=1)
    with pytest.raises(TooSlow, match=r"within 0.05 s"):
        await workers.run(work)
    never = []
    with pytest.raises(TooSlow):
        await workers.run(lambda _: never.append(1))  # behind it, and taken out of the line again
    for _ in range(3):
        with pytest.raises(TooSlow):
            await workers.run(lambda _: never.append(1))
    ended.set()
    patient = Workers(waiting=0, timeout_seconds=30, threads=1)
    assert await patient.run(lambda _: 5) == 5
    assert never == []


async def test_an_error_of_the_work_is_the_callers():
    def work(is_abandoned):
        raise TimeoutError("of its own")

    with pytest.raises(TimeoutError, match="of its own"):
        await Workers(waiting=0, timeout_seconds=30).run(work)


async def test_a_request_that_takes_too_long_is_answered_and_the_work_stops():
    stopped = threading.Event()

    def encode(request, is_abandoned):
        while not is_abandoned():
            pass
        stopped.set()

    limits = Limits(1000, 1, 10, 0, timeout_seconds=0.2)
    async with connect(create_application(lambda: stand_in(encode), limits)) as client:
        answer = await client.request(*EMBED, json={"input": "bee"})
        assert "no answer within 0.2 s" in refusal(answer, 504, "timeout")
        assert await asyncio.to_thread(stopped.wait, 30)
        assert (await client.get("/healthz")).status_code == 200


async def test_the_loop_stays_free_while_work_is_done():
    going = threading.Event()

    def search(request):
        assert going.wait(30)
        raise httpx2.DecodingError("not an answer")

    async with connect(create_application(lambda: stand_in(search=search), LIMITS)) as client:
        asked = asyncio.create_task(client.request("POST", "/v1/search", json={"corpus": "a", "query": "b"}))
        assert (await client.get("/healthz")).status_code == 200
        assert not asked.done()
        going.set()
        refusal(await asked, 500, "internal_error")
