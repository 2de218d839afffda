"""``kalm eval``: scores by mteb, of a model or of the whole search, beside the published ones."""

from __future__ import annotations  # naming a score loads no mteb

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from app.cli.extras import require
from app.cli.output import console, errors
from app.settings import load_settings

if TYPE_CHECKING:
    from app.evaluation.run import Scored


def evaluate(
    tasks: Annotated[
        str, typer.Option(help="By comma: tasks of mteb, folders, @mteb-en-v1, @mteb-en-v2, @mteb-zh-v1.")
    ],
    out: Annotated[Path, typer.Option(help="Folder of results; the same command goes on with them.")] = Path(
        "evaluation"
    ),
    model: Annotated[str | None, typer.Option(help="A name from kalm models, a folder or a hub id.")] = None,
    prompts: Annotated[
        Literal["kalm", "mteb", "none"],
        typer.Option(help="The model's own, what mteb's entry of KaLM sends, or none."),
    ] = "kalm",
    dim: Annotated[int | None, typer.Option(help="One of the model's widths.")] = None,
    dtype: Annotated[str, typer.Option(help="float32, bfloat16, int8, int8-float32 or auto.")] = "float32",
    only: Annotated[str, typer.Option(help="Of the tasks only these, as SciFact,STS12; all if not given.")] = "",
    system: Annotated[
        Literal["hybrid", "semantic", "keyword"] | None,
        typer.Option(help="Score the whole search, index and all, on tasks of retrieval."),
    ] = None,
    show_prompts: Annotated[bool, typer.Option("--show-prompts", help="Print what precedes texts, and end.")] = False,
    show_published: Annotated[
        bool, typer.Option("--show-published", help="Print what KaLM scored on each task, and end.")
    ] = False,
) -> None:
    """Score a model on tasks of mteb, folders of tables or a whole benchmark; a Markdown table.

    Example: kalm eval --tasks @mteb-en-v1 --model kalm-v2 --out evaluation
    """
    require("Evaluation", ["mteb"], "eval")
    from app.evaluation import session
    from app.evaluation.errors import TasksFailed

    wanted = session.Wanted(
        tasks=_listed(tasks),
        only=_listed(only),
        model=model or load_settings().model,
        prompts=prompts,
        dim=dim,
        dtype=dtype,
        system=system,
    )
    if show_prompts:
        console.print(session.prompt_lines(wanted), soft_wrap=True)
        return
    if show_published:
        console.print(session.published_scores(wanted), end="", soft_wrap=True)
        return
    report = session.evaluate(wanted, out, say=lambda lines: errors.print(lines, soft_wrap=True), on_task=_say_score)
    console.print(report.table, end="", soft_wrap=True)
    if report.failed:
        first = report.failed[0]
        names = ", ".join(one.task for one in report.failed)
        raise TasksFailed(
            f"There is no score of {names} ({first.task}: {first.error.removesuffix('.')}); "
            "the same command tries again."
        )


def _listed(names: str) -> list[str]:
    return [name.strip() for name in names.split(",") if name.strip()]


def _say_score(scored: Scored) -> None:
    if scored.error:
        said = scored.error
    else:
        said = f"{scored.score:.2f}, " + (f"{scored.seconds:.0f} s" if scored.seconds else "from an earlier run")
    errors.print(f"{scored.task}: {said}", soft_wrap=True)
