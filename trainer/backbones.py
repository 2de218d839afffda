"""The network a stage starts from: opened from a folder, the hub or a GGUF file, or made at random, then cut to size.

Three ways of naming one, all in :class:`BackboneConfig.path <trainer.config.BackboneConfig>`: a catalogue name, a hub
id or a folder, as the embedder takes them; a ``.gguf`` file, whose quantised weights become float32; and
``random:SHAPE``, an untrained decoder with a tokenizer learnt from the stage's own texts.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoConfig,
    AutoModel,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    Qwen2Config,
    Qwen2Model,
    Qwen2Tokenizer,
)

from embedder.bidirectional import check_attention, make_bidirectional
from embedder.catalogue import locate
from embedder.checkpoint import load_backbone, load_tokenizer, quiet_transformers, read_checkpoint
from embedder.errors import AppError
from embedder.tokenization import clean
from trainer.config import BackboneConfig
from trainer.vocabulary import prune_vocabulary, rebuilt

_RANDOM = "random:"
_SEED = 20506
_END_OF_TEXT = "<|endoftext|>"

_GGUF_TYPES = {"qwen2": "qwen2", "qwen3": "qwen3", "llama": "llama", "gemma3": "gemma3_text"}
"""llama.cpp's name of each architecture that can be made bidirectional, and that of transformers."""

_GGUF_SPLITS = {
    *("default", "gpt-2", "smollm", "qwen2", "deepseek-r1-qwen", "f2llmv2", "megrez"),
    *("llama3", "llama-v3", "llama-bpe", "jina-v5-nano", "tekken"),
}
"""How a GGUF file may say that text is split before merging: those that are split here as they were in training."""

_LAYER_LISTS = ("layers", "encoder.layer", "transformer.layer")
"""Where the model classes of :mod:`embedder.bidirectional` keep their layers."""


class UnusableBackbone(AppError):
    """A model that a stage cannot start from."""


@dataclass(frozen=True, slots=True)
class Backbone:
    """A model ready to be trained.

    Attributes:
        model: Without any head, float32, bidirectional, in evaluation mode.
        tokenizer: Its fast tokenizer, with a padding token; its ids all have a row in the model's table.
        name: What to call it.
        origin: What it was opened by.
        licence: As its source states it; empty where it does not.
        notes: What was done to it, a sentence each, for the model card.
        hub_id: Its name on the Hugging Face hub, if that is where it is from.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    name: str
    origin: str
    licence: str = ""
    notes: tuple[str, ...] = ()
    hub_id: str = ""


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes of a Qwen2 decoder.

    Attributes:
        layers: Transformer layers.
        hidden: Width of the states.
        feed_forward: Inner width of the feed-forward blocks.
        heads: Attention heads.
        kv_heads: Key and value heads, shared by groups of heads.
        table: Rows of the token table.
        tokens: Most tokens of the tokenizer that is learnt for it.
        theta: Base of the rotary positions.
        positions: Longest input.
    """

    layers: int
    hidden: int
    feed_forward: int
    heads: int
    kv_heads: int
    table: int
    tokens: int
    theta: float = 10_000.0
    positions: int = 2048


SHAPES: Mapping[str, Shape] = {
    "qwen2-tiny": Shape(3, 64, 128, 4, 2, table=4000, tokens=4000),
    "qwen2-small": Shape(6, 384, 1536, 6, 2, table=16_000, tokens=16_000),
    # Qwen2-0.5B, which KaLM-Embedding-V2 starts from (arXiv 2506.20923).
    "qwen2-0.5b": Shape(24, 896, 4864, 14, 2, table=151_936, tokens=16_000, theta=1e6, positions=32_768),
}
"""Shapes that ``random:`` makes."""


def open_backbone(config: BackboneConfig, *, texts: Callable[[], Iterable[str]] | None) -> Backbone:
    """Open the model a stage starts from, keep the layers and tokens the stage wants, and prove how it attends.

    Args:
        config: What to open and what to keep of it.
        texts: Gives the stage's texts, afresh at each call: they decide which tokens are kept and what a random
            model's tokenizer learns. Not called where neither is asked for.

    Raises:
        AppError: If there is no such model, it cannot be read or is of an unsupported architecture, or the layers or
            tokens to keep do not fit it.
    """
    opened = _open(config.path, texts)
    model, tokenizer, notes = opened.model, opened.tokenizer, list(opened.notes)
    if config.layers:
        notes.append(f"Kept {len(config.layers)} of {model.config.num_hidden_layers} layers.")
        model = keep_layers(model, config.layers)
    if config.vocabulary:
        if texts is None:
            raise UnusableBackbone("Keeping the most frequent tokens needs texts; give the stage data.")
        before = len(tokenizer)
        model, tokenizer = prune_vocabulary(model, tokenizer, texts(), config.vocabulary)
        notes.append(f"Kept {len(tokenizer)} of {before} tokens.")
    check_attention(model, opened.name)
    return Backbone(model, tokenizer, opened.name, opened.origin, opened.licence, tuple(notes))


