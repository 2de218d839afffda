"""The benchmarks that KaLM-Embedding-V2 is measured on, as data: their tasks, and what each side of a task is told.

``task_lists.json`` is derived from mteb's benchmarks and the registry of ``embedder.prompts``. Fourteen tasks of the
English benchmark's second version are newer than the registry; ``as`` names the task whose strings they take, the one
they were made from.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources

from app.evaluation.errors import EvaluationRefused
from embedder.prompts import Instruction, UnknownTask, instruction_for

MARK = "@"
"""What the name of a list begins with where tasks are asked for."""


@dataclass(frozen=True, slots=True)
class ListedTask:
    """A task of a benchmark.

    Attributes:
        name: Its name in mteb.
        type: Its type in mteb.
        splits: What is scored, as ``test``.
        subsets: What of a task in several languages is scored; ``default`` where there is one only.
        told: The instruction of each side, without the template.
        parts: Tasks whose mean it is; empty for most.
    """

    name: str
    type: str
    splits: tuple[str, ...]
    subsets: tuple[str, ...]
    told: Instruction
    parts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TaskList:
    """A benchmark.

    Attributes:
        name: What to ask for it by, after ``@``.
        benchmark: Its name in mteb.
        tasks: By type and name.
    """

    name: str
    benchmark: str
    tasks: tuple[ListedTask, ...]


@cache
def task_lists() -> Mapping[str, TaskList]:
    """All lists by name."""
    data = json.loads(resources.files("app.evaluation").joinpath("task_lists.json").read_text(encoding="utf-8"))
    return {
        name: TaskList(
            name,
            entry["benchmark"],
            tuple(
                ListedTask(
                    name=row["name"],
                    type=row["type"],
                    splits=tuple(row["splits"]),
                    subsets=tuple(row["subsets"]),
                    told=Instruction(row["query"], row["document"]),
                    parts=tuple(row.get("parts", ())),
                )
                for row in entry["tasks"]
            ),
        )
        for name, entry in data.items()
    }


def find_list(name: str) -> TaskList:
    """The list of a name, with or without ``@``.

    Raises:
        EvaluationRefused: If there is none.
    """
    found = task_lists().get(name.removeprefix(MARK))
    if found is None:
        known = ", ".join(MARK + known for known in task_lists())
        raise EvaluationRefused(f"There is no list of tasks {name}; there are {known}.")
    return found


def intended(task: str, task_type: str) -> Instruction:
    """What a task's texts are told on each side: by the lists, else by the registry, else by the type.

    Args:
        task: Its name; any, for a task of the user's own.
        task_type: Its type in mteb.

    Raises:
        UnknownTask: If neither the name nor the type is known.
    """
    listed = _told().get(task)
    if listed is not None:
        return listed
    try:
        return Instruction(instruction_for(task, "query"), instruction_for(task, "document"))
    except UnknownTask:
        return Instruction(instruction_for(task_type, "query"), instruction_for(task_type, "document"))


@cache
def _told() -> Mapping[str, Instruction]:
    tasks = [task for one in task_lists().values() for task in one.tasks]
    return {name: task.told for task in tasks for name in (task.name, *task.parts)}
