"""From a config to a finished model folder: open what a stage needs, run the loop, write down what came of it."""

import shutil
import signal
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType

from torch import Tensor

from embedder import Embedder
from embedder.protocol import Side, Vectors
from trainer.backbones import Backbone, open_backbone
from trainer.card import write_report
from trainer.checkpoints import DiskFull
from trainer.config import SoupConfig, StageConfig
from trainer.data import TrainingData
from trainer.distributed import Processes
from trainer.evaluation import Encode, evaluate, load_tasks, means
from trainer.loop import Loop, Parts
from trainer.metrics import MetricsLog
from trainer.progress import TrainingProgress
from trainer.recipes import Recipe
from trainer.recorder import Recorder
from trainer.runs import Facts, Manifest, Run, SourceFacts
from trainer.soup import make_soup
from trainer.student import Student
from trainer.teachers import Teachers
from trainer.weights import prepare_weights

_VOCABULARY_TEXTS = 500_000
"""Texts of the stage that decide which tokens are kept: frequencies no longer move after them."""

_WEIGHT_BYTES = 4
_MOMENT_BYTES = 8
"""AdamW's two, of a parameter that learns."""


def run_recipe(recipe: Recipe, folder: Path, *, command: str = "") -> Path:
    """Run all stages of a recipe one after the other; a stage that is finished is not run again.

    Args:
        recipe: The stages.
        folder: Gets a run folder for each, ``1-pretrain``, ``2-finetune`` and so on.
        command: What was typed, for the manifests.

    Returns:
        The last stage's model folder.

    Raises:
        AppError: If a stage cannot be run.
    """
    earlier: list[Run] = []
    for number, config in enumerate(recipe.stages, start=1):
        place = (folder / f"{number}-{config.name}").resolve()  # the next stage names it, wherever that is run from
        facts = [found for past in earlier if (found := past.facts())]
        following = _with_inputs_from(config, earlier)
        if isinstance(following, SoupConfig):
            earlier.append(run_soup(following, place, earlier=facts, command=command))
        else:
            earlier.append(run_stage(following, place, earlier=facts, command=command))
    return folder / f"{len(recipe.stages)}-{recipe.stages[-1].name}" / "model"


def run_stage(config: StageConfig, folder: Path, *, earlier: Sequence[Facts] = (), command: str = "") -> Run:
    """Train one stage in a run folder, or go on with it. Every process of a run calls this.

    Args:
        config: The stage.
        folder: Made if it is not there.
        earlier: Manifests of the stages before, for the model card.
        command: What was typed.

    Returns:
        The run; its model is finished.

    Raises:
        AppError: If something it needs is not there or does not fit; nothing was trained then.
        Stopped: If it was interrupted, after its state was saved.
    """
    processes = Processes(config.runtime.device)
    run = _shared_run(config, folder, processes)
    if is_finished(run):
        return run
    with ExitStack() as stack:
        if processes.is_main:
            stack.enter_context(run.lock())
        data = TrainingData.of_stage(config)
        parts, backbone = _open_parts(run, config, data, processes)
        manifest = _begin(run, data, backbone, processes, command) if processes.is_main else None
        log = stack.enter_context(_metrics(run)) if processes.is_main else None
        progress = stack.enter_context(TrainingProgress(run.folder.name, is_shown=processes.is_main))
        loop = Loop(parts, Recorder(processes, progress, log, manifest))
        stack.enter_context(_stopped_by_signals(loop))
        tensors = loop.go()
        if manifest is not None:
            _finish(run, config, parts.student, tensors)
            manifest.finish(steps=parts.total_steps)
            write_report(run, earlier)
    processes.wait()
    return run


def run_soup(config: SoupConfig, folder: Path, *, earlier: Sequence[Facts] = (), command: str = "") -> Run:
    """Average finished checkpoints into a run folder; of several processes the first does it.

    Args:
        config: Names the members.
        folder: Made if it is not there.
        earlier: Manifests of the stages before, for the model card.
        command: What was typed.

    Returns:
        The run; its model is the soup.

    Raises:
        BadSoup: If the members do not fit together.
    """
    processes = Processes("cpu")
    run = _shared_run(config, folder, processes)
    if processes.is_main and not is_finished(run):
        _average_members(run, config, earlier, command)
    processes.wait()
    return run


def is_finished(run: Run) -> bool:
    """Whether a run has its model already."""
    facts = run.facts()
    return facts is not None and facts.finished is not None and run.model.is_dir()


def _shared_run(config: StageConfig | SoupConfig, folder: Path, processes: Processes) -> Run:
    """The run folder, made by the first process before the others look."""
    if processes.is_main:
        Run.create(folder, config)
    processes.wait()
    return Run.create(folder, config)


def _average_members(run: Run, config: SoupConfig, earlier: Sequence[Facts], command: str) -> None:
    with run.lock():
        manifest = run.begin(command=command)
        tasks = load_tasks(Path(config.evaluation), config.evaluation_texts) if config.evaluation else []

        def score(folder: Path) -> float:
            by_language = means(evaluate(tasks, _encode_with(folder)), tasks)
            return sum(by_language.values()) / len(by_language)

        make_soup(config, [Path(member) for member in config.members], run.model, score if tasks else None)
        scores = evaluate(tasks, _encode_with(run.model)) if tasks else {}
        manifest.finish(scores=scores)
        write_report(run, earlier)


