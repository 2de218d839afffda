"""What others scored, beside what we score: ``published.json`` as tables."""

import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from app.evaluation.task_lists import TaskList

BESIDE = ("KaLM V1.5", "KaLM V2", "KaLM V2.5")
"""Models whose scores of single tasks are known."""


@dataclass(frozen=True, slots=True)
class Means:
    """The means of a model over a benchmark, times 100; None where nothing is known.

    Attributes:
        model: Its name.
        tasks: Mean over tasks.
        types: Mean over the means of the types.
        by_type: Mean over the tasks of a type.
    """

    model: str
    tasks: float | None
    types: float | None
    by_type: Mapping[str, float]


@cache
def _data() -> Mapping[str, Any]:
    data: Mapping[str, Any] = json.loads(
        resources.files("app.evaluation").joinpath("published.json").read_text(encoding="utf-8")
    )
    return data


def published_means(name: str) -> list[Means]:
    """Of a list of tasks: what is published, the KaLM models first."""
    return [Means(**row) for row in _data()["models"][name]]


def published_scores(task: str) -> Mapping[str, float]:
    """Published scores of a task by model; empty where none is known."""
    scores: Mapping[str, float] = _data()["tasks"].get(task, {})
    return scores


def means(model: str, scores: Iterable[tuple[str, float]]) -> Means:
    """The means of our scores.

    Args:
        model: What to call it.
        scores: Type and score of each task.
    """
    by_type: dict[str, list[float]] = {}
    for task_type, score in scores:
        by_type.setdefault(task_type, []).append(score)
    of_types = {task_type: statistics.fmean(values) for task_type, values in sorted(by_type.items())}
    every = [score for values in by_type.values() for score in values]
    if not every:
        return Means(model, None, None, {})
    return Means(model, statistics.fmean(every), statistics.fmean(of_types.values()), of_types)


def benchmark_table(wanted: TaskList, model: str, scores: Mapping[str, float]) -> str:
    """Our means beside the published ones, as a Markdown table.

    Args:
        wanted: The benchmark.
        model: What to call ours; how many tasks it has is said where some are missing.
        scores: Ours by task.
    """
    present = [(task.type, scores[task.name]) for task in wanted.tasks if task.name in scores]
    partly = "" if len(present) == len(wanted.tasks) else f", {len(present)} of {len(wanted.tasks)} tasks"
    types = sorted({task.type for task in wanted.tasks})
    rows = [means(f"**{model}**{partly}", present), *published_means(wanted.name)]
    table = [
        [row.model, _cell(row.tasks), _cell(row.types), *(_cell(row.by_type.get(name)) for name in types)]
        for row in rows
    ]
    return _markdown([wanted.benchmark, "mean of tasks", "mean of types", *types], table)


def task_table(model: str, scores: Iterable[tuple[str, str, float]]) -> str:
    """Our score of each task beside the published ones, as a Markdown table.

    Args:
        model: What to call ours.
        scores: Task, type and score.
    """
    rows = [
        [task, task_type, _cell(score), *(_cell(published_scores(task).get(other)) for other in BESIDE)]
        for task, task_type, score in scores
    ]
    return _markdown(["task", "type", f"**{model}**", *BESIDE], rows)


def published_table(tasks: Sequence[tuple[str, str]]) -> str:
    """What is published of single tasks, as a Markdown table, below it the tasks of which nothing is.

    Args:
        tasks: Task and type.
    """
    rows = [
        [task, task_type, *(_cell(published_scores(task).get(other)) for other in BESIDE)]
        for task, task_type in tasks
        if published_scores(task)
    ]
    lacking = ", ".join(task for task, _ in tasks if not published_scores(task))
    said = f"Single scores are published of {len(rows)} of {len(tasks)} tasks" + (lacking and f", not of {lacking}")
    return f"{_markdown(['task', 'type', *BESIDE], rows)}\n{said}.\n"


def _cell(score: float | None) -> str:
    return "-" if score is None else f"{score:.2f}"


def _markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
