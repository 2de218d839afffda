"""Tasks one after the other: each result is written as soon as it is there, and none is computed twice."""

import logging
import sys
import time
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import mteb
from datasets.utils.logging import disable_progress_bar
from mteb.abstasks import AbsTask
from mteb.abstasks.aggregated_task import AbsTaskAggregate
from mteb.models import MTEBModels
from mteb.results import TaskResult

from app.evaluation.errors import HubUnreachable
from app.evaluation.results import Results
from embedder.errors import AppError

_TEXTS_AT_ONCE = 256
_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Scored:
    """The score of a task.

    Attributes:
        score: Its main score times 100, mean over splits and subsets as mteb takes it.
        seconds: How long it took now; 0 for one that was there.
        error: Why there is no score, or empty.
    """

    task: str
    type: str
    score: float
    seconds: float
    error: str = ""


class _NotScored(Exception):
    """A task without a score, while others may get theirs."""


def run(
    tasks: Iterable[AbsTask], model: MTEBModels, results: Results, on_task: Callable[[Scored], None]
) -> list[Scored]:
    """Score the tasks that have no result yet; those that fail are reported and the others go on.

    Args:
        tasks: What to run.
        model: Encoder or search system.
        results: Where results are looked for and written.
        on_task: Told of every task when it is done.

    Raises:
        HubUnreachable: If the hub has to be asked and cannot be: no further task would fare better.
        BadTasks: If the tables of a folder cannot be read.
    """
    if not sys.stderr.isatty():
        disable_progress_bar()
    done = []
    with warnings.catch_warnings():
        # Whoever asks for a benchmark of 2022 wants its tasks.
        warnings.filterwarnings("ignore", message="The task .* is superseded by")
        warnings.filterwarnings("ignore", message="To copy construct from a tensor")  # mteb's own affair
        for task in tasks:
            about = task.metadata
            started = time.monotonic()
            try:
                result, is_new = _result(task, model, results)
            except _NotScored as error:
                scored = Scored(about.name, about.type, float("nan"), 0.0, str(error))
            else:
                seconds = time.monotonic() - started if is_new else 0.0
                scored = Scored(about.name, about.type, 100 * float(result.get_score()), seconds)
            done.append(scored)
            on_task(scored)
    return done


def _result(task: AbsTask, model: MTEBModels, results: Results) -> tuple[TaskResult, bool]:
    """The result of a task, and whether it was computed now."""
    if isinstance(task, AbsTaskAggregate):  # its parts are results of their own, so that a killed run keeps them
        parts = [_result(part, model, results) for part in task.metadata.tasks]
        combined = task.combine_task_results([result for result, _ in parts])
        results.save(combined)
        return combined, any(is_new for _, is_new in parts)
    known = results.load(task)
    if known is not None:
        return known, False
    _load(task)
    try:
        result = _evaluate(task, model)
    finally:
        task.unload_data()
    results.save(result)
    return result, True


def _load(task: AbsTask) -> None:
    """Fetch or read a task's data."""
    try:
        task.load_data()
    except AppError:
        raise
    except ConnectionError as error:
        raise HubUnreachable(
            f"The data of {task.metadata.name} is on the Hugging Face hub, which cannot be reached; connect and run "
            "the command again, or name a folder of tasks."
        ) from error
    except Exception as error:  # whatever the loaders of a thousand data sets raise
        raise _NotScored(f"its data could not be loaded: {_first_line(error)}") from error


def _evaluate(task: AbsTask, model: MTEBModels) -> TaskResult:
    try:
        evaluated = mteb.evaluate(
            model,
            task,
            cache=None,  # it writes files in place, which a kill leaves in halves
            co2_tracker=False,
            encode_kwargs={"batch_size": _TEXTS_AT_ONCE, "show_progress_bar": False},
            show_progress_bar=False,
        )
    except AppError:
        raise
    except Exception as error:  # whatever the scorers of a thousand tasks raise
        _logger.exception("%s could not be scored.", task.metadata.name)
        raise _NotScored(f"it could not be scored: {_first_line(error)}") from error
    return evaluated.task_results[0]


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
