"""The gradient of one batch: chunks through the network, the objective over all vectors, and back."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from trainer.collate import Chunk
from trainer.config import RuntimeConfig, StageConfig
from trainer.distributed import Processes, shared_gradient
from trainer.gradcache import cached_backward
from trainer.heads import Heads, Lesson
from trainer.layout import Layout
from trainer.objective import Objective
from trainer.student import Student

_WORTHWHILE = 1 / 8
"""Share of a batch's chunks from which keeping their graphs saves time that counts."""


@dataclass(frozen=True, slots=True)
class BatchLosses:
    """What came of this process's rows.

    Attributes:
        losses: ``(b,)``.
        hardness: ``(b,)`` 1 - p of the contrastive term.
        padded_tokens: Encoded, padding included.
    """

    losses: Tensor
    hardness: Tensor
    padded_tokens: int


@dataclass(frozen=True, slots=True)
class Taught:
    """What teachers say of a batch's texts, and the maps to it."""

    heads: Heads
    lessons: Sequence[Lesson]


def add_gradient(
    student: Student,
    objective: Objective,
    ids: Sequence[Sequence[int]],
    layout: Layout,
    processes: Processes,
    config: StageConfig,
    taught: Taught | None = None,
) -> BatchLosses:
    """Add the gradient of the mean loss over all rows to the weights, as far as it flows through these texts.

    Args:
        student: The network.
        objective: The terms.
        ids: Token ids of this process's U texts.
        layout: Who plays which part in this process's b rows, on the processes' device.
        processes: All of the run; each calls this.
        config: Of the stage.
        taught: The teachers' vectors, where they are targets too.
    """
    chunks = student.chunks(ids)
    if config.runtime.strategy == "fsdp2":  # every forward pass takes all processes
        chunks = student.chunks(ids, at_least=processes.most(len(chunks)))
    order = torch.tensor([row for chunk in chunks for row in chunk.rows], device=processes.device)
    found: list[tuple[Tensor, Tensor]] = []

    def gradient_of(vectors: Tensor) -> Tensor:
        in_place = torch.empty_like(vectors)
        in_place[order] = vectors
        gradient, losses, hardness = shared_gradient(
            objective, in_place, layout, processes, cross_device=config.loss.cross_device
        )
        if taught is not None:
            towards, missing = taught.heads.gradient(in_place, taught.lessons)
            gradient = gradient + config.loss.vector_weight * towards
            losses = losses + config.loss.vector_weight * missing * processes.world  # shown as a mean over all rows
        found.append((losses, hardness))
        return gradient[order]

    cached_backward(student.encode_chunk, chunks, gradient_of, _held(chunks, processes, config.runtime))
    losses, hardness = found[0]
    return BatchLosses(losses, hardness, sum(chunk.input_ids.numel() for chunk in chunks))


def _held(chunks: Sequence[Chunk], processes: Processes, runtime: RuntimeConfig) -> int:
    """How many of the last chunks fit into the tokens whose activations may be kept, on every process.

    None if so few would fit that they save no time: a large batch leaves the memory to the loss.
    """
    room, held = runtime.graph_tokens, 0
    for chunk in reversed(chunks):
        room -= chunk.input_ids.numel()
        held += room >= 0
    if held < _WORTHWHILE * len(chunks):
        held = 0
    if runtime.strategy == "fsdp2":  # every pass takes all processes, so they make the same ones
        held = len(chunks) - processes.most(len(chunks) - held)
    return held
