"""The forward pass of a decoder without padding: what the CPU computes is tokens, and nothing else.

The tokens of a batch stand one after the other in one matrix ``(N, D)``, so that every product is as large as the batch
and none has rows of padding; only attention, a small part at the lengths of retrieval, lays the texts side by side.
Queries, keys and values are one product, gate and up-projection another. transformers' modules keep their parameters,
which become views of the joined ones: nothing is held twice. The products may be rounded to 8 bits (``int8.py``).
"""

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedModel

from embedder.bidirectional import DECODERS
from embedder.int8 import Int8Linear

_HIDDEN = -1e9
"""Added to a score to hide it; not minus infinity, or the row of a padded query would become not-a-number."""

_STEPS = ((512, 64), (64, 16), (0, 4))
"""Above so many tokens, the rows of a product are a multiple of the second number."""

_GELU_SCALE = math.sqrt(2 / math.pi)
_GELU_LINEAR = torch.tensor(2 * _GELU_SCALE)


@dataclass(frozen=True, slots=True)
class _Norm:
    """``w x / sqrt(mean(x^2) + e)`` over the last dimension (arXiv 1910.07467)."""

    weight: Tensor
    epsilon: float

    @classmethod
    def of(cls, module: Any) -> Self:  # noqa: ANN401 - a norm of transformers
        if type(module).__name__.startswith("Gemma"):  # stores what is added to one
            return cls((1.0 + module.weight.float()).to(module.weight.dtype), module.eps)
        return cls(module.weight, module.variance_epsilon)

    def __call__(self, states: Tensor) -> Tensor:
        """As ``functional.rms_norm``, which takes twice as long on a CPU."""
        precise = states.float()
        power: Tensor = torch.linalg.vecdot(precise, precise).unsqueeze(-1)
        shrinking = power.div_(states.shape[-1]).add_(self.epsilon).rsqrt_()
        return (precise * shrinking).mul_(self.weight).to(states.dtype)


@dataclass(frozen=True, slots=True)
class Linear:
    """``y = x W^T + b`` in the arithmetic of the weight."""

    weight: Tensor
    bias: Tensor | None

    def __call__(self, states: Tensor) -> Tensor:
        """``(N, I)`` to ``(N, O)``."""
        return functional.linear(states, self.weight, self.bias)

    @property
    def inputs(self) -> int:
        """Width of the states."""
        return self.weight.shape[1]

    def multiply(self, states: Tensor, dtype: torch.dtype) -> Tensor:
        """The product alone, in ``dtype``."""
        return functional.linear(states, self.weight).to(dtype)


Product = Linear | Int8Linear


@dataclass(frozen=True, slots=True)
class _Layer:
    """One layer. Gemma 3 and Qwen 3 have norms ``on_heads``; Gemma 3 alone has those after the two blocks."""

    rotary: str
    heads: int
    shared_heads: int
    scaling: float
    before_attention: _Norm
    joined: Product
    on_heads: tuple[_Norm, _Norm] | None
    out: Product
    after_attention: _Norm | None
    before_mlp: _Norm
    gate_and_up: Product
    activation: Callable[[Tensor], Tensor]
    down: Product
    after_mlp: _Norm | None

    def products(self) -> tuple[Product, Product, Product, Product]:
        return self.joined, self.out, self.gate_and_up, self.down

    def in_bytes(self) -> "_Layer":
        joined, out, gate_and_up, down = map(_in_bytes, self.products())
        return replace(self, joined=joined, out=out, gate_and_up=gate_and_up, down=down)


