"""A decoder sees both ways, or it is not served."""

import pytest
import torch
from tiny import tiny_backbone

from embedder.bidirectional import DECODERS, CanaryFailed, check_attention, make_bidirectional

FAMILIES = pytest.mark.parametrize("family", sorted(DECODERS))
ATTENTION = pytest.mark.parametrize("attention", ["eager", "sdpa"])
DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["fp32", "bf16"])
TEXT = list(range(5, 29))  # longer than Gemma's sliding window of 16


def backbone(family, attention="sdpa", dtype=torch.float32):
    model = tiny_backbone(family)
    model.set_attn_implementation(attention)
    return model.to(dtype)


@torch.inference_mode()
def text_states(model, text, padding):
    """States of a text's tokens, (T, D), with four padding tokens on one side or none."""
    before, after = {"none": (0, 0), "left": (4, 0), "right": (0, 4)}[padding]
    ids = torch.tensor([[0] * before + text + [0] * after])
    mask = torch.tensor([[0] * before + [1] * len(text) + [0] * after])
    states = model(input_ids=ids, attention_mask=mask).last_hidden_state[0]
    return states[before : before + len(text)]


@FAMILIES
@ATTENTION
@pytest.mark.parametrize("padding", ["none", "left", "right"])
def test_the_first_token_sees_the_last(family, attention, padding):
    model = make_bidirectional(backbone(family, attention))
    states = text_states(model, TEXT, padding)
    changed = text_states(model, [*TEXT[:-1], 99], padding)
    assert (states[0] - changed[0]).abs().max() > 1e-4
    assert torch.allclose(states, text_states(model, TEXT, "none"), atol=1e-5)


@FAMILIES
@ATTENTION
@DTYPES
def test_a_bidirectional_model_passes(family, attention, dtype):
    check_attention(make_bidirectional(backbone(family, attention, dtype)), family)


@FAMILIES
@ATTENTION
@DTYPES
def test_a_causal_model_is_refused(family, attention, dtype, refused):
    with refused(CanaryFailed, family, "backwards", "is_causal"):
        check_attention(backbone(family, attention, dtype), family)


@FAMILIES
def test_clearing_only_the_layers_flags_is_refused(family):
    """Without padding such a model sees both ways, with padding it is causal: one text, two vectors."""
    model = backbone(family)
    for module in model.modules():
        if hasattr(module, "is_causal"):
            module.is_causal = False
    with pytest.raises(CanaryFailed):
        check_attention(model, family)


@pytest.mark.parametrize("family", [*sorted(DECODERS), "bert"])
def test_leaking_padding_is_refused(family, monkeypatch, refused):
    model = make_bidirectional(backbone(family))
    forward = model.forward
    monkeypatch.setattr(
        model, "forward", lambda input_ids, attention_mask: forward(input_ids, torch.ones_like(attention_mask))
    )
    with refused(CanaryFailed, family, "padding", "attention mask"):
        check_attention(model, family)


def test_an_encoder_passes_as_it_is():
    check_attention(backbone("bert"), "bert")


@FAMILIES
def test_the_flag_survives_saving(family, tmp_path):
    from transformers import AutoModel

    make_bidirectional(backbone(family)).save_pretrained(tmp_path)
    again = AutoModel.from_pretrained(tmp_path, dtype=torch.float32)
    assert again.config.is_causal is False
    check_attention(again, family)
