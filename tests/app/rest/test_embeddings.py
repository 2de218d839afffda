import base64

import numpy as np
import openai
import pytest
from rest_cases import FILES, connect, refusal

from app.services.vectors import Abandoned, VectorRequest

TEXTS = ["Bees make honey.", "", "蜜蜂酿造蜂蜜", "tea " * 400]


@pytest.fixture
def encoder(installation):
    """The model that is served, with a count of its own."""
    return installation.encoders.default().metered()


@pytest.fixture
async def ai(application):
    """OpenAI's own client."""
    async with connect(application) as http:
        async with openai.AsyncOpenAI(base_url="http://localhost/v1", api_key="none", http_client=http) as opened:
            yield opened


async def vectors(client, **body):
    answer = await client.post("/v1/embeddings", json=body)
    assert answer.status_code == 200, answer.text
    return np.array([item["embedding"] for item in answer.json()["data"]], dtype=np.float32)


async def test_texts_become_the_vectors_of_documents_in_their_order(client, encoder):
    answer = (await client.post("/v1/embeddings", json={"input": TEXTS})).json()
    expected = encoder.encode_documents(TEXTS)
    assert [item["index"] for item in answer["data"]] == [0, 1, 2, 3]
    np.testing.assert_allclose([item["embedding"] for item in answer["data"]], expected, atol=1e-5)
    tokens = encoder.usage.tokens
    assert answer["usage"] == {"prompt_tokens": tokens, "total_tokens": tokens}
    assert tokens > encoder.max_tokens  # the last text is counted up to where it is cut
    assert answer["model"] == encoder.name


async def test_numbers_and_base64_are_the_same_bits(client):
    numbers = await vectors(client, input=TEXTS)
    answer = await client.post("/v1/embeddings", json={"input": TEXTS, "encoding_format": "base64"})
    packed = [base64.b64decode(item["embedding"]) for item in answer.json()["data"]]
    np.testing.assert_array_equal(numbers, [np.frombuffer(row, "<f4") for row in packed])


async def test_one_text_needs_no_list(client):
    np.testing.assert_allclose(await vectors(client, input=TEXTS[0]), await vectors(client, input=TEXTS[:1]), atol=1e-6)


async def test_queries_have_their_own_vectors(client, encoder):
    asked = {"input": TEXTS[:1], "side": "query"}
    np.testing.assert_allclose(await vectors(client, **asked), encoder.encode_queries(TEXTS[:1]), atol=1e-5)
    by_task = encoder.encode_queries(TEXTS[:1], task="STS")
    np.testing.assert_allclose(await vectors(client, **asked, task="STS"), by_task, atol=1e-5)
    by_words = encoder.encode_queries(TEXTS[:1], instruction="Find the hive")
    np.testing.assert_allclose(await vectors(client, **asked, instruction="Find the hive"), by_words, atol=1e-5)
    assert not np.allclose(by_task, by_words, atol=1e-3)


def test_an_index_made_with_the_model_that_is_served_shares_it(installation):
    live = installation.catalog.corpus("samples").live
    searched = installation.encoders.of(installation.catalog.generation("samples", live).manifest)
    assert searched._model is installation.encoders.default()._model


def test_work_that_nobody_waits_for_stops_between_slices(installation):
    asked = []

    def is_abandoned():
        asked.append(1)
        return len(asked) > 1

    with pytest.raises(Abandoned):
        installation.vectors.encode(VectorRequest(["a"] * 600), is_abandoned)
    assert len(asked) == 2


@pytest.mark.parametrize("name", ["default", "name", "source"])
async def test_the_model_has_three_names(client, encoder, name):
    answer = await client.post("/v1/embeddings", json={"input": "a", "model": getattr(encoder, name, name)})
    assert answer.json()["model"] == encoder.name


async def test_a_narrower_vector_is_the_models_own(client, encoder):
    narrow = await vectors(client, input=TEXTS, dimensions=8)
    np.testing.assert_allclose(narrow, encoder.resized(8).encode_documents(TEXTS), atol=1e-5)


async def test_more_texts_than_a_slice_keep_their_places(client, encoder):
    many = [f"Sentence {number} about {number * 7}." for number in range(290)]
    np.testing.assert_allclose(await vectors(client, input=many), encoder.encode_documents(many), atol=1e-5)


async def test_half_a_character_is_replaced(client):
    halved = await client.post(
        "/v1/embeddings", content=b'{"input": "bee \\ud83d"}', headers={"content-type": "application/json"}
    )
    whole = await vectors(client, input="bee �")
    np.testing.assert_allclose(halved.json()["data"][0]["embedding"], whole[0], atol=1e-6)


@pytest.mark.parametrize(
    ("body", "status", "code", "param", "words"),
    [
        ({}, 422, None, "input", "is missing"),
        ({"input": []}, 422, None, "input", "at least one text"),
        ({"input": [17, 4]}, 422, None, "input", "holds tokens"),
        ({"input": [[17, 4]]}, 422, None, "input", "holds tokens"),
        ({"input": ["a", 4]}, 422, None, "input", "nothing else in the list"),
        ({"input": None}, 422, None, "input", "a text or a list"),
        ({"input": "a", "dimension": 8}, 422, None, "dimension", "no field"),
        ({"input": "a", "dimensions": 7}, 422, None, None, "has no vectors of 7 dimensions; it has 32, 16, 8"),
        ({"input": "a", "dimensions": "8"}, 422, None, "dimensions", "is wrong"),
        ({"input": "a", "encoding_format": "hex"}, 422, None, "encoding_format", "is wrong"),
        ({"input": "a", "task": "Cooking"}, 422, "unknown_task", None, "There is no task 'Cooking'"),
        ({"input": "a", "instruction": "Cook"}, 422, None, None, '"side": "query"'),
        ({"input": "a", "model": "gpt"}, 404, "model_not_found", None, "is not served here; ask for tiny-qwen2"),
        ({"input": ["a"] * 301}, 422, "too_much", None, "301 texts; send at most 300"),
        ({"input": ["a", "b" * 5001]}, 422, "too_much", None, "5,001 characters; send at most 5,000"),
        ([], 422, "invalid_json", None, "one JSON object"),
    ],
)
async def test_what_cannot_be_embedded_is_refused_in_one_sentence(client, body, status, code, param, words):
    message = refusal(await client.post("/v1/embeddings", json=body), status, code, param)
    assert words in message


async def test_openais_client_gets_vectors(ai, encoder):
    answer = await ai.embeddings.create(model="tiny-qwen2", input=TEXTS)
    np.testing.assert_allclose([item.embedding for item in answer.data], encoder.encode_documents(TEXTS), atol=1e-5)
    narrow = await ai.embeddings.create(model="tiny-qwen2", input=TEXTS[0], dimensions=16, encoding_format="float")
    assert len(narrow.data[0].embedding) == 16
    assert answer.usage.total_tokens == encoder.usage.tokens
    query = await ai.embeddings.create(model="tiny-qwen2", input=FILES["tea.txt"], extra_body={"side": "query"})
    np.testing.assert_allclose(query.data[0].embedding, encoder.encode_queries([FILES["tea.txt"]])[0], atol=1e-5)


async def test_openais_client_raises_its_own_errors(ai):
    with pytest.raises(openai.NotFoundError, match="not served here") as missing:
        await ai.embeddings.create(model="gpt", input="a")
    assert missing.value.code == "model_not_found"
    assert missing.value.request_id
    with pytest.raises(openai.UnprocessableEntityError, match="holds tokens"):
        await ai.embeddings.create(model="tiny-qwen2", input=[1, 2])
