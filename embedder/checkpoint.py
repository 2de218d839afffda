"""Checkpoints on disk: the sentence-transformers folder layout, read and written, and its fingerprint.

A folder in that layout holds ``modules.json`` (Transformer, Pooling, perhaps Dense, Normalize),
``1_Pooling/config.json``, ``config_sentence_transformers.json`` with the prompts, and the transformers files
themselves. A plain transformers folder has only the latter and is pooled by the mean. Only safetensors and JSON are
read, and code that a repository brings along is never run.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import MODEL_MAPPING, AutoConfig, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging

from embedder.bidirectional import DECODERS, ENCODERS, make_bidirectional
from embedder.errors import AppError
from embedder.packing import PACKED_FILE, unpack
from embedder.prompts import PromptPolicy, policy_for

_KNOWN_MODULES = {"Transformer", "Pooling", "Dense", "Normalize"}
_VOLATILE = {"transformers_version", "_name_or_path", "architectures", "auto_map", "dtype", "torch_dtype", "use_cache"}
"""Keys of config.json that do not change a vector."""

_VOLATILE_TOKENIZER = {"name_or_path", "tokenizer_file", "auto_map", "is_local", "local_files_only"}
"""Keys of tokenizer_config.json that do not change a token."""

_WITH_POOLER = {"bert", "roberta", "xlm-roberta", "camembert", "mpnet"}
"""Model types whose class makes a classification pooler unless told not to."""

_PADDED_POSITIONS = {"roberta", "xlm-roberta", "camembert", "mpnet"}
"""Model types whose position table keeps two rows for padding."""


class UnreadableCheckpoint(AppError):
    """A folder that is not a checkpoint this product can serve."""


@dataclass(frozen=True)
class Checkpoint:
    """What a folder says of itself, before any weight is read.

    Attributes:
        folder: Where it lies.
        config: ``config.json``.
        max_tokens: Longest input it was made for; None where it does not say.
        positions: Longest input its position table has room for; None where there is no such limit.
        dims: Widths it was trained for, widest first; the first is its own width.
        prompts: How its texts are introduced.
        dense: Folders of the dense layers after the pooling (``dense.py``).
    """

    folder: Path
    config: Mapping[str, Any]
    max_tokens: int | None
    positions: int | None
    dims: tuple[int, ...]
    prompts: PromptPolicy
    dense: tuple[Path, ...] = ()

    @property
    def pooled_width(self) -> int:
        """Width of what comes out of the pooling."""
        return int(self.config.get("hidden_size", self.config.get("dim")))  # distilbert says dim

    @property
    def is_decoder(self) -> bool:
        """Whether it is a causal model that has to be made bidirectional."""
        return self.config["model_type"] in DECODERS


def read_checkpoint(folder: Path) -> Checkpoint:
    """Read the JSON files of a checkpoint folder.

    Raises:
        UnreadableCheckpoint: If the folder is no checkpoint, is of an unsupported architecture, pools in
            another way than by the mean, or has a module this product does not have.
    """
    config = _json(folder / "config.json")
    if config is None:
        raise UnreadableCheckpoint(f"{folder} is not a model folder: it has no config.json.")
    if not isinstance(config, dict):
        raise UnreadableCheckpoint(f"{folder / 'config.json'} does not describe a model; fetch the checkpoint again.")
    model_type = config.get("model_type")
    if model_type not in DECODERS | ENCODERS:
        supported = ", ".join(sorted(DECODERS | ENCODERS))
        raise UnreadableCheckpoint(f"{folder} holds a {model_type!r} model; supported are {supported}.")
    if not any(folder.glob("*.safetensors")):
        raise UnreadableCheckpoint(
            f"{folder} has no .safetensors weights; other formats can run code and are not read."
        )
    dense = _check_modules(folder)
    stored = (_json(folder / "config_sentence_transformers.json") or {}).get("prompts") or {}
    width = config.get("hidden_size", config.get("dim"))
    if not isinstance(width, int):
        raise UnreadableCheckpoint(f"{folder / 'config.json'} has no hidden_size; fetch the checkpoint again.")
    return Checkpoint(
        folder=folder,
        config=config,
        max_tokens=(_json(folder / "sentence_bert_config.json") or {}).get("max_seq_length"),
        positions=_positions(config),
        dims=_dims(config, _width_of(dense[-1]) if dense else width),
        prompts=policy_for(stored, is_decoder=model_type in DECODERS),
        dense=dense,
    )


def load_backbone(checkpoint: Checkpoint, dtype: torch.dtype) -> PreTrainedModel:
    """The weights, plain or packed, in the stock transformers class, bidirectional, in evaluation mode.

    Raises:
        UnreadableCheckpoint: If a weight of the class is missing from the files: it would be random.
    """
    options: dict[str, Any] = {}
    if checkpoint.config["model_type"] in _WITH_POOLER:
        options["add_pooling_layer"] = False  # the classification pooler is not part of mean pooling
    packed = checkpoint.folder.joinpath(PACKED_FILE).exists()
    try:
        config = AutoConfig.from_pretrained(checkpoint.folder, trust_remote_code=False)
        if checkpoint.is_decoder:
            config.is_causal = False
        model_class: Any = MODEL_MAPPING[type(config)]
        with quiet_transformers():
            backbone, report = model_class.from_pretrained(
                None if packed else checkpoint.folder,
                config=config,
                state_dict=unpack(checkpoint.folder) if packed else None,
                dtype=dtype,
                attn_implementation="eager" if checkpoint.config["model_type"] == "mpnet" else "sdpa",
                use_safetensors=True,
                local_files_only=True,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # reported below, with the name of the tensor
                **options,
            )
    except Exception as error:  # safetensors, the hub's validators and KeyErrors of the classes: no common base
        raise UnreadableCheckpoint(
            f"The weights in {checkpoint.folder} cannot be read: {_first_line(error)}"
        ) from error
    if report["missing_keys"] or report.get("mismatched_keys"):
        mismatched = (key for key, *_ in report.get("mismatched_keys", ()))
        lacking = sorted(str(key) for key in (*report["missing_keys"], *mismatched))
        raise UnreadableCheckpoint(
            f"The weights in {checkpoint.folder} do not fit a {config.model_type} model: {len(lacking)} tensors are "
            f"missing or of another shape, the first is {lacking[0]}; they would be random."
        )
    loaded: PreTrainedModel = make_bidirectional(backbone) if checkpoint.is_decoder else backbone
    loaded.train(False)
    return loaded


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """The folder's fast tokenizer.

    Raises:
        UnreadableCheckpoint: If there is none.
    """
    if not (folder / "tokenizer.json").is_file():  # transformers would make one without any vocabulary
        raise UnreadableCheckpoint(f"{folder} has no tokenizer.json; save its tokenizer in the fast format first.")
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    except Exception as error:  # KeyError, tokenizers' own bare Exception
        raise UnreadableCheckpoint(f"{folder} has no tokenizer that can be read: {_first_line(error)}") from error
    return tokenizer


def save_checkpoint(
    folder: Path,
    backbone: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    *,
    dims: Sequence[int],
    max_tokens: int,
    prompts: Mapping[str, str],
) -> None:
    """Write a folder that ``Embedder.load`` and ``SentenceTransformer`` open with equal vectors.

    Args:
        folder: Made if it is not there.
        backbone: The model; a decoder is marked ``is_causal: false``.
        tokenizer: Its fast tokenizer.
        dims: Matryoshka widths, written where servers look for them (``is_matryoshka``).
        max_tokens: Longest input.
        prompts: Default prompts by name, ``query`` and ``document``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if backbone.config.model_type in DECODERS:
        backbone.config.is_causal = False
    if len(dims) > 1:
        backbone.config.is_matryoshka = True
        backbone.config.matryoshka_dimensions = sorted(dims, reverse=True)
    with quiet_transformers():
        backbone.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    kinds = (("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize"))
    modules = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for i, (path, kind) in enumerate(kinds)
    ]
    _write(folder / "modules.json", modules)
    pooling = {"word_embedding_dimension": backbone.config.hidden_size, "pooling_mode_mean_tokens": True}
    _write(folder / "1_Pooling" / "config.json", pooling)
    (folder / "2_Normalize").mkdir(exist_ok=True)
    _write(folder / "sentence_bert_config.json", {"max_seq_length": max_tokens, "do_lower_case": False})
    settings = {"prompts": dict(prompts), "default_prompt_name": None, "similarity_fn_name": "cosine"}
    _write(folder / "config_sentence_transformers.json", settings)


