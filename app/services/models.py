"""The models that indexes are, or can be, made with."""

import time
from collections.abc import Mapping
from dataclasses import dataclass

from app.services.encoders import Encoders
from embedder.catalogue import BUNDLED, PUBLISHED, is_here, locate
from indexer.catalog.corpora import Catalog


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """A model as people see it.

    Attributes:
        name: What it is loaded by: a name of the catalogue, a folder or a hub id.
        about: One line; empty for a model that is not in the catalogue.
        licence: Empty for such a model.
        dims: Widths its vectors may have; empty where that is not known, since it is not here.
        is_default: Whether new indexes are made with it.
        is_here: Whether it can be opened without fetching anything.
        is_loaded: Whether this process has it in memory; it was proven to attend and pad rightly then.
        corpora: Those whose live index was made with it.
    """

    name: str
    about: str
    licence: str
    dims: tuple[int, ...]
    is_default: bool
    is_here: bool
    is_loaded: bool
    corpora: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Proof:
    """A model that was opened, and so proven to attend, pad and, where one is published, give its reference vector.

    Attributes:
        dtype: What it computes in.
        seconds: How long opening it took; next to nothing where it was in memory.
    """

    name: str
    dim: int
    dtype: str
    device: str
    fingerprint: str
    seconds: float


class Models:
    """Known models."""

    def __init__(self, catalog: Catalog, encoders: Encoders) -> None:
        self._catalog = catalog
        self._encoders = encoders

    def all(self) -> list[ModelInfo]:
        """Those of the catalogue, the configured one, and those of live indexes."""
        default, loaded, users = self._encoders.default_source, self._encoders.loaded(), self._users()
        names = dict.fromkeys((*BUNDLED, *PUBLISHED, default, *users))
        return [self._info(name, default, name in loaded, users.get(name, ())) for name in names]

    def prove(self, name: str) -> Proof:
        """Open a model.

        Raises:
            AppError: If it is not here, not whole, or does not do what it should.
        """
        started = time.perf_counter()
        encoder = self._encoders.named(name)
        took = time.perf_counter() - started
        return Proof(encoder.name, encoder.dim, encoder.dtype, encoder.device, encoder.fingerprint, took)

    def _info(self, name: str, default: str, is_loaded: bool, corpora: tuple[str, ...]) -> ModelInfo:
        entry = BUNDLED.get(name) or PUBLISHED.get(name)
        here = is_here(name)
        return ModelInfo(
            name=name,
            about=entry.about if entry else "",
            licence=entry.licence if entry else "",
            dims=dims_of(name),
            is_default=name == default,
            is_here=here,
            is_loaded=is_loaded,
            corpora=corpora,
        )

    def _users(self) -> Mapping[str, tuple[str, ...]]:
        users: dict[str, tuple[str, ...]] = {}
        for corpus in self._catalog.corpora():
            if corpus.live is not None:
                model = self._catalog.generation(corpus.name, corpus.live).manifest.model
                users[model] = (*users.get(model, ()), corpus.name)
        return users


def dims_of(name: str) -> tuple[int, ...]:
    """Widths that vectors of a model may have; empty where that is not known, since it is not here."""
    return PUBLISHED[name].dims if name in PUBLISHED else _dims(name) if is_here(name) else ()


def _dims(name: str) -> tuple[int, ...]:
    """Widths of a model that is here; none where its files cannot be read, which opening it will say."""
    from embedder.checkpoint import UnreadableCheckpoint, read_checkpoint  # loads torch

    try:
        return tuple(read_checkpoint(locate(name).folder).dims)
    except UnreadableCheckpoint:
        return ()
