"""Teachers' vectors as targets: what the best linear map makes of the student's should be what the teacher says.

The similarities of a batch (contrastive distillation) say of a text how it stands to some hundred others. Its
teacher's vector says where it stands among all, and says it in hundreds of values. Jasper (arXiv 2412.19048) learns
such vectors through linear heads, trained with the student. Here a head is not trained: it is, before every step, the
least-squares map from the student's vectors of the batches before to the teacher's, so it fits from the first step
it is used in and adds nothing to tune. A batch is judged by heads that have not seen it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from embedder.vectors import truncate_and_normalize
from trainer.distributed import Processes

_MEMORY = 0.985
"""What a batch still counts when the next one is learnt: half after 46, so that heads follow the student."""

_RIDGE = 0.002
"""Added to the student's mean energy per value, as its share: few texts leave some directions open."""

_TEXTS_PER_VALUE = 2
"""Texts, for each value of the student's vectors, that a head has to have seen before it is used."""


@dataclass(frozen=True, slots=True)
class Lesson:
    """What one teacher says of some of a batch's texts.

    Attributes:
        teacher: Its number.
        texts: ``(n,)`` positions among the batch's texts.
        vectors: ``(n, E)`` float32 unit rows; zeros behind the teacher's own width.
    """

    teacher: int
    texts: Tensor
    vectors: Tensor


class Heads:
    """Linear maps from the student's unit vectors to each teacher's."""

    def __init__(self, processes: Processes, teachers: int, width: int) -> None:
        """Know nothing yet.

        Args:
            processes: All of the run.
            teachers: How many teachers there are.
            width: E, of every lesson's vectors.
        """
        self._processes = processes
        self._teachers = range(teachers)
        self._width = width
        self._state: dict[str, Tensor] = {}

    def gradient(self, vectors: Tensor, lessons: Sequence[Lesson]) -> tuple[Tensor, float]:
        """Learn from a batch, after judging it; all processes call this together.

        The loss is, for each teacher, the mean over the texts it knows of ``1 - cos(u W, t)``, and their sum over the
        teachers: u the student's unit vector, W the head, t the teacher's vector.

        Args:
            vectors: ``(U, D)`` the student's vectors of this process's texts, of any length.
            lessons: What the teachers say of them.

        Returns:
            Gradient ``(U, D)`` of the loss over all processes' texts, and this process's part of the loss.
        """
        precise = torch.promote_types(vectors.dtype, torch.float32)
        leaf = vectors.detach().to(precise, copy=True).requires_grad_()
        unit = truncate_and_normalize(leaf)
        loss = unit.sum() * 0.0
        for number in self._teachers:
            taught = [lesson for lesson in lessons if lesson.teacher == number]
            places = torch.cat([torch.empty(0, dtype=torch.long), *(lesson.texts for lesson in taught)])
            targets = torch.cat([torch.empty(0, self._width), *(lesson.vectors for lesson in taught)]).to(unit)
            count = self._processes.add(torch.tensor(float(len(places)), device=unit.device))
            if not count:
                continue
            states = unit[places.to(unit.device)]
            head = self._head(number)
            if head is not None:
                loss = loss + (1 - torch.cosine_similarity(states @ head, targets)).sum() / count
            self._learn(number, states.detach(), targets, float(count))
        loss.backward()  # type: ignore[no-untyped-call]
        assert leaf.grad is not None  # noqa: S101 - the loss begins with all of it
        return leaf.grad.to(vectors.dtype), float(loss.detach())

    def tensors(self) -> dict[str, Tensor]:
        """What to keep, by name."""
        return {f"heads/{name}": tensor.cpu() for name, tensor in self._state.items()}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Take up what :meth:`tensors` gave, among other tensors."""
        kept = {name.removeprefix("heads/"): value for name, value in tensors.items() if name.startswith("heads/")}
        self._state = {name: value.to(self._processes.device) for name, value in kept.items()}

    def _head(self, number: int) -> Tensor | None:
        """``(D, E)``; None before the teacher has been heard often enough."""
        energy = self._state.get(f"{number}/energy")
        if energy is None:
            return None
        width = len(energy)
        if self._state[f"{number}/seen"] < _TEXTS_PER_VALUE * width:
            return None
        ridge = _RIDGE * energy.trace() / width * torch.eye(width, device=energy.device)
        head: Tensor = torch.linalg.solve(energy + ridge, self._state[f"{number}/product"])
        return head

    def _learn(self, number: int, states: Tensor, targets: Tensor, count: float) -> None:
        """Add a batch of all processes to what the head is computed from."""
        for name, batch in (("energy", states.T @ states), ("product", states.T @ targets)):
            before = self._state.get(f"{number}/{name}", torch.zeros_like(batch))
            self._state[f"{number}/{name}"] = _MEMORY * before + self._processes.add(batch)
        seen = self._state.get(f"{number}/seen", torch.zeros((), device=states.device))
        self._state[f"{number}/seen"] = _MEMORY * seen + count