def keep_layers(model: PreTrainedModel, layers: Sequence[int]) -> PreTrainedModel:
    """Drop all transformer layers but some, which keep their order.

    Args:
        model: Changed in place.
        layers: Numbers of the layers to keep, counted from 0.

    Returns:
        The same model.

    Raises:
        UnusableBackbone: If a number is not that of a layer or stands twice, or none is given.
    """
    owner, attribute, present = _layer_list(model)
    kept = sorted(layers)
    strange = [layer for layer in kept if not 0 <= layer < len(present)]
    if strange or not kept or len(set(kept)) < len(kept):
        which = f"not {strange[0]}" if strange else "each once and at least one"
        raise UnusableBackbone(f"The model has layers 0 to {len(present) - 1}; choose layers among these, {which}.")
    remaining = torch.nn.ModuleList([present[layer] for layer in kept])
    for number, layer in enumerate(remaining):
        for module in layer.modules():
            if hasattr(module, "layer_idx"):
                setattr(module, "layer_idx", number)  # noqa: B010 - not declared on nn.Module
    setattr(owner, attribute, remaining)
    for key, value in vars(model.config).items():
        if isinstance(value, list) and len(value) == len(present):  # one entry per layer, as Gemma 3's layer_types
            setattr(model.config, key, [value[layer] for layer in kept])
    model.config.num_hidden_layers = len(kept)
    return model


