"""An embedding that costs next to nothing, for measuring everything around it."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np

from embedder.protocol import Side, TokenSpans, Vectors

DIM = 256
_WORD = re.compile(r"\w+")


@dataclass(eq=False)
class HashedEncoder:
    """A ``TextEncoder``: a text's vector is the sum of random vectors of its words, so that like texts are near.

    Attributes:
        encoded: How many texts have been encoded.
    """

    encoded: int = 0
    name: str = "hashed"
    source: str = "hashed"
    dim: int = DIM
    dims: tuple[int, ...] = (DIM,)
    dtype: str = "float32"
    max_tokens: int = 512
    fingerprint: str = "hashed-words-256"
    languages: frozenset[str] | None = None
    _words: dict[str, Vectors] = field(default_factory=dict)

    def resized(self, dim: int) -> Self:
        """Itself: it has one width."""
        return self

    def prompt(self, side: Side, task: str = "Retrieval", instruction: str | None = None) -> str:
        """Nothing."""
        return ""

    def token_spans(self, text: str) -> TokenSpans:
        """Where the words are, shape (N, 2)."""
        return np.array([match.span() for match in _WORD.finditer(text)], dtype=np.int64).reshape(-1, 2)

    def encode_queries(
        self, texts: Sequence[str], *, task: str = "Retrieval", instruction: str | None = None
    ) -> Vectors:
        """As documents."""
        return self.encode_documents(texts)

    def encode_documents(self, texts: Sequence[str], *, task: str = "Retrieval") -> Vectors:
        """Unit vectors, shape (N, dim)."""
        self.encoded += len(texts)
        rows = np.zeros((len(texts), DIM), np.float32)
        for row, text in zip(rows, texts, strict=True):
            for word in _WORD.findall(text):
                row += self._word(word)
        unit: Vectors = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-6)
        return unit

    def _word(self, word: str) -> Vectors:
        if word not in self._words:
            seed = int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "little")
            self._words[word] = np.random.default_rng(seed).standard_normal(DIM, dtype=np.float32)
        return self._words[word]
