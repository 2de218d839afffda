"""Products in 8 bits stay near the exact ones, row by row, and are refused where they would not."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny import tiny_backbone

from embedder import hardware, int8
from embedder.bidirectional import DECODERS, CanaryFailed, check_rounding, make_bidirectional
from embedder.encoder import Embedder
from embedder.hardware import BYTES, UnknownSetting, bytes_here, pick_bytes
from embedder.int8 import Int8Linear, rounded
from embedder.scaled import Scaled
from embedder.unpadded import UnpaddedDecoder

pytestmark = pytest.mark.skipif(not int8.is_available(), reason="this processor does not multiply bytes exactly")

TEXTS = ["a small test", "一个小小的测试", "another one, somewhat longer than the first"]


def normal(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@given(
    rows=st.integers(1, 70),
    inputs=st.integers(1, 90),
    outputs=st.integers(1, 90),
    dtype=st.sampled_from([torch.float32, torch.bfloat16]),
    with_bias=st.booleans(),
    seed=st.integers(0, 99),
)
def test_a_product_is_near_the_exact_one(rows, inputs, outputs, dtype, with_bias, seed):
    states, weight = normal(rows, inputs, seed=seed).to(dtype), normal(outputs, inputs, seed=seed + 1)
    bias = normal(outputs, seed=seed + 2).to(dtype) if with_bias else None
    found = Int8Linear.of(weight.to(dtype), bias)(Scaled(states.clone())).whole()
    exact = torch.nn.functional.linear(states.float(), weight, None if bias is None else bias.float())
    # Half a step of each of two operands, added up at random; and what bfloat16 itself leaves.
    step = states.float().abs().amax(1, keepdim=True) * weight.abs().amax(1) / 127
    assert ((found.float() - exact).abs() <= 3 * step * inputs**0.5 + 0.02 * exact.abs() + 1e-5).all()
    assert found.dtype == dtype


def test_a_row_does_not_depend_on_those_beside_it():
    product = Int8Linear.of(normal(40, 64), None)
    states = normal(20, 64) * torch.logspace(-3, 3, 20)[:, None]
    together = product(Scaled(states.clone())).whole()
    for row in range(len(states)):
        assert torch.equal(product(Scaled(states[row : row + 1].clone())).whole()[0], together[row])


@given(rows=st.integers(1, 20), seed=st.integers(0, 99))
def test_the_factor_of_a_row_goes_through(rows, seed):
    values, factors = normal(rows, 24, seed=seed), normal(rows, 1, seed=seed + 1).abs() + 0.1
    product = Int8Linear.of(normal(12, 24, seed=seed + 2), normal(12, seed=seed + 3))
    apart, together = product(Scaled(values.clone(), factors)).whole(), product(Scaled(values * factors)).whole()
    assert torch.allclose(apart, together, rtol=2e-2, atol=2e-2)  # a rounding tips here and there


def test_codes_are_rounded_and_not_cut_off():
    found = rounded(Scaled(torch.tensor([[127.0, 0.4, 0.6, -0.6, -127.0], [0.0, 0.0, 0.0, 0.0, 0.0]])))
    assert found.values.tolist() == [[255, 128, 129, 127, 1], [128] * 5]
    assert found.scales[0].item() == 1
    assert torch.equal(Int8Linear.of(torch.ones(3, 5), None)(Scaled(torch.zeros(2, 5))).whole(), torch.zeros(2, 3))


@pytest.mark.parametrize("family", sorted(DECODERS))
def test_a_decoder_in_bytes_gives_nearly_its_vectors(family):
    backbone = make_bidirectional(tiny_backbone(family)).requires_grad_(False)
    plain = UnpaddedDecoder(backbone)
    in_bytes = plain.in_bytes()
    rows = [list(range(5, 5 + length)) for length in (16, 11, 7, 7, 3, 1)]
    together = in_bytes(rows)
    assert torch.cosine_similarity(together, plain(rows)).min() > 0.98
    assert not torch.equal(together, plain(rows))
    alone = torch.cat([in_bytes([row]) for row in rows])
    assert (
        torch.cosine_similarity(alone, together).min() > 0.9999
    )  # sums in another order tip a rounding here and there
    in_bytes.forget_weights()
    assert torch.equal(in_bytes(rows), together)
    assert sum(module.weight.numel() for module in backbone.modules() if isinstance(module, torch.nn.Linear)) == 0


def test_a_rounding_that_gives_other_vectors_is_refused(refused):
    backbone = make_bidirectional(tiny_backbone("qwen2"))
    plain = UnpaddedDecoder(backbone)
    check_rounding(plain.in_bytes(), plain, backbone, "tiny")
    with refused(CanaryFailed, "tiny", "int8"):
        check_rounding(lambda rows: plain([row[:-1] for row in rows]), plain, backbone, "tiny")


@pytest.mark.parametrize("dtype", BYTES)
def test_the_bundled_model_in_bytes(dtype):
    exact, coded = Embedder.load(dtype="float32"), Embedder.load(dtype=dtype)
    assert (exact.dtype, coded.dtype) == ("float32", dtype)
    agreement = (exact.encode_queries(TEXTS) * coded.encode_queries(TEXTS)).sum(axis=1)
    assert agreement.min() > 0.99
    assert coded.resized(128).dtype == dtype


@pytest.mark.parametrize(
    ("instructions", "dtype"),
    [
        ({"avx512_vnni": True, "avx512_bf16": False, "amx_bf16": False}, "int8-float32"),
        ({"avx512_vnni": True, "avx512_bf16": True, "amx_bf16": False}, "int8"),
        ({"avx512_vnni": True, "avx512_bf16": True, "amx_bf16": True}, "int8"),
    ],
)
def test_a_processor_has_one_arithmetic_in_bytes(monkeypatch, instructions, dtype):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: instructions)
    assert bytes_here() == dtype


@pytest.mark.parametrize("states", [torch.float32, torch.bfloat16], ids=str)
def test_in_bytes_a_model_gives_the_same_vectors_whatever_a_timing_said(monkeypatch, states):
    named = Embedder.load(dtype=bytes_here()).encode_queries(TEXTS)
    seconds = {torch.float32: 1.0, torch.bfloat16: 1.0} | {states: 0.1}
    monkeypatch.setattr(hardware, "_product_seconds", lambda kind, width: seconds[kind])
    monkeypatch.setattr(hardware.int8, "gain", lambda states, width: 2.0)
    chosen = Embedder.load()
    assert chosen.dtype == bytes_here()
    assert (chosen.encode_queries(TEXTS) == named).all()


def test_auto_rounds_only_what_is_known_to_hold(monkeypatch):
    def in_bytes(dtype, *, fits=True, holds=True):
        return pick_bytes(dtype, torch.bfloat16, 640, fits=fits, holds=holds)

    monkeypatch.setattr(hardware.int8, "gain", lambda states, width: 2.0)
    assert in_bytes("auto") == bytes_here()
    assert in_bytes("auto", holds=False) is None
    assert in_bytes("auto", fits=False) is None
    assert in_bytes("bfloat16") is None
    assert in_bytes("int8", holds=False) == "int8"
    monkeypatch.setattr(hardware.int8, "gain", lambda states, width: 1.1)
    assert in_bytes("auto") is None
    assert in_bytes("int8-float32") == "int8-float32"


def test_what_cannot_be_rounded_says_so(monkeypatch, refused):
    with refused(UnknownSetting, "int8", "bfloat16"):
        pick_bytes("int8", torch.float32, 64, fits=False, holds=True)
    monkeypatch.setattr(hardware.int8, "is_available", lambda: False)
    assert pick_bytes("auto", torch.float32, 64, fits=True, holds=True) is None
    with refused(UnknownSetting, "int8-float32", "VNNI"):
        pick_bytes("int8-float32", torch.float32, 64, fits=True, holds=True)


@pytest.mark.parametrize("error", [NotImplementedError("no oneDNN"), AttributeError("no operator")], ids=str)
def test_a_torch_that_cannot_multiply_bytes_is_no_obstacle(monkeypatch, error):
    def fail(*_):
        raise error

    monkeypatch.setattr(int8, "_multiply", lambda: fail)
    assert int8.is_available.__wrapped__() is False