class UnpaddedDecoder:
    """A decoder of transformers, run on texts of any lengths at once."""

    def __init__(self, backbone: PreTrainedModel) -> None:
        """Take over the weights of a bidirectional decoder; its projections become views of the joined ones."""
        self._backbone: Any = backbone
        layers: Any = backbone.layers
        self._layers = [_layer(module) for module in layers]
        self._norm = _Norm.of(self._backbone.norm)
        self._rotations: dict[str, tuple[Tensor, Tensor]] = {}

    @staticmethod
    def supports(backbone: PreTrainedModel, max_tokens: int) -> bool:
        """Whether it is a decoder on a CPU whose every layer sees all of a text of that length."""
        config: Any = backbone.config
        if config.model_type not in DECODERS or backbone.device.type != "cpu":
            return False
        window = config.sliding_window if "sliding_attention" in (getattr(config, "layer_types", None) or ()) else None
        return not (window and window < max_tokens) and not getattr(config, "attn_logit_softcapping", None)

    def products(self) -> list[Product]:
        """What a pass multiplies with, in its order."""
        return [product for layer in self._layers for product in layer.products()]

    def in_bytes(self) -> Self:
        """The same decoder, its products rounded to 8 bits."""
        rounded = copy.copy(self)
        rounded._layers = [layer.in_bytes() for layer in self._layers]
        return rounded

    def forget_weights(self) -> None:
        """Let go of what transformers' modules multiply with, for a pass that has its own."""
        for module in self._backbone.modules():
            if isinstance(module, nn.Linear):
                module.weight = nn.Parameter(module.weight.new_empty(0), requires_grad=False)

    @torch.inference_mode()
    def __call__(self, rows: Sequence[Sequence[int]], between: Callable[[], None] | None = None) -> Tensor:
        """Mean of the token states of each text, see :class:`~embedder.model.Forward`; stops before every layer."""
        lengths = np.fromiter(map(len, rows), dtype=np.int64, count=len(rows))
        shape = _Shape.of(lengths)
        ids = np.zeros(len(shape.places), dtype=np.int64)
        ids[: shape.tokens] = np.concatenate([np.asarray(row, dtype=np.int64) for row in rows])
        states: Tensor = self._backbone.embed_tokens(torch.from_numpy(ids))  # (N, D)
        rotations = {kind: self._rotation(kind, shape) for kind in {layer.rotary for layer in self._layers}}
        for layer in self._layers:
            if between:
                between()
            states = _after_layer(states, layer, *rotations[layer.rotary], shape)
        precise = self._norm(states[: shape.tokens]).float()
        return torch.segment_reduce(precise, "mean", lengths=torch.from_numpy(lengths))

    def _rotation(self, kind: str, shape: "_Shape") -> tuple[Tensor, Tensor]:
        """Cosines and sines ``(tokens, 1, d)`` of the positions of all tokens."""
        known = self._rotations.get(kind)
        if known is None or len(known[0]) < shape.longest:
            positions = torch.arange(max(512, shape.longest))[None]
            arguments = (kind,) if kind else ()
            like = self._backbone.norm.weight
            cosines, sines = self._backbone.rotary_emb(like, positions, *arguments)
            known = self._rotations[kind] = cosines[0][:, None], sines[0][:, None]
        cosines, sines = known
        return cosines.index_select(0, shape.positions), sines.index_select(0, shape.positions)


@dataclass(frozen=True, slots=True)
class _Shape:
    """How the tokens of B texts stand one after the other.

    Attributes:
        texts: B.
        longest: T.
        tokens: Of all texts; the N rows have some more behind them, which mean nothing.
        positions: ``(tokens,)`` place of every token in its text.
        places: ``(N,)`` where it stands when the texts are laid side by side in ``(B, T)``.
        hidden: ``(B, 1, T)`` what is added to the scores of keys; None where all are there.
    """

    texts: int
    longest: int
    tokens: int
    positions: Tensor
    places: Tensor
    hidden: Tensor | None

    @classmethod
    def of(cls, lengths: np.ndarray[Any, np.dtype[np.int64]]) -> Self:
        texts, longest, tokens = len(lengths), int(lengths.max()), int(lengths.sum())
        are_alike = texts * longest == tokens
        if not are_alike:
            longest = _round_number(longest)
        columns = np.arange(longest)
        there = columns < lengths[:, None]  # (B, T)
        positions = torch.from_numpy(np.broadcast_to(columns, there.shape)[there])
        places = np.zeros(_round_number(tokens), dtype=np.int64)
        places[:tokens] = np.flatnonzero(there)
        hidden = None if are_alike else torch.from_numpy(np.where(there, 0.0, _HIDDEN)[:, None])
        return cls(texts, longest, tokens, positions, torch.from_numpy(places), hidden)

    def side_by_side(self, states: Tensor) -> Tensor:
        """``(tokens, ...)`` to ``(B, T, ...)``, zeros where there is no token."""
        if self.hidden is None:
            return states.view(self.texts, self.longest, *states.shape[1:])
        laid = states.new_zeros(self.texts * self.longest, *states.shape[1:])
        laid.index_copy_(0, self.places[: self.tokens], states)
        return laid.view(self.texts, self.longest, *states.shape[1:])

    def in_a_row(self, states: Tensor) -> Tensor:
        """``(B, T, ...)`` to ``(N, ...)``."""
        flat = states.flatten(0, 1)
        is_in_a_row = self.hidden is None and len(self.places) == self.tokens
        return flat if is_in_a_row else flat.index_select(0, self.places)


