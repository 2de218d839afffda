"""The forward pass of a decoder without padding: what the CPU computes is tokens, and nothing else.

The tokens of a batch stand one after the other in one matrix ``(N, D)``, so that every product is as large as the batch
and none has rows of padding; attention takes each text by itself (``attention.py``). Queries, keys and values are one
product, gate and up-projection two, since torch is slow on halves of rows. transformers' modules keep their parameters,
which become views of the joined ones: nothing is held twice. The products may be rounded to 8 bits (``int8.py``), and
what scales a row is multiplied in as late as can be (``scaled.py``).
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from embedder.attention import Attention, Heads, Rotation, Shape
from embedder.bidirectional import DECODERS
from embedder.int8 import Int8Linear
from embedder.scaled import Linear, Norm
from embedder.steps import Activation, PlainSteps, Steps

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
    activation: Activation
    down: Product
    after_mlp: Norm | None

    def products(self) -> tuple[Product, Product, Product, Product, Product]:
        return self.joined, self.out, self.gate, self.up, self.down

    def in_bytes(self) -> "_Layer":
        joined, out, gate, up, down = map(_in_bytes, self.products())
        return replace(self, joined=joined, out=out, gate=gate, up=up, down=down)


class UnpaddedDecoder:
    """A decoder of transformers, run on texts of any lengths at once."""

    def __init__(self, backbone: PreTrainedModel) -> None:
        """Take over the weights of a bidirectional decoder; its projections become views of the joined ones."""
        self._backbone: Any = backbone
        layers: Any = backbone.layers
        self._layers = [_layer(module) for module in layers]
        self._norm = Norm.of(self._backbone.norm)
        self._steps: Steps = PlainSteps()
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
        rounded._steps = self._steps_in_bytes()
        return rounded

    def _steps_in_bytes(self) -> Steps:
        """The kernels, where they are installed and compute what this model does."""
        if any(layer.activation.sigmoid is None for layer in self._layers):
            return PlainSteps(rounds=True)
        try:
            from embedder.fused import FusedSteps
        except ImportError:
            return PlainSteps(rounds=True)
        return FusedSteps()

    def forget_weights(self) -> None:
        """Let go of what transformers' modules multiply with, for a pass that has its own."""
        for module in self._backbone.modules():
            if isinstance(module, nn.Linear):
                module.weight = nn.Parameter(module.weight.new_empty(0), requires_grad=False)

    @torch.inference_mode()
    def __call__(self, rows: Sequence[Sequence[int]], between: Callable[[], None] | None = None) -> Tensor:
        """Mean of the token states of each text, see :class:`~embedder.model.Forward`; may stop four times a layer."""
        shape = Shape.of([len(row) for row in rows], self._backbone.dtype)
        ids = torch.zeros(len(shape.positions), dtype=torch.int64)
        ids[: shape.tokens] = torch.from_numpy(np.concatenate([np.asarray(row, dtype=np.int64) for row in rows]))
        states: Tensor = self._backbone.embed_tokens(ids)  # (N, D)
        rotations = {kind: self._rotation(kind, shape) for kind in {layer.rotary for layer in self._layers}}
        pause = between or (lambda: None)
        for layer in self._layers:
            self._attend(states, layer, rotations[layer.rotary], shape, pause)
            self._feed(states, layer, pause)
        precise = self._norm(states[: shape.tokens]).float()
        return torch.segment_reduce(precise, "mean", lengths=torch.tensor(shape.lengths))

    def _attend(
        self, states: Tensor, layer: _Layer, rotation: Rotation, shape: Shape, pause: Callable[[], None]
    ) -> None:
        """Add what the attention of a layer gives to states ``(N, D)``."""
        pause()
        joined = layer.joined(self._steps.ahead(states, layer.before_attention))
        parts = self._steps.heads(joined, layer.attention.heads, rotation)
        pause()
        attended = layer.attention(*parts, shape)
        self._steps.add(states, layer.out(self._steps.whole(attended)), layer.after_attention)

    def _feed(self, states: Tensor, layer: _Layer, pause: Callable[[], None]) -> None:
        """Add what the feed-forward part of a layer gives, ``W (act(G x) * U x)``."""
        pause()
        prepared = layer.gate.prepared(self._steps.ahead(states, layer.before_mlp))
        gated = self._steps.gated(layer.gate.given(prepared), layer.up.given(prepared), layer.activation)
        pause()
        self._steps.add(states, layer.down(gated), layer.after_mlp)

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


def _layer(module: Any) -> _Layer:  # noqa: ANN401 - a decoder layer of transformers
    attention, mlp = module.self_attn, module.mlp
    config = attention.config
    is_sandwich = hasattr(module, "pre_feedforward_layernorm")
    second = module.pre_feedforward_layernorm if is_sandwich else module.post_attention_layernorm
    norms = (Norm.of(attention.q_norm), Norm.of(attention.k_norm)) if hasattr(attention, "q_norm") else None
    is_by_kind = config.model_type == "gemma3_text"  # the only one whose layers rotate by different bases
    return _Layer(
        rotary=attention.layer_type if is_by_kind else "",
        before_attention=Norm.of(module.input_layernorm),
        joined=_joined(attention.q_proj, attention.k_proj, attention.v_proj),
        attention=Attention(Heads(config.num_attention_heads, config.num_key_value_heads, norms), attention.scaling),
        out=_joined(attention.o_proj),
        after_attention=Norm.of(module.post_attention_layernorm) if is_sandwich else None,
        before_mlp=Norm.of(second),
        gate=_joined(mlp.gate_proj),
        up=_joined(mlp.up_proj),
        activation=Activation.of(getattr(config, "hidden_activation", None) or config.hidden_act, mlp.act_fn),
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
