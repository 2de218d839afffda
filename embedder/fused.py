"""The steps between products in 8 bits through ``kernels.py``: what goes into a product is bytes already."""

from functools import cache

import numpy as np
import torch
from torch import Tensor

from embedder import kernels
from embedder.attention import Heads, Rotation
from embedder.kernels import Floats
from embedder.scaled import Norm, Scaled
from embedder.steps import Activation


class FusedSteps:
    """In float32, for products that take bytes; see :class:`~embedder.steps.Steps`."""

    def ahead(self, states: Tensor, norm: Norm) -> Scaled:
        """See :class:`~embedder.steps.Steps`."""
        codes, steps = _coded(states)
        kernels.normed(states.numpy(), norm.weight.numpy(), np.float32(norm.epsilon), codes.numpy(), steps.numpy())
        return Scaled(codes, steps[:, None])

    def whole(self, states: Tensor) -> Scaled:
        """See :class:`~embedder.steps.Steps`."""
        codes, steps = _coded(states)
        kernels.rounded(states.numpy(), codes.numpy(), steps.numpy())
        return Scaled(codes, steps[:, None])

    def heads(self, joined: Scaled, heads: Heads, rotation: Rotation) -> tuple[Tensor, Tensor, Tensor]:
        """See :class:`~embedder.steps.Steps`."""
        rows, width = len(joined.values), joined.values.shape[1] // (heads.asked + 2 * heads.shared)
        values, scales = joined.values.numpy(), _scales(joined)
        cosines, sines = rotation.cosines.flatten(1).numpy(), rotation.sines.flatten(1).numpy()
        parts = torch.empty(rows, heads.asked, width), *torch.empty(2, rows, heads.shared, width)
        start = 0
        for part, norm in zip(parts, heads.norms or (_none(width), _none(width)), strict=False):
            weight, epsilon, is_normed = norm.weight.numpy(), np.float32(norm.epsilon), heads.norms is not None
            kernels.turned(values, start, scales, weight, epsilon, is_normed, cosines, sines, part.numpy())
            start += part.shape[1] * width
        kernels.scaled(values, start, scales, parts[2].flatten(1).numpy())
        return parts[0], parts[1], parts[2]

    def gated(self, gate: Scaled, up: Scaled, activation: Activation) -> Scaled:
        """See :class:`~embedder.steps.Steps`."""
        if activation.sigmoid is None:
            raise ValueError("This activation is not of the form that the kernel computes.")
        linear, cubic = map(np.float32, activation.sigmoid)
        codes, steps = _coded(gate.values)
        halves = gate.values.numpy(), up.values.numpy(), _scales(gate), _scales(up)
        kernels.gated(*halves, linear, cubic, codes.numpy(), steps.numpy())
        return Scaled(codes, steps[:, None])

    def add(self, states: Tensor, rows: Scaled, norm: Norm | None) -> None:
        """See :class:`~embedder.steps.Steps`."""
        used = norm or _none(states.shape[1])
        weight, epsilon = used.weight.numpy(), np.float32(used.epsilon)
        kernels.added(states.numpy(), rows.values.numpy(), _scales(rows), weight, epsilon, norm is not None)


@cache
def _none(width: int) -> Norm:
    """Stands where a kernel wants one and does nothing with it."""
    return Norm(torch.ones(width), 0.0)


def _coded(states: Tensor) -> tuple[Tensor, Tensor]:
    """Room for the codes of rows, and for what they are multiples of."""
    return torch.empty(states.shape, dtype=torch.uint8), torch.empty(len(states))


def _scales(rows: Scaled) -> Floats:
    """``(N,)``."""
    return (torch.ones(len(rows.values)) if rows.scales is None else rows.scales.flatten()).numpy()
