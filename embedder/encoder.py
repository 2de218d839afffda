"""The Embedder: text in, unit vectors out."""

import copy
import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor, nn

from embedder.bidirectional import CanaryFailed, check_attention, check_forward, check_rounding
from embedder.catalogue import Location, Reference, locate
from embedder.checkpoint import Checkpoint, fingerprint, load_backbone, load_tokenizer, read_checkpoint
from embedder.dense import load_dense
from embedder.hardware import BYTES, dtype_name, pick_bytes, pick_device, pick_dtype
from embedder.model import EmbeddingModel, Forward, PaddedForward
from embedder.prompts import PromptPolicy
from embedder.protocol import InvalidInput, Side, TokenSpans, Vectors, check_texts
from embedder.tokenization import TextTokenizer, Tokenized, token_batches
from embedder.turns import Turns, in_passing
from embedder.unpadded import UnpaddedDecoder
from embedder.vectors import narrow, truncate_and_normalize

_logger = logging.getLogger(__name__)

_DEFAULT_MAX_TOKENS = 512
"""KaLM-Embedding-V2 was trained and measured at this length, whatever its positions would allow."""

_BATCH_TOKENS = {"cpu": 512, "cuda": 65536}
"""On a CPU a larger batch is hardly faster (1024: 0 to 2 %), and questions wait longer for a layer of it to end."""

_LEAST_TOKENS = 128
"""A smaller pass costs more of each token than another thread saves."""

_PADDED_PASS_TOKENS, _UNPADDED_PASS_TOKENS = 64, 256
"""What one more pass costs, in tokens of padding: more where padding is not computed, and therefore cheap."""

_QUESTION_TOKENS = 256
"""More than somebody types: what has more of them waits behind questions."""

_WINDOW_TEXTS = 4096
"""Texts tokenised and sorted at a time: enough for even batches, little enough for any list to fit."""


@dataclass(slots=True)
class Usage:
    """What an encoder has done since it was loaded."""

    texts: int = 0
    tokens: int = 0
    truncated: int = 0


@dataclass(frozen=True, slots=True)
class _Identity:
    """What a loaded model is, beside its weights in memory."""

    location: Location
    checkpoint: Checkpoint
    dims: tuple[int, ...]
    fingerprint: str
    max_tokens: int
    dtype: str


