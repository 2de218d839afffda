"""One evaluation from what was asked for to the table: ``kalm eval`` without its flags."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import mteb
from mteb.models import ModelMeta, MTEBModels

from app.evaluation.encoder import prompted
from app.evaluation.errors import EvaluationRefused
from app.evaluation.prompts import Convention, Prompts, as_lines, prompts_of, resolve
from app.evaluation.published import benchmark_table, means, published_table, task_table
from app.evaluation.results import Results
from app.evaluation.run import Scored, run
from app.evaluation.selection import Selection, only_searches, select
from app.evaluation.system import SearchSystem, SystemPrompts
from embedder.catalogue import PUBLISHED, locate
from embedder.checkpoint import read_checkpoint
from embedder.encoder import Embedder
from embedder.prompts import PromptPolicy
from indexer.search import Mode
from trainer.durable import write_json, write_text


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be evaluated.

    Attributes:
        tasks: As ``select`` takes them.
        only: Of those, by name; empty for all.
        model: Anything ``Embedder.load`` opens; None for the default.
        prompts: The convention.
        dim: Width of the vectors; None for the widest.
        dtype: As ``Embedder.load`` takes it; what ``auto`` takes may change from run to run, and results with it.
        system: How the whole search is asked; None scores the model alone.
    """

    tasks: Sequence[str]
    only: Sequence[str] = ()
    model: str | None = None
    prompts: Convention = "kalm"
    dim: int | None = None
    dtype: str = "float32"
    system: Literal["hybrid", "semantic", "keyword"] | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """What came of it.

    Attributes:
        table: Our scores beside the published ones, in Markdown.
        failed: Tasks without a score.
    """

    table: str
    failed: tuple[Scored, ...]


def prompt_lines(wanted: Wanted) -> str:
    """What would be put before the texts of every task and side; no weights are loaded.

    Raises:
        AppError: As ``evaluate`` does.
    """
    selection = _selection(wanted)
    policy = _policy(wanted.model)
    prompts: Prompts = SystemPrompts(policy) if wanted.system else prompts_of(wanted.prompts, policy)
    return as_lines(resolve(selection.tasks, prompts))


def published_scores(wanted: Wanted) -> str:
    """What is published of the tasks, in Markdown; no weights are loaded.

    Raises:
        EvaluationRefused: If tasks are not there.
    """
    return published_table([(task.metadata.name, task.metadata.type) for task in _selection(wanted).tasks])


def evaluate(wanted: Wanted, folder: Path, *, say: Callable[[str], None], on_task: Callable[[Scored], None]) -> Report:
    """Score what has no result in the folder yet, and write the tables there as ``scores.md`` and ``scores.json``.

    Args:
        wanted: What.
        folder: Where results are kept.
        say: Told the prompts before anything runs.
        on_task: Told of each task when it is done.

    Raises:
        EvaluationRefused: If tasks or settings are not there or do not go together.
        HubUnreachable: If data or weights have to be fetched and cannot be.
        AppError: As ``Embedder.load`` and ``load_tasks`` do.
    """
    selection = _selection(wanted)
    with _opened(wanted) as (model, meta, prompts):
        say(as_lines(resolve(selection.tasks, prompts)))
        scored = run(selection.tasks, model, Results(folder, meta), on_task)
    table = _table(selection, meta, scored)
    write_text(folder / "scores.md", table)
    write_json(folder / "scores.json", _values(selection, meta, scored))
    return Report(table, tuple(one for one in scored if one.error))


def _selection(wanted: Wanted) -> Selection:
    selection = select(wanted.tasks, wanted.only)
    if not wanted.system:
        return selection
    if wanted.prompts != "kalm" or wanted.dim is not None or wanted.dtype != "float32":
        raise EvaluationRefused(
            "An index has the prompts, width and arithmetic that are its own; leave --prompts, --dim and --dtype out."
        )
    return only_searches(selection)


def _policy(model: str | None) -> PromptPolicy:
    if model in PUBLISHED:
        return PromptPolicy("instructions", {})
    return read_checkpoint(locate(model).folder).prompts


@contextmanager
def _opened(wanted: Wanted) -> Iterator[tuple[MTEBModels, ModelMeta, Prompts]]:
    """The model or the system, its entry, and its prompts."""
    if wanted.system:
        with SearchSystem(wanted.model, Mode(wanted.system)) as system:
            yield system, system.mteb_model_meta, SystemPrompts(system.policy)
        return
    embedder = Embedder.load(wanted.model, dim=wanted.dim, dtype=wanted.dtype)
    encoder = prompted(embedder, wanted.prompts)
    yield encoder, encoder.mteb_model_meta, prompts_of(wanted.prompts, embedder.prompts)


def _table(selection: Selection, meta: ModelMeta, scored: Sequence[Scored]) -> str:
    name = _label(meta)
    there = {one.task: one.score for one in scored if not one.error}
    tables = [benchmark_table(one, name, there) for one in selection.lists]
    tables.append(task_table(name, ((one.task, one.type, one.score) for one in scored if not one.error)))
    return "\n".join(tables)


def _values(selection: Selection, meta: ModelMeta, scored: Sequence[Scored]) -> dict[str, Any]:
    there = {one.task: one.score for one in scored if not one.error}
    return {
        "model": meta.name,
        "revision": meta.revision,
        "settings": dict(meta.experiment_kwargs or {}),
        "mteb": mteb.__version__,
        "tasks": [asdict(one) | {"score": None if math.isnan(one.score) else one.score} for one in scored],
        "means": {
            one.name: asdict(
                means(_label(meta), ((task.type, there[task.name]) for task in one.tasks if task.name in there))
            )
            for one in selection.lists
        },
    }


def _label(meta: ModelMeta) -> str:
    settings = dict(meta.experiment_kwargs or {})
    asked = f"{settings['system']} search" if "system" in settings else f"prompts {settings['prompts']}"
    return f"{str(meta.name).partition('/')[2]}, {asked}"
