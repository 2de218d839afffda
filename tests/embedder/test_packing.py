"""Packed checkpoints: what the codes stand for, what is lost, and that the folder opens as any other."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from tiny import tiny_backbone, tiny_tokenizer

from embedder import Embedder
from embedder.checkpoint import UnreadableCheckpoint, fingerprint, read_checkpoint, save_checkpoint
from embedder.packing import (
    GROUP,
    PACKED_FILE,
    NotPackable,
    dequantize,
    is_packable,
    pack_checkpoint,
    quantize,
    rounded,
    unpack,
)

TEXTS = ["bees make honey", "长江是亚洲最长的河流。", ""]


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plain")
    backbone = tiny_backbone("gemma3_text", hidden_size=64, intermediate_size=96)
    save_checkpoint(folder, backbone, tiny_tokenizer(), dims=(64, 32), max_tokens=128, prompts={"query": "q: "})
    return folder


def load(folder):
    return Embedder.load(str(folder), dtype="float32", device="cpu")


def test_a_group_worked_out_by_hand():
    """The furthest value, -0.8, falls on the lowest code, so a code is worth 0.1; 0.8 would be code 8, and 7 is cut."""
    group = torch.zeros(1, GROUP)
    group[0, :6] = torch.tensor([-0.8, 0.8, 0.33, -0.26, 0.04, 0.06])
    codes, scales = quantize(group, 4)
    assert codes[0, :7].tolist() == [-8, 7, 3, -3, 0, 1, 0]
    assert scales.dtype == torch.bfloat16
    assert scales.item() == pytest.approx(0.1, rel=2**-8)


@pytest.mark.parametrize(("bits", "share"), [(4, 1 / 8), (8, 1 / 128)])
@given(seed=st.integers(0, 2**31), spread=st.sampled_from([1e-6, 1.0, 1e6]))
def test_no_value_moves_by_more_than_its_groups_step(bits, share, seed, spread):
    weight = torch.randn(4, 3 * GROUP, generator=torch.Generator().manual_seed(seed)) * spread
    furthest = weight.unflatten(1, (-1, GROUP)).abs().amax(dim=2, keepdim=True)
    error = (rounded(weight, bits) - weight).unflatten(1, (-1, GROUP)).abs()
    # A step where the other end of the range is cut, and what rounding the scale adds.
    assert (error <= furthest * (share + 2**-8)).all()


def test_a_group_of_zeros_stays_zero_and_rounding_twice_is_rounding_once():
    weight = torch.randn(2, 2 * GROUP)
    weight[0, :GROUP] = 0
    once = rounded(weight, 4)
    assert not once[0, :GROUP].any()
    codes, scales = quantize(once, 4)
    torch.testing.assert_close(dequantize(codes, scales), once, rtol=2**-7, atol=0)


def test_what_is_no_matrix_of_whole_groups_is_left_alone():
    for weight in (torch.randn(GROUP), torch.randn(3, GROUP + 1), torch.randn(1, 2, GROUP)):
        assert not is_packable(weight)
        assert torch.equal(rounded(weight, 4), weight)


@pytest.mark.parametrize("bits", [4, 8])
def test_a_packed_folder_opens_with_the_weights_it_was_rounded_to(plain, tmp_path, bits):
    size = pack_checkpoint(plain, tmp_path, bits)
    assert size == sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())
    whole = load_file(plain / "model.safetensors")
    found = unpack(tmp_path)
    assert found.keys() == whole.keys()
    assert any(not is_packable(weight) for weight in whole.values())
    for name, weight in found.items():
        assert torch.equal(weight, rounded(whole[name], bits)), name
    packed = load(tmp_path)
    assert (packed.dims, packed.max_tokens, packed.prompts) == ((64, 32), 128, load(plain).prompts)
    state = packed._model.backbone.state_dict()
    assert all(torch.equal(weight, state[name]) for name, weight in found.items())


def test_four_bits_are_four_and_a_half_and_turn_vectors_little(plain, tmp_path):
    pack_checkpoint(plain, tmp_path, 4)
    values = sum(weight.numel() for weight in load_file(plain / "model.safetensors").values() if is_packable(weight))
    with safe_open(tmp_path / PACKED_FILE, "pt") as tensors:
        stored = [tensors.get_tensor(name) for name in tensors.keys()]  # noqa: SIM118
    packed = sum(part.numel() * part.element_size() for part in stored if part.dtype != torch.float32)
    assert packed * 8 == values * 4.5
    similar = (load(tmp_path).encode_documents(TEXTS) * load(plain).encode_documents(TEXTS)).sum(axis=1)
    assert (similar > 0.9).all()
    assert (similar < 1).any()


def test_the_same_weights_packed_and_plain_are_two_models(plain, tmp_path):
    pack_checkpoint(plain, tmp_path)
    assert fingerprint(read_checkpoint(tmp_path)) != fingerprint(read_checkpoint(plain))


def test_the_tokenizer_is_the_same_in_fewer_bytes(plain, tmp_path):
    pack_checkpoint(plain, tmp_path)
    assert (tmp_path / "tokenizer.json").stat().st_size < (plain / "tokenizer.json").stat().st_size
    for text in TEXTS:
        assert np.array_equal(load(plain).token_spans(text), load(tmp_path).token_spans(text))


def test_weights_that_lack_a_tensor_are_refused(plain, tmp_path):
    pack_checkpoint(plain, tmp_path)
    kept = load_file(tmp_path / PACKED_FILE)
    lost = next(name for name in kept if name.endswith(".codes"))
    save_file({name: value for name, value in kept.items() if name != lost}, tmp_path / PACKED_FILE)
    with pytest.raises(UnreadableCheckpoint, match=r"missing|cannot be read"):
        load(tmp_path)


def test_only_a_finished_plain_model_can_be_packed(plain, tmp_path):
    pack_checkpoint(plain, tmp_path / "once")
    for source in (tmp_path, tmp_path / "once"):
        with pytest.raises(NotPackable, match="has no weights to pack"):
            pack_checkpoint(source, tmp_path / "twice")
