"""What the rest of the product needs of an encoder: nothing here imports torch."""

import hashlib
from collections.abc import Sequence
from typing import Literal, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from embedder.errors import AppError

Vectors = NDArray[np.float32]
"""Unit rows, shape (N, dim)."""

Side = Literal["query", "document"]
"""Which side of a task a text stands on."""

TokenSpans = NDArray[np.int64]
"""Start and end character offsets of each token of a text, shape (T, 2)."""


class InvalidInput(AppError):
    """Something that is not a list of texts, or a width the model does not have."""


class Tokenizer(Protocol):
    """Says where the tokens of a text are, so that a chunker can count and cut without knowing the model."""

    def token_spans(self, text: str) -> TokenSpans:
        """Character offsets of every token of ``text``, special tokens left out, in order; shape (T, 2)."""
        ...


class TextEncoder(Tokenizer, Protocol):
    """Text in, unit vectors out."""

    @property
    def name(self) -> str:
        """What a person calls this model."""
        ...

    @property
    def source(self) -> str:
        """What to load it by again: a catalogue name, a hub id or a folder's whole path."""
        ...

    @property
    def languages(self) -> frozenset[str] | None:
        """What it reads (ISO 639-1); None where nothing is known to be out of its reach."""
        ...

    @property
    def dim(self) -> int:
        """Width of the vectors returned."""
        ...

    @property
    def dims(self) -> tuple[int, ...]:
        """Widths the checkpoint was trained for, widest first."""
        ...

    @property
    def dtype(self) -> str:
        """Arithmetic of the forward pass: ``float32``, ``bfloat16``, ``int8`` or ``int8-float32``."""
        ...

    @property
    def max_tokens(self) -> int:
        """Longest input in tokens, special tokens and prompt included; the rest is cut off."""
        ...

    @property
    def fingerprint(self) -> str:
        """Changes when weights, tokenizer or prompts do."""
        ...

    def resized(self, dim: int) -> Self:
        """The same model giving vectors of another of its widths."""
        ...

    def prompt(self, side: Side, task: str = "Retrieval", instruction: str | None = None) -> str:
        """The exact string that is put before a text of this side of a task."""
        ...

    def encode_queries(
        self, texts: Sequence[str], *, task: str = "Retrieval", instruction: str | None = None
    ) -> Vectors:
        """Vectors of queries, shape (N, dim), in the order given."""
        ...

    def encode_documents(self, texts: Sequence[str], *, task: str = "Retrieval") -> Vectors:
        """Vectors of documents, shape (N, dim), in the order given."""
        ...


def namespace_of(fingerprint: str, dim: int, dtype: str, max_tokens: int, prompts: tuple[str, str]) -> str:
    """Names vectors: changes with weights, width, arithmetic, longest input and the prompts of both sides."""
    digest = hashlib.blake2b("\0".join((*prompts, str(max_tokens))).encode(), digest_size=4).hexdigest()
    return f"kalm-{fingerprint}-{dim}-{dtype}-{digest}"


def check_texts(texts: object) -> None:
    """Refuse what is not a list of strings: a string is a sequence too, of its characters.

    Raises:
        InvalidInput: If it is not.
    """
    if (
        isinstance(texts, str)
        or not isinstance(texts, Sequence | np.ndarray)
        or not all(isinstance(text, str) for text in texts)
    ):
        raise InvalidInput("Pass a list of texts, each of them a string.")
