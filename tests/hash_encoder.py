"""A stand-in for a model, in a module that any process can import."""

import hashlib
from dataclasses import dataclass, field, replace
from functools import cache

import numpy as np


@dataclass
class HashEncoder:
    """A TextEncoder without a model: a text's vector is the sum of its characters' random vectors."""

    dim: int = 16
    dims: tuple[int, ...] = (16, 8)
    name: str = "hash"
    source: str = "hash"
    dtype: str = "float32"
    max_tokens: int = 256
    fingerprint: str = "0123456789abcdef"
    languages: frozenset[str] | None = None
    encoded: list[str] = field(default_factory=list)

    def resized(self, dim):
        return replace(self, dim=dim)

    def prompt(self, side, task="Retrieval", instruction=None):
        return ""

    def token_spans(self, text):
        return np.array([(i, i + 1) for i in range(len(text))], dtype=np.int64).reshape(-1, 2)

    def encode_documents(self, texts, *, task="Retrieval"):
        self.encoded.extend(texts)
        return np.stack([self._vector(text) for text in texts]) if texts else np.empty((0, self.dim), np.float32)

    def encode_queries(self, texts, *, task="Retrieval", instruction=None):
        return np.stack([self._vector(text) for text in texts])

    def _vector(self, text):
        total = sum((_character(character) for character in text.lower()), np.full(16, 1e-3, np.float32))[: self.dim]
        return total / np.linalg.norm(total)


@cache
def _character(character):
    seed = int.from_bytes(hashlib.blake2b(character.encode(), digest_size=4).digest(), "little")
    return np.random.default_rng(seed).normal(size=16).astype(np.float32)
