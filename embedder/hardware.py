"""Which device and which arithmetic: measured, not guessed."""

import time

import torch

from embedder.errors import AppError

DTYPES = {
    "float32": torch.float32,
    "fp32": torch.float32,
    "bfloat16": torch.bfloat16,
    "bf16": torch.bfloat16,
}
"""Names people type for the arithmetic of the forward pass."""

_GAIN = 1.5
"""bfloat16 costs a little accuracy: it has to be at least this much faster to be chosen."""


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
    """The arithmetic meant by ``auto`` (the faster one at the model's width) or by name.

    Raises:
        UnknownSetting: If the name is unknown.
    """
    if dtype in DTYPES:
        return DTYPES[dtype]
    if dtype != "auto":
        raise UnknownSetting(f"There is no dtype {dtype!r}; use auto, float32 or bfloat16.")
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    slow, fast = (_product_seconds(kind, width) for kind in (torch.float32, torch.bfloat16))
    return torch.bfloat16 if slow > _GAIN * fast else torch.float32


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
