"""Model soups: the average of several checkpoints of one architecture (arXiv 2203.05482), block by block.

Nothing is ever whole in memory: the average is written in the layout of the first member's files, whose header says
where each tensor goes, and a block of rows is read from every member, added in float64 and rounded once. A model of
any size is averaged in the memory of a few blocks.
"""

import json
import math
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from embedder.checkpoint import Checkpoint, fingerprint, read_checkpoint
from embedder.errors import AppError
from trainer.config import SoupConfig
from trainer.durable import sync, write_json

LINEAGE = "soup.json"
"""What a soup says of its members."""

_BLOCK = 1 << 22
"""Elements read of a tensor at once: 32 MiB in float64."""

_WEIGHTS, _INDEX = "model.safetensors", "model.safetensors.index.json"

_BESIDE = ("*.json", "*.txt", "*.model", "*.jinja")
"""Files of a checkpoint that are not weights; a card or a log of the first member says nothing of the soup."""

_FREE_KEYS = {"transformers_version", "_name_or_path", "architectures", "dtype", "torch_dtype", "use_cache"}
"""Keys of config.json that may differ between members: none changes a vector."""

Score = Callable[[Path], float]
"""The held-out score of a checkpoint folder; higher is better."""


class BadSoup(AppError):
    """Checkpoints that cannot be averaged, or a place where the average cannot go."""


@dataclass(frozen=True)
class _Member:
    """One checkpoint and where its tensors are.

    Attributes:
        checkpoint: What the folder says of itself.
        places: The file of each tensor, by the tensor's name.
    """

    checkpoint: Checkpoint
    places: Mapping[str, Path]

    @property
    def name(self) -> str:
        """What the lineage calls it: its folder and the folder that is in, as many results are called alike."""
        folder = self.checkpoint.folder.resolve()
        return f"{folder.parent.name}/{folder.name}"

    @cached_property
    def fingerprint(self) -> str:
        """Of its weights, tokenizer and prompts."""
        return fingerprint(self.checkpoint)

    @cached_property
    def tensors(self) -> dict[str, tuple[str, tuple[int, ...]]]:
        """Element type and shape of each tensor."""
        found = {}
        for file in sorted(set(self.places.values())):
            with _opened(file) as tensors:
                for name in tensors.keys():  # noqa: SIM118 - a file of tensors is no mapping
                    part = tensors.get_slice(name)
                    found[name] = (str(part.get_dtype()), tuple(part.get_shape()))
        return found


def make_soup(config: SoupConfig, members: Sequence[Path], out: Path, score: Score | None = None) -> Path:
    """Average finished checkpoints as a config says.

    Args:
        config: The method and its weights.
        members: Checkpoint folders; those of ``config.members`` resolved.
        out: Where the soup goes; an earlier soup there is replaced.
        score: What ``greedy`` chooses by.

    Returns:
        ``out``.

    Raises:
        BadSoup: If the members do not fit together, the weights do not fit them, or ``out`` holds something else.
    """
    if config.method != "greedy":
        return average(members, out, config.weights if config.method == "weighted" else None)
    if score is None:
        raise BadSoup("A greedy soup chooses by a score; set an evaluation folder or use method=uniform.")
    return greedy(members, out, score)


def average(members: Sequence[Path], out: Path, weights: Sequence[float] | None = None) -> Path:
    """Average all members, equally or with weights.

    Args:
        members: Checkpoint folders of one architecture and one tokenizer.
        out: Where the soup goes; an earlier soup there is replaced.
        weights: One per member, not negative; scaled to the sum 1.

    Returns:
        ``out``.

    Raises:
        BadSoup: As :func:`make_soup`.
    """
    opened = _agreeing(members, out)
    parts = _checked(weights, len(opened))
    whole = math.fsum(parts)
    lineage = {
        "method": "uniform" if weights is None else "weighted",
        "members": [_entry(member, part / whole) for member, part in zip(opened, parts, strict=True)],
    }
    with _put_in_place(out) as folder:
        _write(opened, parts, folder, lineage)
    return out


