"""A Qdrant server for tests: the REST interface over qdrant-client's local mode, which can misbehave like a real one.

Local mode keeps points and answers queries exactly as the server does, but in Python: it has no graph, no payload
index, no quantisation and no strict mode, so what a request asks of these is only recorded (``requests``).
"""

import json
import re
import socket
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

import pytest
from pydantic import BaseModel
from qdrant_client import QdrantClient, models

LOCAL_MODE_WARNS = [
    pytest.mark.filterwarnings(f"ignore:{message}")
    for message in ("Payload indexes have no effect in the local Qdrant", "Local mode performs exact")
]
"""Marks for tests over local mode."""

_ROUTES = []


def route(method, path):
    def register(function):
        _ROUTES.append((method, re.compile(path), function))
        return function

    return register


@dataclass
class Fault:
    """What happens instead of an answer.

    Attributes:
        where: Pattern of the requests it happens to, as ``PUT /collections/books@1/points``.
        kind: ``drop`` (connection closed before anything is done), ``lose`` (done, but the answer is lost), ``die``
            (done, and nothing is answered again while ``is_dead``), ``swallow`` (not done, but answered),
            ``nonsense`` (the answer is no JSON), ``slow`` (it takes ``seconds``), or a status code.
        after: How many such requests go well before.
        times: How often it happens.
    """

    where: str
    kind: str | int
    after: int = 0
    times: int = 1
    seconds: float = 0.0
    headers: dict = field(default_factory=dict)


class QdrantServer:
    """A server on a port of its own, for the length of a ``with`` block."""

    def __init__(self, api_key=None, tls=None):
        self.client = QdrantClient(":memory:")
        self.api_key = api_key
        self.faults = []
        self.requests = []
        self.is_dead = False
        self.resets = 0
        self.statuses = []
        """Statuses that collections report before they are green."""
        self._lock = threading.Lock()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._http.qdrant = self
        self._http.daemon_threads = True
        scheme = "http"
        if tls is not None:
            scheme, self._http.socket = "https", tls.wrap_socket(self._http.socket, server_side=True)
        self.url = f"{scheme}://127.0.0.1:{self._http.server_port}"

    def __enter__(self):
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()
        self.client.close()

    def reset(self):
        """As if it were new; what is still under way has no effect any more."""
        with self._lock:
            self.resets += 1
            self.faults, self.requests, self.statuses, self.is_dead = [], [], [], False
            for collection in self.client.get_collections().collections:
                self.client.delete_collection(collection.name)

    def sent(self, pattern):
        """Bodies of the requests so far whose line matches."""
        return [body for line, body in self.requests if re.search(pattern, line)]

    def fault_for(self, line):
        """The fault that happens to this request, if any."""
        with self._lock:
            for fault in self.faults:
                if fault.times and re.search(fault.where, line):
                    if fault.after:
                        fault.after -= 1
                        continue
                    fault.times -= 1
                    return fault
        return None

    def carry_out(self, method, path, body, resets):
        """The result of a request that came after so many resets, or an exception."""
        with self._lock:
            if resets != self.resets:
                raise LookupError("the server was reset meanwhile")
            for verb, pattern, function in _ROUTES:
                if verb == method and (match := pattern.fullmatch(path)):
                    names = [unquote(name) for name in match.groups()]
                    return function(self, *names, *([body] if body is not None else []))
        raise LookupError(f"no route for {method} {path}")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self):
        qdrant = self.server.qdrant
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else None
        line = f"{self.command} {unquote(self.path)}"
        if qdrant.is_dead:
            return self.hang_up()
        if qdrant.api_key is not None and self.headers.get("api-key") != qdrant.api_key:
            return self.send(401, {"status": {"error": "Must provide an API key"}})
        resets = qdrant.resets
        qdrant.requests.append((line, body))
        fault = qdrant.fault_for(line)
        if fault is not None and self.spoil(fault):
            return None
        path = urlsplit(self.path).path
        try:
            result = qdrant.carry_out(self.command, path, body, resets)
        except (ValueError, LookupError) as error:
            return self.send(404 if "not found" in str(error) else 400, {"status": {"error": str(error)}})
        if fault is not None and fault.kind in ("lose", "die"):
            qdrant.is_dead = fault.kind == "die"
            return self.hang_up()
        return self.send(200, {"result": result, "status": "ok", "time": 0.0})

    do_GET = do_PUT = do_POST = do_PATCH = do_DELETE = answer  # the names http.server looks for

    def spoil(self, fault):
        """What happens before anything is done; whether that was all."""
        if fault.kind == "drop":
            self.hang_up()
        elif isinstance(fault.kind, int):
            self.send(fault.kind, {"status": {"error": "Service is out of order"}}, **fault.headers)
        elif fault.kind == "nonsense":
            self.send(200, None, content=b"<html>It works!</html>")
        elif fault.kind == "swallow":
            self.send(200, {"result": {"operation_id": 0, "status": "completed"}, "status": "ok"})
        else:
            threading.Event().wait(fault.seconds)  # tests may have taken time.sleep away
            return False
        return True

    def send(self, code, value, content=None, **headers):
        content = content or json.dumps(value, default=_plain).encode()
        try:
            self.send_response(code)
            for name, header in {"Content-Length": str(len(content)), **headers}.items():
                self.send_header(name, header)
            self.end_headers()
            self.wfile.write(content)
        except OSError:
            self.close_connection = True  # a client that did not wait

    def hang_up(self):
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)


