"""Which device and which arithmetic: measured, not guessed."""

import time

import torch

from embedder import int8
from embedder.errors import AppError

DTYPES = {
    "float32": torch.float32,
    "fp32": torch.float32,
    "bfloat16": torch.bfloat16,
    "bf16": torch.bfloat16,
}
"""Names people type for the arithmetic of the forward pass."""

INT8, INT8_FLOAT32 = "int8", "int8-float32"

BYTES = {INT8: torch.bfloat16, INT8_FLOAT32: torch.float32}
"""Arithmetics whose products are of whole numbers, with that of the states between them. They are two by name, since
their vectors differ in the last digits and an index holds those of one."""

_GAIN = 1.5
"""bfloat16 costs a little accuracy: it has to be at least this much faster to be chosen."""

_BYTES_GAIN = 1.2
"""What 8 bits have to gain on top, rounding included."""


class UnknownSetting(AppError):
    """A device or dtype that does not exist here."""


def pick_device(device: str) -> torch.device:
    """The device meant by ``auto`` (a GPU where there is one) or by name.

    Raises:
        UnknownSetting: If the device is not there.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise UnknownSetting(f"There is no device {device!r}; use auto, cpu or cuda.") from error
    if chosen.type not in ("cpu", "cuda"):
        raise UnknownSetting(f"The device {device!r} is not supported; use auto, cpu or cuda.")
    if chosen.type == "cuda" and not torch.cuda.is_available():
        raise UnknownSetting("No CUDA device is available here; use device='cpu' or 'auto'.")
    return chosen


def pick_dtype(dtype: str, device: torch.device, width: int) -> torch.dtype:
    """The arithmetic of the states: by name, or the faster one at the model's width for ``auto``.

    Raises:
        UnknownSetting: If the name is unknown.
    """
    if dtype in DTYPES | BYTES:
        return (DTYPES | BYTES)[dtype]
    if dtype != "auto":
        raise UnknownSetting(f"There is no dtype {dtype!r}; use auto, float32, bfloat16, {INT8} or {INT8_FLOAT32}.")
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    slow, fast = (_product_seconds(kind, width) for kind in (torch.float32, torch.bfloat16))
    return torch.bfloat16 if slow > _GAIN * fast else torch.float32


def pick_bytes(dtype: str, states: torch.dtype, width: int, *, fits: bool, holds: bool) -> str | None:
    """The arithmetic in 8 bits that is asked for, or the processor's own where ``auto`` finds it faster; else None.

    Which of the two is the processor's own is a matter of its instructions and not of a timing, by which two
    processes could differ.

    Args:
        dtype: What the caller typed.
        states: What ``pick_dtype`` made of it.
        width: Of the model.
        fits: Whether the model and its device can do it.
        holds: Whether the model's scores are known to hold in it, which ``auto`` asks for.

    Raises:
        UnknownSetting: If it is asked for and cannot be had.
    """
    fits = fits and int8.is_available()
    if dtype in BYTES and not fits:
        raise UnknownSetting(
            f"This model cannot be computed in {dtype} here, which takes a decoder and a processor with VNNI or AMX; "
            "use auto or bfloat16, and build an index that was made in it again."
        )
    if dtype in BYTES:
        return dtype
    is_faster = dtype == "auto" and fits and holds and int8.gain(states, width) > _BYTES_GAIN
    return bytes_here() if is_faster else None


def bytes_here() -> str:
    """The processor's own arithmetic in 8 bits: without instructions for bfloat16, states in it are slower."""
    has_bfloat16 = any("bf16" in name and is_there for name, is_there in torch.cpu.get_capabilities().items())
    return INT8 if has_bfloat16 else INT8_FLOAT32


def dtype_name(dtype: torch.dtype) -> str:
    """``float32`` or ``bfloat16``."""
    return str(dtype).removeprefix("torch.")


@torch.inference_mode()
def _product_seconds(dtype: torch.dtype, width: int, rows: int = 512, repeats: int = 5) -> float:
    """Best time of one feed-forward product of a model of this width."""
    states, weights = torch.ones(rows, width, dtype=dtype), torch.ones(4 * width, width, dtype=dtype)
    best = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        torch.nn.functional.linear(states, weights)
        best = min(best, time.perf_counter() - start)
    return best
