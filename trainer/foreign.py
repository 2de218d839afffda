"""Teachers that our encoder cannot open, behind the interface of those that it can."""

import hashlib
import importlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, Self

import numpy as np

from embedder.errors import AppError
from embedder.prompts import instruction_for
from embedder.protocol import InvalidInput, Side, TokenSpans, Vectors

_PROBES = ("a", "The quick brown fox jumps over the lazy dog.", "长江是亚洲最长的河流。")
"""Texts whose vectors tell one callable teacher from another."""

_WINDOW_TEXTS = 256


class NoTeacher(AppError):
    """A distillation whose rows nobody teaches."""


class _OneWidth(ABC):
    """What the teachers here share: one width, and queries prompted as the model wants.

    Attributes:
        name: What it was named by.
        source: The same.
        dim: Its width.
        dims: The same, as a list of one.
        dtype: Of its arithmetic.
        max_tokens: Longest input; 0 where it does not say.
        languages: Unknown.
    """

    name: str
    source: str
    dim: int
    dims: tuple[int, ...]
    dtype: str = "float32"
    max_tokens: int = 0
    languages: frozenset[str] | None = None
    _query_prompt: str = ""

    def resized(self, dim: int) -> Self:
        """Itself: it has one width."""
        if dim != self.dim:
            raise InvalidInput(f"{self.name} is used at {self.dim} dimensions only.")
        return self

    def prompt(self, side: Side, task: str = "Retrieval", instruction: str | None = None) -> str:
        """What is put before a text; symmetric tasks prompt both sides."""
        wanted = instruction or instruction_for(task, side)
        return self._query_prompt.replace("{instruction}", wanted) if wanted else ""

    def encode_queries(
        self, texts: Sequence[str], *, task: str = "Retrieval", instruction: str | None = None
    ) -> Vectors:
        """Unit vectors ``(N, dim)`` of queries."""
        return self._encode(texts, self.prompt("query", task, instruction))

    def encode_documents(self, texts: Sequence[str], *, task: str = "Retrieval") -> Vectors:
        """Unit vectors ``(N, dim)`` of documents."""
        return self._encode(texts, self.prompt("document", task))

    @abstractmethod
    def _encode(self, texts: Sequence[str], prompt: str) -> Vectors:
        """Unit vectors of texts behind a prompt."""


class ForeignTeacher(_OneWidth):
    """A model that sentence-transformers opens, as a text encoder."""

    def __init__(self, model: str, query_prompt: str, device: str = "auto") -> None:
        """Open it.

        Args:
            model: A folder or a hub id.
            query_prompt: Put before queries, ``{instruction}`` standing for the task's.
            device: ``auto`` or one torch knows.

        Raises:
            NoTeacher: If sentence-transformers is not installed or cannot open the model.
        """
        try:
            from sentence_transformers import SentenceTransformer
        except ImportError as error:
            raise NoTeacher(
                f"The teacher {model} needs sentence-transformers; run pip install sentence-transformers."
            ) from error
        try:
            self._model = SentenceTransformer(model, device=None if device == "auto" else device)
        except (OSError, ValueError) as error:
            raise NoTeacher(f"The teacher {model} cannot be opened; name a folder or a hub id that can.") from error
        self._query_prompt = query_prompt
        self.name = self.source = model
        self.dim = int(self._model.get_embedding_dimension() or 0)
        self.dims = (self.dim,)
        self.dtype = str(self._model.dtype).removeprefix("torch.")
        self.max_tokens = int(self._model.max_seq_length or 0)

    @cached_property
    def fingerprint(self) -> str:
        """Of its name and its weights; reading them takes a while, and it is asked for with every text."""
        digest = hashlib.blake2b(self.name.encode(), digest_size=8)
        for name, value in self._model.state_dict().items():
            digest.update(f"{name} {value.double().sum().item():.17g}".encode())
        return digest.hexdigest()

    def token_spans(self, text: str) -> TokenSpans:
        """Character offsets of every token of a text."""
        encoded = self._model.tokenizer(text, return_offsets_mapping=True, add_special_tokens=False)
        return np.asarray(encoded["offset_mapping"], dtype=np.int64).reshape(-1, 2)

    def _encode(self, texts: Sequence[str], prompt: str) -> Vectors:
        vectors = self._model.encode(
            list(texts), prompt=prompt, normalize_embeddings=True, show_progress_bar=False, convert_to_numpy=True
        )
        return np.asarray(vectors, dtype=np.float32)


class CallableTeacher(_OneWidth):
    """Any Python object with ``encode(list of texts) -> (N, E)``, or a class of such objects."""

    def __init__(self, path: str, query_prompt: str = "") -> None:
        """Import it and ask it for a few vectors.

        Args:
            path: ``module:name``.
            query_prompt: Put before queries, ``{instruction}`` standing for the task's.

        Raises:
            NoTeacher: If there is nothing of that name, or it does not encode.
        """
        self.name = self.source = path
        self._query_prompt = query_prompt
        self._encode_texts = _encoder_at(path)
        try:
            self._probed = self._encode(_PROBES, "")
        except Exception as error:  # it is not ours: whatever it raises, the run cannot start
            raise NoTeacher(f"The teacher {path} does not encode texts: {error}.") from error
        self.dim = self._probed.shape[1]
        self.dims = (self.dim,)

    @cached_property
    def fingerprint(self) -> str:
        """Of its name and of the vectors of a few texts."""
        return hashlib.blake2b(self.name.encode() + self._probed.round(3).tobytes(), digest_size=8).hexdigest()

    def token_spans(self, text: str) -> TokenSpans:
        """One span for the whole text: it does not tell its tokens."""
        return np.array([[0, len(text)]], dtype=np.int64)

    def _encode(self, texts: Sequence[str], prompt: str) -> Vectors:
        # A text of nothing has no direction in some models.
        asked = [(prompt + text).strip() or "." for text in texts]
        windows = [asked[start : start + _WINDOW_TEXTS] for start in range(0, len(asked), _WINDOW_TEXTS)]
        vectors = np.vstack([np.asarray(self._encode_texts(window), dtype=np.float32) for window in windows])
        unit: Vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        return unit


def _encoder_at(path: str) -> Callable[[list[str]], Any]:
    module, _, name = path.partition(":")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise NoTeacher(
            f"There is no teacher {path}; write it as module:name, of a module that can be imported."
        ) from error
    encode = getattr(found() if isinstance(found, type) else found, "encode", None)
    if not callable(encode):
        raise NoTeacher(f"The teacher {path} has no method encode; it takes a list of texts and gives their vectors.")
    return encode  # type: ignore[no-any-return]  # it is not ours
