"""What only a server can do: be away, be slow, be asked for too much, be restarted half-way."""

import shutil
import ssl
import subprocess
from functools import cache

import numpy as np
import pytest
from conftest import skip_or_fail
from qdrant_server import LOCAL_MODE_WARNS, Fault, QdrantServer

from indexer.lexical import LexicalEncoder
from indexer.stores.protocol import Point, Query, StoreError
from indexer.stores.server import ServerEngine
from indexer.stores.server_requests import ServerConfig

pytestmark = LOCAL_MODE_WARNS
LEXICAL = LexicalEncoder()
DIM = 4
WRITES = r"PUT /collections/books@1/points\?"
KEY = "s3cret-key"


@pytest.fixture
def waits(monkeypatch):
    """The seconds that were waited, without waiting."""
    waited = []
    monkeypatch.setattr("time.sleep", waited.append)
    return waited


@pytest.fixture(scope="module")
def running():
    with QdrantServer() as server:
        yield server


@pytest.fixture
def server(running):
    running.reset()
    return running


@cache
def _connect(config):
    return ServerEngine.connect(config)  # takes longer than most of these tests


def connect(server, **more):
    return _connect(ServerConfig(server.url, **more))


def points(count):
    vectors = np.random.default_rng(7).normal(size=(count, DIM)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    texts = [f"honey {n}" for n in range(count)]
    return [
        Point(f"00000000-0000-0000-0000-{n:012d}", vector, LEXICAL.encode_document(text), text, {"n": n})
        for n, (vector, text) in enumerate(zip(vectors, texts, strict=True))
    ]


def ids(store):
    return [point.metadata["n"] for batch in store.points() for point in batch]


# Sending again


@pytest.mark.parametrize(
    "fault",
    [
        Fault(WRITES, "drop", after=1),
        Fault(WRITES, "lose", after=1),
        Fault(WRITES, "slow", after=1, seconds=1.5),
        Fault(WRITES, 500, after=1),
        Fault(WRITES, 503, after=1, times=5),
        Fault(WRITES, 429, after=1, headers={"Retry-After": "7"}),
        Fault(WRITES, 429, after=1, headers={"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}),
        Fault(WRITES, 429, after=1),
    ],
    ids=lambda fault: f"{fault.kind} {fault.times}",
)
def test_a_write_that_is_lost_or_refused_for_now_is_sent_again(server, waits, fault):
    store = connect(server, write_seconds=1).create("books", 1, DIM, None)
    server.faults.append(fault)
    store.upsert(points(300))
    assert fault.times == 0
    assert len(waits) == len(server.sent(WRITES)) - 3
    assert ids(store) == list(range(300))


@pytest.mark.parametrize("where", ["DELETE /coll", "PUT /collections/books@1", r"/index\?", "GET /.*exists", "PATCH"])
def test_every_step_of_a_build_may_be_repeated(server, waits, where):
    engine = connect(server)
    engine.create("books", 1, DIM, None).upsert(points(3))
    for kind in ("drop", "lose", 502):
        waits.clear()
        server.faults = [Fault(where, kind)]
        store = engine.create("books", 1, DIM, None)
        store.upsert(points(5))
        store.seal()
        assert (server.faults[0].times, len(waits)) == (0, 1)
        assert ids(engine.open("books", 1)) == list(range(5))


def test_waits_are_doubled_by_chance_and_at_least_what_the_server_asks_for(server, waits):
    store = connect(server).create("books", 1, DIM, None)
    server.faults.append(Fault(WRITES, 503, times=6))
    store.upsert(points(1))
    for wait, longest in zip(waits, (0.25, 0.5, 1, 2, 4, 8), strict=True):
        assert longest / 2 <= wait <= longest
    waits.clear()
    server.faults += [Fault(WRITES, 429, headers={"Retry-After": seconds}) for seconds in ("5", "3600")]
    store.upsert(points(1))
    assert waits == [5, 30]


def test_a_search_is_sent_again_but_nobody_waits_long_for_it(server, waits):
    engine = connect(server)
    store = engine.create("books", 1, DIM, None)
    store.upsert(points(3))
    server.faults.append(Fault("points/query/batch", "drop", times=2))
    assert len(store.search(Query(2, dense=points(1)[0].dense))) == 2
    waits.clear()
    server.faults.append(Fault("points/query/batch", 503, times=3))
    with pytest.raises(StoreError, match=r"is out of order \(503 Service is out of order\); try again later\.$"):
        store.search(Query(2, dense=points(1)[0].dense))
    assert sum(waits) < 1


# What cannot be healed by it


def test_a_server_that_dies_half_way_is_one_sentence_and_running_again_heals_it(server, waits):
    engine = connect(server)
    store = engine.create("books", 1, DIM, None)
    server.faults.append(Fault(WRITES, "die", after=1))
    with pytest.raises(StoreError, match=r"^The Qdrant server at http://127\.0\.0\.1:\d+ does not answer") as refused:
        store.upsert(points(300))
    assert "\n" not in str(refused.value)
    server.is_dead = False
    assert store.count() == 256
    store.upsert(points(300))
    assert ids(store) == list(range(300))


def test_a_server_that_is_not_there_is_one_sentence(waits):
    with QdrantServer() as server:
        engine = connect(server)
    with pytest.raises(
        StoreError, match=r"does not answer as it should \(.+\); check that it runs, then KALM_QDRANT_U"
    ):
        engine.open("books", 1)
    assert len(waits) == 2


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (Fault("exists", 400), r"refuses a request \(400 Service is out of order\); check its version"),
        (Fault("exists", "nonsense"), r"is no Qdrant server; check KALM_QDRANT_URL"),
        (Fault("exists", "swallow"), r"does not answer as it should"),
    ],
)
def test_what_will_not_pass_is_said_at_once(server, waits, fault, said):
    server.faults.append(fault)
    with pytest.raises(StoreError, match=said) as refused:
        connect(server).open("books", 1)
    assert "\n" not in str(refused.value)
    assert waits == []


def test_a_copy_that_lost_something_is_noticed(server):
    engine = connect(server)
    engine.create("books", 1, DIM, None).upsert(points(130))
    server.faults.append(Fault("PUT /collections/books@2/points", "swallow"))
    with pytest.raises(StoreError, match="Only 2 of 130 passages of books were copied"):
        engine.create("books", 2, DIM, 1)


def test_a_reader_of_a_dropped_generation_is_told(server):
    engine = connect(server)
    store = engine.create("books", 1, DIM, None)
    engine.drop("books", 1)
    with pytest.raises(StoreError, match="refuses a request"):
        store.search(Query(1, dense=points(1)[0].dense))


# How a generation is made


def test_indexes_come_before_points_and_the_graph_after_them(server):
    store = connect(server).create("books", 1, DIM, None)
    store.upsert(points(300))
    store.seal()
    lines = [line.partition("?")[0] for line, _ in server.requests]
    index, first = lines.index("PUT /collections/books@1/index"), lines.index("PUT /collections/books@1/points")
    assert index < first < lines.index("PATCH /collections/books@1")
    (made,) = server.sent(r"PUT /collections/books@1(\?|$)")
    assert made["vectors"]["dense"]["distance"] == "Cosine"
    assert made["sparse_vectors"] == {"lexical": {"modifier": "idf"}}
    assert made["optimizers_config"] == {"indexing_threshold": 0}
    assert server.sent("PATCH") == [{"optimizers_config": {"indexing_threshold": 10_000}}]
    assert [body["field_name"] for body in server.sent("/index")] == [
        f"metadata.{field}" for field in ("document_id", "file_type", "language", "date")
    ]
    assert [len(body["points"]) for body in server.sent(WRITES)] == [128, 128, 44]
    assert all("wait=true" in line for line, _ in server.requests if line.startswith("PUT /collections/books@1/points"))


@pytest.mark.parametrize(
    ("chosen", "kept"),
    [({}, None), ({"quantization": "int8"}, "scalar"), ({"quantization": "binary"}, "binary")],
)
def test_quantisation_and_strict_mode_are_asked_for(server, chosen, kept):
    connect(server, is_strict=kept is not None, **chosen).create("books", 1, DIM, None)
    (made,) = server.sent(r"PUT /collections/books@1(\?|$)")
    assert list(made.get("quantization_config") or {}) == ([kept] if kept else [])
    assert made["vectors"]["dense"]["on_disk"] is (kept is not None)
    assert (made.get("strict_mode_config") or {}).get("enabled") is (True if kept else None)


def test_sealing_waits_until_the_server_is_green(server, waits):
    store = connect(server).create("books", 1, DIM, None)
    server.statuses += ["yellow", "grey", "yellow"]
    store.seal()
    assert (server.statuses, len(waits)) == ([], 3)


def test_sealing_ends_where_the_server_cannot(server, waits, monkeypatch):
    store = connect(server).create("books", 1, DIM, None)
    server.statuses.append("red")
    with pytest.raises(StoreError, match="could not build the search structures of books@1"):
        store.seal()
    monkeypatch.setattr("indexer.stores.server._SEAL_SECONDS", -1.0)
    server.statuses.append("yellow")
    with pytest.raises(StoreError, match="has not finished the search structures of books@1 in time"):
        store.seal()


def test_the_alias_moves_in_one_step(server):
    engine = connect(server, prefix="shop-")
    for number, count in ((1, 3), (2, 5)):
        engine.create("books", number, DIM, None).upsert(points(count))
        engine.publish("books", number)
        assert server.client.count("shop-books").count == count
    assert [list(change) for change in server.sent("aliases")[-1]["actions"]] == [["delete_alias"], ["create_alias"]]
    engine.publish("books", None)
    assert server.client.get_aliases().aliases == []
    engine.publish("books", 2)
    engine.drop_corpus("books")
    assert server.client.get_aliases().aliases == server.client.get_collections().collections == []


def test_installations_with_prefixes_share_a_server(server):
    mine, theirs = connect(server, prefix="a-"), connect(server, prefix="b-")
    mine.create("books", 1, DIM, None)
    theirs.drop_corpus("books")
    with pytest.raises(StoreError, match="is missing"):
        theirs.open("books", 1)
    assert mine.open("books", 1).count() == 0


# Keys and certificates


def test_the_key_is_sent_and_shown_nowhere(waits):
    with QdrantServer(api_key=KEY) as server:
        config = ServerConfig(server.url, KEY)
        assert ServerEngine.connect(config).create("books", 1, DIM, None).count() == 0
        assert KEY not in repr(config)
        for key in (None, "wrong-key"):
            with pytest.raises(StoreError, match="refuses the API key; set KALM_QDRANT_API_KEY") as refused:
                connect(server, api_key=key).open("books", 1)
            assert "wrong-key" not in str(refused.value)
    assert waits == []


def test_a_password_in_the_address_is_not_repeated():
    assert ServerConfig("https://me:secret@example.org:6333/q").address == "https://example.org:6333"


def test_https_with_certificates_of_ones_own(tmp_path, waits):
    if shutil.which("openssl") is None:
        skip_or_fail("openssl is not installed")
    subprocess.run(
        "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=qdrant -addext subjectAltName=IP:127.0.0.1 "
        "-keyout key.pem -out cert.pem".split(),
        cwd=tmp_path,
        check=True,
        capture_output=True,
    )
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    with QdrantServer(tls=tls) as server:
        trusting = connect(server, ca_file=tmp_path / "cert.pem")
        assert trusting.create("books", 1, DIM, None).count() == 0
        with pytest.raises(StoreError, match="certificate verify failed"):
            connect(server).open("books", 1)
    assert waits == []
    with pytest.raises(StoreError, match=r"none\.pem cannot be read .*correct KALM_QDRANT_CA_FILE"):
        ServerEngine.connect(ServerConfig("https://example.org", ca_file=tmp_path / "none.pem"))
