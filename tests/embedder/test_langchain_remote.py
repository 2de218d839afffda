"""Embeddings asked of a server: a small one of the test's own, which can misbehave."""

import asyncio
import base64
import copy
import gc
import json
import pickle
import threading
import time
import traceback
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from langchain_tests.integration_tests import EmbeddingsIntegrationTests
from langchain_tests.unit_tests import EmbeddingsUnitTests
from pydantic import SecretStr, ValidationError

from embedder.langchain_remote import KaLMRemoteEmbeddings, RemoteRefused
from embedder.protocol import InvalidInput

DIM = 8


def vector(text):
    """Any vector that only this text has."""
    return np.random.default_rng(list(text.encode())).normal(size=DIM).astype("<f4")


class Remote(ThreadingHTTPServer):
    """A server that answers with ``vector``, after the failures it was told to begin with."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.failures: list[tuple[int, dict[str, str]]] = []
        self.bodies: list[dict] = []
        self.keys: list[str | None] = []
        self.pause = 0.0
        self.counting = threading.Lock()
        self.asking = self.most = 0
        self.connections = self.open = 0

    def count(self, **changes):
        with self.counting:
            for name, change in changes.items():
                setattr(self, name, getattr(self, name) + change)
            self.most = max(self.most, self.asking)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # connections stay open until the client closes them
    disable_nagle_algorithm = True

    def setup(self):
        super().setup()
        self.server.count(connections=1, open=1)

    def finish(self):
        self.server.count(open=-1)
        super().finish()

    def do_POST(self):
        self.server.count(asking=1)
        time.sleep(self.server.pause)
        self._post()

    def _post(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.bodies.append(body)
        self.server.keys.append(self.headers["authorization"])
        if self.server.failures:
            status, headers = self.server.failures.pop(0)
            self._answer(status, {"error": {"message": f"Refused with {status}; try later."}}, headers)
            return
        rows = [
            {"index": index, "embedding": base64.b64encode(vector(text).tobytes()).decode()}
            for index, text in enumerate(body["input"])
        ]
        self._answer(200, {"data": rows[::-1], "model": "tiny"}, {})

    def _answer(self, status, body, headers):
        content = json.dumps(body).encode()
        self.send_response(status)
        for name, value in (headers | {"content-length": str(len(content))}).items():
            self.send_header(name, value)
        self.end_headers()
        self.server.count(asking=-1)
        self.wfile.write(content)

    def log_message(self, *_):
        """Say nothing."""


def until(condition):
    """Wait until a condition holds."""
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def remote():
    with Remote() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


class _OnTheServer:
    @pytest.fixture(autouse=True)
    def _use(self, remote):
        type(self).url = remote.url

    @property
    def embeddings_class(self):
        return KaLMRemoteEmbeddings

    @property
    def embedding_model_params(self):
        return {"url": self.url}


class TestUnit(_OnTheServer, EmbeddingsUnitTests):
    @property
    def init_from_env_params(self):
        return {"KALM_API_KEY": "kalm_x", "KALM_URL": self.url}, {}, {"api_key": "kalm_x", "url": self.url}


class TestIntegration(_OnTheServer, EmbeddingsIntegrationTests):
    pass


def test_batches_come_back_in_order(remote):
    texts = [f"text {number}" for number in range(25)]
    embeddings = KaLMRemoteEmbeddings(url=remote.url, batch_size=10, dim=DIM, task="STS", query_instruction="Find it")
    assert np.allclose(embeddings.embed_documents(texts), [vector(text) for text in texts])
    assert [len(body["input"]) for body in remote.bodies] == [10, 10, 5]
    embeddings.embed_query("what")
    asked = {name: remote.bodies[-1][name] for name in ("side", "task", "instruction", "dimensions")}
    assert asked == {"side": "query", "task": "STS", "instruction": "Find it", "dimensions": DIM}
    assert "instruction" not in remote.bodies[0]


def test_a_server_that_does_not_tell_what_makes_its_vectors_leaves_them_without_a_name(refused, remote):
    with refused(RemoteRefused, "does not say what makes its vectors"):
        _ = KaLMRemoteEmbeddings(url=remote.url).namespace


def test_documents_may_have_an_instruction_of_their_own(remote):
    embeddings = KaLMRemoteEmbeddings(url=remote.url, document_instruction="Keep this")
    embeddings.embed_documents(["a"])
    embeddings.embed_query("a")
    assert [(body["side"], body.get("instruction")) for body in remote.bodies] == [
        ("query", "Keep this"),
        ("query", None),
    ]


async def test_the_asynchronous_way_gives_the_same(remote):
    texts = [f"text {number}" for number in range(25)]
    embeddings = KaLMRemoteEmbeddings(url=remote.url, batch_size=4)
    assert np.allclose(await embeddings.aembed_documents(texts), [vector(text) for text in texts])
    assert np.allclose(await embeddings.aembed_query("a"), vector("a"))


async def test_all_calls_of_a_loop_are_bounded_together(remote):
    remote.pause = 0.02
    embeddings = KaLMRemoteEmbeddings(url=remote.url, batch_size=1, max_concurrency=2)
    lists = (embeddings.aembed_documents([f"text {number}" for number in range(8)]) for _ in range(2))
    await asyncio.gather(*lists, *(embeddings.aembed_query(f"query {number}") for number in range(8)))
    assert (remote.most, len(remote.bodies)) == (2, 24)


async def test_a_query_does_not_wait_for_a_whole_list(remote):
    remote.pause = 0.02
    embeddings = KaLMRemoteEmbeddings(url=remote.url, batch_size=1, max_concurrency=2)
    reading = asyncio.create_task(embeddings.aembed_documents([f"text {number}" for number in range(20)]))
    await asyncio.sleep(0)
    await embeddings.aembed_query("query")
    assert not reading.done()
    await reading
    assert [body["side"] for body in remote.bodies].index("query") < 6


async def test_once_a_list_has_failed_nothing_of_it_is_asked(remote):
    remote.failures = [(400, {})]
    embeddings = KaLMRemoteEmbeddings(url=remote.url, batch_size=1, max_concurrency=2)
    with pytest.raises(RemoteRefused):
        await embeddings.aembed_documents([f"text {number}" for number in range(20)])
    await embeddings.aembed_query("query")
    assert len(remote.bodies) < 8


def test_connections_are_shared_by_calls_at_once_and_closed_after_the_last(remote):
    embeddings = KaLMRemoteEmbeddings(url=remote.url, max_concurrency=2, batch_size=1)

    async def ask():
        alone = [embeddings.aembed_query(text) for text in "abcd"]
        await asyncio.gather(*alone, embeddings.aembed_documents(list("abcd")))

    for loops in (1, 2):
        asyncio.run(ask())
        assert remote.connections <= 2 * loops
        until(lambda: remote.open == 0)


def test_connections_end_with_what_they_belong_to(remote):
    embeddings = KaLMRemoteEmbeddings(url=remote.url)
    embeddings.embed_query("a")
    assert remote.open == 1
    del embeddings
    gc.collect()
    until(lambda: remote.open == 0)


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, lambda given: pickle.loads(pickle.dumps(given))])
async def test_a_copy_has_connections_of_its_own(remote, duplicate):
    embeddings = KaLMRemoteEmbeddings(url=remote.url, api_key="kalm_one")
    await asyncio.to_thread(embeddings.embed_query, "a")
    await embeddings.aembed_query("a")
    other = duplicate(embeddings).model_copy(update={"api_key": SecretStr("kalm_other")})
    assert np.allclose(await other.aembed_query("b"), vector("b"))
    assert np.allclose(other.embed_query("b"), vector("b"))
    assert await embeddings.aembed_query("a") == embeddings.embed_query("a")
    assert remote.keys == [f"Bearer kalm_{name}" for name in ("one", "one", "other", "other", "one", "one")]


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_what_may_pass_is_asked_again(remote, status):
    remote.failures = [(status, {"retry-after": "0"})] * 3
    assert np.allclose(KaLMRemoteEmbeddings(url=remote.url).embed_query("a"), vector("a"))
    assert len(remote.bodies) == 4


async def test_what_may_pass_is_asked_again_asynchronously_too(remote):
    remote.failures = [(429, {"retry-after": "0"})] * 2
    assert np.allclose(await KaLMRemoteEmbeddings(url=remote.url).aembed_query("a"), vector("a"))


def test_in_the_end_the_servers_sentence_is_raised(remote):
    remote.failures = [(503, {"retry-after": "0"})] * 9
    with pytest.raises(RemoteRefused, match="Refused with 503; try later"):
        KaLMRemoteEmbeddings(url=remote.url, max_tries=3).embed_query("a")
    assert len(remote.bodies) == 3


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
def test_what_will_not_pass_is_not_asked_again(remote, status):
    remote.failures = [(status, {})]
    with pytest.raises(RemoteRefused, match=f"Refused with {status}"):
        KaLMRemoteEmbeddings(url=remote.url).embed_query("a")
    assert len(remote.bodies) == 1


def test_a_server_that_is_not_there_is_named():
    with pytest.raises(RemoteRefused, match="http://127.0.0.1:9 cannot be reached"):
        KaLMRemoteEmbeddings(url="http://127.0.0.1:9", max_tries=1).embed_query("a")


def test_the_key_is_sent_and_shown_nowhere(remote):
    embeddings = KaLMRemoteEmbeddings(url=remote.url, api_key="kalm_s3cret")
    embeddings.embed_query("a")
    assert remote.keys == ["Bearer kalm_s3cret"]
    assert "s3cret" not in repr(embeddings) + str(embeddings)
    again = pickle.loads(pickle.dumps(embeddings))
    assert np.allclose(again.embed_query("a"), vector("a"))
    assert remote.keys[-1] == "Bearer kalm_s3cret"


def test_a_key_as_a_file_or_a_shell_hands_it_over_is_taken(remote, monkeypatch):
    KaLMRemoteEmbeddings(url=remote.url, api_key="kalm_s3cret\n").embed_query("a")
    monkeypatch.setenv("KALM_API_KEY", " kalm_fr0m_outside\r\n")
    KaLMRemoteEmbeddings(url=remote.url).embed_query("a")
    monkeypatch.setenv("KALM_API_KEY", "\n")
    KaLMRemoteEmbeddings(url=remote.url).embed_query("a")
    assert remote.keys == ["Bearer kalm_s3cret", "Bearer kalm_fr0m_outside", None]


@pytest.mark.parametrize("key", ["kalm_s3c\nret", "kalm_s3c ret", "kalm_s3c\x00ret", "kalm_s3cr\xe9t", "kalm_s3c蜜"])
def test_what_cannot_be_a_key_is_refused_at_once_and_shown_nowhere(refused, key):
    with refused(InvalidInput, "pass it as kalm key add has shown it") as caught:
        KaLMRemoteEmbeddings(api_key=key)
    assert "s3c" not in "".join(traceback.format_exception(caught.value))


def test_a_key_of_a_wrong_kind_is_not_shown_either():
    with pytest.raises(ValidationError) as caught:
        KaLMRemoteEmbeddings(api_key=["kalm_s3cret"])
    assert "s3cret" not in str(caught.value)


async def test_a_request_that_cannot_be_sent_is_not_tried_again_and_keeps_its_key(remote):
    embeddings = KaLMRemoteEmbeddings(url=remote.url).model_copy(update={"api_key": SecretStr("kalm_s3cret\n")})
    for ask in (embeddings.embed_query, lambda text: asyncio.run(embeddings.aembed_query(text))):
        with pytest.raises(RemoteRefused, match="cannot be asked like this; check url and api_key") as caught:
            await asyncio.to_thread(ask, "a")
        assert not caught.value.is_temporary
        assert "s3cret" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("url", ["http://joe:pass@localhost:8501", "https://joe@localhost", "http://:pass@[::1]:8501"])
def test_a_url_with_a_password_is_refused_without_it(refused, url):
    with refused(InvalidInput, "leave it out and pass a key as api_key") as caught:
        KaLMRemoteEmbeddings(url=url)
    assert "joe" not in str(caught.value)
    assert "pass@" not in str(caught.value)


@pytest.mark.parametrize("url", ["localhost:8501", "ftp://localhost", "http://", "http://[::1", "", "http://a:b"])
def test_what_is_no_url_is_refused(refused, url):
    with refused(InvalidInput, "http://localhost:8501"):
        KaLMRemoteEmbeddings(url=url)
