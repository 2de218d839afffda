"""The engines that the contract of the vector store holds for, and points to put into them.

The server's store runs over qdrant-client's local mode (``local``), over the same through HTTP (``http``), and on a
real server (``server``) where KALM_QDRANT_URL names one. Local mode has no graph, no payload index, no quantisation
and no strict mode: it accepts all four and searches exactly.
"""

import os
import uuid

import numpy as np
import pytest
from qdrant_client import QdrantClient
from qdrant_server import QdrantServer

from indexer.lexical import LexicalEncoder
from indexer.stores.edge import EdgeEngine
from indexer.stores.protocol import Point
from indexer.stores.server import ServerEngine
from indexer.stores.server_requests import ServerConfig

LEXICAL = LexicalEncoder()
DIM = 8


@pytest.fixture(scope="module")
def http_engine():
    with QdrantServer() as server:
        yield ServerEngine.connect(ServerConfig(server.url))


@pytest.fixture(params=["edge", "local", "http", "server"])
def engine(request, tmp_path):
    if request.param == "edge":
        yield EdgeEngine(tmp_path / "indexes")
    elif request.param == "local":
        client = QdrantClient(":memory:")
        yield ServerEngine(client, ServerConfig("http://local-mode"))
        client.close()
    elif request.param == "http":
        engine = request.getfixturevalue("http_engine")
        yield engine
        engine.drop_corpus("books")
    else:
        url = os.environ.get("KALM_QDRANT_URL") or pytest.skip("KALM_QDRANT_URL is not set")
        config = ServerConfig(url, os.environ.get("KALM_QDRANT_API_KEY"), prefix=f"test-{uuid.uuid4().hex}-")
        real = ServerEngine.connect(config)
        yield real
        real.drop_corpus("books")


def unit(seed):
    vector = np.random.default_rng(seed).normal(size=DIM).astype(np.float32)
    return vector / np.linalg.norm(vector)


def identifier(n):
    return f"00000000-0000-0000-0000-{n:012d}"


def point(n, text="honey", **metadata):
    metadata = {"document_id": f"d{n // 2}", "file_type": "text", "language": "en", "page": None} | metadata
    return Point(identifier(n), unit(n), LEXICAL.encode_document(text), text, metadata)


@pytest.fixture
def server_place():
    """A collection on the server that KALM_QDRANT_URL names, removed again."""
    url = os.environ.get("KALM_QDRANT_URL") or pytest.skip("KALM_QDRANT_URL is not set")
    client = QdrantClient(url, api_key=os.environ.get("KALM_QDRANT_API_KEY"))
    place = {"client": client, "collection": f"test-{uuid.uuid4().hex}"}
    yield place
    client.delete_collection(place["collection"])
    client.close()


@pytest.fixture(params=["edge", "local", "server"])
def place(request, tmp_path):
    """Where a store is kept."""
    if request.param == "edge":
        yield {"path": tmp_path / "notes"}
    elif request.param == "local":
        client = QdrantClient(":memory:")
        yield {"client": client}
        client.close()
    else:
        yield request.getfixturevalue("server_place")
