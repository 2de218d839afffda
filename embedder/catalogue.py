"""From the names people type to the folder where the weights are."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from embedder.errors import AppError

DEFAULT = "kalm-nano"
"""What ``Embedder.load()`` opens."""

_WANTED_FILES = ["*.json", "*.safetensors", "*.txt", "*.model", "1_Pooling/*", "2_Normalize/*"]
"""Everything a checkpoint needs; code and pickles are not even fetched."""


_HUB_SECONDS = 10


class UnknownModel(AppError):
    """A name that is neither in the catalogue nor a folder nor a hub id."""


class UnreachableModel(AppError):
    """Weights that are elsewhere and cannot be fetched now."""


@dataclass(frozen=True, slots=True)
class Reference:
    """The first components of a known vector, to prove that weights were read as their authors meant.

    Attributes:
        text: Encoded bare, without any prompt.
        head: First components of its unit vector.
    """

    text: str
    head: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Published:
    """A checkpoint on the hub, pinned.

    Attributes:
        repository: Hub id.
        revision: Commit; the name always means these bytes.
        dims: Matryoshka widths it was trained with (arXiv 2506.20923).
        about: One line for lists.
        licence: SPDX id.
        reference: A vector published for it, where there is one.
    """

    repository: str
    revision: str
    dims: tuple[int, ...]
    about: str
    licence: str
    reference: Reference | None = None


_KALM_DIMS = (896, 512, 256, 128, 64)

PUBLISHED: Mapping[str, Published] = {
    "kalm-v2": Published(
        repository="HIT-TMG/KaLM-embedding-multilingual-mini-instruct-v2",
        revision="d2a21c232dc712ae8230af56d1027cf21b7864bf",
        dims=_KALM_DIMS,
        about="KaLM-Embedding-V2, 494M parameters, English and Chinese",
        licence="MIT",
    ),
    "kalm-v2.5": Published(
        repository="KaLM-Embedding/KaLM-embedding-multilingual-mini-instruct-v2.5",
        revision="6a4cfc1084cb459ebd4729b53a8656a61448c720",
        dims=_KALM_DIMS,
        about="KaLM-Embedding-V2.5 (distilled), 494M parameters, English and Chinese",
        licence="Apache-2.0",
        # Published with the nntrainer port of this checkpoint, which agrees with the original to 1e-4.
        reference=Reference(
            text="This is an example sentence",
            head=(
                -0.01055833, -0.02115268, 0.00994598, -0.00856667, -0.0047357,
                0.01062506, 0.00235983, -0.07997689, -0.03332109, 0.01760131,
            ),
        ),
    ),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Bundled:
    """A checkpoint that comes with this package.

    Attributes:
        folder: Where it is.
        languages: What it reads (ISO 639-1).
        about: One line for lists.
        licence: What its terms are called.
        holds_in_int8: Whether its scores were measured in 8-bit arithmetic, and lost at most half a point.
    """

    folder: Path
    languages: frozenset[str]
    about: str
    licence: str
    holds_in_int8: bool = False


BUNDLED: Mapping[str, Bundled] = {
    DEFAULT: Bundled(
        folder=Path(__file__).with_name("bundled"),
        languages=frozenset({"en", "zh"}),
        about="KaLM nano, trained here: 64M parameters in 4 bits, English and Chinese",
        licence="Gemma",
        holds_in_int8=True,
    ),
}


@dataclass(frozen=True, slots=True)
class Location:
    """Where a model was found.

    Attributes:
        name: What to call it.
        source: What to load it by again.
        folder: Where its files are.
        published: Its entry if it is one of the published checkpoints.
        bundled: Its entry if it comes with this package.
    """

    name: str
    source: str
    folder: Path
    published: Published | None = None
    bundled: Bundled | None = None


def source_of(name_or_path: str | None) -> str:
    """What a model is loaded by again, without looking for its weights: a folder becomes its whole path."""
    name = name_or_path or DEFAULT
    if name in BUNDLED or name in PUBLISHED:
        return name
    try:
        folder = Path(name).expanduser()
        return str(folder.resolve()) if folder.is_dir() else name
    except (OSError, RuntimeError):  # too long for a path, ~nobody
        return name


def is_here(name_or_path: str | None) -> bool:
    """Whether a model can be opened without fetching anything."""
    name = source_of(name_or_path)
    if name in BUNDLED or os.path.isdir(name):  # False for what is too long to be a path, where Path would raise
        return True
    published = PUBLISHED.get(name)
    if published:
        return _local_snapshot(published.repository, published.revision) is not None
    return name.count("/") == 1 and not name.startswith((".", "/", "~")) and _local_snapshot(name, None) is not None


def locate(name_or_path: str | None) -> Location:
    """Find a model's folder, fetching it from the hub if that is where it is.

    Args:
        name_or_path: A catalogue name, a folder, a hub id (``owner/name``), or None for the default.

    Raises:
        UnknownModel: If it is none of these.
        UnreachableModel: If it has to be fetched and cannot be.
    """
    name = source_of(name_or_path)
    if name in BUNDLED:
        return Location(name, name, BUNDLED[name].folder, bundled=BUNDLED[name])
    if name in PUBLISHED:
        published = PUBLISHED[name]
        return Location(name, name, _from_hub(published.repository, published.revision), published)
    if os.path.isdir(name):
        return Location(Path(name).name, name, Path(name))
    if name.count("/") == 1 and not name.startswith((".", "/", "~")):
        return Location(name, name, _from_hub(name, None))
    raise UnknownModel(f"There is no model {name!r}; use {_offline_choices()}, {', '.join(PUBLISHED)} or a hub id.")


def _from_hub(repository: str, revision: str | None) -> Path:
    """The snapshot's folder: from the local cache if it is there, else fetched."""
    import huggingface_hub  # takes half a second, and most models never need it

    fetched = _local_snapshot(repository, revision)
    if fetched is not None:
        return fetched
    try:
        # Asked once and briefly: the download itself would retry for half a minute where there is no network.
        huggingface_hub.HfApi().model_info(repository, revision=revision, timeout=_HUB_SECONDS)
        return Path(huggingface_hub.snapshot_download(repository, revision=revision, allow_patterns=_WANTED_FILES))
    except Exception as error:  # the client lets its transport's own errors out, and they change with its releases
        raise UnreachableModel(
            f"The model {repository} is on the Hugging Face hub, which cannot be reached or does not offer it; "
            f"connect and try again, or use what works offline: {_offline_choices()}."
        ) from error


def _local_snapshot(repository: str, revision: str | None) -> Path | None:
    """The folder of an earlier download, or None."""
    import huggingface_hub
    from huggingface_hub import errors

    try:
        found = huggingface_hub.snapshot_download(
            repository, revision=revision, allow_patterns=_WANTED_FILES, local_files_only=True
        )
    except (errors.LocalEntryNotFoundError, errors.HFValidationError):
        return None
    return Path(found)


def _offline_choices() -> str:
    return f"{', '.join(BUNDLED)} or the folder of a model"
