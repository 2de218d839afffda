"""The kernels do between products what torch does, row by row, and leave it to torch where they cannot."""

import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny import tiny_backbone
from torch.nn import functional

from embedder import int8
from embedder.attention import Heads, Rotation
from embedder.bidirectional import DECODERS, make_bidirectional
from embedder.int8 import rounded
from embedder.scaled import Norm, Scaled
from embedder.steps import Activation, PlainSteps
from embedder.unpadded import UnpaddedDecoder

kernels = pytest.importorskip("embedder.kernels")
fused = pytest.importorskip("embedder.fused")

STEPS, PLAIN = fused.FusedSteps(), PlainSteps()
ROWS, WIDTHS, SEEDS = st.integers(1, 9), st.integers(1, 70), st.integers(0, 99)
ACTIVATIONS = [
    Activation.of("gelu_pytorch_tanh", lambda states: functional.gelu(states, approximate="tanh")),
    Activation.of("silu", functional.silu),
]


DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)


def drawn(seed, *shape, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def assert_states(found, exact, dtype):
    """States as they come out of the same ones in float32, each rounded once at the end."""
    assert found.dtype == dtype
    close = {"rtol": 1e-4, "atol": 1e-5} if dtype == torch.float32 else {"rtol": 2**-8, "atol": 1e-5}
    assert torch.allclose(found.float(), exact, **close)


def factors(seed, rows):
    return drawn(seed, rows, 1).abs() + 0.1


def assert_codes(found, expected):
    """The codes of rows: a value half-way between two of them may go either way."""
    exact = rounded(expected)
    assert found.values.dtype == torch.uint8
    assert (found.values.int() - exact.values.int()).abs().max() <= 1
    assert (found.values != exact.values).float().mean() < 0.02 + 1 / found.values.numel()
    assert torch.allclose(found.scales, exact.scales, rtol=2e-5)


@DTYPES
@given(rows=ROWS, width=WIDTHS, seed=SEEDS)
def test_rows_are_rounded_as_torch_does(dtype, rows, width, seed):
    states = (drawn(seed, rows, width) * torch.logspace(-3, 3, rows)[:, None]).to(dtype)
    assert_codes(STEPS.whole(states.clone()), Scaled(states.float()))
    norm = Norm(drawn(seed + 1, width), 1e-2)
    assert_codes(STEPS.ahead(states, norm), norm.ahead(states.float()))


@DTYPES
@pytest.mark.parametrize("with_scales", [True, False])
@pytest.mark.parametrize("with_norm", [True, False])
@given(rows=ROWS, width=WIDTHS, seed=SEEDS)
def test_a_block_is_added(dtype, with_scales, with_norm, rows, width, seed):
    states, values = drawn(seed, rows, width, dtype=dtype), drawn(seed + 1, rows, width, dtype=dtype)
    scales = factors(seed + 2, rows) if with_scales else None
    norm = Norm(drawn(seed + 3, width), 1e-2) if with_norm else None
    found, exact = states.clone(), states.float()
    STEPS.add(found, Scaled(values.clone(), scales), norm)
    PLAIN.add(exact, Scaled(values.float(), scales), norm)
    assert_states(found, exact, dtype)


@DTYPES
@pytest.mark.parametrize("activation", ACTIVATIONS, ids=["gelu", "silu"])
@given(rows=ROWS, width=WIDTHS, seed=SEEDS)
def test_gates(dtype, activation, rows, width, seed):
    gate, up = (drawn(seed, rows, width) * 4).to(dtype), drawn(seed + 1, rows, width, dtype=dtype)
    scales = factors(seed + 2, rows)
    found = STEPS.gated(Scaled(gate.clone(), scales), Scaled(up.clone(), scales), activation)
    assert_codes(found, PLAIN.gated(Scaled(gate.float(), scales), Scaled(up.float(), scales), activation))


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=["gelu", "silu"])
def test_gates_far_out_are_open_or_shut(activation):
    gate = torch.tensor([[-1e4, -100.0, 0.0, 100.0, 1e4]])
    found = STEPS.gated(Scaled(gate.clone()), Scaled(torch.ones(1, 5)), activation)
    values = (found.values.int() - 128) * found.scales
    assert torch.allclose(values, gate.clamp(min=0), atol=found.scales.item() / 2 + 1e-6)


