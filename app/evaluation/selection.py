"""From what people ask for to tasks of mteb: names, folders and whole benchmarks."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import mteb
from mteb.abstasks import AbsTask, AbsTaskRetrieval

from app.evaluation.errors import EvaluationRefused
from app.evaluation.local_tasks import local_tasks
from app.evaluation.prompts import parts_of
from app.evaluation.task_lists import MARK, TaskList, find_list


@dataclass(frozen=True, slots=True)
class Selection:
    """Tasks to be run.

    Attributes:
        tasks: Each once.
        lists: The benchmarks that were asked for, whole or in part.
    """

    tasks: tuple[AbsTask, ...]
    lists: tuple[TaskList, ...]


def select(wanted: Sequence[str], only: Sequence[str] = ()) -> Selection:
    """The tasks asked for.

    Args:
        wanted: Names of mteb's tasks, folders of tasks, and ``@`` names of lists.
        only: Names of those to keep; empty keeps all.

    Raises:
        EvaluationRefused: If something of that name is not there, or nothing is left.
        BadTasks: If a folder holds no tasks.
    """
    found: dict[str, AbsTask] = {}
    lists = []
    for name in wanted:
        if name.startswith(MARK):
            lists.append(find_list(name))
            tasks = _of_benchmark(lists[-1])
        elif Path(name).is_dir():
            tasks = local_tasks(Path(name))
        else:
            tasks = [_named(name)]
        for task in tasks:
            found.setdefault(task.metadata.name, task)
    if not found:
        raise EvaluationRefused(
            "No task was named; name some of mteb's, a folder of tasks, or a list such as @mteb-en-v1."
        )
    if missing := [name for name in only if name not in found]:
        raise EvaluationRefused(f"There is no task {missing[0]} among those asked for; there are {', '.join(found)}.")
    return Selection(tuple(found[name] for name in only or found), tuple(lists))


def only_searches(selection: Selection) -> Selection:
    """The tasks in which a whole corpus is searched; reranking, which gives candidates, is none of them.

    Raises:
        EvaluationRefused: If there is none.
    """
    tasks = tuple(task for task in selection.tasks if _is_search(task))
    if not tasks:
        raise EvaluationRefused(
            "A search is measured on tasks of type Retrieval, and none was asked for; leave --system out."
        )
    return Selection(tasks, selection.lists)


def _is_search(task: AbsTask) -> bool:
    return task.metadata.type == "Retrieval" and all(isinstance(part, AbsTaskRetrieval) for part in parts_of(task))


def _of_benchmark(wanted: TaskList) -> list[AbsTask]:
    """The tasks of a list as mteb has them, with its splits and subsets; in the order of the list."""
    tasks = {task.metadata.name: task for task in mteb.get_benchmark(wanted.benchmark).tasks}
    names = [task.name for task in wanted.tasks]
    if tasks.keys() != set(names):
        raise EvaluationRefused(
            f"mteb {mteb.__version__} has other tasks in {wanted.benchmark} than {MARK}{wanted.name} lists; "
            "install the version that constraints.txt names."
        )
    return [tasks[name] for name in names]


def _named(name: str) -> AbsTask:
    if "/" in name or name.startswith((".", "~")):
        raise EvaluationRefused(f"There is no folder {name}; correct the path, or name tasks of mteb.")
    try:
        return mteb.get_task(name)
    except KeyError as error:
        hint = str(error).partition("Did you mean")[2].strip(" :'\"?.")
        meant = f"; did you mean {hint.split(chr(39))[0]}" if hint else "; its tasks are named as in its documentation"
        raise EvaluationRefused(f"mteb has no task {name!r}{meant}, and there is no such folder.") from error