def _with_inputs_from(config: StageConfig | SoupConfig, earlier: Sequence[Run]) -> StageConfig | SoupConfig:
    """A stage with what it takes from those before it filled in."""
    if isinstance(config, SoupConfig):
        if config.members or not earlier:
            return config
        members = [*sorted((earlier[-1].folder / "models").glob("step-*")), earlier[-1].model]
        return config.model_copy(update={"members": tuple(str(member) for member in members)})
    if config.base.path or not earlier:
        return config
    return config.model_copy(update={"base": config.base.model_copy(update={"path": str(earlier[-1].model)})})


def _open_parts(run: Run, config: StageConfig, data: TrainingData, processes: Processes) -> tuple[Parts, Backbone]:
    """Everything a loop needs; what does not fit is said here, before any work."""
    plan = data.plan(config.batch_size)
    processes.share(config.batch_size)
    tasks = load_tasks(Path(config.evaluation), config.evaluation_texts) if config.evaluation else []
    teachers = None
    if config.teachers:
        cache = Path(config.teacher_cache) if config.teacher_cache else run.folder / "teachers.sqlite"
        teachers = Teachers.open(config.teachers, cache, config.runtime.device)
        teachers.check([source.info.languages for source in data.sources])
    backbone = open_backbone(config.base, texts=lambda: data.texts(_VOCABULARY_TEXTS))
    student = Student(backbone, config)
    _check_disk(run, config, student)
    student.model.to(processes.device)
    weights = prepare_weights(student.model, config.optimizer, config.runtime, processes, config.stored_bits)
    return Parts(run, config, student, weights, data, plan, processes, teachers, tasks), backbone


def _check_disk(run: Run, config: StageConfig, student: Student) -> None:
    """Room for the checkpoints that are kept, one more while it is written, and the finished models."""
    sizes = [(parameter.numel(), parameter.requires_grad) for parameter in student.model.parameters()]
    model = sum(_WEIGHT_BYTES * size for size, _ in sizes)
    state = model + sum(_MOMENT_BYTES * size for size, learns in sizes if learns)
    models = config.checkpoints_kept if config.export_checkpoints else 1
    needed = state * (config.checkpoints_kept + 1) + model * models
    there = sum(path.stat().st_size for path in run.folder.rglob("*") if path.is_file())
    free = shutil.disk_usage(run.folder).free
    if free + there < needed:
        raise DiskFull(
            f"This stage needs {needed:,} bytes for its checkpoints and its model and the disk of {run.folder} has "
            f"{free:,} free; make room, keep fewer with checkpoints_kept, or train in another folder."
        )


def _begin(run: Run, data: TrainingData, backbone: Backbone, processes: Processes, command: str) -> Manifest:
    sources = [
        SourceFacts(
            name=source.info.name,
            rows=source.size.used,
            weight=source.source.weight,
            licence=source.source.licence,
            languages=source.source.languages,
        )
        for source in data.sources
    ]
    return run.begin(
        sources=sources,
        digests=data.digests(),
        world_size=processes.world,
        command=command,
        base_model=backbone.hub_id,
        base_licence=backbone.licence,
        base_notes=backbone.notes,
    )


def _finish(run: Run, config: StageConfig, student: Student, tensors: dict[str, Tensor]) -> None:
    """Write the finished model, and the kept checkpoints as models where a soup wants them."""
    _export(student, tensors, run.model)
    if config.export_checkpoints:
        *before, _ = run.checkpoints().all()  # the last one is the finished model
        for saved in before:
            _export(student, saved.tensors("weights/"), run.folder / "models" / f"step-{saved.step:08d}")


def _export(student: Student, tensors: dict[str, Tensor], folder: Path) -> None:
    """Write a model under another name first: a folder of the name is always whole."""
    beside = folder.with_name(f".{folder.name}.part")
    for place in (beside, folder):
        if place.exists():
            shutil.rmtree(place)
    beside.parent.mkdir(exist_ok=True)
    student.export(tensors, beside)
    beside.rename(folder)


@contextmanager
def _metrics(run: Run) -> Iterator[MetricsLog]:
    log = MetricsLog(run.folder)
    try:
        yield log
    finally:
        log.close()


@contextmanager
def _stopped_by_signals(loop: Loop) -> Iterator[None]:
    """Ctrl-C and a polite kill end the step that is under way, save, and stop; a second one stops at once."""

    def stop(number: int, frame: FrameType | None) -> None:
        loop.stop()
        signal.signal(number, before[signal.Signals(number)])

    try:
        before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # only the main thread may take signals; others are stopped by whoever started them
        yield
        return
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _encode_with(folder: Path) -> Encode:
    encoder = Embedder.load(str(folder), dtype="float32")  # "auto" goes by a timing, and a choice hangs on the scores

    def encode(texts: Sequence[str], side: Side, task: str) -> Vectors:
        of_side = encoder.encode_queries if side == "query" else encoder.encode_documents
        return of_side(texts, task=task)

    return encode
