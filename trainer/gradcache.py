"""Backward through a batch too large for memory (GradCache, Gao et al. 2021, arXiv 2101.06983).

The loss needs all vectors of a batch at once, but the network does not: texts are encoded in chunks without a graph,
the gradient of the loss with respect to the vectors is taken, and each chunk is encoded again, this time with a graph
through which its share of that gradient flows. The random state of each first pass is replayed in its second, so
that dropout drops the same. The last chunk keeps the graph of its first pass: a second would be the same.
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import Tensor

from trainer.objective import Layout, Objective

Chunk = TypeVar("Chunk")


def cached_backward(
    encode: Callable[[Chunk], Tensor], chunks: Sequence[Chunk], gradient_of: Callable[[Tensor], Tensor]
) -> None:
    """Add the gradient of a loss over all chunks to the parameters' ``.grad``.

    Args:
        encode: Gives the ``(n, D)`` vectors of a chunk; random only through torch's global generators.
        chunks: What is encoded at a time, at least one.
        gradient_of: Takes all vectors ``(N, D)`` in the order of the chunks, gives the gradient of the loss with
            respect to them, ``(N, D)``.
    """
    *early, last = chunks
    states, parts = [], []
    with torch.no_grad():
        for chunk in early:
            states.append(_random_state())
            parts.append(encode(chunk))
    held = encode(last)
    vectors = torch.cat([*parts, held.detach()])
    *pieces, last_piece = torch.split(gradient_of(vectors), [len(part) for part in (*parts, held)])
    held.backward(last_piece)  # type: ignore[no-untyped-call]
    del held  # its graph: one at a time
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
    losses, hardness = [], []
    for block in objective.blocks(layout, rows):
        found = objective(leaf, layout, block)
        (found.total.sum() / len(layout)).backward()  # type: ignore[no-untyped-call]
        losses.append(found.total.detach())
        hardness.append(found.hardness)
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
