"""The steps between products in 8 bits through ``kernels.py``: what goes into a product is bytes already."""

from functools import cache

import numpy as np
import torch
from torch import Tensor

from embedder import kernels
from embedder.attention import Heads, Rotation
from embedder.kernels import Floats, States
from embedder.scaled import Norm, Scaled
from embedder.steps import Activation


class FusedSteps:
    """For products that take bytes, with states in float32 or bfloat16; see :class:`~embedder.steps.Steps`."""

    def ahead(self, states: Tensor, norm: Norm) -> Scaled:
        """See :class:`~embedder.steps.Steps`."""
        codes, steps = _coded(states)
        kernels.normed(_array(states), norm.weight.numpy(), np.float32(norm.epsilon), codes.numpy(), steps.numpy())
        return Scaled(codes, steps[:, None])

    def whole(self, states: Tensor) -> Scaled:
        """See :class:`~embedder.steps.Steps`."""
        codes, steps = _coded(states)
        kernels.rounded(_array(states), codes.numpy(), steps.numpy())
        return Scaled(codes, steps[:, None])

    def heads(self, joined: Scaled, heads: Heads, rotation: Rotation) -> tuple[Tensor, Tensor, Tensor]:
        """See :class:`~embedder.steps.Steps`."""
        rows, width = len(joined.values), joined.values.shape[1] // (heads.asked + 2 * heads.shared)
        values, scales = _array(joined.values), _scales(joined)
        cosines, sines = _array(rotation.cosines.flatten(1)), _array(rotation.sines.flatten(1))
        like = joined.values
        parts = like.new_empty(rows, heads.asked, width), *like.new_empty(2, rows, heads.shared, width)
        start = 0
        for part, norm in zip(parts, heads.norms or (_none(width), _none(width)), strict=False):
            weight, epsilon, is_normed = norm.weight.numpy(), np.float32(norm.epsilon), heads.norms is not None
            kernels.turned(values, start, scales, weight, epsilon, is_normed, cosines, sines, _array(part))
            start += part.shape[1] * width
        kernels.scaled(values, start, scales, _array(parts[2].flatten(1)))
        return parts[0], parts[1], parts[2]

    def gated(self, gate: Scaled, up: Scaled, activation: Activation) -> Scaled:
        """See :class:`~embedder.steps.Steps`."""
        if activation.sigmoid is None:
            raise ValueError("This activation is not of the form that the kernel computes.")
        linear, cubic = map(np.float32, activation.sigmoid)
        codes, steps = _coded(gate.values)
        halves = _array(gate.values), _array(up.values), _scales(gate), _scales(up)
        kernels.gated(*halves, linear, cubic, codes.numpy(), steps.numpy())
        return Scaled(codes, steps[:, None])

    def add(self, states: Tensor, rows: Scaled, norm: Norm | None) -> None:
        """See :class:`~embedder.steps.Steps`."""
        used = norm or _none(states.shape[1])
        weight, epsilon = used.weight.numpy(), np.float32(used.epsilon)
        kernels.added(_array(states), _array(rows.values), _scales(rows), weight, epsilon, norm is not None)


@cache
def _none(width: int) -> Norm:
    """Stands where a kernel wants one and does nothing with it."""
    return Norm(torch.ones(width), 0.0)


def _array(states: Tensor) -> States:
    """The same memory, for numpy, which has no bfloat16."""
    array: States = (states.view(torch.uint16) if states.dtype == torch.bfloat16 else states).numpy()
    return array


def _coded(states: Tensor) -> tuple[Tensor, Tensor]:
    """Room for the codes of rows, and for what they are multiples of."""
    return torch.empty(states.shape, dtype=torch.uint8), torch.empty(len(states))


def _scales(rows: Scaled) -> Floats:
    """``(N,)``."""
    return (torch.ones(len(rows.values)) if rows.scales is None else rows.scales.flatten()).numpy()
