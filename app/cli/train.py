"""``kalm train``: the stages of a recipe, one by one or all."""

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from app.cli.extras import require
from app.cli.output import console, errors
from embedder.errors import AppError

if TYPE_CHECKING:
    import pyarrow as pa

commands = typer.Typer(no_args_is_help=True)

Out = Annotated[Path, typer.Option(help="The run folder; the same command goes on with a run that was stopped.")]
RecipeName = Annotated[str, typer.Option("--recipe", help="kalm_v2, kalm_v2_5, nano or tiny.")]
Data = Annotated[str, typer.Option(help="Folder of training tables; the default is the recipe's own data.")]
Base = Annotated[str, typer.Option(help="Model to start from: a folder, a hub id or a .gguf file.")]
Evaluation = Annotated[str, typer.Option(help="Folder of MTEB-shaped tasks to score the model on.")]
Set = Annotated[list[str] | None, typer.Option("--set", help="Change a setting: key=value, inner keys dotted.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show the mixture, the prompts and the steps, and stop.")]


class Unwritable(AppError):
    """A place that nothing can be written to."""


@commands.callback()
def check_installed() -> None:
    """Build an embedder from a decoder: pre-training, fine-tuning, distillation, soup."""
    require("Training", ["accelerate", "datasets", "babel"], "train")


@commands.command()
def pretrain(
    out: Out,
    recipe: RecipeName = "kalm_v2",
    data: Data = "",
    base: Base = "",
    evaluation: Evaluation = "",
    set_: Set = None,
    dry_run: DryRun = False,
) -> None:
    """Stage 1: contrastive pre-training on weakly supervised pairs, in-batch negatives only.

    Example: kalm train pretrain --data tables --base models/Qwen2-0.5B --out runs/pretrain
    """
    _train("pretrain", _Request(out, recipe, data, base, evaluation, set_ or [], dry_run))


@commands.command()
def finetune(
    out: Out,
    base: Base,
    recipe: RecipeName = "kalm_v2",
    data: Data = "",
    evaluation: Evaluation = "",
    set_: Set = None,
    dry_run: DryRun = False,
) -> None:
    """Stage 2: fine-tuning with hard negatives, focal weights and online mixing.

    Example: kalm train finetune --base runs/pretrain/model --data tables --out runs/finetune --set batch_size=128
    """
    _train("finetune", _Request(out, recipe, data, base, evaluation, set_ or [], dry_run))


@commands.command()
def distill(
    out: Out,
    base: Base,
    recipe: RecipeName = "kalm_v2_5",
    data: Data = "",
    evaluation: Evaluation = "",
    set_: Set = None,
    dry_run: DryRun = False,
) -> None:
    """Stage 3: contrastive distillation from one teacher or several.

    Example: kalm train distill --recipe tiny --base runs/finetune/model --data tables --out runs/distill
    """
    _train("distill", _Request(out, recipe, data, base, evaluation, set_ or [], dry_run))


@commands.command()
def soup(
    members: Annotated[list[str], typer.Argument(help="Model folders to average.")],
    out: Out,
    evaluation: Evaluation = "",
    set_: Set = None,
) -> None:
    """Average finished models, tensor by tensor.

    Example: kalm train soup runs/seed-1/model runs/seed-2/model --out runs/soup --set method=uniform
    """
    from trainer.config import SoupConfig, override
    from trainer.stages import run_soup

    # Members first: without them other settings may not fit.
    base = SoupConfig(members=tuple(str(Path(member).resolve()) for member in members), evaluation=evaluation)
    _say_where(run_soup(override(base, set_ or []), out, command=_typed()).model)


@commands.command()
def pairs(
    folders: Annotated[list[Path], typer.Argument(help="Folders with message catalogues (.mo, .po) in them.")],
    out: Annotated[Path, typer.Option(help="The parquet table to write.")],
    without: Annotated[Path | None, typer.Option(help="Folder of tables whose texts are left out.")] = None,
    licence: Annotated[str, typer.Option(help="Of the catalogues, for the model card.")] = "",
) -> None:
    """Make English-Chinese sentence pairs of the catalogues that programs are translated with.

    Example: kalm train pairs /usr/share/locale /usr/share/games --out tables/programs_zh_en.parquet
    """
    from trainer.catalogues import LICENCE_UNKNOWN, catalogue_pairs, texts_of_tables

    known = texts_of_tables(without) if without else ()
    table = catalogue_pairs(folders, without=known, licence=licence or LICENCE_UNKNOWN)
    _write_table(table, out)
    console.print(f"Sentence pairs in {out}: {table.num_rows:,}. Train on them with --data.")


@commands.command()
def passages(
    table: Annotated[Path, typer.Argument(help="A parquet table with longer texts in its column positive.")],
    out: Annotated[Path, typer.Option(help="The parquet table to write.")],
    tokens: Annotated[int, typer.Option(min=32, help="Length of a passage, about.")] = 160,
    joined: Annotated[bool, typer.Option(help="Its rows follow one another as in a text: join them.")] = False,
    per_passage: Annotated[int, typer.Option(min=1, help="Crops that ask for one passage.")] = 1,
    seed: Annotated[int, typer.Option(help="Of the crops.")] = 0,
) -> None:
    """Make rows of questions, passages and their neighbours out of a table's longer texts.

    Example: kalm train passages finetune/squad_sentences_en.parquet --joined --out pretrain/squad_passages_en.parquet
    """
    import pyarrow as pa

    from trainer.mining_tables import TableFile
    from trainer.passages import PassageSettings, passage_table

    texts = pa.concat_tables(TableFile.open(table).batches())
    made = passage_table(texts, PassageSettings(tokens=tokens, joined=joined, per_passage=per_passage, seed=seed))
    _write_table(made, out)
    console.print(f"Passages in {out}: {made.num_rows:,} rows. Train on them with --data.")


