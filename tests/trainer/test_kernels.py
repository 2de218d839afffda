"""The faster arithmetic against that of transformers: vectors and gradients, families, padding, windows."""

import copy

import pytest
import torch
from tiny import tiny_backbone
from torch.testing import assert_close

from embedder.bidirectional import check_attention, make_bidirectional
from embedder.model import EmbeddingModel
from trainer.kernels import ATTENTION, RootMeanSquareNorm, speed_up


def pooled_and_gradients(model, ids, mask):
    network = EmbeddingModel(model)
    vectors = network(ids, mask)
    vectors.backward(torch.linspace(-1, 1, vectors.numel(), dtype=vectors.dtype).view_as(vectors))
    return vectors.detach(), {name: value.grad for name, value in model.named_parameters() if value.grad is not None}


@pytest.mark.parametrize("family", ["qwen2", "qwen3", "llama", "gemma3_text"])
@pytest.mark.parametrize("lengths", [[40, 40], [40, 7]], ids=["equal", "padded"])
def test_vectors_and_gradients_are_those_of_transformers(family, lengths):
    plain = make_bidirectional(tiny_backbone(family))
    with torch.no_grad():
        for name, value in plain.named_parameters():
            if "norm" in name:
                value.add_(0.1 * torch.randn_like(value))  # weights of 1 would hide a norm that leaves them out
    fast = copy.deepcopy(plain)
    speed_up(fast)
    assert fast.config._attn_implementation == ATTENTION
    ids = torch.randint(5, 400, (2, 40))
    mask = (torch.arange(40) < torch.tensor(lengths)[:, None]).long()
    expected, found = pooled_and_gradients(plain, ids, mask), pooled_and_gradients(fast, ids, mask)
    assert_close(found[0], expected[0], rtol=1e-4, atol=1e-5)
    assert found[1].keys() == expected[1].keys()
    for name, gradient in expected[1].items():
        assert_close(found[1][name], gradient, rtol=1e-3, atol=1e-4, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.parametrize("family", ["qwen2", "gemma3_text"])
def test_the_canary_passes(family):
    model = make_bidirectional(tiny_backbone(family))
    speed_up(model)
    check_attention(model, family)


def test_float64_stays_float64():
    model = make_bidirectional(tiny_backbone("qwen2")).double()
    speed_up(model)
    ids, mask = torch.randint(5, 400, (3, 9)), torch.ones(3, 9, dtype=torch.int64)
    together = EmbeddingModel(model)(ids, mask)
    longer = torch.cat([ids, ids[:, :4]], dim=1), torch.cat([mask, torch.zeros(3, 4, dtype=torch.int64)], dim=1)
    padded = EmbeddingModel(model)(*longer)
    assert_close(padded, together, rtol=0, atol=1e-13)


def test_other_families_stay_as_they_are():
    model = tiny_backbone("bert")
    before = model.config._attn_implementation
    speed_up(model)
    assert model.config._attn_implementation == before


def test_dropout_drops_weights_in_training_only():
    model = make_bidirectional(tiny_backbone("qwen2", attention_dropout=0.5))
    speed_up(model)
    ids, mask = torch.randint(5, 400, (1, 9)), torch.ones(1, 9, dtype=torch.int64)
    network = EmbeddingModel(model)
    assert_close(network(ids, mask), network(ids, mask))
    model.train()
    assert not torch.allclose(network(ids, mask), network(ids, mask))


def test_the_norms_gradient_is_that_of_finite_differences():
    states = torch.randn(3, 5, 8, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(8, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, w: RootMeanSquareNorm.apply(x, w, 1e-6), (states, weight))
