"""Evaluation while a model learns: a folder of tasks, any function that encodes, scores out."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from embedder.errors import AppError
from embedder.protocol import Side, Vectors
from trainer.task_files import load_tasks
from trainer.tasks import Task

__all__ = ["Encode", "Unevaluable", "deal", "evaluate", "load_tasks", "means"]

Encode = Callable[[Sequence[str], Side, str], Vectors]
"""Texts, their side and the MTEB task type to unit rows, shape (N, D)."""


class Unevaluable(AppError):
    """A model whose vectors cannot be compared."""


def evaluate(tasks: Sequence[Task], encode: Encode) -> dict[str, float]:
    """Score of every task by name, times 100.

    With several processes either each evaluates its share (:func:`deal`) and the caller gathers the scores, or,
    where a forward pass takes all of them (sharded weights), all evaluate all tasks with an ``encode`` that they
    enter together: the calls and their texts are the same everywhere. No random state is touched.

    Raises:
        Unevaluable: If a vector is not finite.
    """
    return {task.name: 100 * _score(task, encode) for task in tasks}


def deal(tasks: Sequence[Task], rank: int, world: int) -> list[Task]:
    """The tasks of one process of ``world``: largest first, each to whoever has least to read so far.

    Every task goes to exactly one process; all processes come to the same distribution.
    """
    load = [0] * world
    mine = []
    for task in sorted(tasks, key=lambda task: (-task.size, task.name)):
        taker = load.index(min(load))
        load[taker] += task.size
        if taker == rank:
            mine.append(task)
    return mine


def means(scores: Mapping[str, float], tasks: Sequence[Task]) -> dict[str, float]:
    """Mean score by language: ``en``, ``zh``, ``x`` for cross-lingual; tasks without a score are left out."""
    by_language: dict[str, list[float]] = {}
    for task in tasks:
        if task.name in scores:
            by_language.setdefault(task.language, []).append(scores[task.name])
    return {language: float(np.mean(values)) for language, values in sorted(by_language.items())}


def _score(task: Task, encode: Encode) -> float:
    """Encode each text once per side, however often it occurs, and let the task compare."""
    rows: dict[Side, dict[str, int]] = {}
    for text, side in task.texts:
        of_side = rows.setdefault(side, {})
        of_side.setdefault(text, len(of_side))
    vectors = {side: encode(list(of_side), side, task.task_type) for side, of_side in rows.items()}
    if not all(np.isfinite(part).all() for part in vectors.values()):
        raise Unevaluable(
            f"The model gives vectors that are not numbers, so {task.name} cannot be scored; go back to an earlier "
            "checkpoint and lower the learning rate."
        )

    def rows_of(texts: Sequence[str], side: Side) -> Vectors:
        return vectors[side][[rows[side][text] for text in texts]]

    return task.score(rows_of(task.first, task.first_side), rows_of(task.second, task.second_side))
