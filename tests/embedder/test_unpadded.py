"""The forward pass without padding gives the vectors of the padded one, whatever stands beside a text."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny import tiny_backbone

from embedder.bidirectional import DECODERS, CanaryFailed, check_forward, make_bidirectional
from embedder.model import EmbeddingModel, PaddedForward
from embedder.unpadded import UnpaddedDecoder

FAMILIES = pytest.mark.parametrize("family", sorted(DECODERS))
LONGEST = 16
"""The sliding window of the tiny Gemma."""


def pair(family, dtype=torch.float32, **overrides):
    """The same weights with padding and without."""
    backbone = make_bidirectional(tiny_backbone(family, **overrides).to(dtype)).requires_grad_(False)
    other = make_bidirectional(tiny_backbone(family, **overrides).to(dtype)).requires_grad_(False)
    return PaddedForward(EmbeddingModel(backbone), 0), UnpaddedDecoder(other)


@pytest.fixture(scope="module", params=sorted(DECODERS))
def both(request):
    return pair(request.param)


texts = st.lists(st.lists(st.integers(2, 399), min_size=1, max_size=LONGEST), min_size=1, max_size=9)


@given(rows=texts)
def test_any_batch_has_the_padded_vectors(both, rows):
    padded, unpadded = both
    assert torch.allclose(unpadded(rows), padded(rows), atol=2e-5)


@given(rows=texts, seed=st.integers(0, 99))
def test_neighbours_and_order_move_nothing(both, rows, seed):
    _, unpadded = both
    order = np.random.default_rng(seed).permutation(len(rows))
    together = unpadded([rows[row] for row in order])
    for row, vector in zip(order, together, strict=True):
        assert torch.allclose(unpadded([rows[row]])[0], vector, atol=2e-5)


@FAMILIES
def test_bfloat16_is_as_close_as_with_padding(family):
    draw = np.random.default_rng(1).integers
    rows = [draw(5, 399, length).tolist() for length in (16, 11, 7, 7, 3, 1) for _ in range(20)]
    exact = pair(family)[1](rows)
    padded, unpadded = (forward(rows) for forward in pair(family, torch.bfloat16))
    lost, allowed = (1 - torch.cosine_similarity(vectors, exact) for vectors in (unpadded, padded))
    assert lost.max() < 1e-3
    assert lost.mean() < 1.25 * allowed.mean()
    assert torch.cosine_similarity(unpadded, padded).min() > 0.999


@FAMILIES
def test_biases_come_along(family):
    """Qwen 2 has biases of its own; zero at the start, they would hide a mistake."""
    padded, unpadded = pair(family, **({} if family == "qwen2" else {"attention_bias": True}))
    for model in (padded._model.backbone, unpadded._backbone):
        torch.manual_seed(3)
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.normal_()
    rows = [[7, 8, 9, 10], [11, 12]]
    assert torch.allclose(unpadded(rows), padded(rows), atol=2e-5)


@FAMILIES
def test_positions_go_beyond_the_first_table(family):
    overrides = {"max_position_embeddings": 1024} | ({"sliding_window": 1024} if family == "gemma3_text" else {})
    padded, unpadded = pair(family, **overrides)
    rows = [[5 + place % 300 for place in range(length)] for length in (600, 20)]
    assert torch.allclose(unpadded(rows[1:]), padded(rows[1:]), atol=2e-5)
    assert torch.allclose(unpadded(rows), padded(rows), atol=5e-5)


@FAMILIES
def test_nothing_is_held_twice(family):
    backbone = make_bidirectional(tiny_backbone(family)).requires_grad_(False)
    before = sum(parameter.numel() for parameter in backbone.parameters())
    unpadded = UnpaddedDecoder(backbone)
    attention = backbone.layers[0].self_attn
    assert attention.k_proj.weight.untyped_storage().data_ptr() == attention.q_proj.weight.untyped_storage().data_ptr()
    assert attention.q_proj.weight.data_ptr() == unpadded._layers[0].joined.weight.data_ptr()
    assert sum(parameter.numel() for parameter in backbone.parameters()) == before


def test_a_window_narrower_than_the_texts_is_left_to_the_padded_pass():
    gemma = make_bidirectional(tiny_backbone("gemma3_text"))
    assert UnpaddedDecoder.supports(gemma, LONGEST)
    assert not UnpaddedDecoder.supports(gemma, LONGEST + 1)
    assert not UnpaddedDecoder.supports(tiny_backbone("bert"), LONGEST)


@FAMILIES
def test_a_pass_that_gives_other_vectors_is_refused(family, refused):
    backbone = make_bidirectional(tiny_backbone(family))
    unpadded = UnpaddedDecoder(backbone)
    check_forward(unpadded, backbone, family)
    with refused(CanaryFailed, family, "without padding"):
        check_forward(lambda rows: unpadded([row[:-1] for row in rows]), backbone, family)
