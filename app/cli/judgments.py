"""``kalm judgments``: what people said of results, as files."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from app.bootstrap import services
from app.cli.output import console
from app.services.access import OWNER

commands = typer.Typer(help="Export what people judged relevant or not.", no_args_is_help=True)


class Form(StrEnum):
    """What judgments are written as."""

    MTEB = "mteb"
    PAIRS = "pairs"


@commands.command()
def export(
    name: Annotated[str, typer.Argument(help="The corpus.")],
    out: Annotated[Path, typer.Option(help="The folder (mteb) or the .jsonl file (pairs) to write.")],
    format: Annotated[Form, typer.Option(help="A retrieval task, or rows to train on.")] = Form.MTEB,
) -> None:
    """Write the judgments of a corpus: as a task to evaluate models on, or as pairs to train them on.

    Example: kalm judgments export handbook --format pairs --out judged.jsonl
    """
    notes = services().notes
    written = notes.export_pairs(OWNER, name, out) if format is Form.PAIRS else notes.export_mteb(OWNER, name, out)
    console.print(
        f"{written.queries:,} questions with {written.judgments:,} judgments on {written.passages:,} passages are in "
        f"{out}.",
        soft_wrap=True,
    )
