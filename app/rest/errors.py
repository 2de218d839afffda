"""Failures as answers: one shape, which is OpenAI's, so that its client raises what its users know."""

import logging
from collections.abc import Mapping

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse

from app.rest.workers import Overloaded, TooSlow
from app.services.classify.classifiers import ClassifierDamaged, ClassifierRefused, NoClassifier
from app.services.encoders import WrongModel
from app.services.vectors import NotServed
from embedder.catalogue import UnknownModel, UnreachableModel
from embedder.errors import AppError
from embedder.prompts import UnknownTask
from embedder.protocol import InvalidInput
from indexer.catalog.label_tables import LabelsRefused
from indexer.catalog.tables import CatalogAway, CatalogError
from indexer.retrieval.generations import NotBuilt
from indexer.search import SearchRefused
from indexer.stores.protocol import StoreError

UNKNOWN_FIELD = "unknown_field"
"""Type of the error of a body with a field that there is not."""

_RETRY_SECONDS = 1
_SHOWN_CHARACTERS = 64


class Unavailable(AppError):
    """The application behind the interface cannot be had now."""


class TooMuch(AppError):
    """More texts, or longer ones, than one may send at once."""


_STATUSES: Mapping[type[AppError], tuple[int, str | None]] = {
    NotServed: (404, "model_not_found"),
    NoClassifier: (404, "classifier_not_found"),
    ClassifierRefused: (422, None),
    ClassifierDamaged: (503, "unavailable"),
    CatalogAway: (503, "unavailable"),
    CatalogError: (404, "corpus_not_found"),
    NotBuilt: (409, "corpus_not_built"),
    WrongModel: (409, "model_changed"),
    InvalidInput: (422, None),
    UnknownTask: (422, "unknown_task"),
    SearchRefused: (422, None),
    LabelsRefused: (404, "labels_not_found"),
    TooMuch: (422, "too_much"),
    Overloaded: (429, "too_many_requests"),
    UnknownModel: (503, "unavailable"),
    UnreachableModel: (503, "unavailable"),
    StoreError: (503, "unavailable"),
    Unavailable: (503, "unavailable"),
    TooSlow: (504, "timeout"),
}
"""Status and code of errors that are fit for a user, the first that fits; any other is a 400."""

_KINDS = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}

log = logging.getLogger(__name__)


def failure(
    status: int,
    message: str,
    *,
    code: str | None = None,
    param: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    """An error as an answer.

    Args:
        status: 400 to 599.
        message: One sentence, two halves: what happened and what to do.
        code: What a program can tell it by.
        param: The field at fault.
        headers: Further ones.
    """
    kind = _KINDS.get(status, "invalid_request_error" if status < 500 else "server_error")
    error = {"message": _printable(message), "type": kind, "param": param and _printable(param), "code": code}
    return JSONResponse({"error": error}, status, headers)


async def refused(_: Request, error: Exception) -> JSONResponse:
    """Answer an AppError with its own sentence."""
    status, code = _status(error)
    if status >= 500:
        log.warning("A request could not be answered: %s", error)
    return failure(status, str(error), code=code, headers={"Retry-After": str(_RETRY_SECONDS)} if status == 429 else {})


async def invalid(_: Request, error: Exception) -> JSONResponse:
    """Answer a body that is not what the document says, by its first mistake."""
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for nothing else
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"][1:])
    if first["type"] == "json_invalid":
        return failure(422, "The body is not JSON; send one JSON object.", code="invalid_json")
    if first["type"] == UNKNOWN_FIELD:
        field = first["ctx"]["field"][:_SHOWN_CHARACTERS]
        return failure(422, f"There is no field {field}; /openapi.json describes those there are.", param=field)
    if not where:
        return failure(422, "The body should be one JSON object; /openapi.json describes it.", code="invalid_json")
    if first["type"] == "value_error":
        return failure(422, str(first["ctx"]["error"]), param=where)
    if first["type"] == "missing":
        return failure(422, f"The field {where} is missing; send it.", param=where)
    reason = first["msg"][:1].lower() + first["msg"][1:]
    return failure(422, f"The field {where} is wrong: {reason}.", param=where)


async def not_routed(_: Request, error: Exception) -> JSONResponse:
    """Answer what the router or the parser refused."""
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for nothing else
    sentences = {
        400: "The body cannot be read as JSON; send one flat JSON object.",
        404: "There is nothing at this address; /openapi.json lists what there is.",
        405: "This address is not for that method; /openapi.json says which it takes.",
    }
    message = sentences.get(error.status_code, "The request cannot be answered.")
    return failure(error.status_code, message, headers=error.headers)


def _status(error: Exception) -> tuple[int, str | None]:
    for kind, known in _STATUSES.items():
        if isinstance(error, kind):
            return known
    from embedder.turns import EncoderBusy  # loads torch, so only where it may already be loaded

    return (429, "model_busy") if isinstance(error, EncoderBusy) else (400, None)


def _printable(text: str) -> str:
    """Without lone surrogates, which a request may name its fields with and no answer can hold."""
    return text.encode("utf-8", "replace").decode()
