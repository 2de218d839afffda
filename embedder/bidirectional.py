"""Make a causal decoder attend in both directions, and prove that it does.

transformers reads ``config.is_causal`` when it builds attention masks, in eager and sdpa alike, before or after
the model is made, and saves it with the model. Clearing only the layers' own flags is wrong under padding: the
mask is then built causal again and one text gets two vectors. Gemma 3 has a key of its own for this,
``use_bidirectional_attention``, which also halves its sliding window: the common key is used for it too.

A model that falls back to causal attention still returns plausible vectors, only bad ones (published cases lost
a third of their nDCG). ``check_attention`` therefore runs at every load and fails closed.
"""

import torch
from torch import Tensor
from transformers import PreTrainedModel

from embedder.errors import AppError
from embedder.model import Forward
from embedder.vectors import mean_pool

DECODERS = frozenset({"qwen2", "qwen3", "llama", "gemma3_text"})
"""Model types that are causal as published and made bidirectional here."""

ENCODERS = frozenset({"bert", "roberta", "xlm-roberta", "mpnet", "distilbert", "electra", "camembert"})
"""Model types that are bidirectional as they are."""

_PROBE_TOKENS = 24
_ROUNDED_AGREEMENT = 0.98
_SEED = 20506


class CanaryFailed(AppError):
    """A model whose attention or padding does not do what mean pooling needs."""


def make_bidirectional(backbone: PreTrainedModel) -> PreTrainedModel:
    """Let every token of a decoder see every other; returns the same model."""
    backbone.config.is_causal = False
    backbone.config.use_cache = False  # of keys and values, for generation
    for module in backbone.modules():
        if hasattr(module, "is_causal"):  # read by flash attention where the mask is left out
            setattr(module, "is_causal", False)  # noqa: B010 - not declared on nn.Module
    return backbone


@torch.inference_mode()
def check_attention(backbone: PreTrainedModel, name: str) -> None:
    """Prove that the last token reaches the first, and that padding and batch order reach nothing.

    The probe is longer than any sliding window of the model, so that a window cannot hide a causal layer.

    Raises:
        CanaryFailed: If one of the three does not hold.
    """
    length = _probe_length(backbone)
    probe = _random_ids(backbone, length)
    changed = probe.clone()
    changed[-1] = (changed[-1] + 1) % backbone.config.vocab_size
    mask = torch.ones(3, length, dtype=torch.long)
    states = _states(backbone, torch.stack([probe, changed, probe]), mask)
    first, moved, again = states[0, 0], states[1, 0], states[2, 0]
    noise = (first - again).abs().max()
    if (first - moved).abs().max() <= torch.maximum(10 * noise, 1e-6 * first.abs().max()):
        raise CanaryFailed(
            f"{name} looks only backwards: changing the last token left the first token as it was, so its "
            "vectors would be wrong; use a checkpoint and a transformers version that honour is_causal=False."
        )
    _check_padding(backbone, probe[: 2 * _PROBE_TOKENS], name)  # which needs no length, and costs by it


def check_forward(forward: Forward, backbone: PreTrainedModel, name: str) -> None:
    """Prove that another forward pass gives the backbone's own vectors, on texts of unequal lengths.

    Raises:
        CanaryFailed: If it does not.
    """
    rows = _probe_rows(backbone)
    agreement = torch.cosine_similarity(_pooled(backbone, rows), forward([row.tolist() for row in rows]), dim=1)
    if not agreement.min() > 1 - (1e-4 if backbone.dtype == torch.float32 else 2e-2):
        raise CanaryFailed(
            f"{name} has another vector without padding than with it (agreement {agreement.min():.3f} of 1); use the "
            "transformers version of constraints.txt and report this."
        )


def check_rounding(rounded: Forward, plain: Forward, backbone: PreTrainedModel, name: str) -> None:
    """Prove that a pass whose products are rounded leaves vectors about where they were.

    Raises:
        CanaryFailed: If it does not.
    """
    rows = [row.tolist() for row in _probe_rows(backbone)]
    agreement = torch.cosine_similarity(plain(rows), rounded(rows), dim=1)
    if not agreement.min() > _ROUNDED_AGREEMENT:
        raise CanaryFailed(
            f"{name} has another vector in int8 than without rounding (agreement {agreement.min():.3f} of 1), so its "
            "vectors would be wrong; use dtype bfloat16 or float32."
        )


def _probe_rows(backbone: PreTrainedModel) -> list[Tensor]:
    probe = _random_ids(backbone, 16)
    return [probe, probe[:9].flip(0), probe[5:]]


def _check_padding(backbone: PreTrainedModel, probe: Tensor, name: str) -> None:
    """One text alone, then padded beside a longer one in either order: one vector."""
    short = probe[: max(4, len(probe) // 3)]
    alone = _pooled(backbone, [short])[0]
    first, second = _pooled(backbone, [short, probe])[0], _pooled(backbone, [probe, short])[1]
    limit = 1e-4 if backbone.dtype == torch.float32 else 2e-2
    for padded in (first, second):
        if 1 - torch.cosine_similarity(alone, padded, dim=0) > limit:
            raise CanaryFailed(
                f"{name} mixes padding or its neighbours in a batch into a text's vector, so its vectors "
                "would be wrong; use a checkpoint and a transformers version that honour the attention mask."
            )


def _probe_length(backbone: PreTrainedModel) -> int:
    """Longer than the widest sliding window in use, within the positions the model has."""
    config = backbone.config
    types = getattr(config, "layer_types", None) or ()
    window = (getattr(config, "sliding_window", None) or 0) if "sliding_attention" in types else 0
    positions = getattr(config, "max_position_embeddings", None) or _PROBE_TOKENS
    # RoBERTa-style models keep two positions for padding.
    return int(min(window + _PROBE_TOKENS, max(positions - 2, 4)))


def _random_ids(backbone: PreTrainedModel, length: int) -> Tensor:
    generator = torch.Generator().manual_seed(_SEED)
    low = min(5, backbone.config.vocab_size - 1)  # clear of padding, which some models mask by its id
    return torch.randint(low, backbone.config.vocab_size, (length,), generator=generator)


def _states(backbone: PreTrainedModel, ids: Tensor, mask: Tensor) -> Tensor:
    """Hidden states ``(B, T, D)`` in float32 on the CPU."""
    device = backbone.device
    states: Tensor = backbone(input_ids=ids.to(device), attention_mask=mask.to(device)).last_hidden_state
    return states.float().cpu()


def _pooled(backbone: PreTrainedModel, rows: list[Tensor]) -> Tensor:
    """Mean-pooled vectors ``(B, D)`` of rows of unequal length, padded on the right."""
    pad = getattr(backbone.config, "pad_token_id", None) or 0
    ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=pad)
    lengths = torch.tensor([len(row) for row in rows])
    mask = (torch.arange(ids.shape[1]) < lengths[:, None]).long()
    return mean_pool(_states(backbone, ids, mask), mask)
