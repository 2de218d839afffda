"""Dense layers between pooling and normalisation: the ``Dense`` modules of a sentence-transformers folder.

KaLM-Embedding-V2 has none. EmbeddingGemma has two, and a rotation onto principal axes is one (``trainer/rotation.py``).
Only layers without an activation are read.
"""

import json
import shutil
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from embedder.checkpoint import Checkpoint, UnreadableCheckpoint

_WEIGHTS = "model.safetensors"
_MODULES = "modules.json"
_IDENTITY = "Identity"


def load_dense(checkpoint: Checkpoint) -> nn.Sequential:
    """The layers of a checkpoint in float32, in the order they are applied; empty where it has none.

    Raises:
        UnreadableCheckpoint: If one has an activation, lacks weights, or does not fit what comes before it.
    """
    layers = [_layer(folder) for folder in checkpoint.dense]
    width = checkpoint.pooled_width
    for layer, folder in zip(layers, checkpoint.dense, strict=True):
        if layer.in_features != width:
            raise UnreadableCheckpoint(
                f"{folder} takes vectors of {layer.in_features} values and gets {width}; fetch the checkpoint again."
            )
        width = layer.out_features
    return nn.Sequential(*layers).requires_grad_(requires_grad=False)


def with_dense(source: Path, folder: Path, weight: Tensor) -> None:
    """Write a copy of a checkpoint folder that ends in one more dense layer without a bias.

    Args:
        source: A folder in the sentence-transformers layout.
        folder: Made if it is not there.
        weight: ``(out, in)``.
    """
    shutil.copytree(source, folder, dirs_exist_ok=True)
    modules = json.loads((folder / _MODULES).read_text(encoding="utf-8"))
    at = next((i for i, module in enumerate(modules) if module["type"].endswith("Normalize")), len(modules))
    path = f"{at}_Dense"
    modules.insert(at, {"path": path, "type": "sentence_transformers.models.Dense"})
    for number, module in enumerate(modules):
        module |= {"idx": number, "name": str(number)}
    place = folder / path
    place.mkdir(exist_ok=True)
    width_out, width_in = weight.shape
    settings = {
        "in_features": width_in,
        "out_features": width_out,
        "bias": False,
        "activation_function": "torch.nn.modules.linear.Identity",
    }
    (place / "config.json").write_text(json.dumps(settings), encoding="utf-8")
    (place / _WEIGHTS).write_bytes(save({"linear.weight": weight.float().contiguous()}, metadata={"format": "pt"}))
    (folder / _MODULES).write_text(json.dumps(modules), encoding="utf-8")


def _layer(folder: Path) -> nn.Linear:
    try:
        settings = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        tensors = load_file(folder / _WEIGHTS)
        weight, bias = tensors["linear.weight"].float(), tensors.get("linear.bias")
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise UnreadableCheckpoint(f"{folder} is not a dense layer that can be read; fetch it again.") from error
    activation = str(settings.get("activation_function", _IDENTITY)).rpartition(".")[2]
    if activation != _IDENTITY:
        raise UnreadableCheckpoint(f"{folder} has the activation {activation}, which is not supported.")
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, device="meta")
    layer.load_state_dict({"weight": weight} | ({} if bias is None else {"bias": bias.float()}), assign=True)
    return layer
