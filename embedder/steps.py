"""What happens to rows between the products of a layer, as torch does it; ``fused.py`` has the same in fewer sweeps."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from embedder.attention import Heads, Rotation
from embedder.scaled import Norm, Scaled

_GELU_SCALE = math.sqrt(2 / math.pi)
_GELU_LINEAR = torch.tensor(2 * _GELU_SCALE)


@dataclass(frozen=True, slots=True)
class Activation:
    """Of a gate.

    Attributes:
        function: What it does.
        rounds: The same for what is rounded to bytes afterwards, in less time.
        sigmoid: a and b where it is ``x sigmoid(a x + b x^3)``, as those of all models served are.
    """

    function: Callable[[Tensor], Tensor]
    rounds: Callable[[Tensor], Tensor]
    sigmoid: tuple[float, float] | None

    @classmethod
    def of(cls, name: str, function: Callable[[Tensor], Tensor]) -> "Activation":
        """The one transformers knows by a name."""
        if name == "gelu_pytorch_tanh":
            # The exact form takes a quarter of the time; what the two differ in is lost in the rounding (0.9999998).
            return cls(_gelu, functional.gelu, (2 * _GELU_SCALE, 2 * _GELU_SCALE * 0.044715))
        return cls(function, function, (1.0, 0.0) if name == "silu" else None)


class Steps(Protocol):
    """Between the products: states ``(N, D)`` come in, rows that are ready to be multiplied go out."""

    def ahead(self, states: Tensor, norm: Norm) -> Scaled:
        """The norm of states."""
        ...

    def whole(self, states: Tensor) -> Scaled:
        """States as they are; they may be written over."""
        ...

    def heads(self, joined: Scaled, heads: Heads, rotation: Rotation) -> tuple[Tensor, Tensor, Tensor]:
        """``(N, (H + 2K) d)`` to queries ``(N, H, d)``, keys and values ``(N, K, d)``, normed and turned."""
        ...

    def gated(self, gate: Scaled, up: Scaled, activation: Activation) -> Scaled:
        """``act(g) * u``, ``(N, M)``; both may be written over."""
        ...

    def add(self, states: Tensor, rows: Scaled, norm: Norm | None) -> None:
        """Add what a block gave to the states, normed where the model does so."""
        ...


@dataclass(frozen=True, slots=True)
class PlainSteps:
    """In any arithmetic.

    Attributes:
        rounds: Whether the products round to bytes what they are given.
    """

    rounds: bool = False

    def ahead(self, states: Tensor, norm: Norm) -> Scaled:
        """See :class:`Steps`."""
        return norm.ahead(states)

    def whole(self, states: Tensor) -> Scaled:
        """See :class:`Steps`."""
        return Scaled(states)

    def heads(self, joined: Scaled, heads: Heads, rotation: Rotation) -> tuple[Tensor, Tensor, Tensor]:
        """See :class:`Steps`."""
        values = joined.values if heads.norms else joined.whole()
        parts = values.view(len(values), heads.asked + 2 * heads.shared, -1)
        queries, keys, told = parts.tensor_split((heads.asked, heads.asked + heads.shared), dim=1)
        if heads.norms:
            scales = None if joined.scales is None else joined.scales[:, :, None]
            queries, keys = heads.norms[0](queries, scales), heads.norms[1](keys, scales)
            told = told if scales is None else told * scales.to(told.dtype)
        return rotation(queries), rotation(keys), told

    def gated(self, gate: Scaled, up: Scaled, activation: Activation) -> Scaled:
        """The activation alone minds factors; those of the other half go on."""
        function = activation.rounds if self.rounds else activation.function
        return Scaled(function(gate.whole()).mul_(up.values), up.scales)

    def add(self, states: Tensor, rows: Scaled, norm: Norm | None) -> None:
        """See :class:`Steps`."""
        states.add_(norm.behind(rows) if norm else rows.whole())


def _gelu(states: Tensor) -> Tensor:
    """``x (1 + tanh(y)) / 2 = x sigmoid(2 y)`` with ``y = sqrt(2 / pi) (x + 0.044715 x^3)`` (arXiv 1606.08415).

    torch's own takes half as long again on a CPU: its tanh is slow, its sigmoid is not.
    """
    precise = states.float()
    inner = torch.addcmul(_GELU_LINEAR, precise, precise, value=2 * _GELU_SCALE * 0.044715)
    return inner.mul_(precise).sigmoid_().mul_(precise).to(states.dtype)
