"""Which sentence of a result says what was asked: the one whose vector is nearest to the question's.

A page of results has a hundred sentences, which take longer to encode than the search itself. What a passage's
sentences came to is remembered, so a second look at it, by anybody, costs nothing.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from embedder.protocol import TextEncoder, Vectors
from indexer.chunking import sentence_spans
from indexer.records import Manifest
from indexer.retrieval.remembered import Remembered
from indexer.retrieval.results import Span

_SENTENCES_PER_PASSAGE = 24
_REMEMBERED_PASSAGES = 2_000
"""Of a model of 640 values, eight sentences to a passage, 20 MB."""


class _Sentences(NamedTuple):
    """The sentences of a passage.

    Attributes:
        spans: Where they stand.
        vectors: ``(S, D)``; half precision is enough to tell which is nearest.
    """

    spans: list[Span]
    vectors: NDArray[np.float16]


class SentencePicker:
    """Finds the best sentences of passages. Safe between threads."""

    def __init__(self, encoder_for: Callable[[Manifest], TextEncoder]) -> None:
        """Take the encoders, as ``Searcher`` does."""
        self._encoder_for = encoder_for
        self._known: Remembered[tuple[str, int, str, str], _Sentences] = Remembered(_REMEMBERED_PASSAGES)

    def best(self, manifest: Manifest, question: Vectors, texts: Sequence[str]) -> list[Span | None]:
        """The sentence of each text that is nearest to a question; None where there is only one to choose.

        Args:
            manifest: Of the generation the texts are of.
            question: ``(D,)`` its vector by the model of that generation.
            texts: The passages.
        """

        def encode(missing: Sequence[tuple[str, int, str, str]]) -> list[_Sentences]:
            return self._encode(manifest, [text for *_, text in missing])

        keys = [(manifest.fingerprint, manifest.dim, manifest.dtype, text) for text in texts]
        return [_nearest(question, sentences) for sentences in self._known.get_all(keys, encode)]

    def _encode(self, manifest: Manifest, texts: Sequence[str]) -> list[_Sentences]:
        """The sentences of passages, those of all in one go; none of a passage that has but one."""
        spans = [found if len(found) > 1 else [] for found in map(_spans, texts)]
        sentences = [text[start:end] for text, own in zip(texts, spans, strict=True) for start, end in own]
        encoded = self._encoder_for(manifest).encode_documents(sentences) if sentences else np.empty((0, manifest.dim))
        parts = np.split(encoded.astype(np.float16), np.cumsum([len(own) for own in spans])[:-1])
        return [_Sentences(own, part) for own, part in zip(spans, parts, strict=True)]


def _spans(text: str) -> list[Span]:
    return sentence_spans(text)[:_SENTENCES_PER_PASSAGE]


def _nearest(question: Vectors, sentences: _Sentences) -> Span | None:
    if not sentences.spans:
        return None
    return sentences.spans[int((sentences.vectors.astype(np.float32) @ question).argmax())]
