"""KaLM embeddings for LangChain from a server: the same vectors as in process, asked of ``/v1/embeddings``."""

import asyncio
import base64
import threading
import weakref
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from copy import copy
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple, Self

import httpx
import numpy as np
from langchain_core.embeddings import Embeddings
from langchain_core.utils import from_env, secret_from_env
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, SecretStr, field_validator
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    Retrying,
    retry_if_exception,
    stop_after_attempt,
    wait_random_exponential,
)

from embedder.errors import AppError
from embedder.protocol import InvalidInput, Side, namespace_of

_TEMPORARY = frozenset({408, 429, 502, 503, 504})
_LONGEST_WAIT_SECONDS = 30.0
_growing = wait_random_exponential(multiplier=0.2, max=_LONGEST_WAIT_SECONDS)

_trusted = cache(httpx.create_ssl_context)
"""Certificates, read once: that takes long enough to be felt on an event loop."""


class _Answer(NamedTuple):
    vectors: list[list[float]]
    maker: Any


class RemoteRefused(AppError):
    """The server cannot be reached, or says no; its own sentence is passed on.

    Attributes:
        is_temporary: Whether asking again may help.
        retry_seconds: How long the server asks to wait; None where it does not say.
    """

    def __init__(self, message: str, *, is_temporary: bool = False, retry_seconds: float | None = None) -> None:
        super().__init__(message)
        self.is_temporary = is_temporary
        self.retry_seconds = retry_seconds


@dataclass(slots=True)
class _Line:
    """What calls of one event loop share while any of them is under way."""

    client: httpx.AsyncClient
    gate: asyncio.Semaphore
    calls: int = 0


