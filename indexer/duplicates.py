"""Which documents say nearly the same: MinHash signatures, and the bands by which they find each other.

A text is the set of its shingles: every four neighbouring words, where a Chinese, Japanese or Korean character counts
as a word. How alike two texts are is the share of their shingles that they have in common (Jaccard). The signature
keeps the smallest value of the set under each of 100 hash functions, and two signatures agree in one place with just
that probability (Broder, *On the Resemblance and Containment of Documents*, 1997). Cut into 20 bands of five, two
signatures share a band with probability 1 - (1 - s^5)^20: 0.97 at a similarity of 0.7, 0.07 at 0.3. So a database
finds the candidates by equal bands, and the signatures decide (Leskovec, Rajaraman and Ullman, *Mining of Massive
Datasets*, section 3.4).

Not covered: a short text contained in a long one, and translations.
"""

import re
import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from indexer.lexical import CJK, folded_text

Signature = NDArray[np.uint32]
"""The smallest value under each hash function, shape (100,)."""

THRESHOLD = 0.7
"""Estimated similarity from which two documents are shown as one; its standard error there is 0.05."""

_SHINGLE_WORDS = 4
_BANDS, _ROWS = 20, 5
_BLOCK_SHINGLES = 1 << 14
_WORD = re.compile(rf"[{CJK}]|[^\W_{CJK}]+")
_RANDOM = np.random.default_rng(20_240_229)  # part of what signatures mean, as are the lines below
_FACTORS = _RANDOM.integers(1, 1 << 63, size=_BANDS * _ROWS, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
_OFFSETS = _RANDOM.integers(0, 1 << 63, size=_BANDS * _ROWS, dtype=np.uint64)
_PLACES = _RANDOM.integers(1, 1 << 63, size=_SHINGLE_WORDS, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
_MIX = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))


def signature(text: str) -> Signature | None:
    """The signature of a text, the same on every machine; None where it has no word.

    Case, width, script and punctuation make no difference.
    """
    words = _WORD.findall(folded_text(text))
    if not words:
        return None
    shingles = _shingles(words)
    lowest = np.full(len(_FACTORS), np.iinfo(np.uint64).max, dtype=np.uint64)
    for start in range(0, len(shingles), _BLOCK_SHINGLES):
        block = shingles[start : start + _BLOCK_SHINGLES]
        # One function at a time: all of them at once would not fit the processor's cache.
        values = [(factor * block + offset).min() for factor, offset in zip(_FACTORS, _OFFSETS, strict=True)]
        lowest = np.minimum(lowest, np.array(values, dtype=np.uint64))
    return (lowest >> np.uint64(32)).astype(np.uint32)


def bands(signature: Signature) -> tuple[int, ...]:
    """The bands of a signature: signed 64-bit numbers, equal where two signatures have the same band."""
    rows = signature.reshape(_BANDS, _ROWS).astype(np.uint64)
    values = np.arange(_BANDS, dtype=np.uint64)
    for column in range(_ROWS):
        values = _mixed(values * _FACTORS[0] + rows[:, column])
    return tuple(int(value) for value in values.view(np.int64))


def similarity(first: Signature, second: Signature) -> NDArray[np.float64]:
    """Estimate of the share of shingles two texts have in common, from 0 to 1; of signatures ``(..., 100)``."""
    share: NDArray[np.float64] = (first == second).mean(axis=-1)
    return share


def to_bytes(signature: Signature) -> bytes:
    """A signature as it is stored."""
    return signature.astype("<u4").tobytes()


def from_bytes(stored: bytes) -> Signature:
    """A signature as it was before it was stored."""
    return np.frombuffer(stored, dtype="<u4").astype(np.uint32)


def _shingles(words: Sequence[str]) -> NDArray[np.uint64]:
    """A number for each different shingle; one for the whole text where it is shorter than a shingle."""
    hashed = {word: zlib.crc32(word.encode("utf-8", "surrogatepass")) for word in set(words)}
    numbers = np.array([hashed[word] for word in words], dtype=np.uint64)
    length = min(len(numbers), _SHINGLE_WORDS)
    total = np.zeros(len(numbers) - length + 1, dtype=np.uint64)
    for place in range(length):
        total += _PLACES[place] * _mixed(numbers[place : place + len(total)])
    return np.unique(_mixed(total))


def _mixed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Every bit of the result depends on every bit of the number (the finaliser of SplitMix64)."""
    values = (values ^ (values >> np.uint64(30))) * _MIX[0]
    values = (values ^ (values >> np.uint64(27))) * _MIX[1]
    mixed: NDArray[np.uint64] = values ^ (values >> np.uint64(31))
    return mixed
