"""Rows of states that are still short of a factor each, and the norms and products that take and give them.

A norm undoes the factor of a row, and rounding to bytes only hands it on. So the scales of products and of norms, each
a pass over all states if it were multiplied in, meet as single numbers of a row and mostly never touch its values.
"""

from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True, slots=True)
class Scaled:
    """Rows that stand for ``values * scales``.

    Attributes:
        values: ``(N, O)``; who is given them may write over them.
        scales: ``(N, 1)`` float32; None stands for ones.
    """

    values: Tensor
    scales: Tensor | None = None

    def whole(self) -> Tensor:
        """``(N, O)``, the factors multiplied in, in place of the values."""
        return self.values if self.scales is None else self.values.mul_(self.scales.to(self.values.dtype))


@dataclass(frozen=True, slots=True)
class Norm:
    """``w x / sqrt(mean(x^2) + e)`` over the last dimension (arXiv 1910.07467)."""

    weight: Tensor
    epsilon: float

    @classmethod
    def of(cls, module: Any) -> Self:  # noqa: ANN401 - a norm of transformers
        """With a weight of its own in float32."""
        if type(module).__name__.startswith("Gemma"):  # stores what is added to one
            return cls(1.0 + module.weight.float(), module.eps)
        return cls(module.weight.float(), module.variance_epsilon)

    def __call__(self, states: Tensor, scales: Tensor | None = None) -> Tensor:
        """``(..., D)`` to the same, in its arithmetic; ``scales`` is short of its last dimension."""
        precise = states.float()
        return (precise * self._factors(precise, scales)).mul_(self.weight).to(states.dtype)

    def ahead(self, states: Tensor) -> Scaled:
        """Of states that a product comes after."""
        precise = states.float()
        return Scaled(precise * self.weight, self._factors(precise, None))

    def behind(self, rows: Scaled) -> Tensor:
        """Of what a product gave."""
        precise = rows.values.float()
        return precise.mul_(self._factors(precise, rows.scales)).mul_(self.weight).to(rows.values.dtype)

    def _factors(self, precise: Tensor, scales: Tensor | None) -> Tensor:
        """What rows ``(..., D)`` are multiplied by: ``s / sqrt(s^2 mean(x^2) + e)``; ``(..., 1)``."""
        power: Tensor = torch.linalg.vector_norm(precise, dim=-1, keepdim=True).square_().div_(precise.shape[-1])
        if scales is None:
            return power.add_(self.epsilon).rsqrt_()
        return power.mul_(scales).mul_(scales).add_(self.epsilon).rsqrt_().mul_(scales)


@dataclass(frozen=True, slots=True)
class Linear:
    """``y = x W^T + b`` in the arithmetic of the weight."""

    weight: Tensor
    bias: Tensor | None

    def __call__(self, rows: Scaled) -> Scaled:
        """``(N, I)`` to ``(N, O)``."""
        return self.given(self.prepared(rows))

    def prepared(self, rows: Scaled) -> Scaled:
        """Rows as they are multiplied, for several products of the same."""
        return Scaled(rows.whole().to(self.weight.dtype))

    def given(self, prepared: Scaled) -> Scaled:
        """The product of prepared rows."""
        return Scaled(functional.linear(prepared.values, self.weight, self.bias))

    @property
    def inputs(self) -> int:
        """Width of the states."""
        return self.weight.shape[1]

    def multiply(self, states: Tensor, dtype: torch.dtype) -> Tensor:
        """The product alone, in ``dtype``."""
        return functional.linear(states, self.weight).to(dtype)
