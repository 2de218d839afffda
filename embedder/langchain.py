"""KaLM embeddings for LangChain: the encoder of this product behind ``langchain_core.embeddings.Embeddings``."""

import asyncio
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Self, TypeVar
from weakref import WeakValueDictionary

from langchain_core.embeddings import Embeddings
from langchain_core.utils import from_env
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr
from tqdm import tqdm

from embedder.encoder import Embedder
from embedder.hardware import UnknownSetting
from embedder.protocol import Vectors, namespace_of

_loaded: WeakValueDictionary[tuple[object, ...], Embedder] = WeakValueDictionary()
"""Models in use, so that two adapters of one model share its weights."""

_loading = threading.Lock()

_Input = TypeVar("_Input")
_Output = TypeVar("_Output")


class KaLMEmbeddings(BaseModel, Embeddings):
    """Text embeddings of a KaLM model, computed in this process.

    Safe between threads; a pickled one loads its model again where it is unpickled. Its settings stay as they are:
    ``model_copy(update=...)`` makes one with others. Queries carry their task's instruction, documents none, except in
    symmetric tasks such as ``STS``.

    Attributes:
        model_name: A catalogue name (``kalm-v2.5``), a folder or a hub id; ``model`` is the same. Not given, it is
            KALM_MODEL of the environment, or else the default model.
        dim: Width of the vectors, one of the model's own (Matryoshka representation); None takes the widest.
        task: An MTEB task type or task name, which chooses the instructions.
        query_instruction: The caller's own instruction for queries, in place of the task's.
        document_instruction: An instruction for documents too; None leaves them as the task has them.
        device: ``auto``, ``cpu`` or ``cuda``.
        dtype: ``auto``, ``float32``, ``bfloat16``, ``int8`` or ``int8-float32``.
        max_tokens: Longest input; None takes the model's own.
        batch_size: Documents encoded between two steps of the progress bar.
        max_concurrency: Asynchronous calls that compute or wait for the model at once; further ones wait unstarted.
        show_progress: Whether ``embed_documents`` draws a bar.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=(), populate_by_name=True)

    model_name: str | None = Field(default_factory=from_env("KALM_MODEL", default=None), alias="model")
    dim: int | None = None
    task: str = "Retrieval"
    query_instruction: str | None = None
    document_instruction: str | None = None
    device: str = "auto"
    dtype: str = "auto"
    max_tokens: int | None = None
    batch_size: int = Field(default=1024, ge=1)
    max_concurrency: int = Field(default=4, ge=1)
    show_progress: bool = False

    _encoder: Embedder | None = PrivateAttr(default=None)
    _pool: ThreadPoolExecutor | None = PrivateAttr(default=None)

    def model_post_init(self, context: Any, /) -> None:  # noqa: ANN401 - pydantic's own
        """Open the model, so that what cannot be opened says so at once.

        Raises:
            AppError: If there is no such model, width, task, device or dtype.
        """
        encoder = self.encoder
        encoder.prompt("query", self.task, self.query_instruction)

    @property
    def encoder(self) -> Embedder:
        """The loaded model, at the width asked for."""
        if self._encoder is None:
            self._encoder = _load(self.model_name, self.device, self.dtype, self.max_tokens)
            if self.dim is not None:
                self._encoder = self._encoder.resized(self.dim)
        return self._encoder

    @property
    def namespace(self) -> str:
        """Names these vectors in a cache: changes with weights, width, arithmetic, prompts and longest input.

        For ``CacheBackedEmbeddings.from_bytes_store(..., namespace=embeddings.namespace)``.
        """
        encoder = self.encoder
        prompts = (encoder.prompt("query", self.task, self.query_instruction), self._document_prompt(encoder))
        return namespace_of(encoder.fingerprint, encoder.dim, encoder.dtype, encoder.max_tokens, prompts)

    def matching(self, namespace: str) -> Self:
        """These embeddings in the arithmetic of vectors that are there, where ``dtype`` is ``auto``.

        What ``auto`` finds faster may differ from one process to the next, and vectors must not.

        Args:
            namespace: That of the vectors.

        Returns:
            Itself, where more than the arithmetic differs or it is not to be had here.
        """
        own, theirs = (name.rsplit("-", 2) for name in (self.namespace, namespace))
        if self.dtype != "auto" or own == theirs or (own[0], own[-1]) != (theirs[0], theirs[-1]):
            return self
        try:
            return self.model_copy(update={"dtype": theirs[1]})
        except UnknownSetting:
            return self

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Vectors of documents, in their order.

        Raises:
            InvalidInput: If ``texts`` is not a list of strings.
        """
        batches = [texts[start : start + self.batch_size] for start in range(0, len(texts), self.batch_size)]
        vectors: list[list[float]] = []
        with tqdm(total=len(texts), unit="texts", disable=not self.show_progress) as bar:
            for batch in batches:
                vectors.extend(self._documents(batch).tolist())
                bar.update(len(batch))
        return vectors

    def embed_query(self, text: str) -> list[float]:
        """Vector of a query.

        Raises:
            InvalidInput: If ``text`` is not a string.
        """
        vectors = self.encoder.encode_queries([text], task=self.task, instruction=self.query_instruction)
        vector: list[float] = vectors[0].tolist()
        return vector

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        """As ``embed_documents``, on a thread of a bounded pool."""
        return await self._elsewhere(self.embed_documents, texts)

    async def aembed_query(self, text: str) -> list[float]:
        """As ``embed_query``, on a thread of a bounded pool."""
        return await self._elsewhere(self.embed_query, text)

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """The same with other settings, which are looked at as those of new ones are; weights are shared."""
        return type(self)(**{**self.model_dump(), **(update or {})})

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        """A copy of the settings: a loaded model, which others share too, has locks that cannot be copied."""
        return self.model_copy()

    def __getstate__(self) -> dict[Any, Any]:
        """The settings: weights and threads stay where they are."""
        state = super().__getstate__()
        return state | {"__pydantic_private__": {"_encoder": None, "_pool": None}}

    def _documents(self, texts: Sequence[str]) -> Vectors:
        if self.document_instruction is None:
            return self.encoder.encode_documents(texts, task=self.task)
        return self.encoder.encode_queries(texts, task=self.task, instruction=self.document_instruction)

    def _document_prompt(self, encoder: Embedder) -> str:
        if self.document_instruction is None:
            return encoder.prompt("document", self.task)
        return encoder.prompt("query", self.task, self.document_instruction)

    async def _elsewhere(self, call: Callable[[_Input], _Output], value: _Input) -> _Output:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self.max_concurrency, thread_name_prefix="kalm-embeddings")
        return await asyncio.get_running_loop().run_in_executor(self._pool, call, value)


def _load(model: str | None, device: str, dtype: str, max_tokens: int | None) -> Embedder:
    key = (model, device, dtype, max_tokens)
    with _loading:
        encoder = _loaded.get(key)
        if encoder is None:
            encoder = _loaded[key] = Embedder.load(model, device=device, dtype=dtype, max_tokens=max_tokens)
        return encoder
