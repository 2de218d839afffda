"""How much one may ask for at once."""

from dataclasses import dataclass
from typing import Self

from app.settings import Settings


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on requests.

    Attributes:
        body_bytes: Largest body.
        texts: Most texts of one request.
        characters: Longest of them.
        waiting: Requests that may wait behind those being answered.
        timeout_seconds: How long an answer, and how long reading a body, may take.
    """

    body_bytes: int
    texts: int
    characters: int
    waiting: int
    timeout_seconds: float

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """The limits of an installation."""
        return cls(
            body_bytes=int(settings.rest_max_megabytes * 1e6),
            texts=settings.rest_max_texts,
            characters=settings.rest_max_characters,
            waiting=settings.rest_max_waiting,
            timeout_seconds=settings.rest_timeout_seconds,
        )
