"""ONNX Runtime as a contestant: the same network exported, in float32 and with its weights in 8 bits.

It gets what a careful user would give it: texts sorted by length, small batches, one session on all cores.
"""

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from app.benchmarks.errors import BenchRefused
from embedder.checkpoint import load_backbone, load_tokenizer, read_checkpoint
from embedder.model import EmbeddingModel

_BATCH = 8
_PROBE = (3, 16)
_AGREEMENT = 0.999

Encode = Callable[[Sequence[str]], NDArray[np.float32]]


def onnx_contestants(model: Path, max_tokens: int, scratch: Path) -> dict[str, Encode]:
    """Export a checkpoint and open it in ONNX Runtime.

    Args:
        model: Its folder.
        max_tokens: Longest text.
        scratch: Folder for the exported files.

    Raises:
        BenchRefused: If the packages are not installed, or the export gives other vectors than the model.
    """
    try:
        from onnxruntime.quantization import QuantType, quantize_dynamic
    except ImportError as error:
        raise BenchRefused("ONNX Runtime is not installed; run pip install 'kalm-retrieval[dev]'.") from error
    plain, coded = scratch / "float32.onnx", scratch / "int8.onnx"
    _export(model, plain)
    quantize_dynamic(
        plain, coded, per_channel=True, weight_type=QuantType.QInt8, op_types_to_quantize=["MatMul", "Gemm"],
        use_external_data_format=True,
    )  # fmt: skip
    tokenizer = load_tokenizer(model)
    return {
        "onnxruntime, float32": _encoder(plain, tokenizer, max_tokens),
        "onnxruntime, int8": _encoder(coded, tokenizer, max_tokens),
    }


@torch.inference_mode()
def _export(folder: Path, file: Path) -> None:
    backbone = load_backbone(read_checkpoint(folder), torch.float32)
    backbone.set_attn_implementation("eager")  # the form that the exporter knows
    model = EmbeddingModel(backbone).eval()
    ids, mask = torch.randint(5, 100, _PROBE), torch.ones(_PROBE, dtype=torch.long)
    mask[1, _PROBE[1] // 2 :] = 0
    batch, tokens = torch.export.Dim("batch"), torch.export.Dim("tokens")
    shapes = {name: {0: batch, 1: tokens} for name in ("input_ids", "attention_mask")}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter about its own parts
        program: Any = torch.onnx.export(
            model, (ids, mask), dynamo=True, dynamic_shapes=shapes, input_names=list(shapes), verbose=False
        )
        program.save(file, external_data=True)
    exported = torch.from_numpy(_session(file).run(None, _inputs(ids.numpy(), mask.numpy()))[0])
    agreement = torch.cosine_similarity(exported, model(ids, mask), dim=1).min()
    if not agreement > _AGREEMENT:
        raise BenchRefused(f"ONNX gives other vectors than the model (agreement {agreement:.3f}), so it is no peer.")


def _encoder(file: Path, tokenizer: Any, max_tokens: int) -> Encode:  # noqa: ANN401 - a tokenizer of transformers
    session = _session(file)

    def encode(texts: Sequence[str]) -> NDArray[np.float32]:
        rows = tokenizer(list(texts), truncation=True, max_length=max_tokens)["input_ids"]
        order = sorted(range(len(rows)), key=lambda row: len(rows[row]))
        pooled: list[NDArray[np.float32]] = []
        for start in range(0, len(order), _BATCH):
            batch = [rows[row] for row in order[start : start + _BATCH]]
            ids = np.zeros((len(batch), max(map(len, batch))), dtype=np.int64)
            mask = np.zeros_like(ids)
            for place, row in enumerate(batch):
                ids[place, : len(row)] = row
                mask[place, : len(row)] = 1
            pooled.append(session.run(None, _inputs(ids, mask))[0])
        vectors = np.empty((len(rows), pooled[0].shape[1]), dtype=np.float32)
        vectors[order] = np.concatenate(pooled)
        return vectors

    return encode


def _session(file: Path) -> Any:  # noqa: ANN401 - of an optional library
    import onnxruntime

    return onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])


def _inputs(ids: NDArray[np.int64], mask: NDArray[np.int64]) -> dict[str, NDArray[np.int64]]:
    return {"input_ids": ids, "attention_mask": mask}