def greedy(members: Sequence[Path], out: Path, score: Score) -> Path:
    """Average the best member with those that do not lower the score (arXiv 2203.05482, recipe 1).

    Members are taken from the best to the worst by their own scores; each joins if the score of the average with it
    is not below the score of the average without it. All scores are kept in the lineage.

    Args:
        members: Checkpoint folders of one architecture and one tokenizer.
        out: Where the soup goes; an earlier soup there is replaced.
        score: Called with each member's folder and with the folder of each average tried.

    Returns:
        ``out``.

    Raises:
        BadSoup: As :func:`make_soup`, or if a score is no number.
    """
    opened = _agreeing(members, out)
    own = [_scored(score, member.checkpoint.folder) for member in opened]
    order = sorted(range(len(opened)), key=lambda number: -own[number])
    chosen, best = [order[0]], own[order[0]]
    trials: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.trial-", dir=_parent(out)) as place:
        for number in order[1:]:
            tried = [*chosen, number]
            folder = Path(place) / "average"
            _write([opened[i] for i in tried], [1.0] * len(tried), folder, {"method": "trial"})
            reached = _scored(score, folder)
            shutil.rmtree(folder)
            trials.append({"members": [opened[i].name for i in tried], "score": reached, "kept": reached >= best})
            if reached >= best:
                chosen, best = tried, reached
    share = 1 / len(chosen)
    entries = [_entry(opened[i], share if i in chosen else 0.0) | {"score": own[i]} for i in order]
    lineage = {"method": "greedy", "members": entries, "trials": trials, "score": best}
    with _put_in_place(out) as folder:
        _write([opened[i] for i in chosen], [1.0] * len(chosen), folder, lineage)
    return out


def _entry(member: _Member, share: float) -> dict[str, object]:
    return {"name": member.name, "fingerprint": member.fingerprint, "weight": share}


def _scored(score: Score, folder: Path) -> float:
    value = float(score(folder))
    if not math.isfinite(value):
        raise BadSoup(f"The score of {folder.name} is {value}, which no order can be made of; look at its evaluation.")
    return value


def _checked(weights: Sequence[float] | None, count: int) -> list[float]:
    """One weight per member; equal ones where none are given."""
    if weights is None:
        return [1.0] * count
    if len(weights) != count:
        raise BadSoup(f"There are {len(weights)} weights for {count} members; give each member one.")
    finite = all(math.isfinite(weight) and weight >= 0 for weight in weights)
    if not finite or not 0 < math.fsum(weights) < math.inf:
        raise BadSoup("The weights of a soup are numbers from 0, and not all 0; change them.")
    return [float(weight) for weight in weights]


def _agreeing(members: Sequence[Path], out: Path) -> list[_Member]:
    """The members, opened and found to fit; refuses before anything is written or scored."""
    if not members:
        raise BadSoup("A soup needs members; name the checkpoint folders to average.")
    resolved = [folder.resolve() for folder in members]
    if len(set(resolved)) < len(resolved):
        raise BadSoup("A member of the soup is named twice; give it a larger weight instead.")
    if out.resolve() in resolved:
        raise BadSoup(f"{out} is a member of the soup, which cannot take its place; choose another folder.")
    if out.is_dir() and any(out.iterdir()) and not (out / LINEAGE).is_file() or out.is_file():
        raise BadSoup(f"{out} holds something that is not a soup; choose another folder.")
    opened = [_open_member(folder) for folder in members]
    for other in opened[1:]:
        if difference := _difference(opened[0], other):
            raise BadSoup(f"{opened[0].name} and {other.name} cannot be averaged: {difference}.")
    return opened


def _open_member(folder: Path) -> _Member:
    checkpoint = read_checkpoint(folder)
    if (folder / _WEIGHTS).is_file():
        with _opened(folder / _WEIGHTS) as tensors:
            return _Member(checkpoint, dict.fromkeys(tensors.keys(), folder / _WEIGHTS))
    try:
        index = json.loads((folder / _INDEX).read_text(encoding="utf-8"))
        places = {str(name): folder / str(file) for name, file in index["weight_map"].items()}
    except (OSError, ValueError, KeyError) as error:
        raise BadSoup(f"{folder} has neither {_WEIGHTS} nor an index of its shards that can be read.") from error
    if outside := [file for file in places.values() if file.parent != folder or not file.is_file()]:
        raise BadSoup(f"{folder} lists {outside[0].name} among its weights, which is not there; fetch it again.")
    return _Member(checkpoint, places)


