"""The tools for language models, asked by the protocol's own client: over standard streams and in this process."""

import json
import os
import sqlite3
import sys

import pytest
from mcp import Client, ClientSession, StdioServerParameters, stdio_client

from app.agents import FETCHED_CHARACTERS, Library, create_server
from indexer.catalog.documents import Documents


@pytest.fixture(scope="module")
def library(module_cli, write):
    write(
        module_cli.folder / "documents",
        **{"bees.md": "# How bees make honey\n\nBees dry nectar.\n", "蜂蜜.txt": "蜂蜜\n\n蜜蜂酿造蜂蜜过冬。\n"},
    )
    assert module_cli("corpus", "add", "library", "documents").code == 0
    assert module_cli("index", "build", "library").code == 0
    return module_cli


async def ask(library, *calls):
    """The answers to tool calls, as JSON or as the sentence of a failure."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("KALM_")}
    server = StdioServerParameters(
        command=sys.executable,
        args=["-m", "app.cli", "mcp", "--page-url", "http://localhost:8501/"],
        env=environment | {"KALM_DATA_DIR": str(library.data), "KALM_MODEL": str(library._model)},
    )
    answers = []
    async with stdio_client(server) as (read, write), ClientSession(read, write) as session:
        await session.initialize()
        names = {tool.name for tool in (await session.list_tools()).tools}
        assert names == {"corpora", "search", "fetch"}
        for name, arguments in calls:
            answer = await session.call_tool(name, arguments)
            text = answer.content[0].text
            answers.append(text if answer.is_error else json.loads(text))
    return answers


async def test_an_agent_lists_searches_and_fetches(library):
    corpora, found = await ask(library, ("corpora", {}), ("search", {"query": "酿造蜂蜜", "limit": 1}))
    assert corpora == {"corpora": [{"name": "library", "documents": 2, "passages": 2}]}
    (hit,) = found["results"]
    assert (hit["title"], hit["metadata"]["source"]) == ("蜂蜜", "蜂蜜.txt")
    assert hit["url"].startswith("http://localhost:8501/document?corpus=library&doc=")
    fetched, gone, empty = await ask(
        library,
        ("fetch", {"id": hit["id"]}),
        ("fetch", {"id": "library/../../etc/passwd"}),
        ("search", {"query": " "}),
    )
    assert "蜜蜂酿造蜂蜜过冬" in fetched["text"]
    assert "take an id from the results of search" in gone
    assert "The question is empty" in empty


@pytest.fixture
def agent(made, write, tmp_path):
    """Calls the tools in this process, over one long document."""
    long = "".join(f"Bee {number} makes honey. " for number in range(2_000))
    made.corpora.add("hive", write(tmp_path / "hive", **{"long.txt": long}))
    made.indexing.build("hive")
    server = create_server(Library(made.catalog, made.search, Documents(made.catalog.database)))

    async def call(name, **arguments):
        async with Client(server) as client:
            answer = await client.call_tool(name, arguments)
        return answer.content[0].text if answer.is_error else answer.structured_content

    return call


async def test_a_long_document_is_fetched_part_by_part(agent):
    (hit,) = (await agent("search", query="honey"))["results"]
    first = await agent("fetch", id=hit["id"])
    characters, following = first["metadata"]["characters"], first["metadata"]["next_start"]
    assert len(first["text"]) == following == FETCHED_CHARACTERS < characters
    assert f"fetch it again with start {following}" in first["metadata"]["more"]
    rest = await agent("fetch", id=hit["id"], start=following, length=characters)
    assert (rest["id"], rest["text"][-17:].strip()) == (hit["id"], "1999 makes honey.")
    assert len(first["text"] + rest["text"]) == characters
    assert "next_start" not in rest["metadata"]
    assert "take a start below that" in await agent("fetch", id=hit["id"], start=characters)


async def test_a_catalog_that_is_away_is_a_sentence_to_every_tool(agent, made):
    (hit,) = (await agent("search", query="honey"))["results"]
    with sqlite3.connect(made.settings.data_dir / "catalog.sqlite") as database:
        database.execute("ALTER TABLE corpora RENAME TO gone")
    database.close()
    for name, arguments in (("corpora", {}), ("search", {"query": "honey"}), ("fetch", {"id": hit["id"]})):
        assert "The catalog does not answer (no such table" in await agent(name, **arguments)
