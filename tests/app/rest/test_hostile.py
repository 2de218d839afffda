"""Whatever is sent, the answer is JSON of one shape, and nobody's fault is ours."""

import json

import pytest
from pydantic import ValidationError
from rest_cases import refusal

from app.rest.models import SearchBody

PATHS = ["/v1/embeddings", "/v1/search", "/v1/classify"]

BODIES = {
    "nothing": b"",
    "not JSON": b"{input: bee}",
    "cut off": b'{"input": "be',
    "not UTF-8": b'{"input": "\xff\xfe"}',
    "compressed": b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03",
    "deep lists": b"[" * 90_000,
    "deep objects": b'{"input":' * 9_000,
    "deep and whole": b'{"input":' + b"[" * 20_000 + b"]" * 20_000 + b"}",
    "a huge number": b'{"input": "a", "query": "a", "corpus": "samples", "dimensions": ' + b"9" * 9_000 + b"}",
    "infinity": b'{"input": "a", "dimensions": 1e999}',
    "not a number": b'{"input": NaN, "query": NaN}',
    "a field of half a character": b'{"input": "a", "query": "a", "corpus": "samples", "\\ud800": 1}',
    "a long name": json.dumps({"a" * 100_000: 1}).encode(),
    "many fields": json.dumps({f"field {number}": number for number in range(5_000)}).encode(),
    "many wrong items": json.dumps({"input": [[1]] * 20_000, "languages": [1] * 20_000}).encode(),
}


@pytest.mark.parametrize(
    "body", [{"corpus": "a", "query": "a", "languages": [1] * 9}, {str(number): number for number in range(9)}]
)
def test_a_body_is_judged_by_its_first_mistake_however_many_there_are(body):
    with pytest.raises(ValidationError) as found:
        SearchBody.model_validate(body)
    assert found.value.error_count() == 1


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("name", BODIES)
async def test_a_hostile_body_is_refused(client, path, name):
    answer = await client.post(path, content=BODIES[name], headers={"content-type": "application/json"})
    assert answer.status_code in (400, 413, 422), answer.text
    error = answer.json()["error"]
    message = refusal(answer, answer.status_code, error["code"], error["param"])
    assert len(message) < 300


@pytest.mark.parametrize(
    "text", ["\0", "a\0b", "\ud800", "\udfff tea \ud83d", "\u202e\u2066", "蜜" * 4000, "%00", "'; --", "a" * 4000]
)
async def test_strange_texts_are_texts(client, text):
    headers = {"content-type": "application/json"}
    embedding = await client.post("/v1/embeddings", content=json.dumps({"input": text}), headers=headers)
    assert embedding.status_code == 200, embedding.text
    body = {"corpus": "samples", "query": text}
    assert (await client.post("/v1/search", content=json.dumps(body), headers=headers)).status_code == 200
    named = await client.post("/v1/search", content=json.dumps({"corpus": text[:64], "query": "a"}), headers=headers)
    refusal(named, 404, "corpus_not_found")


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD", "TRACE", "BREW"])
async def test_a_wrong_method_is_refused(client, method):
    answer = await client.request(method, "/v1/embeddings")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    if method != "HEAD":
        assert "/openapi.json" in refusal(answer, 405)


@pytest.mark.parametrize("path", ["/v1", "/v1/", "/v1/embeddings/", "/v1/%00", "/v1/%ff", "/docs", "/redoc", "/"])
async def test_there_is_nothing_elsewhere(client, path):
    refusal(await client.get(path), 404)