class KaLMRemoteEmbeddings(BaseModel, Embeddings):
    """Text embeddings of the model that a ``kalm serve`` has loaded. Safe between threads, and picklable.

    What fails on the way, or is refused because the server is busy, is asked again after a pause, which the server
    may name and which grows otherwise.

    Attributes:
        url: Address of the server, e.g. ``http://localhost:8501``; KALM_URL of the environment where not given.
        api_key: A key of its REST interface (``kalm key add``); KALM_API_KEY of the environment where not given.
        model_name: What the server's model has to be called; ``default`` for whichever it is.
        dim: Width of the vectors; None takes the widest.
        task: An MTEB task type or task name, which chooses the instructions.
        query_instruction: The caller's own instruction for queries, in place of the task's.
        document_instruction: An instruction for documents too; None leaves them as the task has them.
        batch_size: Texts of one request.
        max_concurrency: Requests under way at once in the asynchronous methods of one event loop; others wait.
        timeout_seconds: How long one request may take.
        max_tries: How often a request is sent before its failure is raised.

    Raises:
        InvalidInput: If ``url`` is none, or holds a password, or ``api_key`` cannot be a key.
    """

    model_config = ConfigDict(
        extra="forbid",
        protected_namespaces=(),
        populate_by_name=True,
        validate_default=True,  # what comes from the environment is checked too
        hide_input_in_errors=True,  # which may be a key
    )

    url: str = Field(default_factory=from_env("KALM_URL", default="http://localhost:8501"))
    api_key: SecretStr | None = Field(default_factory=secret_from_env("KALM_API_KEY", default=None))
    model_name: str = Field(default="default", alias="model")
    dim: int | None = None
    task: str = "Retrieval"
    query_instruction: str | None = None
    document_instruction: str | None = None
    batch_size: int = Field(default=128, ge=1)
    max_concurrency: int = Field(default=4, ge=1)
    timeout_seconds: float = Field(default=60.0, gt=0)
    max_tries: int = Field(default=5, ge=1)

    _client: httpx.Client | None = PrivateAttr(default=None)
    _opening: Any = PrivateAttr(default_factory=threading.Lock)
    _lines: dict[asyncio.AbstractEventLoop, _Line] = PrivateAttr(default_factory=dict)

    @field_validator("url")
    @classmethod
    def _address(cls, url: str) -> str:
        try:
            parts = httpx.URL(url.strip())
        except httpx.InvalidURL:
            parts = httpx.URL()
        if parts.userinfo:
            raise InvalidInput(
                "The url holds a name or a password, which would be shown; leave it out and pass a key as api_key."
            )
        if parts.scheme not in ("http", "https") or not parts.host:
            raise InvalidInput("The url is not that of a server; write it as http://localhost:8501.")
        return url.strip()

    @field_validator("api_key")
    @classmethod
    def _key(cls, api_key: SecretStr | None) -> SecretStr | None:
        key = api_key.get_secret_value().strip() if api_key else ""
        if not all("!" <= character <= "~" for character in key):
            raise InvalidInput(
                "The api_key has spaces or characters that no key has; pass it as kalm key add has shown it."
            )
        return SecretStr(key) if key else None

    @property
    def namespace(self) -> str:
        """That of ``KaLMEmbeddings`` where model, arithmetic and settings are the same; asks the server each time.

        Raises:
            RemoteRefused: If the server does not tell.
        """
        query, document = self._ask([""], "query"), self._ask([""], "document")
        try:
            maker, prompts = document.maker, (query.maker["prompt"], document.maker["prompt"])
            dim = len(document.vectors[0])
            return namespace_of(maker["fingerprint"], dim, maker["dtype"], maker["max_tokens"], prompts)
        except (KeyError, TypeError):
            raise RemoteRefused(f"{self.url} does not say what makes its vectors; update the server.") from None

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Vectors of documents, in their order.

        Raises:
            RemoteRefused: If the server does not give them.
        """
        return [vector for batch in self._batches(texts) for vector in self._ask(batch, "document").vectors]

    def embed_query(self, text: str) -> list[float]:
        """Vector of a query; raises as ``embed_documents``."""
        return self._ask([text], "query").vectors[0]

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        """As ``embed_documents``, several requests at a time."""
        batches = self._batches(texts)
        found: list[list[list[float]]] = [[] for _ in batches]
        waiting = iter(enumerate(batches))

        async def work(line: _Line) -> None:
            for place, batch in waiting:
                found[place] = (await self._ask_async(line, batch, "document")).vectors

        # No more of them than may ask at once: a query waits behind the batches in hand, not behind the whole list.
        async with self._line() as line:
            works = [asyncio.create_task(work(line)) for _ in range(min(self.max_concurrency, len(batches)))]
            try:
                await asyncio.gather(*works)
            finally:
                for each in works:
                    each.cancel()
                await asyncio.gather(*works, return_exceptions=True)
        return [vector for batch in found for vector in batch]

    async def aembed_query(self, text: str) -> list[float]:
        """As ``embed_query``."""
        async with self._line() as line:
            return (await self._ask_async(line, [text], "query")).vectors[0]

    def __copy__(self) -> Self:
        """The settings, which may change in the copy: connections stay where they are."""
        copied = super().__copy__()
        copied._disconnect()
        return copied

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        """As a copy: no setting holds others."""
        return copy(self)

    def __getstate__(self) -> dict[Any, Any]:
        """The settings: connections stay where they are."""
        return super().__getstate__() | {"__pydantic_private__": None}

    def __setstate__(self, state: dict[Any, Any]) -> None:
        """Take over settings; a connection is made when it is needed."""
        super().__setstate__(state)
        self._disconnect()

    def _disconnect(self) -> None:
        """Begin without connections; those of whom this is a copy of stay open."""
        object.__setattr__(self, "__pydantic_private__", None)
        self.model_post_init(None)

    def _batches(self, texts: Sequence[str]) -> list[list[str]]:
        return [list(texts[start : start + self.batch_size]) for start in range(0, len(texts), self.batch_size)]

    def _ask(self, texts: list[str], side: Side) -> _Answer:
        client = self._sync_client()

        def post() -> _Answer:
            with self._reaching():
                answer = client.post("/v1/embeddings", json=self._body(texts, side))
            return self._read(answer, texts)

        return Retrying(**self._policy())(post)

    async def _ask_async(self, line: _Line, texts: list[str], side: Side) -> _Answer:
        async def post() -> _Answer:
            with self._reaching():
                answer = await line.client.post("/v1/embeddings", json=self._body(texts, side))
            return self._read(answer, texts)

        async with line.gate:
            return await AsyncRetrying(**self._policy())(post)

    def _body(self, texts: list[str], side: Side) -> dict[str, Any]:
        instruction = self.query_instruction if side == "query" else self.document_instruction
        optional = {"dimensions": self.dim, "instruction": instruction}
        return {
            "input": texts,
            "model": self.model_name,
            "side": side if instruction is None else "query",  # the side with instructions
            "task": self.task,
            "encoding_format": "base64",
        } | {name: value for name, value in optional.items() if value is not None}

    def _policy(self) -> dict[str, Any]:
        return {
            "retry": retry_if_exception(lambda error: isinstance(error, RemoteRefused) and error.is_temporary),
            "stop": stop_after_attempt(self.max_tries),
            "wait": _pause,
            "reraise": True,
        }

    def _read(self, answer: httpx.Response, texts: Sequence[str]) -> _Answer:
        """The vectors of an answer, in the order of the texts; raises RemoteRefused for any other answer."""
        try:
            body = answer.json()
            if answer.status_code == httpx.codes.OK:
                rows = {row["index"]: base64.b64decode(row["embedding"]) for row in body["data"]}
                vectors = [np.frombuffer(rows[index], "<f4").tolist() for index in range(len(texts))]
                return _Answer(vectors, body.get("maker"))
            said = str(body["error"]["message"])
        except (ValueError, KeyError, TypeError, IndexError):
            said = (
                f"{self.url} gave an answer of status {answer.status_code} that is not this product's; check the url."
            )
        pause = answer.headers.get("retry-after", "")
        raise RemoteRefused(
            said,
            is_temporary=answer.status_code in _TEMPORARY,
            retry_seconds=float(pause) if pause.isdecimal() else None,
        )

    @contextmanager
    def _reaching(self) -> Iterator[None]:
        """Raise RemoteRefused where the server cannot be reached."""
        try:
            yield
        except (httpx.LocalProtocolError, httpx.UnsupportedProtocol):  # their text may be a header's, which is the key
            raise RemoteRefused(f"{self.url} cannot be asked like this; check url and api_key.") from None
        except httpx.HTTPError as error:
            reason = str(error) or type(error).__name__
            raise RemoteRefused(
                f"{self.url} cannot be reached ({reason}); check the url, or start it with kalm serve.",
                is_temporary=True,
            ) from error

    def _sync_client(self) -> httpx.Client:
        with self._opening:
            if self._client is None:
                self._client = httpx.Client(**self._connection())
                weakref.finalize(self, self._client.close)
            return self._client

    @asynccontextmanager
    async def _line(self) -> AsyncGenerator[_Line]:
        """That of the running loop, for one call; the last one closes it, for nobody else is sure to."""
        loop = asyncio.get_running_loop()
        if loop not in self._lines:
            self._lines[loop] = _Line(httpx.AsyncClient(**self._connection()), asyncio.Semaphore(self.max_concurrency))
        line = self._lines[loop]
        line.calls += 1
        try:
            yield line
        finally:
            line.calls -= 1
            if not line.calls:
                del self._lines[loop]
                await line.client.aclose()

    def _connection(self) -> dict[str, Any]:
        headers = {"authorization": f"Bearer {self.api_key.get_secret_value()}"} if self.api_key else {}
        return {"base_url": self.url, "headers": headers, "timeout": self.timeout_seconds, "verify": _trusted()}


def _pause(state: RetryCallState) -> float:
    """Seconds before the next try: what the server asks for, else a random part of a time that doubles."""
    error = state.outcome.exception() if state.outcome else None
    asked = error.retry_seconds if isinstance(error, RemoteRefused) else None
    return min(_LONGEST_WAIT_SECONDS, asked) if asked is not None else _growing(state)
