"""Variants do what they are called, so that what is measured of them is what is meant."""

import pytest
import torch
from tiny import tiny_backbone

from embedder.bidirectional import make_bidirectional
from trainer.config import InvalidConfig, VariantConfig
from trainer.data import TrainingData
from trainer.kernels import speed_up
from trainer.recipes import Places, tiny
from trainer.variants import as_variant

IDS = torch.tensor([[5, 6, 7, 8, 9, 10], [11, 12, 13, 0, 0, 0]])
MASK = (IDS > 0).long()


def states(model, ids, mask=None):
    with torch.no_grad():
        return model.backbone(input_ids=ids, attention_mask=mask if mask is not None else MASK).last_hidden_state


def variant(model_type="qwen2", *, fast=False, **settings):
    backbone = make_bidirectional(tiny_backbone(model_type))
    if fast:
        speed_up(backbone)
    return as_variant(backbone, VariantConfig(**settings))


@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize("model_type", ["qwen2", "qwen3", "llama", "gemma3_text"])
@pytest.mark.parametrize("padded", [False, True])
def test_causal_attention_sees_nothing_of_what_follows(model_type, fast, padded):
    model = variant(model_type, attention="causal", fast=fast)
    ids, mask = (IDS, MASK) if padded else (IDS[:1], MASK[:1])
    changed = ids.clone()
    changed[0, -1] = 20
    before, after = states(model, ids, mask), states(model, changed, mask)
    torch.testing.assert_close(after[:, :-1], before[:, :-1])
    assert not torch.allclose(after[0, -1], before[0, -1])
    both = variant(model_type, fast=fast)
    assert not torch.allclose(states(both, changed, mask)[0, 0], states(both, ids, mask)[0, 0])


def test_the_fast_attention_is_the_plain_one_when_it_is_causal():
    plain, fast = (variant("gemma3_text", attention="causal", fast=fast) for fast in (False, True))
    for mask, ids in ((MASK, IDS), (MASK[:1], IDS[:1])):
        there = mask.bool()
        torch.testing.assert_close(states(fast, ids, mask)[there], states(plain, ids, mask)[there], rtol=0, atol=1e-4)


def test_the_last_token_is_the_last_that_is_no_padding():
    model = variant(pooling="last")
    found = states(model, IDS)
    with torch.no_grad():
        vectors = model(IDS, MASK)
    assert torch.equal(vectors, torch.stack([found[0, 5], found[1, 2]]))
    mean = variant()
    with torch.no_grad():
        assert torch.allclose(mean(IDS, MASK)[1], states(mean, IDS)[1, :3].mean(dim=0), atol=1e-5)


def test_an_encoder_cannot_be_made_causal():
    with pytest.raises(InvalidConfig, match="A bert model is no decoder"):
        as_variant(tiny_backbone("bert", num_key_value_heads=None, head_dim=None), VariantConfig(attention="causal"))


def test_texts_go_bare_without_instructions():
    config = tiny(Places()).stage("finetune")
    prompted = TrainingData.of_stage(config)
    bare = TrainingData.of_stage(config.model_copy(update={"variant": VariantConfig(instructions=False)}))
    assert any(source.info.query_prompt for source in prompted.sources)
    assert not any(source.info.query_prompt or source.info.document_prompt for source in bare.sources)
