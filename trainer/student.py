"""The model that learns, between its opening and its finished folder."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import AutoModel, PreTrainedModel

from embedder import Embedder
from embedder.checkpoint import save_checkpoint
from embedder.hardware import pick_device
from embedder.prompts import instruction_for, wrap
from embedder.protocol import Side, Vectors
from embedder.tokenization import TextTokenizer
from embedder.vectors import truncate_and_normalize
from trainer.backbones import Backbone
from trainer.collate import Chunk, Collator, make_chunks
from trainer.config import InvalidConfig, LoraConfig, StageConfig
from trainer.kernels import speed_up
from trainer.variants import as_variant

_PREFIX = "backbone."
_WINDOW_TEXTS = 4096
"""Texts tokenised and sorted at a time in an evaluation."""


class Student:
    """A backbone with mean pooling, ready to be trained.

    Attributes:
        model: The network; pooled vectors come out of it.
        dims: Matryoshka widths of the stage, widest first.
    """

    def __init__(self, backbone: Backbone, config: StageConfig) -> None:
        """Wrap a backbone as the stage wants it: adapters, frozen table, recomputed activations.

        Raises:
            InvalidConfig: If the stage's widths are not those of the model.
        """
        self._config = config
        self._backbone = backbone
        self._shape = backbone.model.config
        width = int(self._shape.hidden_size)
        self.dims: tuple[int, ...] = config.loss.dims or (width,)
        if self.dims[0] != width:
            raise InvalidConfig(
                f"The widest of loss.dims is {self.dims[0]} and the vectors of {backbone.name} have {width} values; "
                f"let loss.dims begin with {width}."
            )
        if config.optimizer.freeze_embeddings:
            backbone.model.get_input_embeddings().requires_grad_(requires_grad=False)
        if config.runtime.gradient_checkpointing:
            backbone.model.activation_checkpointing_enable({"use_reentrant": False})
        if pick_device(config.runtime.device).type == "cpu":
            speed_up(backbone.model)
        network = _adapted(backbone.model, config.lora) if config.lora else backbone.model
        self.model = as_variant(network, config.variant)
        data = config.data
        self._queries = TextTokenizer(backbone.tokenizer, data.max_query_tokens)
        self._documents = TextTokenizer(backbone.tokenizer, data.max_document_tokens)
        self._whole = TextTokenizer(backbone.tokenizer, config.max_tokens)

    def collator(self) -> Collator:
        """What makes batches for this model."""
        return Collator(self._queries, self._documents, self._config.loss.negatives_per_query)

    def chunks(self, ids: Sequence[Sequence[int]], at_least: int = 1) -> list[Chunk]:
        """Forward passes for texts given as token ids."""
        return make_chunks(ids, self._config.runtime.chunk_tokens, self._queries.pad_id, at_least)

    def encode_chunk(self, chunk: Chunk) -> Tensor:
        """Pooled vectors ``(n, D)`` of a chunk, with a graph where gradients are on."""
        device = self.model.backbone.device
        pooled: Tensor = self.model(chunk.input_ids.to(device), chunk.attention_mask.to(device))
        return pooled

    def encode(self, texts: Sequence[str], side: Side, task: str) -> Vectors:
        """Unit vectors ``(N, D)`` for an evaluation, prompted as a user of the finished model would."""
        prompt = wrap(instruction_for(task, side)) if self._config.variant.instructions else ""
        vectors = np.empty((len(texts), self.dims[0]), dtype=np.float32)
        self.model.eval()
        with torch.no_grad():
            for start in range(0, len(texts), _WINDOW_TEXTS):
                window = self._whole.tokenize([prompt + text for text in texts[start : start + _WINDOW_TEXTS]])
                for chunk in self.chunks([row.ids for row in window]):
                    unit = truncate_and_normalize(self.encode_chunk(chunk)).float().cpu().numpy()
                    vectors[[start + row for row in chunk.rows]] = unit
        self.model.train()
        return vectors

    def export(self, tensors: Mapping[str, Tensor], folder: Path) -> None:
        """Write weights as a finished checkpoint and prove it by loading it.

        Args:
            tensors: What ``Weights.tensors`` gave.
            folder: Made if it is not there.

        Raises:
            CanaryFailed: If what was written does not attend in both directions.
        """
        prefix = f"weights/{_PREFIX}"
        state = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
        if self._config.lora:
            state = merge_adapters(state, self._config.lora)
        with torch.device("meta"):  # no memory and no random numbers for weights that are there already
            finished: PreTrainedModel = AutoModel.from_config(self._shape)  # type: ignore[no-untyped-call]
        if hasattr(finished, "pooler") and not any(name.startswith("pooler.") for name in state):
            finished.register_module("pooler", None)  # an encoder's head for classification, which was never opened
        for key in ("is_matryoshka", "matryoshka_dimensions"):  # of the model that training started from
            if hasattr(finished.config, key):
                delattr(finished.config, key)
        finished.load_state_dict({name: value.float() for name, value in state.items()}, assign=True)
        save_checkpoint(
            folder,
            finished,
            self._backbone.tokenizer,
            dims=self.dims,
            max_tokens=self._config.max_tokens,
            prompts={"query": wrap(instruction_for("Retrieval", "query")), "document": ""},
        )
        Embedder.load(str(folder), device="cpu", dtype="float32")


def merge_adapters(state: Mapping[str, Tensor], config: LoraConfig) -> dict[str, Tensor]:
    """Weights of the plain model from those with low-rank adapters: ``W + alpha / rank * B A`` (arXiv 2106.09685)."""
    merged: dict[str, Tensor] = {}
    for name, value in state.items():
        plain = name.removeprefix("base_model.model.")
        if ".lora_" in plain:
            continue
        if ".base_layer." in plain and plain.endswith("weight"):
            stem = name.removesuffix("base_layer.weight")
            low, high = state[f"{stem}lora_A.default.weight"], state[f"{stem}lora_B.default.weight"]
            value = value + config.alpha / config.rank * (high @ low)
        merged[plain.replace(".base_layer.", ".")] = value
    return merged


def _adapted(model: PreTrainedModel, config: LoraConfig) -> PreTrainedModel:
    """The model with low-rank adapters, which alone learn."""
    from peft import LoraConfig as Adapters
    from peft import TaskType, get_peft_model

    adapters = Adapters(
        r=config.rank,
        lora_alpha=config.alpha,
        lora_dropout=config.dropout,
        target_modules=list(config.targets),
        task_type=TaskType.FEATURE_EXTRACTION,
    )
    try:
        with warnings.catch_warnings():  # peft asks transformers by a name that is going away
            warnings.simplefilter("ignore", FutureWarning)
            adapted: Any = get_peft_model(model, adapters)
    except ValueError as error:
        wanted = ", ".join(config.targets)
        raise InvalidConfig(f"The setting lora.targets names no layer of the model: {wanted}.") from error
    return adapted  # type: ignore[no-any-return]  # it passes on what it does not have itself
