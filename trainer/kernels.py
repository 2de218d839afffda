"""The same arithmetic, faster in training on a CPU.

PyTorch's flash attention for CPUs is made for long sequences and for inference: at the lengths of retrieval its
backward pass takes two to four times as long as the plain products, whose scores, small at these lengths, are kept
instead of computed again. The norms of transformers are five passes over the states where PyTorch has one.
"""

from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import AttentionInterface, PreTrainedModel
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

from embedder.bidirectional import DECODERS

ATTENTION = "products"
"""Name under which transformers knows :func:`attend`."""


def speed_up(model: PreTrainedModel) -> None:
    """Let a decoder use what is here; models of other families stay as they are."""
    if model.config.model_type not in DECODERS:
        return
    AttentionInterface.register(ATTENTION, attend)
    AttentionMaskInterface.register(ATTENTION, sdpa_mask)
    model.set_attn_implementation(ATTENTION)
    for module in model.modules():
        kind = type(module).__name__
        if kind == "Gemma3RMSNorm":
            module.forward = MethodType(_gemma_norm, module)
        elif kind.endswith("RMSNorm"):
            module.forward = MethodType(_norm, module)


def attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **_: Any,  # noqa: ANN401 - what other implementations take
) -> tuple[Tensor, None]:
    """Softmax attention by two batched products; query heads that share keys are taken together.

    Args:
        module: The attention layer.
        query: ``(B, H, T, d)``.
        key: ``(B, K, T, d)``, each for H / K query heads.
        value: ``(B, K, T, d)``.
        attention_mask: ``(B, 1, T, T)`` bool, True where attention goes; None where it goes everywhere.
        scaling: Of the scores; None is ``d ** -0.5``.
        dropout: Of the weights.

    Returns:
        ``(B, T, H, d)``, and no weights.
    """
    batch, heads, length, width = query.shape
    shared = heads // key.shape[1]
    grouped = (query * (scaling or width**-0.5)).reshape(batch, key.shape[1], shared * length, width)
    scores = grouped @ key.transpose(-1, -2)  # (B, K, shared * T, T)
    if attention_mask is not None:
        hidden = ~attention_mask.expand(batch, shared, length, length).reshape(batch, 1, shared * length, length)
        # The smallest number and not -inf: a padded row may see nothing at all, and must not become not-a-number.
        scores = scores.masked_fill_(hidden, torch.finfo(scores.dtype).min)
    elif module.is_causal:  # told so and given no mask where nothing is padded
        ahead = torch.ones(length, length, dtype=torch.bool, device=scores.device).triu(1).repeat(shared, 1)
        scores = scores.masked_fill_(ahead, torch.finfo(scores.dtype).min)
    weights = functional.dropout(scores.softmax(dim=-1), dropout, training=module.training)
    states = (weights @ value).view(batch, heads, length, width)
    return states.transpose(1, 2).contiguous(), None


class RootMeanSquareNorm(torch.autograd.Function):
    """``w x / sqrt(mean(x^2) + e)`` over the last dimension (arXiv 1910.07467), its gradient in few passes."""

    @staticmethod
    def forward(ctx: Any, states: Tensor, weight: Tensor, epsilon: float) -> Tensor:  # noqa: ANN401 - untyped in torch
        """``(..., D)`` and ``(D,)`` to ``(..., D)``."""
        ctx.save_for_backward(states, weight)
        ctx.epsilon = epsilon
        return functional.rms_norm(states, weight.shape, weight, epsilon)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:  # noqa: ANN401
        """With n the normalised states and r their scale: ``dx = r (w g - n mean(w g n))``, ``dw = sum g n``."""
        states, weight = ctx.saved_tensors
        precise = torch.promote_types(states.dtype, torch.float32)
        normal, flow = states.to(precise, copy=True), gradient.to(precise, copy=True)
        size = states.shape[-1]
        scale = torch.linalg.vector_norm(normal, dim=-1, keepdim=True).square_().div_(size).add_(ctx.epsilon).rsqrt_()
        normal.mul_(scale)
        to_weight = (flow * normal).flatten(0, -2).sum(dim=0)
        flow.mul_(weight.to(precise))
        overlap = torch.linalg.vecdot(flow, normal).unsqueeze(-1).div_(size)
        to_states = flow.addcmul_(normal, overlap, value=-1).mul_(scale)
        return to_states.to(states.dtype), to_weight.to(weight.dtype), None


def _norm(self: Any, hidden_states: Tensor) -> Tensor:  # noqa: ANN401 - a module of transformers
    normed: Tensor = RootMeanSquareNorm.apply(hidden_states, self.weight, self.variance_epsilon)  # type: ignore[no-untyped-call]
    return normed


def _gemma_norm(self: Any, x: Tensor) -> Tensor:  # noqa: ANN401 - a module of transformers
    normed: Tensor = RootMeanSquareNorm.apply(x, 1.0 + self.weight, self.eps)  # type: ignore[no-untyped-call]
    return normed
