"""Attention of texts whose tokens stand one after the other in one matrix, each text by itself: none has padding."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor

from embedder.scaled import Norm, Scaled

_STEPS = ((512, 64), (64, 16), (0, 4))
"""Above so many tokens, the rows of a product are a multiple of the second number."""


@dataclass(frozen=True, slots=True)
class Span:
    """Where a text stands.

    Attributes:
        start: Its first row.
        tokens: T.
        rows: T rounded up; those behind its tokens belong to the text after it, or to nothing.
    """

    start: int
    tokens: int
    rows: int

    @property
    def end(self) -> int:
        """The row behind its last."""
        return self.start + self.rows


@dataclass(frozen=True, slots=True)
class Shape:
    """How the tokens of B texts stand one after the other.

    Attributes:
        spans: Of each text.
        tokens: Of all texts; the N rows have some more behind them, which mean nothing.
        positions: ``(N,)`` place of every token in its text.
    """

    spans: tuple[Span, ...]
    tokens: int
    positions: Tensor

    @classmethod
    def of(cls, lengths: Sequence[int]) -> Self:
        """Of texts of so many tokens each."""
        ends = np.cumsum(lengths)
        starts = ends - lengths
        spans = tuple(map(Span, starts.tolist(), lengths, map(_round_number, lengths)))
        positions = np.zeros(_round_number(spans[-1].end), dtype=np.int64)
        positions[: ends[-1]] = np.arange(ends[-1]) - np.repeat(starts, lengths)
        return cls(spans, int(ends[-1]), torch.from_numpy(positions))

    @property
    def longest(self) -> int:
        """Tokens of the longest text."""
        return max(span.tokens for span in self.spans)


@dataclass(frozen=True, slots=True)
class Rotation:
    """Cosines and sines ``(N, 1, d)`` of the positions of all tokens (arXiv 2104.09864)."""

    cosines: Tensor
    sines: Tensor

    def at(self, positions: Tensor) -> Self:
        """Those of some positions."""
        return type(self)(self.cosines.index_select(0, positions), self.sines.index_select(0, positions))

    def __call__(self, states: Tensor) -> Tensor:
        """``(N, H, d)``, the halves of each head turned against each other."""
        half = states.shape[-1] // 2
        turned = states * self.cosines
        turned[..., :half].addcmul_(states[..., half:], self.sines[..., :half], value=-1)
        turned[..., half:].addcmul_(states[..., :half], self.sines[..., half:])
        return turned


@dataclass(frozen=True, slots=True)
class Attention:
    """Attention of every token to all of its own text.

    Attributes:
        heads: H.
        shared_heads: K heads of keys and values, each shared by H / K of queries, which go through one product.
        scaling: Of the scores.
        on_heads: Norms of queries and of keys, where a model has them.
    """

    heads: int
    shared_heads: int
    scaling: float
    on_heads: tuple[Norm, Norm] | None

    def __call__(self, joined: Scaled, rotation: Rotation, shape: Shape) -> Tensor:
        """``(N, (H + 2K) d)`` queries, keys and values to ``(N, H d)``."""
        queries, keys, values = self._parts(joined)
        queries, keys = rotation(queries), rotation(keys)
        attended = torch.empty_like(queries)
        for span in shape.spans:  # in their order: what one writes behind its tokens, the next writes over
            rows = slice(span.start, span.end)
            self._attend(queries[rows], keys[rows], values[rows], span.tokens, attended[rows])
        attended[shape.tokens :] = 0
        return attended.flatten(1)

    def _parts(self, joined: Scaled) -> tuple[Tensor, Tensor, Tensor]:
        """Queries ``(N, H, d)``, keys and values ``(N, K, d)``, normed as the model does it."""
        values = joined.values if self.on_heads else joined.whole()
        parts = values.view(len(values), self.heads + 2 * self.shared_heads, -1)
        queries, keys, told = parts.tensor_split((self.heads, self.heads + self.shared_heads), dim=1)
        if self.on_heads:
            scales = None if joined.scales is None else joined.scales[:, :, None]
            queries, keys = self.on_heads[0](queries, scales), self.on_heads[1](keys, scales)
            told = told if scales is None else told * scales.to(told.dtype)
        return queries, keys, told

    def _attend(self, queries: Tensor, keys: Tensor, values: Tensor, tokens: int, out: Tensor) -> None:
        """One text of ``tokens`` of T rows: queries ``(T, H, d)``, keys and values ``(T, K, d)``, out ``(T, H, d)``."""
        by_key = (len(queries), self.shared_heads, -1, queries.shape[2])
        asked = queries.view(by_key).transpose(0, 1).flatten(1, 2)  # (K, T H / K, d), all heads of a token together
        nothing = asked.new_zeros(())
        scores = torch.baddbmm(nothing, asked, keys.permute(1, 2, 0), beta=0, alpha=self.scaling)  # (K, T H / K, T)
        scores[..., tokens:] = -torch.inf
        attended = torch.bmm(scores.softmax(dim=-1), values.transpose(0, 1))
        out.view(by_key).transpose(0, 1).copy_(attended.view_as(out.view(by_key).transpose(0, 1)))


def _round_number(tokens: int) -> int:
    """The next of few numbers: a product of a new number of rows is first made ready, which takes time and memory."""
    step = next(step for least, step in _STEPS if tokens > least)
    return -(-tokens // step) * step
