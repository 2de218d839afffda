"""Texts as a classifier sees them: vectors with the instruction of the task, through the vector cache."""

from collections.abc import Callable, Sequence

import numpy as np

from app.services.classify.classifiers import TASK, Label
from app.services.encoders import Encoders
from app.services.vectors import Abandoned
from embedder.cache import CachedEncoder, VectorCache
from embedder.protocol import TextEncoder, Vectors

_SLICE_TEXTS = 128
"""Texts after which it is said how far it is, and asked whether anybody still waits."""

Progress = Callable[[float, str], None]
"""Told now and then which share of the work is done, and what is being done."""


def silent(_: float, __: str = "") -> None:
    """Tell nobody."""


class TextVectors:
    """The configured model, for classification. Safe between threads."""

    def __init__(self, encoders: Encoders, cache: Callable[[], VectorCache]) -> None:
        self._encoders = encoders
        self._open_cache = cache
        self._cache: VectorCache | None = None

    @property
    def encoder(self) -> TextEncoder:
        """The model, at its full width."""
        return self._encoders.default()

    def kept(self, texts: Sequence[str], instruction: str, progress: Progress = silent) -> Vectors:
        """Vectors ``(N, dim)`` of texts that will come again: from the cache where they are there."""
        if self._cache is None:
            self._cache = self._open_cache()
        return _encoded(CachedEncoder(self.encoder, self._cache, queries=True), texts, instruction, progress)

    def passing(self, texts: Sequence[str], instruction: str, is_abandoned: Callable[[], bool]) -> Vectors:
        """Vectors ``(N, dim)`` of texts that somebody asks about once; nothing of them is kept.

        Raises:
            Abandoned: If nobody waits any more.
        """

        def ask(_: float, __: str) -> None:
            if is_abandoned():
                raise Abandoned("Nobody waits for these labels any more.")

        return _encoded(self.encoder, texts, instruction, ask)

    def of_labels(self, labels: Sequence[Label]) -> Vectors:
        """Vectors ``(C, dim)`` of what describes labels.

        They stand on the other side of the task, which is bare: the model was trained to bring a text with its
        instruction near to the bare name of its class.
        """
        return self.encoder.encode_documents([label.text for label in labels], task=TASK)


def _encoded(encoder: TextEncoder, texts: Sequence[str], instruction: str, progress: Progress) -> Vectors:
    parts = [np.empty((0, encoder.dim), np.float32)]
    for start in range(0, len(texts), _SLICE_TEXTS):
        progress(start / len(texts), "encoding")
        some = list(texts[start : start + _SLICE_TEXTS])
        parts.append(encoder.encode_queries(some, task=TASK, instruction=instruction or None))
    return np.concatenate(parts)