def _round_number(tokens: int) -> int:
    """The next of few numbers: a product of a new number of rows is first made ready, which takes time and memory."""
    step = next(step for least, step in _STEPS if tokens > least)
    return -(-tokens // step) * step


def _after_layer(states: Tensor, layer: _Layer, cosines: Tensor, sines: Tensor, shape: _Shape) -> Tensor:
    """``(N, D)`` to ``(N, D)``."""
    attended = layer.out(_attend(layer.joined(layer.before_attention(states)), layer, cosines, sines, shape))
    states = states + (layer.after_attention(attended) if layer.after_attention else attended)
    gate, up = layer.gate_and_up(layer.before_mlp(states)).chunk(2, dim=-1)
    fed = layer.down(layer.activation(gate).mul_(up))
    return states + (layer.after_mlp(fed) if layer.after_mlp else fed)


def _attend(joined: Tensor, layer: _Layer, cosines: Tensor, sines: Tensor, shape: _Shape) -> Tensor:
    """Attention of every token to all of its own text.

    Query heads that share their keys go through one product.

    Args:
        joined: ``(N, (H + 2K) d)`` queries, keys and values.
        layer: Whose heads they are.
        cosines: ``(tokens, 1, d)`` of the positions.
        sines: ``(tokens, 1, d)``.
        shape: How the tokens stand.

    Returns:
        ``(N, H d)``.
    """
    heads, shared = layer.heads, layer.shared_heads
    tokens = joined[: shape.tokens]
    parts = tokens.view(len(tokens), heads + 2 * shared, -1)  # (tokens, H + 2K, d)
    queries, keys, values = parts.tensor_split((heads, heads + shared), dim=1)
    if layer.on_heads:
        queries, keys = layer.on_heads[0](queries), layer.on_heads[1](keys)
    queries, keys = _rotated(queries, cosines, sines), _rotated(keys, cosines, sines)
    texts, longest, width = shape.texts, shape.longest, parts.shape[2]
    # (B, T, H, d) -> (B K, H / K, T, d): a query head's rows stand with those of the heads it shares its keys with
    asked = shape.side_by_side(queries).view(texts, longest, shared, -1, width).permute(0, 2, 3, 1, 4)
    asked = asked.reshape(texts * shared, -1, width)  # (B K, H / K T, d)
    known, told = (
        shape.side_by_side(part).transpose(1, 2).reshape(texts * shared, longest, width) for part in (keys, values)
    )
    scores = torch.bmm(asked, known.transpose(1, 2)).mul_(layer.scaling)  # (B K, H / K T, T)
    if shape.hidden is not None:
        scores.add_(shape.hidden.to(scores.dtype).repeat_interleave(shared, dim=0))
    attended = torch.bmm(scores.softmax(dim=-1), told)
    attended = attended.view(texts, heads, longest, width).transpose(1, 2).flatten(2)  # (B, T, H d)
    return shape.in_a_row(attended)


def _rotated(states: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    """Rotary positions (arXiv 2104.09864), halves turned against each other; ``(N, H, d)``."""
    first, second = states.chunk(2, dim=-1)
    return (states * cosines).addcmul_(torch.cat([-second, first], dim=-1), sines)


def _gelu(states: Tensor) -> Tensor:
    """``x (1 + tanh(y)) / 2 = x sigmoid(2 y)`` with ``y = sqrt(2 / pi) (x + 0.044715 x^3)`` (arXiv 1606.08415).

    torch's own takes half as long again on a CPU: its tanh is slow, its sigmoid is not.
    """
    precise = states.float()
    inner = torch.addcmul(_GELU_LINEAR, precise, precise, value=2 * _GELU_SCALE * 0.044715)
    return inner.mul_(precise).sigmoid_().mul_(precise).to(states.dtype)


def _layer(module: Any) -> _Layer:  # noqa: ANN401 - a decoder layer of transformers
    attention, mlp = module.self_attn, module.mlp
    config = attention.config
    is_sandwich = hasattr(module, "pre_feedforward_layernorm")
    second = module.pre_feedforward_layernorm if is_sandwich else module.post_attention_layernorm
    has_head_norms = hasattr(attention, "q_norm")
    is_by_kind = config.model_type == "gemma3_text"  # the only one whose layers rotate by different bases
    return _Layer(
        rotary=attention.layer_type if is_by_kind else "",
        heads=config.num_attention_heads,
        shared_heads=config.num_key_value_heads,
        scaling=attention.scaling,
        before_attention=_Norm.of(module.input_layernorm),
        joined=_joined(attention.q_proj, attention.k_proj, attention.v_proj),
        on_heads=(_Norm.of(attention.q_norm), _Norm.of(attention.k_norm)) if has_head_norms else None,
        out=_joined(attention.o_proj),
        after_attention=_Norm.of(module.post_attention_layernorm) if is_sandwich else None,
        before_mlp=_Norm.of(second),
        gate_and_up=_joined(mlp.gate_proj, mlp.up_proj),
        activation=_gelu if getattr(config, "hidden_activation", None) == "gelu_pytorch_tanh" else mlp.act_fn,
        down=_joined(mlp.down_proj),
        after_mlp=_Norm.of(module.post_feedforward_layernorm) if is_sandwich else None,
    )


def _in_bytes(product: Product) -> Int8Linear:
    return product if isinstance(product, Int8Linear) else Int8Linear.of(product.weight, product.bias)


def _joined(*projections: nn.Linear) -> Linear:
    """Projections of the same states as one, whose parts they become."""
    if len(projections) == 1:
        return Linear(projections[0].weight, projections[0].bias)
    weight = torch.cat([projection.weight.detach() for projection in projections])
    bias = None
    if projections[0].bias is not None:
        bias = torch.cat([projection.bias.detach() for projection in projections])
    start = 0
    for projection in projections:
        end = start + projection.out_features
        projection.weight = nn.Parameter(weight[start:end], requires_grad=False)
        if bias is not None:
            projection.bias = nn.Parameter(bias[start:end], requires_grad=False)
        start = end
    return Linear(weight, bias)
