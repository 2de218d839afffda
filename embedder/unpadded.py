"""The forward pass of a decoder without padding: what the CPU computes is tokens, and nothing else.

The tokens of a batch stand one after the other in one matrix ``(N, D)``, so that every product is as large as the batch
and none has rows of padding; attention takes each text by itself (``attention.py``). Queries, keys and values are one
product, gate and up-projection two, since torch is slow on halves of rows. transformers' modules keep their parameters,
which become views of the joined ones: nothing is held twice. The products may be rounded to 8 bits (``int8.py``), and
what scales a row is multiplied in as late as can be (``scaled.py``).
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

from embedder.attention import Attention, Rotation, Shape
from embedder.bidirectional import DECODERS
from embedder.int8 import Int8Linear
from embedder.scaled import Linear, Norm, Scaled

_GELU_SCALE = math.sqrt(2 / math.pi)
_GELU_LINEAR = torch.tensor(2 * _GELU_SCALE)


Product = Linear | Int8Linear


@dataclass(frozen=True, slots=True)
class _Layer:
    """One layer. Gemma 3 and Qwen 3 have norms ``on_heads``; Gemma 3 alone has those after the two blocks."""

    rotary: str
    before_attention: Norm
    joined: Product
    attention: Attention
    out: Product
    after_attention: Norm | None
    before_mlp: Norm
    gate: Product
    up: Product
    activation: Callable[[Tensor], Tensor]
    down: Product
    after_mlp: Norm | None

    def products(self) -> tuple[Product, Product, Product, Product, Product]:
        return self.joined, self.out, self.gate, self.up, self.down

    def in_bytes(self) -> "_Layer":
        joined, out, gate, up, down = map(_in_bytes, self.products())
        # The exact form takes a quarter of the time; what the two differ in is lost in the rounding (cosine 0.9999998).
        activation = functional.gelu if self.activation is _gelu else self.activation
        return replace(self, joined=joined, out=out, gate=gate, up=up, down=down, activation=activation)


class UnpaddedDecoder:
    """A decoder of transformers, run on texts of any lengths at once."""

    def __init__(self, backbone: PreTrainedModel) -> None:
        """Take over the weights of a bidirectional decoder; its projections become views of the joined ones."""
        self._backbone: Any = backbone
        layers: Any = backbone.layers
        self._layers = [_layer(module) for module in layers]
        self._norm = Norm.of(self._backbone.norm)
        self._rotations: dict[str, Rotation] = {}

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
        """Mean of the token states of each text, see :class:`~embedder.model.Forward`; may stop twice a layer."""
        shape = Shape.of([len(row) for row in rows], self._backbone.dtype)
        ids = torch.zeros(len(shape.positions), dtype=torch.int64)
        ids[: shape.tokens] = torch.from_numpy(np.concatenate([np.asarray(row, dtype=np.int64) for row in rows]))
        states: Tensor = self._backbone.embed_tokens(ids)  # (N, D)
        rotations = {kind: self._rotation(kind, shape) for kind in {layer.rotary for layer in self._layers}}
        pause = between or (lambda: None)
        for layer in self._layers:
            pause()
            states = _after_attention(states, layer, rotations[layer.rotary], shape)
            pause()
            states = _added(states, _fed(layer.before_mlp.ahead(states), layer), layer.after_mlp)
        precise = self._norm(states[: shape.tokens]).float()
        return torch.segment_reduce(precise, "mean", lengths=torch.tensor(shape.lengths))

    def _rotation(self, kind: str, shape: Shape) -> Rotation:
        """Of the positions of all tokens."""
        known = self._rotations.get(kind)
        if known is None or len(known.cosines) < shape.longest:
            positions = torch.arange(max(512, shape.longest))[None]
            arguments = (kind,) if kind else ()
            like = self._backbone.norm.weight
            cosines, sines = self._backbone.rotary_emb(like, positions, *arguments)
            known = self._rotations[kind] = Rotation(cosines[0][:, None], sines[0][:, None])
        return known.at(shape.positions)


def _after_attention(states: Tensor, layer: _Layer, rotation: Rotation, shape: Shape) -> Tensor:
    """``(N, D)`` to ``(N, D)``."""
    attended = layer.attention(layer.joined(layer.before_attention.ahead(states)), rotation, shape)
    return _added(states, layer.out(Scaled(attended)), layer.after_attention)


def _added(states: Tensor, rows: Scaled, norm: Norm | None) -> Tensor:
    """What a block gave, normed where the model does so, and what went past it."""
    return (norm.behind(rows) if norm else rows.whole()).add_(states)


def _fed(rows: Scaled, layer: _Layer) -> Scaled:
    """``W (act(G x) * U x)``. The activation alone minds factors; those of the other half go on."""
    prepared = layer.gate.prepared(rows)
    gate, up = layer.gate.given(prepared).whole(), layer.up.given(prepared)
    return layer.down(Scaled(layer.activation(gate).mul_(up.values), up.scales))


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
        before_attention=Norm.of(module.input_layernorm),
        joined=_joined(attention.q_proj, attention.k_proj, attention.v_proj),
        attention=Attention(
            heads=config.num_attention_heads,
            shared_heads=config.num_key_value_heads,
            scaling=attention.scaling,
            on_heads=(Norm.of(attention.q_norm), Norm.of(attention.k_norm)) if has_head_norms else None,
        ),
        out=_joined(attention.o_proj),
        after_attention=Norm.of(module.post_attention_layernorm) if is_sandwich else None,
        before_mlp=Norm.of(second),
        gate=_joined(mlp.gate_proj),
        up=_joined(mlp.up_proj),
        activation=_gelu if getattr(config, "hidden_activation", None) == "gelu_pytorch_tanh" else mlp.act_fn,
        down=_joined(mlp.down_proj),
        after_mlp=Norm.of(module.post_feedforward_layernorm) if is_sandwich else None,
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
