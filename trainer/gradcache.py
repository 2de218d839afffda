"""Backward through a batch too large for memory (GradCache, Gao et al. 2021, arXiv 2101.06983).

The loss needs all vectors of a batch at once, but the network does not: texts are encoded in chunks without a graph,
the gradient of the loss with respect to the vectors is taken, and each chunk is encoded again, this time with a graph
through which its share of that gradient flows. The random state of each first pass is replayed in its second, so
that dropout drops the same. As many chunks as memory is granted for keep the graph of their first pass, since a
second would be the same: a batch that fits is encoded once.
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import Tensor

from trainer.layout import Layout
from trainer.objective import Objective, Space

Chunk = TypeVar("Chunk")


def cached_backward(
    encode: Callable[[Chunk], Tensor], chunks: Sequence[Chunk], gradient_of: Callable[[Tensor], Tensor], held: int = 0
) -> None:
    """Add the gradient of a loss over all chunks to the parameters' ``.grad``.

    Args:
        encode: Gives the ``(n, D)`` vectors of a chunk; random only through torch's global generators.
        chunks: What is encoded at a time, at least one.
        gradient_of: Takes all vectors ``(N, D)`` in the order of the chunks, gives the gradient of the loss with
            respect to them, ``(N, D)``.
        held: How many of the last chunks keep the graph of their first pass.
    """
    early = chunks[: len(chunks) - held]
    states, parts = [], []
    with torch.no_grad():
        for chunk in early:
            states.append(_random_state())
            parts.append(encode(chunk))
    graphs = [encode(chunk) for chunk in chunks[len(early) :]]
    parts += [vectors.detach() for vectors in graphs]
    pieces = list(torch.split(gradient_of(torch.cat(parts)), [len(part) for part in parts]))
    while graphs:  # one less is in memory before the next one is made
        graphs.pop().backward(pieces.pop())  # type: ignore[no-untyped-call]
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    for chunk, state, piece in zip(early, states, pieces, strict=True):
        with torch.random.fork_rng(devices):
            _set_random_state(state)
            encode(chunk).backward(piece)  # type: ignore[no-untyped-call]


def objective_gradient(
    objective: Objective, vectors: Tensor, layout: Layout, rows: slice
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradient of the mean loss of a batch as far as some of its rows make it, worked off in blocks.

    Args:
        objective: The terms.
        vectors: ``(U, D)`` vectors of the whole batch; no gradient flows beyond them.
        layout: The whole batch's B rows.
        rows: The rows to account for.

    Returns:
        Gradient ``(U, D)``; summed over processes that share out the rows it is the batch's. Then the losses and the
        hardness of the rows, ``(b,)`` each.
    """
    leaf = vectors.detach().requires_grad_()
    spaces = objective.spaces(leaf, layout)
    # Each block's backward pass ends at these; what led to them is gone through once, after the last block.
    ends = [Space(space.queries.detach(), space.candidates.detach()) for space in spaces]
    for end in ends:
        end.queries.requires_grad_()
        end.candidates.requires_grad_()
    losses, hardness = [], []
    for block in objective.blocks(layout, rows):
        found = objective.losses(ends, layout, block)
        (found.total.sum() / len(layout)).backward()  # type: ignore[no-untyped-call]
        losses.append(found.total.detach())
        hardness.append(found.hardness)
    begun = [tensor for space in spaces for tensor in (space.queries, space.candidates)]
    torch.autograd.backward(begun, [tensor.grad for end in ends for tensor in (end.queries, end.candidates)])
    gradient = leaf.grad
    assert gradient is not None  # noqa: S101 - there is at least one block
    return gradient, torch.cat(losses), torch.cat(hardness)


def _random_state() -> tuple[Tensor, Tensor | None]:
    """State of the generators that dropout draws from."""
    return torch.get_rng_state(), torch.cuda.get_rng_state() if torch.cuda.is_available() else None


def _set_random_state(state: tuple[Tensor, Tensor | None]) -> None:
    torch.set_rng_state(state[0])
    if state[1] is not None:
        torch.cuda.set_rng_state(state[1])
