"""The network: a backbone and mean pooling. What some checkpoints put behind it is in ``dense.py``."""

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
import torch
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


class Forward(Protocol):
    """A forward pass over texts of any lengths."""

    def __call__(self, rows: Sequence[Sequence[int]], between: Callable[[], None] | None = None) -> Tensor:
        """Pooled vectors of texts.

        Args:
            rows: B texts as token ids.
            between: Called at moments when the pass may stop to let others compute.

        Returns:
            ``(B, D)`` float32, not normalised.
        """
        ...


class PaddedForward:
    """The model itself, on texts filled up to the longest of them."""

    def __init__(self, model: EmbeddingModel, pad_id: int) -> None:
        self._model = model
        self._pad_id = pad_id

    @torch.inference_mode()
    def __call__(self, rows: Sequence[Sequence[int]], between: Callable[[], None] | None = None) -> Tensor:
        """See :class:`Forward`; the pass of a stock model stops before it begins and not again."""
        if between:
            between()
        shape = len(rows), max(map(len, rows))
        ids, mask = np.full(shape, self._pad_id, dtype=np.int64), np.zeros(shape, dtype=np.int64)
        for i, row in enumerate(rows):
            ids[i, : len(row)] = row
            mask[i, : len(row)] = 1
        device = self._model.backbone.device
        pooled: Tensor = self._model(torch.from_numpy(ids).to(device), torch.from_numpy(mask).to(device))
        return pooled
