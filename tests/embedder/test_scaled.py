"""Rows short of a factor go through norms and products as the same rows with it multiplied in."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from embedder.scaled import Linear, Norm, Scaled

sizes = st.integers(1, 9)


def drawn(rows, width, seed):
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(rows, width, generator=generator)
    return values, torch.rand(rows, 1, generator=generator) * 3 + 0.01, torch.randn(width, generator=generator)


@given(rows=sizes, width=st.integers(1, 40), seed=st.integers(0, 99))
def test_a_norm_is_that_of_torch(rows, width, seed):
    values, scales, weight = drawn(rows, width, seed)
    norm = Norm(weight, 1e-2)  # large enough to be seen
    plain = functional.rms_norm(values, (width,), weight, 1e-2)
    scaled = functional.rms_norm(values * scales, (width,), weight, 1e-2)
    close = {"rtol": 1e-4, "atol": 1e-5}
    assert torch.allclose(norm(values), plain, **close)
    assert torch.allclose(norm.ahead(values).whole(), plain, **close)
    assert torch.allclose(norm.behind(Scaled(values.clone())), plain, **close)
    assert torch.allclose(norm(values, scales), scaled, **close)
    assert torch.allclose(norm.behind(Scaled(values.clone(), scales)), scaled, **close)


def test_a_row_of_zeros_stays_one():
    norm = Norm(torch.ones(4), 1e-6)
    tiny = torch.full((1, 1), 1e-32)
    assert torch.equal(norm.behind(Scaled(torch.zeros(1, 4), tiny)), torch.zeros(1, 4))
    assert torch.equal(norm(torch.zeros(1, 4)), torch.zeros(1, 4))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_product_is_in_the_arithmetic_of_its_weight(dtype):
    values, scales, _ = drawn(3, 8, 1)
    weight, bias = torch.randn(5, 8).to(dtype), torch.randn(5).to(dtype)
    found = Linear(weight, bias)(Scaled(values.clone(), scales))
    assert found.scales is None
    assert found.values.dtype == dtype
    assert torch.equal(found.whole(), functional.linear((values * scales).to(dtype), weight, bias))
    assert torch.equal(
        Linear(weight, None).multiply(values.to(dtype), dtype), functional.linear(values.to(dtype), weight)
    )