class Embedder:
    """A loaded model. Safe to share between threads; make one with ``Embedder.load``."""

    def __init__(self, model: EmbeddingModel, tokenizer: TextTokenizer, identity: _Identity, batch_tokens: int) -> None:
        self._model = model
        self._dense = load_dense(identity.checkpoint).to(model.backbone.device)
        self._forward = _forward(model, tokenizer.pad_id, identity)
        pads = not isinstance(self._forward, UnpaddedDecoder)
        self._turns = Turns(_unit(self._forward, self._dense), pads=pads)
        self._pass_tokens = _PADDED_PASS_TOKENS if pads else _UNPADDED_PASS_TOKENS
        self._tokenizer = tokenizer
        self._identity = identity
        self._batch_tokens = batch_tokens
        self._dim = identity.dims[0]
        self._counting = threading.Lock()
        self.usage = Usage()

    @classmethod
    def load(
        cls,
        name_or_path: str | None = None,
        *,
        dim: int | None = None,
        device: str = "auto",
        dtype: str = "auto",
        max_tokens: int | None = None,
        batch_tokens: int | None = None,
    ) -> Self:
        """Open a model and prove that it is read rightly.

        Args:
            name_or_path: A name of the catalogue (``kalm-v2.5``), a folder in the sentence-transformers layout
                or of plain transformers files, or a hub id; None opens the default model.
            dim: Width of the vectors; one of the checkpoint's own Matryoshka widths.
            device: ``auto``, ``cpu``, ``cuda``.
            dtype: ``auto`` takes bfloat16, and 8 bits for a model whose scores hold in them, where a short timing
                shows it to be faster; else ``float32``, ``bfloat16``, ``int8`` or ``int8-float32``, the last two
                named by their products and, if not bfloat16, by the states between them.
            max_tokens: Longest input, prompt included; the default is 512 or less if the model has less.
            batch_tokens: Tokens of a forward pass, padding included.

        Raises:
            UnknownModel: If there is no such model.
            UnreachableModel: If it would have to be fetched and cannot be.
            UnreadableCheckpoint: If its files are not what this product can serve.
            CanaryFailed: If attention, padding or a published reference vector come out wrong.
            InvalidInput: If ``dim`` or ``max_tokens`` is not one the model has.
            UnknownSetting: If ``device`` or ``dtype`` does not exist here.
        """
        return in_passing(lambda: cls._load(name_or_path, dim, device, dtype, max_tokens, batch_tokens))

    @classmethod
    def _load(
        cls,
        name_or_path: str | None,
        dim: int | None,
        device: str,
        dtype: str,
        max_tokens: int | None,
        batch_tokens: int | None,
    ) -> Self:
        location = locate(name_or_path)
        checkpoint = read_checkpoint(location.folder)
        limit = _longest(location, checkpoint, max_tokens)
        where = pick_device(device)
        states = pick_dtype(dtype, where, checkpoint.dims[0])
        holds = location.bundled is not None and location.bundled.holds_in_int8
        # Where 8 bits may still be chosen the weights come whole, or they could be rounded before they are coded.
        model = EmbeddingModel(load_backbone(checkpoint, torch.float32 if holds else states))
        model.requires_grad_(False).to(where)
        fits = UnpaddedDecoder.supports(model.backbone, limit)
        in_bytes = pick_bytes(dtype, states, model.width, fits=fits, holds=holds)
        model.to(BYTES[in_bytes] if in_bytes else states)
        identity = _identify(location, checkpoint, limit, in_bytes or dtype_name(states))
        check_attention(model.backbone, location.name)
        vocabulary: int = model.backbone.config.vocab_size
        tokenizer = TextTokenizer(load_tokenizer(location.folder), identity.max_tokens, vocabulary)
        embedder = cls(model, tokenizer, identity, batch_tokens or _BATCH_TOKENS[where.type])
        if location.published and location.published.reference:
            embedder._check_reference(location.published.reference)
        return embedder if dim is None else embedder.resized(dim)

    @property
    def name(self) -> str:
        """What a person calls this model."""
        return self._identity.location.name

    @property
    def source(self) -> str:
        """What to load it by again: a catalogue name, a hub id or a folder's whole path."""
        return self._identity.location.source

    @property
    def languages(self) -> frozenset[str] | None:
        """What it reads (ISO 639-1); None where nothing is known to be out of its reach."""
        bundled = self._identity.location.bundled
        return bundled.languages if bundled else None

    @property
    def dim(self) -> int:
        """Width of the vectors returned."""
        return self._dim

    @property
    def dims(self) -> tuple[int, ...]:
        """Widths the checkpoint was trained for, widest first."""
        return self._identity.dims

    @property
    def max_tokens(self) -> int:
        """Longest input in tokens, prompt and special tokens included."""
        return self._identity.max_tokens

    @property
    def dtype(self) -> str:
        """Arithmetic of the forward pass: ``float32``, ``bfloat16``, ``int8`` or ``int8-float32``."""
        return self._identity.dtype

    @property
    def device(self) -> str:
        """Where the model is: ``cpu`` or ``cuda:0``."""
        return str(self._model.backbone.device)

    @property
    def prompts(self) -> PromptPolicy:
        """How this model wants its texts introduced."""
        return self._identity.checkpoint.prompts

    @property
    def fingerprint(self) -> str:
        """Changes when weights, tokenizer or prompts do; dim, max_tokens and dtype stand beside it."""
        return self._identity.fingerprint

    @property
    def has_dense(self) -> bool:
        """Whether dense layers come after the pooling."""
        return len(self._dense) > 0

    def resized(self, dim: int) -> Self:
        """The same model, weights shared, giving vectors of another of its widths.

        Raises:
            InvalidInput: If the checkpoint was not trained for that width.
        """
        if dim not in self.dims:
            raise InvalidInput(f"{self.name} has no vectors of {dim} dimensions; it has {_listed(self.dims)}.")
        view = copy.copy(self)
        view._dim = dim
        return view

    def metered(self) -> Self:
        """The same model, weights shared, with a usage of its own that begins at nothing."""
        view = copy.copy(self)
        view.usage = Usage()
        return view

    def token_spans(self, text: str) -> TokenSpans:
        """Character offsets of every token of a text, special tokens left out; shape (T, 2)."""
        return self._tokenizer.token_spans(text)

    def prompt(self, side: Side, task: str = "Retrieval", instruction: str | None = None) -> str:
        """The exact string that is put before a text of this side of a task."""
        return self.prompts.prompt(side, task, instruction)

    def encode_queries(
        self, texts: Sequence[str], *, task: str = "Retrieval", instruction: str | None = None
    ) -> Vectors:
        """Vectors of queries, and of any text whose task has no two sides.

        Args:
            texts: Any strings; empty ones have a vector too.
            task: An MTEB task type or a task name of the registry.
            instruction: The caller's own instruction in place of the task's.

        Returns:
            ``(N, dim)`` float32 unit rows in the order of ``texts``.

        Raises:
            UnknownTask: If the task is unknown.
            InvalidInput: If ``texts`` is not a sequence of strings.
        """
        return self._encode(texts, self.prompt("query", task, instruction))

    def encode_documents(self, texts: Sequence[str], *, task: str = "Retrieval") -> Vectors:
        """Vectors of documents: bare, except in symmetric tasks. Returns and raises as ``encode_queries``."""
        return self._encode(texts, self.prompt("document", task))

    def encode_prompted(self, texts: Sequence[str], prompt: str) -> Vectors:
        """Vectors of texts with exactly this string before each, whatever the model is used to; empty for none.

        For comparing conventions. Returns and raises as ``encode_queries``.
        """
        return self._encode(texts, prompt)

    def _encode(self, texts: Sequence[str], prompt: str) -> Vectors:
        check_texts(texts)
        vectors = np.empty((len(texts), self.dims[0]), dtype=np.float32)
        truncated = 0
        for start in range(0, len(texts), _WINDOW_TEXTS):
            window = self._tokenizer.tokenize([prompt + text for text in texts[start : start + _WINDOW_TEXTS]])
            truncated += sum(row.truncated for row in window)
            self._encode_window(window, vectors[start : start + _WINDOW_TEXTS])
        if truncated:
            _logger.warning(
                "%d of %d texts were longer than %d tokens and were cut.", truncated, len(texts), self.max_tokens
            )
        return narrow(vectors, self._dim)

    def _encode_window(self, window: Sequence[Tokenized], out: Vectors) -> None:
        """Encode a window of texts into the rows of ``out``, shape (N, D)."""
        lengths = [len(row.ids) for row in window]
        if sum(lengths) <= _QUESTION_TOKENS:
            out[:] = self._turns.ask([row.ids for row in window]).cpu().numpy()
        else:
            batches = token_batches(lengths, self._budget(sum(lengths)), self._pass_tokens)
            parts = self._turns.work([window[row].ids for row in batch] for batch in batches)
            for batch, vectors in zip(batches, parts, strict=True):
                out[batch] = vectors.cpu().numpy()
        with self._counting:
            self.usage.texts += len(window)
            self.usage.tokens += sum(lengths)
            self.usage.truncated += sum(row.truncated for row in window)

    def _budget(self, tokens: int) -> int:
        """Tokens of a pass of a list with so many: all threads shall have something to do."""
        if self._turns.pads:
            return self._batch_tokens
        return min(self._batch_tokens, max(_LEAST_TOKENS, tokens // torch.get_num_threads()))

    def _check_reference(self, reference: Reference) -> None:
        head = np.array(reference.head, dtype=np.float32)
        found = self._encode([reference.text], "")[0][: len(head)]
        agreement = float(head @ found / (np.linalg.norm(head) * np.linalg.norm(found)))
        if not agreement > 0.99:
            raise CanaryFailed(
                f"{self.name} does not give its published reference vector (agreement {agreement:.3f} of 1), so its "
                "weights were not read as their authors meant; use another transformers version and report this."
            )


def _unit(forward: Forward, dense: nn.Module) -> Forward:
    """A pass whose vectors are finished: ``(B, D)`` unit rows."""

    @torch.inference_mode()
    def finished(rows: Sequence[Sequence[int]], between: Callable[[], None] | None = None) -> Tensor:
        return truncate_and_normalize(dense(forward(rows, between)))

    return finished


def _forward(model: EmbeddingModel, pad_id: int, identity: _Identity) -> Forward:
    """The fastest pass there is for a model, held against its own."""
    if not UnpaddedDecoder.supports(model.backbone, identity.max_tokens):
        return PaddedForward(model, pad_id)
    plain, name = UnpaddedDecoder(model.backbone), identity.location.name
    check_forward(plain, model.backbone, name)
    if identity.dtype not in BYTES:
        return plain
    rounded = plain.in_bytes()
    check_rounding(rounded, plain, model.backbone, name)
    rounded.forget_weights()
    return rounded


def _identify(location: Location, checkpoint: Checkpoint, max_tokens: int, dtype: str) -> _Identity:
    return _Identity(
        location=location,
        checkpoint=checkpoint,
        dims=location.published.dims if location.published else checkpoint.dims,
        fingerprint=fingerprint(checkpoint),
        max_tokens=max_tokens,
        dtype=dtype,
    )


def _longest(location: Location, checkpoint: Checkpoint, wanted: int | None) -> int:
    """Longest input in tokens."""
    limit = checkpoint.positions or _DEFAULT_MAX_TOKENS
    if wanted is not None and not 4 <= wanted <= (checkpoint.positions or wanted):
        raise InvalidInput(f"{location.name} reads between 4 and {limit} tokens, not {wanted}.")
    return wanted or min(_DEFAULT_MAX_TOKENS, limit, checkpoint.max_tokens or limit)


def _listed(dims: Sequence[int]) -> str:
    return ", ".join(str(dim) for dim in dims)