def _plain(value):
    return value.model_dump(mode="json", exclude_none=True) if isinstance(value, BaseModel) else str(value)


@route("GET", "/collections")
def _list(server):
    return server.client.get_collections()


@route("GET", "/collections/([^/]+)/exists")
def _exists(server, name):
    return {"exists": server.client.collection_exists(name)}


@route("GET", "/collections/([^/]+)")
def _info(server, name):
    info = server.client.get_collection(name).model_dump(mode="json")
    return info | {"status": server.statuses.pop(0)} if server.statuses else info


@route("PUT", "/collections/([^/]+)")
def _create(server, name, body):
    asked = models.CreateCollection.model_validate(body)
    return server.client.create_collection(
        name, vectors_config=asked.vectors, sparse_vectors_config=asked.sparse_vectors, metadata=asked.metadata
    )


@route("PATCH", "/collections/([^/]+)")
def _update(server, name, body):
    asked = models.UpdateCollection.model_validate(body)
    return server.client.update_collection(name, metadata=asked.metadata) or server.client.collection_exists(name)


@route("DELETE", "/collections/([^/]+)")
def _delete(server, name):
    return server.client.delete_collection(name)


@route("PUT", "/collections/([^/]+)/index")
def _index(server, name, body):
    asked = models.CreateFieldIndex.model_validate(body)
    return server.client.create_payload_index(name, asked.field_name, asked.field_schema)


@route("PUT", "/collections/([^/]+)/points")
def _upsert(server, name, body):
    return server.client.upsert(name, models.PointsList.model_validate(body).points)


@route("POST", "/collections/([^/]+)/points/delete")
def _remove(server, name, body):
    return server.client.delete(name, models.PointIdsList.model_validate(body))


@route("POST", "/collections/([^/]+)/points/payload")
def _set_payload(server, name, body):
    asked = models.SetPayload.model_validate(body)
    return server.client.set_payload(name, asked.payload, asked.points)


@route("POST", "/collections/([^/]+)/points")
def _retrieve(server, name, body):
    asked = models.PointRequest.model_validate(body)
    return server.client.retrieve(name, asked.ids, asked.with_payload, asked.with_vector)


@route("POST", "/collections/([^/]+)/points/count")
def _count(server, name, body):
    return server.client.count(name, exact=body["exact"])


@route("POST", "/collections/([^/]+)/points/scroll")
def _scroll(server, name, body):
    asked = models.ScrollRequest.model_validate(body)
    points, offset = server.client.scroll(
        name,
        scroll_filter=asked.filter,
        limit=asked.limit,
        offset=asked.offset,
        with_payload=asked.with_payload,
        with_vectors=asked.with_vector,
    )
    return {"points": points, "next_page_offset": offset}


@route("POST", "/collections/([^/]+)/points/query/batch")
def _query_batch(server, name, body):
    return server.client.query_batch_points(name, models.QueryRequestBatch.model_validate(body).searches)


@route("POST", "/collections/([^/]+)/points/query")
def _query(server, name, body):
    asked = models.QueryRequest.model_validate(body)
    return server.client.query_points(
        name,
        query=asked.query,
        using=asked.using,
        prefetch=asked.prefetch,
        query_filter=asked.filter,
        limit=asked.limit,
        with_payload=asked.with_payload,
        with_vectors=asked.with_vector or False,
        score_threshold=asked.score_threshold,
    )


@route("GET", "/aliases")
def _aliases(server):
    return server.client.get_aliases()


@route("POST", "/collections/aliases")
def _alias(server, body):
    return server.client.update_collection_aliases(models.ChangeAliasesOperation.model_validate(body).actions)