def fingerprint(checkpoint: Checkpoint) -> str:
    """Sixteen hex digits that change when weights, tokenizer or prompts do.

    The architecture counts as part of the weights. What a caller chooses (dim, max_tokens, dtype) does not: it
    stands beside the fingerprint in a manifest.
    """
    digest = hashlib.blake2b(digest_size=8)
    config = {key: value for key, value in checkpoint.config.items() if key not in _VOLATILE}
    digest.update(json.dumps(config, sort_keys=True).encode())
    settings = _json(checkpoint.folder / "tokenizer_config.json") or {}  # lower casing stands here and overrides
    settings = {key: value for key, value in settings.items() if key not in _VOLATILE_TOKENIZER}
    digest.update(json.dumps(settings, sort_keys=True).encode())
    weights = [
        path for folder in (checkpoint.folder, *checkpoint.dense) for path in sorted(folder.glob("*.safetensors"))
    ]
    for path in (*weights, checkpoint.folder / "tokenizer.json"):
        if path.exists():
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "blake2b").digest())
    digest.update(checkpoint.prompts.canonical())
    return digest.hexdigest()


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """No progress bars and no load report: what matters of it is checked and raised."""
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(40)  # errors only
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]


def _check_modules(folder: Path) -> tuple[Path, ...]:
    """Refuse what would be served wrongly, as other poolings; the folders of the dense layers."""
    dense: list[Path] = []
    for module in _json(folder / "modules.json") or ():
        kind = module["type"].rpartition(".")[2]
        if kind not in _KNOWN_MODULES:
            raise UnreadableCheckpoint(f"{folder} has a {kind} module, which is not supported; use a model without it.")
        if kind == "Pooling" and not _pools_by_mean(_json(folder / module["path"] / "config.json") or {}):
            raise UnreadableCheckpoint(f"{folder} does not pool by the mean over tokens; use a mean-pooling model.")
        if kind == "Dense":
            dense.append(folder / module["path"])
    return tuple(dense)


