from dataclasses import asdict, fields
from datetime import date

import pytest
from rest_cases import LIMITS, connect, refusal, stand_in

from app.rest.application import create_application
from app.services.encoders import WrongModel
from embedder.errors import AppError
from indexer.catalog.tables import CatalogAway
from indexer.search import Mode, SearchRequest, SearchResult
from indexer.stores.protocol import StoreError


async def ask(client, **body):
    answer = await client.post("/v1/search", json={"corpus": "samples"} | body)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_results_are_those_of_the_search_with_all_they_hold(client, installation):
    found = await ask(client, query="honey", mode="keyword")
    page = installation.search.search(SearchRequest("samples", "honey", Mode.KEYWORD))
    assert [result["uri"] for result in found["results"]] == [result.uri for result in page.results]
    for shown, result in zip(found["results"], page.results, strict=True):
        assert set(shown) == {field.name for field in fields(SearchResult)}
        assert shown == asdict(result) | {
            "highlights": [list(span) for span in result.highlights],
            "title_highlights": [list(span) for span in result.title_highlights],
            "headings": list(result.headings),
            "duplicates": list(result.duplicates),
        }
    assert {result["uri"] for result in found["results"]} == {"bees.md", "tea.txt"}
    assert (found["scored_by"], found["has_more"]) == ("keyword", False)
    assert {"value": "markdown", "documents": 1} in found["facets"]["file_types"]


async def test_pages_and_filters(client):
    first = await ask(client, query="honey", mode="keyword", page_size=1)
    second = await ask(client, query="honey", mode="keyword", page_size=1, page=2)
    uris = [page["results"][0]["uri"] for page in (first, second)]
    assert (sorted(uris), first["has_more"], second["has_more"]) == (["bees.md", "tea.txt"], True, False)
    markdown = await ask(client, query="honey", mode="keyword", file_types=["markdown"])
    assert [result["uri"] for result in markdown["results"]] == ["bees.md"]
    chinese = await ask(client, query="honey 蜂蜜", mode="keyword", languages=["zh"])
    assert [result["uri"] for result in chinese["results"]] == ["蜂蜜.txt"]


async def test_documents_without_a_language_have_a_filter_too():
    asked = []
    backend = stand_in(search=lambda request: asked.append(request) or (_ for _ in ()).throw(AppError("Enough.")))
    async with connect(create_application(lambda: backend, LIMITS)) as client:
        await client.post("/v1/search", json={"corpus": "a", "query": "b", "languages": ["und", "en"]})
    assert asked[0].languages == {"", "en"}


async def test_corpora_are_listed_without_where_they_are(client, installation):
    answer = await client.get("/v1/corpora")
    empty, samples = answer.json()["corpora"]
    assert (empty["name"], empty["searchable"], empty["updated"]) == ("empty", False, None)
    assert (samples["name"], samples["documents"], samples["searchable"]) == ("samples", 3, True)
    assert str(installation.corpora.one("samples").root) not in answer.text


@pytest.mark.parametrize(
    ("body", "status", "code", "param", "words"),
    [
        ({"corpus": "books", "query": "a"}, 404, "corpus_not_found", None, "There is no corpus books; there are empty"),
        (
            {"corpus": "a\0b", "query": "a"},
            404,
            "corpus_not_found",
            None,
            "There is no corpus a\N{REPLACEMENT CHARACTER}b",
        ),
        ({"corpus": "empty", "query": "a"}, 409, "corpus_not_built", None, "is not indexed yet; run kalm index build"),
        ({"corpus": "samples", "query": " "}, 422, None, None, "The question is empty"),
        ({"corpus": "samples"}, 422, None, "query", "is missing"),
        ({"corpus": "samples", "query": "a", "page": 0}, 422, None, "page", "is wrong"),
        ({"corpus": "samples", "query": "a", "page_size": 101}, 422, None, "page_size", "is wrong"),
        ({"corpus": "samples", "query": "a", "mode": "exact"}, 422, None, "mode", "'hybrid'"),
        ({"corpus": "samples", "query": "a", "languages": ["EN!"]}, 422, None, "languages.0", "is wrong"),
        ({"corpus": "samples", "query": "a", "size": 3}, 422, None, "size", "no field size"),
    ],
)
async def test_what_cannot_be_asked_is_refused_in_one_sentence(client, body, status, code, param, words):
    assert words in refusal(await client.post("/v1/search", json=body), status, code, param)


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (WrongModel, 409, "model_changed"),
        (StoreError, 503, "unavailable"),
        (CatalogAway, 503, "unavailable"),
        (AppError, 400, None),
    ],
)
async def test_errors_fit_for_a_user_keep_their_sentence(error, status, code):
    def search(request):
        raise error("The index is elsewhere; bring it back.")

    async with connect(create_application(lambda: stand_in(search=search), LIMITS)) as client:
        answer = await client.post("/v1/search", json={"corpus": "a", "query": "b"})
    assert refusal(answer, status, code) == "The index is elsewhere; bring it back."


async def test_what_steers_a_search_reaches_it():
    asked = []
    backend = stand_in(search=lambda request: asked.append(request) or (_ for _ in ()).throw(AppError("Enough.")))
    one, other = "00000000-0000-0000-0000-000000000001", "00000000-0000-0000-0000-000000000002"
    body = {
        "corpus": "a",
        "query": "",
        "balance": 0.7,
        "folders": ["en"],
        "authors": ["Du Fu"],
        "labels": [{"set": "topics", "label": "bees"}],
        "after": "2024-01-31",
        "before": "2025-01-01",
        "diverse": True,
        "like": [one],
        "unlike": [other],
        "text": "A long text.",
    }
    async with connect(create_application(lambda: backend, LIMITS)) as client:
        await client.post("/v1/search", json=body)
        wrong = [{"balance": 1.1}, {"after": "2024-02-30"}, {"like": ["x"]}, {"labels": [{"set": "topics"}]}]
        for change in wrong:
            refusal(
                await client.post("/v1/search", json=body | change),
                422,
                None,
                {"like": "like.0", "labels": "labels.0.label"}.get(*change, *change),
            )
    (request,) = asked
    assert request == SearchRequest(
        "a",
        "",
        balance=0.7,
        folders=frozenset({"en"}),
        authors=frozenset({"Du Fu"}),
        labels=frozenset({("topics", "bees")}),
        after=date(2024, 1, 31),
        before=date(2025, 1, 1),
        diverse=True,
        like=(one,),
        unlike=(other,),
        text="A long text.",
    )


async def test_examples_and_reasons_come_back(client):
    found = await ask(client, query="honey")
    example = found["results"][0]
    assert example["evidence"]["dense"] + example["evidence"]["lexical"] == pytest.approx(example["score"])
    assert 0 <= example["calibration"]["share"] <= 1
    like = await ask(client, query="", like=[example["document_id"]])
    assert [one["title"] for one in like["examples"]] == [example["title"]]
    assert example["document_id"] not in {result["document_id"] for result in like["results"]}
