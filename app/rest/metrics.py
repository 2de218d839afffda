"""What Prometheus is told. No label holds anything that came with a request."""

from collections.abc import Collection

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, generate_latest
from starlette.responses import Response

_OTHER = "other"


class Metrics:
    """Counts of one application, in a registry of its own."""

    def __init__(self, routes: Collection[str]) -> None:
        """Begin to count.

        Args:
            routes: Paths with a count of their own; others share one, so that nobody can make up new ones.
        """
        self._routes = frozenset(routes)
        self._registry = CollectorRegistry()
        self._requests = Counter("kalm_requests", "Requests answered.", ["route", "status"], registry=self._registry)
        self._seconds = Histogram(
            "kalm_request_seconds", "Time from the first byte asked to the last one answered.", ["route"],
            registry=self._registry,
        )  # fmt: skip
        self._tokens = Counter("kalm_encoder_tokens", "Tokens embedded for programs.", registry=self._registry)
        self._refusals = Counter(
            "kalm_refusals", "Requests refused because too many waited already.", registry=self._registry
        )

    def request(self, path: str, status: int, seconds: float) -> None:
        """Count one answer."""
        route = path if path in self._routes else _OTHER
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)
        if status == 429:
            self._refusals.inc()

    def tokens(self, count: int) -> None:
        """Count tokens the model has read."""
        self._tokens.inc(count)

    def answer(self) -> Response:
        """All counts in Prometheus' text format."""
        return Response(generate_latest(self._registry), media_type=CONTENT_TYPE_LATEST)
