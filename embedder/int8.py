"""Products in 8 bits: weights and states as integers, with a scale for every output and for every token.

The states of a token are divided by their largest and rounded, so nothing has to be calibrated before (the vector-wise
scheme of arXiv 2208.07339, outliers and all). oneDNN multiplies unsigned by signed bytes, hence the zero point.
"""

import time
from dataclasses import dataclass
from functools import cache
from typing import Any, Self

import torch
from torch import Tensor

from embedder.scaled import Scaled

_STEPS = 127
"""Codes of a state on either side of zero."""

_ZERO = 128
_SMALLEST = 1e-30
"""Keeps a row of zeros from being divided by zero."""


@dataclass(frozen=True, slots=True)
class Int8Linear:
    """``y = x W^T + b`` of ``(N, I)`` states, the weight in one byte a value.

    Attributes:
        packed: The weight's codes in the order the processor wants them.
        scales: ``(O,)`` float32, one for each output.
        zeros: ``(O,)`` zero points, all of them zero.
        bias: ``(O,)`` or None.
        dtype: Of what comes out, that of the weight before it was rounded.
    """

    packed: Tensor
    scales: Tensor
    zeros: Tensor
    bias: Tensor | None
    dtype: torch.dtype

    @classmethod
    def of(cls, weight: Tensor, bias: Tensor | None) -> Self:
        """Round a weight ``(O, I)`` to codes of -127 to 127."""
        precise = weight.detach().float()
        scales = precise.abs().amax(dim=1).clamp_min_(_SMALLEST).div_(_STEPS)
        codes = (precise / scales[:, None]).round_().to(torch.int8)
        packed = torch.ops.onednn.qlinear_prepack(codes, None)
        return cls(packed, scales, torch.zeros(len(scales), dtype=torch.int32), bias, weight.dtype)

    @property
    def inputs(self) -> int:
        """I."""
        return int(self.packed.shape[0])

    def __call__(self, rows: Scaled) -> Scaled:
        """``(N, I)`` to ``(N, O)``."""
        return self.given(self.prepared(rows))

    def prepared(self, rows: Scaled) -> Scaled:
        """Rows as they are multiplied, for several products of the same: codes, which they may be, and their scales."""
        return rows if rows.values.dtype == torch.uint8 else rounded(rows)

    def given(self, prepared: Scaled) -> Scaled:
        """The product of prepared rows."""
        product = Scaled(self.multiply(prepared.values, self.dtype), prepared.scales)
        return product if self.bias is None else Scaled(product.whole().add_(self.bias))

    def multiply(self, codes: Tensor, dtype: torch.dtype) -> Tensor:
        """The product alone, without the scales of the rows, in ``dtype``."""
        product: Tensor = _multiply()(
            codes, 1.0, _ZERO, self.packed, self.scales, self.zeros, None, 1.0, 0, dtype, "none", [], ""
        )
        return product


def rounded(rows: Scaled) -> Scaled:
    """Codes of rows ``(N, I)``, 1 to 255 with 128 for zero, and what they are multiples of."""
    precise = rows.values.float()
    largest = torch.maximum(precise.amax(dim=1, keepdim=True), -precise.amin(dim=1, keepdim=True)).clamp_min_(_SMALLEST)
    # By way of signed bytes: torch converts to those seven times as fast.
    codes = precise.mul_(_STEPS / largest).round_().to(torch.int8).view(torch.uint8).bitwise_xor_(_ZERO)
    step = largest.div_(_STEPS)
    return Scaled(codes, step if rows.scales is None else step.mul_(rows.scales))


@cache
def is_available() -> bool:
    """Whether this processor multiplies bytes exactly.

    Older ones add up pairs of products in 16 bits, which large values overflow; oneDNN then asks for codes of 7 bits.
    """
    inputs, outputs, rows = 64, 32, 4
    try:
        extreme = Int8Linear.of(torch.full((outputs, inputs), float(_STEPS)), None)
        product = extreme.multiply(torch.full((rows, inputs), 255, dtype=torch.uint8), torch.float32)
    except (AttributeError, RuntimeError):  # a build of torch without the operator, or without oneDNN behind it
        return False
    return bool((product == inputs * _STEPS * (255 - _ZERO)).all())


@torch.inference_mode()
def gain(dtype: torch.dtype, width: int, rows: int = 512, repeats: int = 5) -> float:
    """How many times as fast as in ``dtype`` a feed-forward product of a model of this width is, rounding included."""
    weight, states = torch.ones(4 * width, width, dtype=dtype), torch.ones(rows, width, dtype=dtype)
    coded = Int8Linear.of(weight, None)
    coded(Scaled(states.clone()))  # the first of a shape pays for its set-up
    plain, fast = float("inf"), float("inf")
    for _ in range(repeats):
        taken = Scaled(states.clone())
        began = time.perf_counter()
        torch.nn.functional.linear(states, weight)
        between = time.perf_counter()
        coded(taken)
        plain, fast = min(plain, between - began), min(fast, time.perf_counter() - between)
    return plain / fast


def _multiply() -> Any:  # noqa: ANN401 - an operator without a type
    return torch.ops.onednn.qlinear_pointwise.default