def _difference(first: _Member, other: _Member) -> str | None:
    """The first thing that two members do not have in common, or None."""
    if first.tensors.keys() != other.tensors.keys():
        return f"only one has the tensor {sorted(first.tensors.keys() ^ other.tensors.keys())[0]}"
    for name, (kind, shape) in sorted(first.tensors.items()):
        if other.tensors[name] != (kind, shape):
            return f"{name} is {kind} {list(shape)} in one and {other.tensors[name][0]} {list(other.tensors[name][1])}"
    ours, theirs = first.checkpoint, other.checkpoint
    for key in sorted((ours.config.keys() | theirs.config.keys()) - _FREE_KEYS):
        if ours.config.get(key) != theirs.config.get(key):
            return f"their configs differ in {key}"
    if _tokenizer(ours.folder) != _tokenizer(theirs.folder):
        return "their tokenizers differ"
    return "their prompts differ" if ours.prompts.canonical() != theirs.prompts.canonical() else None


def _tokenizer(folder: Path) -> bytes | None:
    file = folder / "tokenizer.json"
    return file.read_bytes() if file.is_file() else None


def _parent(out: Path) -> Path:
    """The folder that the soup's folder goes into, made if it is not there."""
    out.parent.mkdir(parents=True, exist_ok=True)
    return out.parent


@contextmanager
def _put_in_place(out: Path) -> Iterator[Path]:
    """A folder beside the soup's, renamed to it when all is written; what was there goes only then."""
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.tmp-", dir=_parent(out)) as place:
        folder = Path(place) / "soup"
        yield folder
        if out.exists():
            out.rename(Path(place) / "before")
        folder.rename(out)
    sync(out.parent)


def _write(members: Sequence[_Member], weights: Sequence[float], folder: Path, lineage: Mapping[str, object]) -> None:
    """The weighted average, with the other files of the first member."""
    first = members[0]
    _copy_beside(first.checkpoint.folder, folder)
    with ExitStack() as stack:
        files = {file: stack.enter_context(_opened(file)) for member in members for file in member.places.values()}
        for shard in sorted(set(first.places.values())):
            with shard.open("rb") as source, (folder / shard.name).open("wb") as target:
                for name in _copy_header(source, target):
                    parts = [files[member.places[name]].get_slice(name) for member in members]
                    for block in _average(parts, weights, name):
                        target.write(block.reshape(-1).view(torch.uint8).numpy().data)
            sync(folder / shard.name)
    write_json(folder / LINEAGE, lineage)


def _copy_beside(source: Path, folder: Path) -> None:
    folder.mkdir()
    for pattern in _BESIDE:
        for file in source.glob(pattern):
            if file.name != LINEAGE:
                shutil.copyfile(file, folder / file.name)
    for module in sorted(source.glob("[0-9]_*/")):  # pooling and normalisation
        shutil.copytree(module, folder / module.name, copy_function=shutil.copyfile)


def _copy_header(source: BinaryIO, target: BinaryIO) -> list[str]:
    """Copy the header of a safetensors file: eight bytes of its length, then JSON. Names in the order of the data."""
    length = source.read(8)
    header = source.read(int.from_bytes(length, "little"))
    target.write(length + header)
    entries = {name: value["data_offsets"] for name, value in json.loads(header).items() if name != "__metadata__"}
    return sorted(entries, key=lambda name: (*entries[name], name))


def _average(parts: Sequence[Any], weights: Sequence[float], name: str) -> Iterator[Tensor]:
    """A tensor's average in the members' type, in blocks of rows."""
    shape = parts[0].get_shape()
    if not shape:
        yield _mean((part[...] for part in parts), weights, name)
        return
    rows = max(1, _BLOCK // max(1, math.prod(shape[1:])))
    for start in range(0, shape[0], rows):
        stop = start + rows
        yield _mean((part[start:stop] for part in parts), weights, name)


def _mean(blocks: Iterator[Tensor], weights: Sequence[float], name: str) -> Tensor:
    """Summed in float64, then divided and rounded once; whole numbers have no average and must be equal."""
    first = next(blocks)
    if not first.is_floating_point():
        if not all(torch.equal(first, block) for block in blocks):
            raise BadSoup(f"{name} holds whole numbers that differ between the members and cannot be averaged.")
        return first.contiguous()
    total = first.to(torch.float64) * weights[0]
    for block, weight in zip(blocks, weights[1:], strict=True):
        total.add_(block.to(torch.float64), alpha=weight)
    # Divided at the end, so that equal members give themselves and equal weights add no rounding.
    return total.div_(math.fsum(weights)).to(first.dtype)


@contextmanager
def _opened(file: Path) -> Iterator[Any]:
    """A safetensors file, mapped and not read."""
    try:
        handle = safe_open(file, framework="pt")
    except (OSError, SafetensorError) as error:
        raise BadSoup(f"{file} cannot be read as safetensors; fetch or save the checkpoint again.") from error
    with handle as tensors:
        yield tensors
