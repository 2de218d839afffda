"""Weights in four or eight bits: small on disk, whole again in memory.

Every 32 neighbouring values of a row share a scale, the value that is furthest from zero falls on the last code, and
the rest is rounded to the nearest one (block-wise absolute-maximum quantisation, arXiv 2110.02861). At four bits that
is 4.5 bits a value. Training may compute with the rounded values (``trainer/weights.py``), and then packing costs
nothing.
"""

import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from embedder.errors import AppError

PACKED_FILE = "packed.safetensors"
"""Stands in a checkpoint folder in the place of ``model.safetensors``."""

GROUP = 32
"""Neighbouring values that share a scale."""

Bits = Literal[4, 8]

_CODES, _SCALES = ".codes", ".scales"


class NotPackable(AppError):
    """A checkpoint that cannot be packed."""


def is_packable(weight: Tensor) -> bool:
    """Whether a tensor is a matrix whose rows are whole groups; all others stay as they are."""
    return weight.ndim == 2 and weight.shape[1] % GROUP == 0


def quantize(weight: Tensor, bits: Bits) -> tuple[Tensor, Tensor]:
    """Codes and scales of a matrix.

    Args:
        weight: ``(N, D)``, D a multiple of 32.
        bits: Of a code.

    Returns:
        ``(N, D)`` int8 codes, and ``(N, D / 32)`` bfloat16 scales.
    """
    groups = weight.detach().float().reshape(len(weight), -1, GROUP)
    furthest = groups.gather(2, groups.abs().argmax(dim=2, keepdim=True))
    lowest = -(2 ** (bits - 1))  # there is one more negative code than positive ones, so the furthest value takes it
    scales = (furthest / lowest).bfloat16()
    safe = torch.where(scales == 0, 1.0, scales.float())
    codes = (groups / safe).round_().clamp_(lowest, -lowest - 1).to(torch.int8)
    return codes.flatten(1), scales.squeeze(2)


def dequantize(codes: Tensor, scales: Tensor) -> Tensor:
    """The matrix ``(N, D)`` in float32 that codes and scales stand for."""
    return (codes.reshape(len(codes), -1, GROUP) * scales.float().unsqueeze(2)).flatten(1)


def rounded(weight: Tensor, bits: Bits) -> Tensor:
    """What a tensor is after packing and unpacking, in its own type."""
    return dequantize(*quantize(weight, bits)).to(weight.dtype) if is_packable(weight) else weight


def pack_checkpoint(source: Path, folder: Path, bits: Bits = 4) -> int:
    """Write a packed copy of a checkpoint folder.

    Args:
        source: A folder as ``save_checkpoint`` writes it.
        folder: Made if it is not there.
        bits: Of a value of the matrices; all else is kept in float32.

    Returns:
        Bytes of the packed folder.

    Raises:
        NotPackable: If the folder has no plain weights.
    """
    files = sorted(source.glob("*.safetensors"))
    if not files or source.joinpath(PACKED_FILE).exists():
        raise NotPackable(f"{source} has no weights to pack; name the folder of a finished model.")
    folder.mkdir(parents=True, exist_ok=True)
    for path in sorted(source.rglob("*.json")):
        if not path.name.endswith(".safetensors.index.json"):
            _copy_compact(path, folder / path.relative_to(source))
    for name in ("LICENSE", "NOTICE", "README.md"):
        if (source / name).is_file():
            shutil.copyfile(source / name, folder / name)
    for path in source.glob("*/*.safetensors"):  # dense layers: little beside the rest
        shutil.copyfile(path, folder / path.relative_to(source))
    packed: dict[str, Tensor] = {}
    for file in files:
        with safe_open(file, framework="pt") as tensors:
            for name in tensors.keys():  # noqa: SIM118 - it is no mapping
                packed |= _packed(name, tensors.get_tensor(name), bits)
    save_file(packed, folder / PACKED_FILE, metadata={"format": "pt"})
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def unpack(folder: Path) -> dict[str, Tensor]:
    """The weights of a packed folder by name, float32."""
    with safe_open(folder / PACKED_FILE, framework="pt") as tensors:
        return dict(_unpacked({name: tensors.get_tensor(name) for name in tensors.keys()}))  # noqa: SIM118


def _packed(name: str, tensor: Tensor, bits: Bits) -> Mapping[str, Tensor]:
    if not is_packable(tensor):
        return {name: tensor.float()}
    codes, scales = quantize(tensor, bits)
    if bits == 4:
        low, high = (codes + 8).view(torch.uint8).reshape(len(codes), -1, 2).unbind(dim=2)
        codes = low | high << 4
    return {name + _CODES: codes.contiguous(), name + _SCALES: scales.contiguous()}


def _unpacked(stored: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    for name, tensor in stored.items():
        if name.endswith(_CODES):
            plain = name.removesuffix(_CODES)
            codes = tensor
            if tensor.dtype == torch.uint8:  # two codes of four bits
                codes = torch.stack([tensor & 15, tensor >> 4], dim=2).flatten(1).view(torch.int8) - 8
            yield plain, dequantize(codes, stored[plain + _SCALES])
        elif not name.endswith(_SCALES):
            yield name, tensor


def _copy_compact(source: Path, target: Path) -> None:
    """JSON without its spaces: they are a third of a tokenizer."""
    value: Any = json.loads(source.read_text(encoding="utf-8"))
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(value, ensure_ascii=False, separators=(",", ":")), encoding="utf-8")
