"""Several processes that train one model: who has which rows, and what they tell each other.

A step's batch is cut into equal runs of rows, one a process. Each encodes its own texts; the vectors, which are small,
are gathered, each process accounts for the losses of its own rows among all candidates, and the gradients with
respect to the vectors are summed. What flows back through the network is then what one process with the whole batch
would have had, so nothing is scaled by the number of processes.

Processes are started by ``accelerate launch`` or ``torchrun``; accelerate finds the backend (gloo, nccl) and the
device.
"""

from typing import TypeVar

import torch
from accelerate import PartialState
from torch import Tensor
from torch import distributed as dist

from embedder.errors import AppError
from trainer.gradcache import objective_gradient
from trainer.layout import Layout
from trainer.objective import Objective

Value = TypeVar("Value")


class UnevenBatch(AppError):
    """A batch that the processes cannot share out equally."""


class Processes:
    """This process among those of the run; alone, everything here is the identity."""

    def __init__(self, device: str = "auto") -> None:
        self._state = PartialState(cpu=device == "cpu")
        self.rank: int = self._state.process_index
        self.world: int = self._state.num_processes
        self.device: torch.device = self._state.device

    @property
    def is_main(self) -> bool:
        """Whether this one writes files and shows progress."""
        return self.rank == 0

    def share(self, rows: int) -> slice:
        """This process's run of a batch's rows.

        Raises:
            UnevenBatch: If the rows cannot be shared out equally.
        """
        if rows % self.world:
            raise UnevenBatch(f"A batch of {rows} rows cannot be shared by {self.world} processes; use a multiple.")
        each = rows // self.world
        return slice(self.rank * each, (self.rank + 1) * each)

    def gather(self, tensor: Tensor) -> list[Tensor]:
        """The tensors of all processes, equal in shape, in the order of their ranks."""
        if self.world == 1:
            return [tensor]
        parts = [torch.empty_like(tensor) for _ in range(self.world)]
        dist.all_gather(parts, tensor.contiguous())
        return parts

    def gather_objects(self, value: Value) -> list[Value]:
        """Plain values of all processes in the order of their ranks."""
        values = [value] * self.world
        if self.world > 1:
            dist.all_gather_object(values, value)
        return values

    def add(self, tensor: Tensor) -> Tensor:
        """Sum a tensor over all processes, in place; returns it."""
        if self.world > 1:
            dist.all_reduce(tensor)
        return tensor

    def most(self, number: int) -> int:
        """The largest of a number over all processes."""
        if self.world == 1:
            return number
        tensor = torch.tensor(number, device=self.device)
        dist.all_reduce(tensor, op=dist.ReduceOp.MAX)
        return int(tensor)

    def wait(self) -> None:
        """Go on when all processes have come here."""
        self._state.wait_for_everyone()


def shared_gradient(
    objective: Objective, vectors: Tensor, layout: Layout, processes: Processes, *, cross_device: bool = True
) -> tuple[Tensor, Tensor, Tensor]:
    """As :func:`~trainer.gradcache.objective_gradient`, for the batch that all processes make together.

    Args:
        objective: The terms.
        vectors: ``(u, D)`` vectors of this process's texts.
        layout: This process's b rows.
        processes: The others.
        cross_device: Whether their texts are negatives too.

    Returns:
        Gradient of the whole batch's mean loss ``(u, D)``; losses and hardness of this process's rows, ``(b,)``.
    """
    if processes.world == 1 or not cross_device:
        gradient, losses, hardness = objective_gradient(objective, vectors, layout, slice(0, len(layout)))
        return gradient / processes.world, losses, hardness
    length = processes.most(len(vectors))
    padded = vectors.new_ones(length, vectors.shape[1])  # ones: a row of zeros has no direction
    padded[: len(vectors)] = vectors
    everything = torch.cat(processes.gather(padded))
    whole = _joined(layout, processes, length)
    rows = slice(processes.rank * len(layout), (processes.rank + 1) * len(layout))
    gradient, losses, hardness = objective_gradient(objective, everything, whole, rows)
    own = processes.add(gradient)[processes.rank * length :][: len(vectors)]
    return own, losses, hardness


def _joined(layout: Layout, processes: Processes, length: int) -> Layout:
    """The whole batch's layout; rows know differently many positives, so that column is widened to the widest."""
    known = layout.known.new_zeros(len(layout), processes.most(layout.known.shape[1]))
    known[:, : layout.known.shape[1]] = layout.known
    texts = layout.texts.new_zeros(length)
    texts[: len(layout.texts)] = layout.texts
    columns = layout.tensors() | {"known": known, "texts": texts}
    gathered = {name: processes.gather(column) for name, column in columns.items()}
    parts = [layout.with_tensors({name: parts[i] for name, parts in gathered.items()}) for i in range(processes.world)]
    return Layout.joined(parts, length)
