"""What a stage would do, told before it does it."""

from dataclasses import dataclass

from trainer.batches import BatchForm, BatchPlan, SourceSize
from trainer.config import Source, StageConfig
from trainer.data import SourceDescription, TrainingData, describe_declared


@dataclass(frozen=True, slots=True)
class StagePlan:
    """A stage on paper.

    Attributes:
        config: Its settings.
        sources: How each source enters.
        steps: Steps in all; None where rows are neither there nor declared.
        is_declared: Whether the rows are what the release says and not what was counted.
    """

    config: StageConfig
    sources: list[SourceDescription]
    steps: int | None
    is_declared: bool


def plan_stage(config: StageConfig) -> StagePlan:
    """Look at a stage's data, or at what is declared of data that is elsewhere; nothing is fetched.

    Raises:
        AppError: If data that should be here is missing or unfit.
    """
    if config.data.root.startswith("hub:"):
        return _declared(config)
    data = TrainingData.of_stage(config)
    steps = data.plan(config.batch_size).steps_per_epoch * config.epochs
    return StagePlan(config, data.describe(), config.max_steps or steps, is_declared=False)


def _declared(config: StageConfig) -> StagePlan:
    described = describe_declared(config.data)
    sizes = [
        SourceSize(source.name, source.rows, _form(source), source.weight, source.cap)
        for source in config.data.sources
        if source.rows is not None
    ]
    if not sizes or len(sizes) < len(described):
        return StagePlan(config, described, config.max_steps, is_declared=True)
    steps = BatchPlan(sizes, batch_size=config.batch_size, seed=config.seed).steps_per_epoch * config.epochs
    return StagePlan(config, described, config.max_steps or steps, is_declared=True)


def _form(source: Source) -> BatchForm:
    return "graded" if source.form == "graded" else "contrastive"
