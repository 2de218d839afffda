"""The network: a backbone and mean pooling, nothing else (KaLM-Embedding-V2 has no projection head)."""

from torch import Tensor, nn
from transformers import PreTrainedModel

from embedder.vectors import mean_pool


class EmbeddingModel(nn.Module):
    """A bidirectional backbone whose token states are averaged.

    Attributes:
        backbone: Any transformers model that returns ``last_hidden_state``.
    """

    def __init__(self, backbone: PreTrainedModel) -> None:
        super().__init__()
        self.backbone = backbone

    @property
    def width(self) -> int:
        """D, the width of the vectors before any truncation."""
        return int(self.backbone.config.hidden_size)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Pooled vectors, not yet normalised.

        Args:
            input_ids: ``(B, T)``.
            attention_mask: ``(B, T)``, 1 for a token, 0 for padding.

        Returns:
            ``(B, D)`` float32.
        """
        states = self.backbone(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state  # (B, T, D)
        return mean_pool(states, attention_mask)
