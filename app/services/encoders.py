"""Models in memory: each loaded once, shared by everything in the process."""

from __future__ import annotations  # naming an Embedder loads no torch; commands that need none start at once

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from embedder.catalogue import locate, source_of
from embedder.errors import AppError
from embedder.protocol import Tokenizer
from indexer.records import Manifest

if TYPE_CHECKING:
    from embedder.encoder import Embedder


class WrongModel(AppError):
    """The model of an index is no longer the one it was made with."""


@dataclass(frozen=True, slots=True)
class NodeModel:
    """The model of a build, loaded on a node of a cluster."""

    manifest: Manifest

    def encoder(self) -> Embedder:
        """The model a generation is made with; raises WrongModel if the node has other weights under its name."""
        return Encoders(None).of(self.manifest)

    def tokenizer(self) -> Tokenizer:
        """Its tokenizer."""
        from embedder.checkpoint import load_tokenizer
        from embedder.tokenization import TextTokenizer

        return TextTokenizer(load_tokenizer(locate(self.manifest.model).folder), self.manifest.max_tokens)


class Encoders:
    """Loads models on first use and keeps them. Safe between threads."""

    def __init__(self, default_model: str | None) -> None:
        self._default_model = default_model
        self._loaded: dict[tuple[str | None, str, int | None], Embedder] = {}
        self._lock = threading.Lock()

    @property
    def default_source(self) -> str:
        """What the configured model is loaded by."""
        return source_of(self._default_model)

    def default(self) -> Embedder:
        """The configured model, for indexes that are to be made."""
        return self._load(self._default_model, "auto", None)

    def named(self, model: str | None, dim: int | None = None) -> Embedder:
        """A model by its name, at one of its widths; None is what is configured, and its full width.

        Raises:
            InvalidInput: If the model has no such width.
        """
        encoder = self._load(model or self._default_model, "auto", None)
        return encoder if dim is None else encoder.resized(dim)

    def loaded(self) -> frozenset[str]:
        """Models that are in memory, by what they are loaded by."""
        with self._lock:
            return frozenset(encoder.source for encoder in self._loaded.values())

    def of(self, manifest: Manifest) -> Embedder:
        """The model a generation was made with, in the same arithmetic and width.

        Raises:
            WrongModel: If the name now stands for other weights.
        """
        encoder = self._load(manifest.model, manifest.dtype, manifest.max_tokens)
        if encoder.fingerprint != manifest.fingerprint:
            raise WrongModel(
                f"This index was made with other weights of {manifest.model} than are there now; put those back, or "
                "build a new version with kalm index rebuild NAME."
            )
        return encoder.resized(manifest.dim)

    def _load(self, model: str | None, dtype: str, max_tokens: int | None) -> Embedder:
        from embedder.encoder import Embedder

        key = (model, dtype, max_tokens)
        with self._lock:
            if key not in self._loaded:
                loaded = self._loaded[key] = Embedder.load(model, dtype=dtype, max_tokens=max_tokens)
                # Under its full name too: an index made with the default model does not load it again.
                self._loaded.setdefault((loaded.source, loaded.dtype, loaded.max_tokens), loaded)
            return self._loaded[key]