def _width_of(dense: Path) -> int:
    width = (_json(dense / "config.json") or {}).get("out_features")
    if not isinstance(width, int):
        raise UnreadableCheckpoint(f"{dense / 'config.json'} has no out_features; fetch the checkpoint again.")
    return width


def _pools_by_mean(pooling: Mapping[str, Any]) -> bool:
    if "pooling_mode" in pooling:  # sentence-transformers 5 and later
        return bool(pooling["pooling_mode"] == "mean" and pooling.get("include_prompt", True))
    chosen = [key for key, value in pooling.items() if key.startswith("pooling_mode_") and value]
    return chosen == ["pooling_mode_mean_tokens"] and bool(pooling.get("include_prompt", True))


def _positions(config: Mapping[str, Any]) -> int | None:
    positions = config.get("max_position_embeddings")
    if positions and config["model_type"] in _PADDED_POSITIONS:
        return int(positions) - 2
    return int(positions) if positions else None


def _dims(config: Mapping[str, Any], width: int) -> tuple[int, ...]:
    listed = config.get("matryoshka_dimensions") or ()
    return tuple(sorted({width, *(int(dim) for dim in listed if dim <= width)}, reverse=True))


def _json(path: Path) -> Any:  # noqa: ANN401 - whatever JSON holds
    """The parsed file, or None if it is not there."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (ValueError, OSError) as error:
        raise UnreadableCheckpoint(f"{path} cannot be read: {_first_line(error)}") from error


def _write(path: Path, value: object) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
