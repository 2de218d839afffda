"""Attention of texts whose tokens stand one after the other in one matrix, each text by itself: none has padding."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch
from torch import Tensor

from embedder.scaled import Norm

_STEPS = ((512, 32), (64, 16), (0, 4))
"""Above so many tokens, the rows of a product are a multiple of the second number."""

_SCORES = 1 << 17
"""Of a head: texts of one length share a product while they have no more, since beyond that they leave the caches."""


@dataclass(frozen=True, slots=True)
class Run:
    """Texts of one length that stand behind each other and are attended to in one product.

    Attributes:
        start: The first row.
        texts: B; one, where rows are rounded up.
        tokens: T of each.
        rows: R of each, T or more; those behind its tokens belong to the text after it, or to nothing.
    """

    start: int
    texts: int
    tokens: int
    rows: int

    @property
    def end(self) -> int:
        """The row behind the last."""
        return self.start + self.texts * self.rows

    def of(self, states: Tensor) -> Tensor:
        """Its part ``(B, R, H, d)`` of ``(N, H, d)``."""
        return states[self.start : self.end].view(self.texts, self.rows, *states.shape[1:])


@dataclass(frozen=True, slots=True)
class Shape:
    """How the tokens of B texts stand one after the other.

    Attributes:
        lengths: Tokens of each text.
        runs: All texts.
        positions: ``(N,)`` place of every token in its text; the last few rows stand for none.
    """

    lengths: tuple[int, ...]
    runs: tuple[Run, ...]
    positions: Tensor

    @classmethod
    def of(cls, lengths: Sequence[int], dtype: torch.dtype) -> Self:
        """Of texts of so many tokens each, in an arithmetic.

        Products of float32 states take any number of rows at once. oneDNN, which has the others, makes each new number
        ready first.
        """
        runs: list[Run] = []
        for start, length in zip(itertools.accumulate(lengths, initial=0), lengths, strict=False):
            last = runs[-1] if runs else None
            if dtype != torch.float32:
                runs.append(Run(start, 1, length, _round_number(length)))
            elif last and last.tokens == length and (last.texts + 1) * length**2 <= _SCORES:
                runs[-1] = replace(last, texts=last.texts + 1)
            else:
                runs.append(Run(start, 1, length, length))
        ends = np.cumsum(lengths)
        positions = np.zeros(_round_number(max(run.end for run in runs)), dtype=np.int64)
        positions[: ends[-1]] = np.arange(ends[-1]) - np.repeat(ends - lengths, lengths)
        return cls(tuple(lengths), tuple(runs), torch.from_numpy(positions))

    @property
    def tokens(self) -> int:
        """Of all texts; the N rows have some more behind them, which mean nothing."""
        return sum(self.lengths)

    @property
    def longest(self) -> int:
        """Tokens of the longest text."""
        return max(self.lengths)


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
class Heads:
    """Of a layer.

    Attributes:
        asked: H heads of queries.
        shared: K heads of keys and of values, each shared by H / K of queries, which go through one product.
        norms: Of queries and of keys, where a model has them.
    """

    asked: int
    shared: int
    norms: tuple[Norm, Norm] | None


@dataclass(frozen=True, slots=True)
class Attention:
    """Attention of every token to all of its own text.

    Attributes:
        heads: H of queries, K of keys and values.
        scaling: Of the scores.
    """

    heads: Heads
    scaling: float

    def __call__(self, queries: Tensor, keys: Tensor, values: Tensor, shape: Shape) -> Tensor:
        """Queries ``(N, H, d)``, keys and values ``(N, K, d)`` to ``(N, H d)``."""
        attended = torch.empty_like(queries)
        for run in shape.runs:  # in their order: what one writes behind its tokens, the next writes over
            self._attend(run.of(queries), run.of(keys), run.of(values), run.tokens, run.of(attended))
        attended[shape.tokens :] = 0
        return attended.flatten(1)

    def _attend(self, queries: Tensor, keys: Tensor, values: Tensor, tokens: int, out: Tensor) -> None:
        """A run of T tokens: queries ``(B, R, H, d)``, keys and values ``(B, R, K, d)``, out ``(B, R, H, d)``."""
        asked = self._by_key(queries)
        known = keys.permute(0, 2, 3, 1).flatten(0, 1)  # (B K, d, R)
        nothing = asked.new_zeros(())
        scores = torch.baddbmm(nothing, asked.flatten(2, 3).flatten(0, 1), known, beta=0, alpha=self.scaling)
        scores[..., tokens:] = -torch.inf
        told = values.transpose(1, 2).flatten(0, 1)  # (B K, R, d)
        if self.heads.shared == 1:  # all heads of a token stand together
            torch.bmm(scores.softmax(dim=-1), told, out=out.flatten(1, 2))
        else:
            self._by_key(out).copy_(torch.bmm(scores.softmax(dim=-1), told).view(asked.shape))

    def _by_key(self, states: Tensor) -> Tensor:
        """``(B, R, H, d)`` to ``(B, K, R, H / K, d)``: all heads of a token that share keys together."""
        return states.view(*states.shape[:2], self.heads.shared, -1, states.shape[3]).transpose(1, 2)


def _round_number(tokens: int) -> int:
    """The next of few numbers: a product of a new number of rows is first made ready, which takes time and memory."""
    step = next(step for least, step in _STEPS if tokens > least)
    return -(-tokens // step) * step
