"""The ceiling: what the matrix products of a model take alone, and how fast memory is.

A transformer on a CPU is its matrix products and everything else; only the first are work, so every encoding rate is
also given as the share of the time that its products take with nothing between them.
"""

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from app.benchmarks.machine import machine
from embedder.encoder import Embedder
from embedder.hardware import BYTES, DTYPES
from embedder.scaled import Linear
from embedder.unpadded import Product, UnpaddedDecoder

Arithmetic = Literal["float32", "bfloat16", "int8"]

SHAPES: dict[str, tuple[tuple[int, int], ...]] = {
    "qwen2-0.5b": ((896, 1152), (896, 896), (896, 4864), (896, 4864), (4864, 896)),
    "kalm-nano": ((640, 1536), (1024, 640), (640, 2048), (640, 2048), (2048, 640)),
}
"""Inputs and outputs of the products of one layer: queries, keys and values; out; gate; up; down."""

_ROWS = (32, 128, 512, 2048)
_COPIED_BYTES = 2**28


@dataclass(frozen=True, slots=True)
class Products:
    """All products of a model, to be computed with nothing between them."""

    products: tuple[Product, ...]
    dtype: torch.dtype
    results: torch.dtype

    @classmethod
    def of(cls, encoder: Embedder) -> "Products":
        """Those of a loaded model, joined where they are computed as one."""
        forward = encoder._forward
        results = (BYTES | DTYPES)[encoder.dtype]
        dtype = torch.uint8 if encoder.dtype in BYTES else results
        if isinstance(forward, UnpaddedDecoder):
            return cls(tuple(forward.products()), dtype, results)
        modules = [module for module in encoder._model.backbone.modules() if isinstance(module, torch.nn.Linear)]
        return cls(tuple(Linear(module.weight, None) for module in modules), dtype, results)

    @torch.inference_mode()
    def seconds(self, tokens: int) -> float:
        """Time of all of them for so many tokens."""
        widths = {product.inputs for product in self.products}
        states = {width: torch.ones(tokens, width, dtype=self.dtype) for width in widths}
        began = time.perf_counter()
        for product in self.products:
            product.multiply(states[product.inputs], self.results)
        return time.perf_counter() - began


def bench_machine(rounds: int) -> dict[str, Any]:
    """Rates of the products of the models served, and of memory; the best of interleaved rounds.

    Args:
        rounds: How often everything is measured.
    """
    cases = list(itertools.product(SHAPES, _ROWS, ("float32", "bfloat16", "int8")))
    runs = {case: _layer(SHAPES[case[0]], case[1], case[2]) for case in cases}  # type: ignore[arg-type]
    best = dict.fromkeys(cases, float("inf"))
    bandwidth = 0.0
    for _ in range(rounds):
        bandwidth = max(bandwidth, _bandwidth())
        for case, run in runs.items():
            best[case] = min(best[case], run())
    rates: dict[str, dict[str, dict[str, float]]] = {}
    for (shape, rows, kind), seconds in best.items():
        operations = 2 * rows * sum(inputs * outputs for inputs, outputs in SHAPES[shape])
        rates.setdefault(shape, {}).setdefault(f"{rows} tokens", {})[kind] = round(operations / seconds / 1e9, 1)
    return {
        "what": f"billions of operations a second in the products of one layer, best of {rounds} rounds",
        "products": rates,
        "memory_gigabytes_per_second": round(bandwidth, 1),
        "machine": machine(),
    }


def _layer(shapes: tuple[tuple[int, int], ...], rows: int, kind: Arithmetic) -> Callable[[], float]:
    """What times the products of one layer."""
    multiply: Callable[[Tensor, Tensor], Tensor]
    if kind == "int8":
        operands = [(_codes(rows, inputs), _codes(outputs, inputs).t()) for inputs, outputs in shapes]
        multiply = torch._int_mm
    else:
        dtype = getattr(torch, kind)
        operands = [
            (torch.ones(rows, inputs, dtype=dtype), torch.ones(outputs, inputs, dtype=dtype))
            for inputs, outputs in shapes
        ]
        multiply = torch.nn.functional.linear

    @torch.inference_mode()
    def run() -> float:
        began = time.perf_counter()
        for states, weight in operands:
            multiply(states, weight)
        return time.perf_counter() - began

    run()  # the first of a shape pays for its set-up
    return run


def _codes(rows: int, columns: int) -> Tensor:
    return torch.ones(rows, columns, dtype=torch.int8)


def _bandwidth() -> float:
    """Gigabytes read and written a second by a copy that no cache holds."""
    source = torch.ones(_COPIED_BYTES // 4)
    target = torch.empty_like(source)
    target.copy_(source)  # pages are there only once they are written
    began = time.perf_counter()
    target.copy_(source)
    return 2 * _COPIED_BYTES / (time.perf_counter() - began) / 1e9
