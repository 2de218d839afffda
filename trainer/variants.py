"""What KaLM-Embedding-V2 decided against, so that its decisions can be measured: causal attention, the last token.

A model of such a variant is scored in its run. Its folder opens as any other, bidirectional and pooled by the mean,
and is therefore not what was trained: it is there for the next stage alone.
"""

import torch
from torch import Tensor
from transformers import PreTrainedModel

from embedder.bidirectional import DECODERS
from embedder.model import EmbeddingModel
from trainer.config import InvalidConfig, VariantConfig


def as_variant(backbone: PreTrainedModel, variant: VariantConfig) -> EmbeddingModel:
    """A backbone with the attention and the pooling of a variant.

    Raises:
        InvalidConfig: If causal attention is asked of an encoder.
    """
    if variant.attention == "causal":
        _make_causal(backbone)
    return LastTokenModel(backbone) if variant.pooling == "last" else EmbeddingModel(backbone)


class LastTokenModel(EmbeddingModel):
    """A backbone whose vector is the state of a text's last token, the one that causal attention lets see all."""

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Vectors ``(B, D)`` float32 of ``(B, T)`` tokens, padded on the right; not yet normalised."""
        states = self.backbone(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state  # (B, T, D)
        last = attention_mask.sum(dim=1) - 1
        vectors: Tensor = states[torch.arange(len(states), device=states.device), last]
        return vectors if vectors.element_size() == 8 else vectors.float()


def _make_causal(backbone: PreTrainedModel) -> None:
    if backbone.config.model_type not in DECODERS:
        raise InvalidConfig(f"A {backbone.config.model_type} model is no decoder; leave variant.attention as it is.")
    backbone.config.is_causal = True
    for module in backbone.modules():
        if hasattr(module, "is_causal"):
            setattr(module, "is_causal", True)  # noqa: B010 - not declared on nn.Module
