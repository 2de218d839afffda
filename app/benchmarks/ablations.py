"""What each ingredient of a recipe is worth: the recipe, and the recipe with one thing taken out, scored alike.

All variants take the same number of steps: those of a stage that is left out go to the stage after it, or before it
if it is the last. Runs share the stages they have in common, and a run that was stopped is gone on with.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean
from typing import Any

from app.benchmarks.errors import BenchRefused
from app.benchmarks.machine import machine
from trainer.config import SoupConfig, StageConfig, VariantConfig
from trainer.evaluation import load_tasks
from trainer.recipes import Recipe
from trainer.runs import Run
from trainer.stages import run_recipe
from trainer.tasks import Task

FULL, UNAVERAGED = "full", "no-soup"
"""What variants are compared with: the recipe, and for those that have no soup the recipe without one."""

_SHARED = "stages"


@dataclass(frozen=True, slots=True)
class Ablation:
    """A recipe with one thing taken out.

    Attributes:
        name: What is typed.
        about: What is taken out.
        change: Makes the recipe.
        against: The variant it is compared with.
    """

    name: str
    about: str
    change: Callable[[Recipe], Recipe]
    against: str = FULL


@dataclass(frozen=True, slots=True)
class Score:
    """What a finished run was scored at.

    Attributes:
        tasks: By name, times 100.
        tokens: Trained on, all stages.
    """

    tasks: Mapping[str, float]
    tokens: int


def run_ablations(recipe: Recipe, folder: Path, names: Sequence[str], seeds: int, command: str = "") -> dict[str, Any]:
    """Train every variant with every seed and compare their scores.

    Args:
        recipe: With an evaluation folder.
        folder: Gets a folder for each variant and seed.
        names: Variants; none means all.
        seeds: Runs of each variant; what the others are compared with has at least two, whose spread tells what a
            difference is.
        command: What was typed, for the manifests.

    Raises:
        BenchRefused: If there is no such variant, or nothing to score on.
    """
    chosen = [find_ablation(name) for name in names] or list(ABLATIONS)
    last = next(stage for stage in reversed(recipe.stages) if stage.evaluation or stage is recipe.stages[0])
    if not last.evaluation:
        raise BenchRefused("Ablations are compared by their scores; name a folder of tasks with --evaluation.")
    tasks = load_tasks(Path(last.evaluation), last.evaluation_texts)
    found: dict[str, list[Score]] = {}
    for ablation in chosen:
        for seed in range(max(seeds, 2) if ablation.name in (FULL, UNAVERAGED) else seeds):
            variant = _quiet(_seeded(ablation.change(recipe), recipe, seed))
            place = folder / f"{ablation.name}-{seed}"
            _share_stages(variant, place, folder / _SHARED)
            run_recipe(variant, place, command=command)
            found.setdefault(ablation.name, []).append(_score(variant, place))
    return {
        "what": "scores of a recipe with one thing taken out, the same number of steps each",
        "recipe": recipe.name,
        "steps": _steps(recipe),
        "variants": {name: _summary(name, scores, tasks) for name, scores in found.items()},
        "machine": machine(),
    }


def find_ablation(name: str) -> Ablation:
    """The variant of a name.

    Raises:
        BenchRefused: If there is none.
    """
    found = next((ablation for ablation in ABLATIONS if ablation.name == name), None)
    if found is None:
        known = ", ".join(ablation.name for ablation in ABLATIONS)
        raise BenchRefused(f"There is no variant {name!r}; there are {known}.")
    return found


def as_table(report: Mapping[str, Any]) -> str:
    """The report's means as a Markdown table; the spread of several runs stands beside their mean."""
    groups = list(next(iter(report["variants"].values()))["means"])
    lines = [f"| variant | against | runs | {' | '.join(groups)} |", "|---" * (3 + len(groups)) + "|"]
    for name, variant in report["variants"].items():
        cells = [
            f"{value:.2f}" + (f" ± {variant['spread'][group]:.2f}" if variant["runs"] > 1 else "")
            for group, value in variant["means"].items()
        ]
        against = "" if name == FULL else find_ablation(variant["against"]).about
        lines.append(f"| {variant['about']} | {against} | {variant['runs']} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _each(recipe: Recipe, change: Callable[[StageConfig], StageConfig]) -> Recipe:
    stages = [stage if isinstance(stage, SoupConfig) else change(stage) for stage in recipe.stages]
    return replace(recipe, stages=tuple(stages))


def _variant(**settings: object) -> Callable[[Recipe], Recipe]:
    """All stages as a variant. Its soup could only be scored as what it is not."""
    variant = VariantConfig.model_validate(settings)
    return lambda recipe: _without("soup")(_each(recipe, lambda stage: stage.model_copy(update={"variant": variant})))


def _loss(**settings: object) -> Callable[[Recipe], Recipe]:
    def change(stage: StageConfig) -> StageConfig:
        return stage.model_copy(update={"loss": stage.loss.model_copy(update=settings)})

    return lambda recipe: _each(recipe, change)


def _labelled(**settings: object) -> Callable[[Recipe], Recipe]:
    """The data of all stages but the first, whose pairs have no labels: runs have that stage in common."""

    def change(stage: StageConfig) -> StageConfig:
        if stage.name == "pretrain":
            return stage
        return stage.model_copy(update={"data": stage.data.model_copy(update=settings)})

    return lambda recipe: _each(recipe, change)


def _without(name: str) -> Callable[[Recipe], Recipe]:
    """A stage left out; its steps go to its neighbour, and a first stage's base to the second."""

    def change(recipe: Recipe) -> Recipe:
        gone = recipe.stage(name)
        stages = [stage for stage in recipe.stages if stage.name != name]
        if isinstance(gone, SoupConfig):
            return replace(recipe, stages=tuple(stages))
        at = min(recipe.stages.index(gone), sum(isinstance(stage, StageConfig) for stage in stages) - 1)
        heir = stages[at]
        assert isinstance(heir, StageConfig)  # noqa: S101 - soups come last
        given = {"max_steps": (heir.max_steps or 0) + (gone.max_steps or 0)}
        stages[at] = heir.model_copy(update=given if heir.base.path or at else given | {"base": gone.base})
        return replace(recipe, stages=tuple(stages))

    return change


ABLATIONS = (
    Ablation(FULL, "the whole recipe", lambda recipe: recipe),
    Ablation("causal", "causal attention", _variant(attention="causal"), UNAVERAGED),
    Ablation("last-token", "last token in place of the mean", _variant(pooling="last"), UNAVERAGED),
    Ablation("no-pretraining", "without stage 1", _without("pretrain")),
    Ablation("no-focal", "without focal weights", _loss(focal_gamma=0.0)),
    Ablation("no-mixing", "without hard-negative mixing", _loss(pair_mixes=0, list_mixes=0)),
    Ablation("no-distillation", "without distillation", _without("distill")),
    Ablation(UNAVERAGED, "without soup", _without("soup")),
    Ablation("no-instructions", "without instructions", _variant(instructions=False), UNAVERAGED),
    Ablation("labels", "labels' names alone as positives", _labelled(example_share=0.0)),
    Ablation("examples", "texts of the class alone as positives", _labelled(example_share=1.0)),
)
"""The variants, the recipe itself first."""


def _seeded(variant: Recipe, recipe: Recipe, seed: int) -> Recipe:
    first = recipe.stages[0]
    assert isinstance(first, StageConfig)  # noqa: S101 - a soup has nothing to average before
    return _each(variant, lambda stage: stage.model_copy(update={"seed": first.seed + seed}))


def _quiet(recipe: Recipe) -> Recipe:
    """Scored after the last stage of training and after the soup, and at no other time."""
    trained = [stage for stage in recipe.stages if isinstance(stage, StageConfig)]
    last = {"evaluate_every": None, "evaluate_before": False}
    silent = {"evaluation": "", "evaluate_every": None}
    return _each(recipe, lambda stage: stage.model_copy(update=last if stage is trained[-1] else silent))


def _share_stages(recipe: Recipe, place: Path, shared: Path) -> None:
    """Let runs whose first stages are the same have them in common: each stage's folder is a link to one."""
    place.mkdir(parents=True, exist_ok=True)
    digest = hashlib.blake2b(digest_size=8)
    for number, stage in enumerate(recipe.stages, start=1):
        digest.update(stage.model_dump_json().encode())
        target, link = shared / f"{digest.hexdigest()}-{stage.name}", place / f"{number}-{stage.name}"
        target.mkdir(parents=True, exist_ok=True)
        if not link.exists():
            link.symlink_to(target.resolve())


def _steps(recipe: Recipe) -> int:
    return sum(stage.max_steps or 0 for stage in recipe.stages if isinstance(stage, StageConfig))


def _score(recipe: Recipe, place: Path) -> Score:
    facts = [
        Run(place / f"{number}-{stage.name}", stage).facts() for number, stage in enumerate(recipe.stages, start=1)
    ]
    done = [found for found in facts if found is not None]
    return Score(done[-1].scores, sum(found.tokens for found in done))


def _summary(name: str, scores: Sequence[Score], tasks: Sequence[Task]) -> dict[str, Any]:
    by_run = [_means(score.tasks, tasks) for score in scores]
    groups = list(by_run[0])
    return {
        "about": find_ablation(name).about,
        "against": find_ablation(name).against,
        "runs": len(scores),
        "tokens": [score.tokens for score in scores],
        "means": {group: round(mean(run[group] for run in by_run), 2) for group in groups},
        "spread": {
            group: round((max(run[group] for run in by_run) - min(run[group] for run in by_run)) / 2, 2)
            for group in groups
        },
        "tasks": [{task: round(value, 2) for task, value in sorted(score.tasks.items())} for score in scores],
    }


def _means(scores: Mapping[str, float], tasks: Sequence[Task]) -> dict[str, float]:
    """Mean by language, and by kind of task."""
    groups: dict[str, list[float]] = {}
    for task in tasks:
        for group in (task.language, task.task_type):
            groups.setdefault(group, []).append(scores[task.name])
    languages = {task.language for task in tasks}
    return {group: mean(values) for group, values in sorted(groups.items(), key=lambda item: item[0] not in languages)}
