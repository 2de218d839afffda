"""``kalm index migrate``, and commands on an index that a server keeps."""

import json

import pytest
from qdrant_server import LOCAL_MODE_WARNS, QdrantServer

pytestmark = LOCAL_MODE_WARNS


@pytest.fixture
def server():
    with QdrantServer(api_key="s3cret") as running:
        yield running


@pytest.fixture
def here(server):
    """Settings that name the server."""
    return {"KALM_QDRANT_URL": server.url, "KALM_QDRANT_API_KEY": "s3cret"}


@pytest.fixture
def shelf(cli, write):
    root = write(cli.folder / "shelf", **{"a.md": "# Apples\n\nApples grow on trees.\n", "b.txt": "Bees make honey.\n"})
    assert cli("corpus", "add", "shelf", root).code == 0
    return root


def found(outcome):
    assert outcome.code == 0, outcome.err
    return [result["uri"] for result in json.loads(outcome.out)]


def test_an_index_moves_to_the_server_and_back(cli, shelf, server, here):
    cli("index", "build", "shelf")
    moved = cli("index", "migrate", "shelf", "--to", "server", **here)
    assert (moved.out, moved.err) == ("shelf: 2 passages copied and compared; it is on the server now.\n", "")
    again = cli("index", "migrate", "shelf", "--to", "server", **here)
    assert again.out == "shelf is on the server already; nothing changed.\n"
    ask = ("search", "shelf", "honey", "--mode", "keyword", "--json")
    assert found(cli(*ask, **here)) == ["b.txt"]
    assert "set KALM_QDRANT_URL" in cli(*ask).refusal

    assert "is up to date" in cli("index", "build", "shelf", **here).out
    (shelf / "c.txt").write_text("Honey is sweet.\n")
    assert cli("index", "build", "shelf", **here).out.startswith("shelf: 1 documents written")
    assert server.client.count("shelf").count == 3  # the alias follows

    back = cli("index", "migrate", "shelf", "--to", "embedded", **here)
    assert back.out == "shelf: 3 passages copied and compared; it is in the data folder now.\n"
    assert sorted(found(cli(*ask))) == ["b.txt", "c.txt"]


def test_a_first_build_goes_to_the_server_and_removing_takes_it_from_there(cli, shelf, server, here):
    assert cli("index", "build", "shelf", **here).code == 0
    assert not (cli.data / "indexes").exists()
    assert server.client.count("shelf").count == 2
    assert cli("corpus", "remove", "shelf", **here).code == 0
    assert server.client.get_collections().collections == []


def test_an_embedded_index_stays_embedded_when_a_server_is_configured(cli, shelf, server, here):
    cli("index", "build", "shelf")
    assert "is up to date" in cli("index", "build", "shelf", **here).out
    (shelf / "c.txt").write_text("Honey is sweet.\n")
    assert cli("index", "build", "shelf", **here).code == 0
    assert server.client.get_collections().collections == []


def test_mistakes_are_one_line(cli, shelf, here, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    to_server = ("index", "migrate", "shelf", "--to", "server")
    assert "is not indexed yet" in cli(*to_server, **here).refusal
    cli("index", "build", "shelf")
    assert "set KALM_QDRANT_URL" in cli(*to_server).refusal
    assert "set KALM_QDRANT_API_KEY" in cli(*to_server, **(here | {"KALM_QDRANT_API_KEY": "wrong"})).refusal
    assert "does not answer" in cli(*to_server, KALM_QDRANT_URL="http://127.0.0.1:9").refusal
    assert "The setting qdrant_url is wrong" in cli(*to_server, KALM_QDRANT_URL="127.0.0.1:9").refusal
    assert found(cli("search", "shelf", "honey", "--mode", "keyword", "--json")) == ["b.txt"]
