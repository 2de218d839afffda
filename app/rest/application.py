"""The FastAPI application: routes, and around them what holds for every request."""

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from app.rest.contract import MakeBackend
from app.rest.errors import invalid, not_routed, refused
from app.rest.guard import Guard
from app.rest.limits import Limits
from app.rest.metrics import Metrics
from app.rest.middleware import Observed, WholeBody
from app.rest.routes import Api
from embedder.errors import AppError

PATHS = frozenset(
    {
        "/v1/embeddings",
        "/v1/search",
        "/v1/classify",
        "/v1/corpora",
        "/healthz",
        "/readyz",
        "/metrics",
        "/openapi.json",
    }
)


def is_rest(path: str) -> bool:
    """Whether an address belongs to programs rather than to the pages."""
    return path in PATHS or path == "/v1" or path.startswith("/v1/")


def create_application(backend: MakeBackend, limits: Limits) -> FastAPI:
    """The REST interface.

    Args:
        backend: Gives what it talks to; asked in a thread, on the first request.
        limits: Bounds on requests.
    """
    metrics = Metrics(PATHS)
    application = FastAPI(
        title="KaLM Retrieval",
        summary="Vectors, semantic search and classification for English and Chinese.",
        version="1",
        # The pages that FastAPI would offer load their scripts from elsewhere.
        openapi_url=None,
        redirect_slashes=False,
    )
    application.include_router(Api(backend, limits, metrics).router())
    # The last added is the outermost.
    application.add_middleware(WholeBody, max_bytes=limits.body_bytes, timeout_seconds=limits.timeout_seconds)
    application.add_middleware(Guard, backend=backend, timeout_seconds=limits.timeout_seconds)
    application.add_middleware(Observed, metrics=metrics)
    application.add_exception_handler(AppError, refused)
    application.add_exception_handler(RequestValidationError, invalid)
    application.add_exception_handler(HTTPException, not_routed)
    return application
