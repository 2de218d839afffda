"""Vectors for programs that ask, one request at a time."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from app.services.encoders import Encoders
from embedder.errors import AppError
from embedder.protocol import InvalidInput, Side, Vectors

_SLICE_TEXTS = 256
"""Texts after which it is asked whether anybody still waits."""


SERVED = "default"
"""What the model may be called by those who do not care which it is."""


class NotServed(AppError):
    """A model that is not the one served."""


class Abandoned(AppError):
    """Nobody waits for the answer any more."""


@dataclass(frozen=True, slots=True)
class VectorRequest:
    """Texts, and how they are meant.

    Attributes:
        model: Name of the model that is expected to be served.
        dim: One of the model's widths; None takes the widest.
        side: Which side of a task the texts stand on.
        task: An MTEB task type or a task name of the registry.
        instruction: The caller's own instruction for queries, in place of the task's.
    """

    texts: Sequence[str]
    model: str = SERVED
    dim: int | None = None
    side: Side = "document"
    task: str = "Retrieval"
    instruction: str | None = None


@dataclass(frozen=True, slots=True)
class Maker:
    """What makes vectors what they are, beside their width.

    Attributes:
        fingerprint: Changes when weights, tokenizer or prompts do.
        dtype: Arithmetic of the model.
        max_tokens: Longest input; the rest is cut off.
        prompt: What was put before each text.
    """

    fingerprint: str
    dtype: str
    max_tokens: int
    prompt: str


@dataclass(frozen=True, slots=True)
class VectorAnswer:
    """What came of it.

    Attributes:
        model: Name of the model.
        maker: What its vectors are known by.
        vectors: ``(N, dim)`` unit rows in the order of the texts.
        tokens: What the model read, prompts and special tokens included, cut texts up to the cut.
    """

    model: str
    maker: Maker
    vectors: Vectors
    tokens: int


class VectorService:
    """The configured model, for whoever sends texts. Safe between threads."""

    def __init__(self, encoders: Encoders) -> None:
        self._encoders = encoders

    def load(self) -> None:
        """Load the model, if it is not loaded yet; raises an AppError where it cannot be."""
        self._encoders.default()

    def encode(self, request: VectorRequest, is_abandoned: Callable[[], bool] = lambda: False) -> VectorAnswer:
        """Vectors of texts.

        Args:
            request: The texts.
            is_abandoned: Asked now and then, so that the model does not work on for somebody who left.

        Raises:
            NotServed: If ``request.model`` is another model than the one served.
            InvalidInput: If the model has no such width, or an instruction is given for documents.
            UnknownTask: If the task is unknown.
            EncoderBusy: If too many wait for the model already.
            Abandoned: If ``is_abandoned`` said so.
        """
        whole = self._encoders.default()
        if request.model not in (SERVED, whole.name, whole.source):
            raise NotServed(f"The model {request.model} is not served here; ask for {whole.name}.")
        if request.instruction is not None and request.side == "document":
            raise InvalidInput('An instruction belongs to queries; send "side": "query" with it, or leave it out.')
        encoder = whole.resized(request.dim or whole.dim).metered()
        encoder.prompt(request.side, request.task)  # so that a wrong task is refused without any text too
        parts = [np.empty((0, encoder.dim), np.float32)]
        for start in range(0, len(request.texts), _SLICE_TEXTS):
            if is_abandoned():
                raise Abandoned("Nobody waits for these vectors any more.")
            texts = request.texts[start : start + _SLICE_TEXTS]
            if request.side == "query":
                parts.append(encoder.encode_queries(texts, task=request.task, instruction=request.instruction))
            else:
                parts.append(encoder.encode_documents(texts, task=request.task))
        prompt = encoder.prompt(request.side, request.task, request.instruction)
        maker = Maker(encoder.fingerprint, encoder.dtype, encoder.max_tokens, prompt)
        return VectorAnswer(whole.name, maker, np.concatenate(parts), encoder.usage.tokens)