@commands.command()
def pack(
    model: Annotated[Path, typer.Argument(help="Folder of a finished model.")],
    out: Annotated[Path, typer.Option(help="Where the packed copy goes.")],
    bits: Annotated[int, typer.Option(help="4 or 8 bits a value.")] = 4,
) -> None:
    """Write a small copy of a finished model: its matrices in 4 or 8 bits, opened as any other folder.

    Example: kalm train pack runs/nano/4-soup/model --out models/nano
    """
    from embedder.packing import NotPackable, pack_checkpoint

    if bits not in (4, 8):
        raise NotPackable(f"A value is packed in 4 or 8 bits, not in {bits}.")
    try:
        size = pack_checkpoint(model, out, 4 if bits == 4 else 8)
    except OSError as error:
        raise Unwritable(f"{out} cannot be written ({error.strerror or error}); check the folder.") from error
    console.print(f"{out} has {size / 1e6:.1f} MB; use it with --model or KALM_MODEL={out}.")


@commands.command()
def rotate(
    model: Annotated[Path, typer.Argument(help="Folder of a finished model, packed or not.")],
    out: Annotated[Path, typer.Option(help="Where the rotated copy goes.")],
    recipe: RecipeName = "nano",
    data: Data = "",
    rows: Annotated[int, typer.Option(min=1, help="Rows of the last stage whose texts decide the axes.")] = 20_000,
    set_: Set = None,
) -> None:
    """Turn a finished model's vectors onto their principal axes: cut to fewer values, they keep more.

    Example: kalm train rotate models/nano --recipe nano --data tables --out models/nano-rotated
    """
    from trainer.config import StageConfig, override
    from trainer.recipes import Places, find_recipe
    from trainer.rotation import rotate_checkpoint

    stages = [stage for stage in find_recipe(recipe, Places(data)).stages if isinstance(stage, StageConfig)]
    try:
        kept = rotate_checkpoint(model, out, override(stages[-1], set_ or []), rows)
    except OSError as error:
        raise Unwritable(f"{out} cannot be written ({error.strerror or error}); check the folder.") from error
    for dim, share in kept.items():
        console.print(f"{dim} values keep {share:.1%} of the energy.")
    console.print(f"The model is in {out}; use it with --model or KALM_MODEL={out}.", soft_wrap=True)


@commands.command(name="all")
def all_(
    out: Out,
    recipe: RecipeName = "tiny",
    data: Data = "",
    base: Base = "",
    evaluation: Evaluation = "",
    set_: Set = None,
    dry_run: DryRun = False,
) -> None:
    """All stages of a recipe. Prefix a setting with a stage's name to change that stage only.

    Example: kalm train all --recipe tiny --out runs/tiny

    Example: kalm train all --recipe nano --out runs/nano --set seed=7 --set finetune.batch_size=128
    """
    from trainer.recipes import Places, find_recipe
    from trainer.stages import run_recipe

    found = find_recipe(recipe, Places(data, base, evaluation)).changed(set_ or [])
    if dry_run:
        for stage in found.stages:
            _show_plan(stage)
        return
    _say_where(run_recipe(found, out, command=_typed()))


@dataclass(frozen=True, slots=True)
class _Request:
    """What was typed for one stage."""

    out: Path
    recipe: str
    data: str
    base: str
    evaluation: str
    assignments: list[str]
    dry_run: bool


def _train(name: str, request: _Request) -> None:
    from trainer.config import StageConfig, override
    from trainer.recipes import Places, find_recipe
    from trainer.stages import run_stage

    config = find_recipe(request.recipe, Places(request.data, request.base, request.evaluation)).stage(name)
    assert isinstance(config, StageConfig)  # noqa: S101 - only the soup is another
    if request.base:
        config = config.model_copy(update={"base": config.base.model_copy(update={"path": request.base})})
    config = override(config, request.assignments)
    if request.dry_run:
        _show_plan(config)
        return
    _say_where(run_stage(config, request.out, command=_typed()).model)


def _show_plan(config: object) -> None:
    """The mixture of a stage as a table, or that it is a soup."""
    from trainer.config import StageConfig
    from trainer.dryrun import plan_stage

    if not isinstance(config, StageConfig):
        console.print("soup: averages the models before it")
        return
    plan = plan_stage(config)
    steps = "steps unknown until the rows are counted" if plan.steps is None else f"steps: {plan.steps:,}"
    console.print(
        f"{config.name}: {config.base.path or 'the stage before'}, {steps}, queries of a step: {config.batch_size:,}, "
        f"learning rate {config.optimizer.learning_rate:g}, rows as {'declared' if plan.is_declared else 'counted'}"
    )
    table = Table("source", "form", "rows", "visits", "weight", "languages", "query prompt", "document prompt")
    for source in plan.sources:
        table.add_row(
            source.source,
            source.form,
            _number(source.rows),
            _number(source.visits),
            f"{source.weight:g}",
            " ".join(source.languages),
            repr(source.query_prompt),
            repr(source.document_prompt),
        )
    console.print(table)


def _number(value: int | None) -> str:
    return "?" if value is None else f"{value:,}"


def _say_where(model: Path) -> None:
    from trainer.distributed import Processes

    if not Processes("cpu").is_main:
        return
    errors.print(f"The model is in {model}; use it with --model or KALM_MODEL={model}.", soft_wrap=True)


def _write_table(table: "pa.Table", out: Path) -> None:
    import pyarrow.parquet as pq

    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, out, compression="zstd")
    except OSError as error:
        raise Unwritable(f"{out} cannot be written ({error.strerror or error}); check the folder.") from error


def _typed() -> str:
    return shlex.join(["kalm", *sys.argv[1:]])
