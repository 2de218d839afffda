"""From token states to unit vectors: pure functions, used by training and serving alike."""

from __future__ import annotations  # torch stays a name: importing this file loads no torch

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

    from embedder.protocol import Vectors

_EPSILON = 1e-12


def mean_pool(states: Tensor, mask: Tensor) -> Tensor:
    """Mean of the token states that are not padding, prompt tokens included (KaLM-Embedding-V2, section 3).

    Args:
        states: ``(B, T, D)`` hidden states.
        mask: ``(B, T)``, 1 for a token, 0 for padding.

    Returns:
        ``(B, D)`` in float32 (float64 stays): a sum over hundreds of bfloat16 states would lose its small terms.
    """
    precise = states if states.element_size() == 8 else states.float()
    weights = mask.unsqueeze(-1).to(precise.dtype)  # (B, T, 1)
    return (precise * weights).sum(1) / weights.sum(1).clamp(min=_EPSILON)


def truncate_and_normalize(vectors: Tensor, dim: int | None = None) -> Tensor:
    """The first ``dim`` components as unit rows (Matryoshka representation, arXiv 2205.13147).

    Args:
        vectors: ``(..., D)``.
        dim: At most D; None keeps all.

    Returns:
        ``(..., dim)``, each row of length 1. A cut row is shorter than 1 before it is scaled again, so leaving
        the scaling out would change every cosine.
    """
    cut = vectors[..., :dim]
    unit: Tensor = cut / cut.norm(dim=-1, keepdim=True).clamp(min=_EPSILON)
    return unit


def narrow(vectors: Vectors, dim: int) -> Vectors:
    """As ``truncate_and_normalize``, for rows that have left torch: ``(N, D)`` to ``(N, dim)`` float32."""
    if vectors.shape[1] == dim:
        return vectors
    cut = vectors[:, :dim]
    return np.asarray(cut / np.maximum(np.linalg.norm(cut, axis=1, keepdims=True), _EPSILON), dtype=np.float32)
