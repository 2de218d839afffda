"""The tools for language models, asked by the protocol's own client over a process's standard streams."""

import json
import os
import sys

import pytest
from mcp import ClientSession, StdioServerParameters, stdio_client


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
