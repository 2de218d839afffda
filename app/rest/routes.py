"""The routes: each checks what came, has it done in a thread and puts the result into words."""

import base64
from collections.abc import Callable
from typing import Annotated, Any, Literal, TypeVar

import orjson
from fastapi import APIRouter, Body, Depends, Request
from fastapi.security import HTTPBearer
from starlette.responses import JSONResponse, Response

from app.rest.classify_models import ClassificationsAnswer, ClassifyBody, rendered
from app.rest.contract import Backend, MakeBackend
from app.rest.errors import Unavailable
from app.rest.limits import Limits
from app.rest.metrics import Metrics
from app.rest.models import (
    CorporaAnswer,
    EmbeddingsAnswer,
    EmbeddingsBody,
    FailureAnswer,
    SearchAnswer,
    SearchBody,
    State,
)
from app.rest.readiness import Readiness
from app.rest.workers import Workers
from app.services.vectors import VectorAnswer
from embedder.errors import AppError

T = TypeVar("T")

_REASONS = {
    400: "The body cannot be read.",
    401: "A key is needed, or this one is not valid.",
    403: "The key's role is not enough.",
    404: "There is no such model, corpus, classifier or set of labels.",
    408: "The body came too slowly.",
    409: "The corpus has no index yet, or it or the classifier was made with another model.",
    413: "The body is too large.",
    415: "The body is not JSON.",
    422: "The body is not what this document says, or too much.",
    429: "Too many requests are waiting; Retry-After says when to send it again.",
    500: "A fault of the server.",
    503: "The model or the index cannot be had now.",
    504: "It took too long.",
}


def _failures(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {status: {"model": FailureAnswer, "description": _REASONS[status]} for status in statuses}


_ASKED = _failures(401, 408, 413, 415, 500, 503)
_WORKED = _ASKED | _failures(429, 504)
_POSTED = _WORKED | _failures(400, 404, 422)

KEY = HTTPBearer(auto_error=False, description="A key made with kalm key add; none where none was ever made.")
"""For the document only: keys are checked before a request comes here."""


class Api:
    """The routes of one application."""

    def __init__(self, backend: MakeBackend, limits: Limits, metrics: Metrics) -> None:
        self._backend = backend
        self._limits = limits
        self._metrics = metrics
        self._workers = Workers(limits.waiting, limits.timeout_seconds)
        self._readiness = Readiness(backend)

    def router(self) -> APIRouter:
        """All of them."""
        open_, locked = APIRouter(), APIRouter(dependencies=[Depends(KEY)])
        locked.add_api_route(
            "/v1/embeddings", self.embeddings, methods=["POST"], response_model=EmbeddingsAnswer, responses=_POSTED
        )
        locked.add_api_route(
            "/v1/search", self.search, methods=["POST"], response_model=SearchAnswer, responses=_POSTED | _failures(409)
        )
        locked.add_api_route(
            "/v1/classify",
            self.classify,
            methods=["POST"],
            response_model=ClassificationsAnswer,
            responses=_POSTED | _failures(409),
        )
        locked.add_api_route("/v1/corpora", self.corpora, response_model=CorporaAnswer, responses=_WORKED)
        plain: dict[int | str, dict[str, Any]] = {200: {"content": {"text/plain": {}}, "description": "All counts."}}
        locked.add_api_route(
            "/metrics", self.metrics, response_class=Response, responses=plain | _ASKED | _failures(403)
        )
        locked.add_api_route("/openapi.json", self.document, include_in_schema=False)
        probed = _failures(408, 413, 415, 500)
        open_.add_api_route("/healthz", self.healthz, response_model=State, responses=probed)
        open_.add_api_route("/readyz", self.readyz, response_model=State, responses=probed | _failures(503))
        open_.include_router(locked)
        return open_

    async def embeddings(self, body: Annotated[EmbeddingsBody, Body()]) -> Response:
        """Vectors of texts, as OpenAI's embeddings: its clients work with this address as their base URL."""
        request = body.request(self._limits)

        def work(backend: Backend, is_abandoned: Callable[[], bool]) -> bytes:
            answer = backend.vectors.encode(request, is_abandoned)
            self._metrics.tokens(answer.tokens)
            return _rendered(answer, body.encoding_format)

        return Response(await self._done(work), media_type="application/json")

    async def search(self, body: Annotated[SearchBody, Body()]) -> SearchAnswer:
        """One page of results from a corpus: the best passage of each document, best first."""
        request = body.request()
        return SearchAnswer.of(await self._done(lambda backend, _: backend.search.search(request)))

    async def classify(self, body: Annotated[ClassifyBody, Body()]) -> Response:
        """Labels for texts, by a classifier that was saved or by labels described on the spot."""
        request = body.request(self._limits)

        def work(backend: Backend, is_abandoned: Callable[[], bool]) -> bytes:
            return rendered(backend.classify.classify(request, is_abandoned))

        return Response(await self._done(work), media_type="application/json")

    async def corpora(self) -> CorporaAnswer:
        """What can be searched."""
        return CorporaAnswer.of(await self._done(lambda backend, _: backend.search.corpora()))

    async def metrics(self) -> Response:
        """Requests, their times, tokens and refusals, for Prometheus."""
        return self._metrics.answer()

    async def healthz(self) -> State:
        """Say that the process is alive. Touches no model and no database, so that it always answers at once."""
        return State(status="ok")

    async def readyz(self) -> Response:
        """Say whether questions can be answered: the catalog can be read and the model is in memory."""
        return await self._readiness.refusal() or JSONResponse({"status": "ok"})

    async def document(self, request: Request) -> JSONResponse:
        """The OpenAPI document."""
        return JSONResponse(request.app.openapi())

    async def _done(self, work: Callable[[Backend, Callable[[], bool]], T]) -> T:
        """The result of work on the backend, done in a thread."""
        return await self._workers.run(lambda is_abandoned: work(self._made(), is_abandoned))

    def _made(self) -> Backend:
        try:
            return self._backend()
        except AppError as error:  # may name what is nobody's business, such as the database's address
            raise Unavailable("Nothing can be answered now; the server's log says why.") from error


def _rendered(answer: VectorAnswer, encoding: Literal["float", "base64"]) -> bytes:
    """Vectors as JSON; in the thread that made them, because a long list takes a while."""
    vectors = answer.vectors.astype("<f4", order="C", copy=False)
    rows = vectors if encoding == "float" else [base64.b64encode(row.tobytes()).decode() for row in vectors]
    data = [{"object": "embedding", "index": index, "embedding": row} for index, row in enumerate(rows)]
    usage = {"prompt_tokens": answer.tokens, "total_tokens": answer.tokens}
    whole = {"object": "list", "data": data, "model": answer.model, "usage": usage, "maker": answer.maker}
    return orjson.dumps(whole, option=orjson.OPT_SERIALIZE_NUMPY)
