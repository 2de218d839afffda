"""Attention of texts one after the other is that of each text alone, wherever its rows were rounded up to."""

import itertools

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from torch.nn import functional

from embedder.attention import Attention, Heads, Rotation, Shape
from embedder.scaled import Norm, Scaled
from embedder.steps import PlainSteps

WIDTH = 8
LENGTHS = st.lists(st.integers(1, 80), min_size=1, max_size=6)
ARITHMETICS = st.sampled_from([torch.float32, torch.bfloat16])


@given(lengths=LENGTHS, dtype=ARITHMETICS)
@example(lengths=[1, 65, 1], dtype=torch.bfloat16)  # the rows of the second end behind those of the last
def test_runs_stand_one_after_the_other_and_within_the_rows(lengths, dtype):
    shape = Shape.of(lengths, dtype)
    assert [run.tokens for run in shape.runs for _ in range(run.texts)] == lengths
    assert shape.tokens == sum(lengths)
    assert shape.longest == max(lengths)
    start = 0
    for run in shape.runs:
        assert run.start == start
        assert run.tokens <= run.rows < run.tokens + 16
        assert run.texts == 1 or run.rows == run.tokens
        count = run.texts * run.tokens
        assert shape.positions[start : start + count].tolist() == list(range(run.tokens)) * run.texts
        start += count
    assert len(shape.positions) >= max(run.end for run in shape.runs)


def test_rows_are_few_numbers_where_each_is_made_ready():
    rows = {run.rows for length in range(1, 1025) for run in Shape.of([length], torch.bfloat16).runs}
    assert len(rows) == 16 + 28 + 16
    states = {len(Shape.of([length], torch.float32).positions) for length in range(1, 1025)}
    assert states == rows


def test_texts_of_one_length_share_a_product_while_it_is_small():
    assert [run.texts for run in Shape.of([128] * 9 + [64, 32, 32, 400, 400], torch.float32).runs] == [8, 1, 1, 2, 1, 1]
    assert [run.texts for run in Shape.of([128] * 3, torch.bfloat16).runs] == [1, 1, 1]


@pytest.mark.parametrize(("heads", "shared"), [(4, 1), (4, 2), (3, 3)])
@pytest.mark.parametrize("with_norms", [True, False])
@given(
    lengths=LENGTHS | st.tuples(st.integers(1, 80), st.integers(1, 6)).map(lambda of: [of[0]] * of[1]),
    dtype=ARITHMETICS,
    seed=st.integers(0, 9),
)
def test_every_text_attends_to_itself_alone(heads, shared, with_norms, lengths, dtype, seed):
    generator = torch.Generator().manual_seed(seed)
    shape = Shape.of(lengths, dtype)
    values = torch.randn(len(shape.positions), (heads + 2 * shared) * WIDTH, generator=generator)
    scales = torch.rand(len(values), 1, generator=generator) + 0.1
    norms = (Norm(torch.rand(WIDTH), 1e-6), Norm(torch.rand(WIDTH), 1e-6)) if with_norms else None
    angles = torch.randn(80, 1, WIDTH // 2, generator=generator).repeat(1, 1, 2)
    rotation = Rotation(angles.cos(), angles.sin())
    attention = Attention(Heads(heads, shared, norms), 0.3)
    parts = PlainSteps().heads(Scaled(values.clone(), scales), attention.heads, rotation.at(shape.positions))
    found = attention(*parts, shape)
    assert found.shape == (len(values), heads * WIDTH)
    whole = (values * scales).view(len(values), -1, WIDTH)
    ends = list(itertools.accumulate(lengths))
    for length, end in zip(lengths, ends, strict=True):
        rows = slice(end - length, end)
        places = rotation.at(torch.arange(length))
        asked, known, told = whole[rows].split((heads, shared, shared), dim=1)
        if norms:
            asked, known = norms[0](asked), norms[1](known)
        apart = [part.transpose(0, 1)[None] for part in (places(asked), places(known), told)]
        alone = functional.scaled_dot_product_attention(*apart, scale=0.3, enable_gqa=True)[0]
        assert torch.allclose(found[rows], alone.transpose(0, 1).flatten(1), atol=1e-5)
    assert found[shape.tokens :].count_nonzero() == 0
