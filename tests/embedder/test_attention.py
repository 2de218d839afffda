"""Attention of texts one after the other is that of each text alone, wherever its rows were rounded up to."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from embedder.attention import Attention, Rotation, Shape
from embedder.scaled import Norm, Scaled

WIDTH = 8
LENGTHS = st.lists(st.integers(1, 80), min_size=1, max_size=6)


@given(lengths=LENGTHS)
def test_spans_stand_one_after_the_other_and_within_the_rows(lengths):
    shape = Shape.of(lengths)
    assert [span.tokens for span in shape.spans] == lengths
    assert shape.tokens == sum(lengths)
    assert shape.longest == max(lengths)
    start = 0
    for span in shape.spans:
        assert span.start == start
        assert span.tokens <= span.rows < span.tokens + 16
        assert shape.positions[span.start : span.start + span.tokens].tolist() == list(range(span.tokens))
        start += span.tokens
    assert len(shape.positions) >= max(span.end for span in shape.spans)


def test_rows_are_few_numbers():
    rows = {span.rows for length in range(1, 1025) for span in Shape.of([length]).spans}
    assert len(rows) == 16 + 28 + 8


@pytest.mark.parametrize(("heads", "shared"), [(4, 1), (4, 2), (3, 3)])
@pytest.mark.parametrize("with_norms", [True, False])
@given(lengths=LENGTHS, seed=st.integers(0, 9))
def test_every_text_attends_to_itself_alone(heads, shared, with_norms, lengths, seed):
    generator = torch.Generator().manual_seed(seed)
    shape = Shape.of(lengths)
    values = torch.randn(len(shape.positions), (heads + 2 * shared) * WIDTH, generator=generator)
    scales = torch.rand(len(values), 1, generator=generator) + 0.1
    norms = (Norm(torch.rand(WIDTH), 1e-6), Norm(torch.rand(WIDTH), 1e-6)) if with_norms else None
    angles = torch.randn(80, 1, WIDTH // 2, generator=generator).repeat(1, 1, 2)
    rotation = Rotation(angles.cos(), angles.sin())
    attention = Attention(heads, shared, 0.3, norms)
    found = attention(Scaled(values.clone(), scales), rotation.at(shape.positions), shape)
    assert found.shape == (len(values), heads * WIDTH)
    whole = (values * scales).view(len(values), -1, WIDTH)
    for span in shape.spans:
        rows = slice(span.start, span.start + span.tokens)
        places = rotation.at(torch.arange(span.tokens))
        asked, known, told = whole[rows].split((heads, shared, shared), dim=1)
        if norms:
            asked, known = norms[0](asked), norms[1](known)
        apart = [part.transpose(0, 1)[None] for part in (places(asked), places(known), told)]
        alone = functional.scaled_dot_product_attention(*apart, scale=0.3, enable_gqa=True)[0]
        assert torch.allclose(found[rows], alone.transpose(0, 1).flatten(1), atol=1e-5)
    assert found[shape.tokens :].count_nonzero() == 0