@DTYPES
@pytest.mark.parametrize(("asked", "shared"), [(4, 1), (4, 2), (3, 3)])
@pytest.mark.parametrize("with_norms", [True, False])
@given(rows=ROWS, half=st.integers(1, 9), seed=SEEDS)
def test_heads_are_split_normed_and_turned(dtype, asked, shared, with_norms, rows, half, seed):
    width = 2 * half
    joined = drawn(seed, rows, (asked + 2 * shared) * width, dtype=dtype)
    scales = factors(seed + 1, rows)
    norms = (Norm(drawn(seed + 2, width), 1e-2), Norm(drawn(seed + 3, width), 1e-2)) if with_norms else None
    angles = drawn(seed + 4, rows, 1, half).repeat(1, 1, 2)
    turn = Rotation(angles.cos().to(dtype), angles.sin().to(dtype))
    exact = Rotation(turn.cosines.float(), turn.sines.float())
    heads = Heads(asked, shared, norms)
    found = STEPS.heads(Scaled(joined.clone(), scales), heads, turn)
    for one, other in zip(found, PLAIN.heads(Scaled(joined.float(), scales), heads, exact), strict=True):
        assert_states(one, other, dtype)


def test_a_row_of_zeros_is_one():
    nothing = torch.zeros(2, 5)
    assert STEPS.whole(nothing.clone()).values.unique().tolist() == [128]
    assert STEPS.ahead(nothing, Norm(torch.ones(5), 1e-6)).values.unique().tolist() == [128]
    STEPS.add(nothing, Scaled(torch.zeros(2, 5), torch.full((2, 1), 1e-32)), Norm(torch.ones(5), 1e-6))
    assert torch.equal(nothing, torch.zeros(2, 5))


needs_bytes = pytest.mark.skipif(not int8.is_available(), reason="this processor does not multiply bytes exactly")


def decoder(family, dtype):
    return UnpaddedDecoder(make_bidirectional(tiny_backbone(family).to(dtype)).requires_grad_(False))


@needs_bytes
@pytest.mark.parametrize("family", sorted(DECODERS))
def test_a_decoder_gives_the_vectors_that_it_gives_through_torch(family):
    in_bytes = decoder(family, torch.float32).in_bytes()
    rows = [list(range(5, 5 + length)) for length in (16, 11, 7, 7, 3, 1)]
    assert isinstance(in_bytes._steps, fused.FusedSteps)
    found = in_bytes(rows)
    in_bytes._steps = PlainSteps(rounds=True)
    assert torch.cosine_similarity(found, in_bytes(rows)).min() > 0.9999


@needs_bytes
@pytest.mark.parametrize("family", sorted(DECODERS))
def test_in_bfloat16_a_decoder_loses_no_more_than_through_torch(family):
    draw = np.random.default_rng(1).integers
    rows = [draw(5, 399, length).tolist() for length in (16, 11, 7, 7, 3, 1) for _ in range(20)]
    exact, in_bytes = decoder(family, torch.float32)(rows), decoder(family, torch.bfloat16).in_bytes()
    lost = 1 - torch.cosine_similarity(in_bytes(rows), exact)
    in_bytes._steps = PlainSteps(rounds=True)
    allowed = 1 - torch.cosine_similarity(in_bytes(rows), exact)
    assert lost.mean() < 1.1 * allowed.mean()


@needs_bytes
def test_torch_does_what_kernels_cannot(monkeypatch):
    def steps(**overrides):
        return UnpaddedDecoder(make_bidirectional(tiny_backbone("qwen2", **overrides))).in_bytes()._steps

    assert isinstance(steps(), fused.FusedSteps)
    assert steps(hidden_act="gelu") == PlainSteps(rounds=True)
    monkeypatch.setitem(sys.modules, "embedder.fused", None)  # numba is not installed
    assert steps() == PlainSteps(rounds=True)


def test_a_kernel_needs_no_place_to_keep_what_was_compiled():
    namespace = {"__name__": "nowhere"}
    exec("def doubled(values):\n    for i in range(len(values)):\n        values[i] *= 2\n", namespace)  # noqa: S102
    values = np.ones(3, np.float32)
    kernels._kernel(namespace["doubled"])(values)
    assert values.tolist() == [2, 2, 2]