def random_backbone(
    shape: Shape, texts: Iterable[str], *, seed: int = _SEED
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """An untrained bidirectional Qwen2 decoder and a byte-level BPE tokenizer learnt from texts.

    Args:
        shape: Its sizes.
        texts: What the tokenizer learns its merges from; it reads every other text too, in more tokens.
        seed: Of the weights.

    Returns:
        The model, float32, in evaluation mode, and its tokenizer.
    """
    tokenizer = _byte_level_tokenizer(texts, shape.tokens)
    config = Qwen2Config(
        vocab_size=shape.table,
        hidden_size=shape.hidden,
        intermediate_size=shape.feed_forward,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        max_position_embeddings=shape.positions,
        rope_parameters={"rope_type": "default", "rope_theta": shape.theta},
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    config.is_causal = False
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model: PreTrainedModel = make_bidirectional(Qwen2Model(config))
    model.train(False)
    return model, tokenizer


def _open(path: str, texts: Callable[[], Iterable[str]] | None) -> Backbone:
    if path.startswith(_RANDOM):
        name = path.removeprefix(_RANDOM)
        if name not in SHAPES:
            raise UnusableBackbone(f"There is no random model {name!r}; there are {', '.join(SHAPES)}.")
        if texts is None:
            raise UnusableBackbone(f"{path} learns its tokenizer from texts; give the stage data.")
        return Backbone(*random_backbone(SHAPES[name], texts()), name, path, notes=("The weights are random.",))
    if path.lower().endswith(".gguf"):
        return _from_gguf(Path(path).expanduser())
    if not path:
        raise UnusableBackbone("No model is named to start from; set base.path to a model folder, a name or a file.")
    location = locate(path)
    entry = location.published or location.bundled
    checkpoint = read_checkpoint(location.folder)
    model = load_backbone(checkpoint, torch.float32)
    tokenizer = _fitting(load_tokenizer(location.folder), model, location.name)
    is_on_hub = not Path(location.source).is_dir() and "/" in location.source
    hub_id = location.published.repository if location.published else location.source if is_on_hub else ""
    licence = entry.licence if entry else ""
    notes = ("Its dense layers were left out.",) if checkpoint.dense else ()
    return Backbone(model, tokenizer, location.name, location.source, licence, notes, hub_id)


def _from_gguf(path: Path) -> Backbone:
    """The weights of a GGUF file in float32, and the tokenizer it carries."""
    metadata = _gguf_metadata(path)
    name = str(metadata.get("general.name") or path.stem)
    options: dict[str, Any] = {"gguf_file": path.name, "local_files_only": True}
    try:
        tokenizer = AutoTokenizer.from_pretrained(path.parent, **options)
        config = AutoConfig.from_pretrained(path.parent, **options)
        config.is_causal = False
        with quiet_transformers():
            model, report = AutoModel.from_pretrained(
                path.parent,
                config=config,
                dtype=torch.float32,
                attn_implementation="sdpa",
                output_loading_info=True,
                **options,
            )
    except ImportError as error:
        raise UnusableBackbone(
            f"Reading {path.name} needs more packages; run pip install 'kalm-retrieval[train]'."
        ) from error
    except Exception as error:  # struct errors, KeyErrors and assertions of the readers: no common base
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UnusableBackbone(f"{path} cannot be read as a model: {reason}") from error
    if lacking := sorted(str(key) for key in report["missing_keys"]):
        raise UnusableBackbone(f"{path} is not complete: it lacks {len(lacking)} tensors, the first is {lacking[0]}.")
    if metadata.get("tokenizer.ggml.pre") == "smollm":
        _split_digits(tokenizer)
    # The stock class, so that the file read back is the file written and nothing is rebuilt by the model's type.
    stock = rebuilt(tokenizer, tokenizer.backend_tokenizer.to_str())
    notes = (f"De-quantised to float32 from {path.name}.",)
    return Backbone(
        _unquantised(model),
        _fitting(stock, model, name),
        name,
        str(path),
        str(metadata.get("general.license") or ""),
        notes,
    )


def _unquantised(model: PreTrainedModel) -> PreTrainedModel:
    """The same weights in a fresh model: transformers refuses to save one that came out of a GGUF file."""
    settings = model.config.to_dict()
    for key in ("quantization_config", "_model_name_or_path", "_name_or_path"):  # they say where it came from
        settings.pop(key, None)
    config = AutoConfig.for_model(**settings)
    config.is_causal = False
    options: Any = {"dtype": torch.float32, "attn_implementation": "sdpa"}
    fresh: PreTrainedModel = AutoModel.from_config(config, **options)  # type: ignore[no-untyped-call]
    fresh.load_state_dict(model.state_dict(), assign=True)
    fresh.train(False)
    return make_bidirectional(fresh)


def _gguf_metadata(path: Path) -> Mapping[str, Any]:
    """What the file says of itself; refuses what cannot be used before any weight is read."""
    if not path.is_file():
        raise UnusableBackbone(f"There is no file {path}; check the name of the GGUF file.")
    from transformers.integrations.gguf.reader import read_gguf_metadata

    try:
        metadata, _ = read_gguf_metadata(str(path))
    except Exception as error:  # a file cut short fails wherever the reader is: struct, Unicode, ValueError
        raise UnusableBackbone(f"{path} is not a GGUF file that can be read; fetch it again.") from error
    architecture = metadata["general.architecture"]
    if architecture not in _GGUF_TYPES:
        supported = ", ".join(sorted(_GGUF_TYPES))
        raise UnusableBackbone(f"{path} holds a {architecture!r} model; supported in GGUF files are {supported}.")
    if not metadata.get("tokenizer.ggml.tokens"):
        raise UnusableBackbone(f"{path} has no tokenizer; use a GGUF file that carries its vocabulary.")
    split = metadata.get("tokenizer.ggml.pre", "default")
    if split not in _GGUF_SPLITS:
        raise UnusableBackbone(
            f"{path} splits text as {split!r}, which is not known here, so its tokens would be wrong; "
            "start from the model's safetensors folder."
        )
    return dict(metadata)


def _split_digits(tokenizer: PreTrainedTokenizerBase) -> None:
    """SmolLM reads numbers digit by digit, which transformers does not take from a GGUF file."""
    from tokenizers import pre_tokenizers

    parts = [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(parts)


def _fitting(tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel, name: str) -> PreTrainedTokenizerBase:
    """The tokenizer without tokens that have no row, and with a padding token out of those that have one.

    Classes of transformers add the tokens they think their family has; a new row of the table would be untrained.
    """
    source = json.loads(tokenizer.backend_tokenizer.to_str())
    rows = model.config.vocab_size
    fit = [token for token in source["added_tokens"] if token["id"] < rows]
    if len(fit) < len(source["added_tokens"]):
        source["added_tokens"] = fit
        tokenizer = rebuilt(tokenizer, json.dumps(source))
    if len(tokenizer) > rows:
        raise UnusableBackbone(f"{name} has {len(tokenizer)} tokens and only {rows} rows for them; convert it again.")
    if tokenizer.pad_token is None:
        existing = tokenizer.eos_token or tokenizer.unk_token
        if existing is None:
            raise UnusableBackbone(f"The tokenizer of {name} has no padding token and no end of text; name one in it.")
        tokenizer.pad_token = existing
    return tokenizer


def _layer_list(model: PreTrainedModel) -> tuple[torch.nn.Module, str, torch.nn.ModuleList]:
    """The module that owns the layers, the attribute they are under, and the layers."""
    for path in _LAYER_LISTS:
        parent, _, attribute = path.rpartition(".")
        try:
            owner = model.get_submodule(parent)
            found = owner.get_submodule(attribute)
        except AttributeError:
            continue
        if isinstance(found, torch.nn.ModuleList):
            return owner, attribute, found
    raise UnusableBackbone(f"The layers of a {model.config.model_type} model cannot be chosen; keep all of them.")


def _byte_level_tokenizer(texts: Iterable[str], tokens: int) -> PreTrainedTokenizerBase:
    """Byte-level BPE that splits and normalises as Qwen2 does: transformers reads any Qwen2 folder that way."""
    from tokenizers import pre_tokenizers, trainers

    backend = Qwen2Tokenizer().backend_tokenizer
    trainer = trainers.BpeTrainer(
        vocab_size=tokens,
        special_tokens=[_END_OF_TEXT],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator((clean(text) for text in texts), trainer)
    learnt = json.loads(backend.to_str())["model"]
    merges: Any = [tuple(pair) for pair in learnt["merges"]]
    tokenizer: PreTrainedTokenizerBase = Qwen2Tokenizer(vocab=learnt["vocab"], merges=merges)
    return tokenizer
