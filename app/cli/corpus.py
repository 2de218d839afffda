"""``kalm corpus``: which folders are searchable under which names."""

from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.table import Column, Table

from app.bootstrap import services
from app.cli.output import console

commands = typer.Typer(help="Enter, list and remove corpora.", no_args_is_help=True)


@commands.command()
def add(
    name: Annotated[str, typer.Argument(help="What to call it.")],
    path: Annotated[Path, typer.Argument(help="A folder, or a single file.")],
    include: Annotated[
        list[str] | None, typer.Option(help="Only files that match this pattern, relative to the folder; repeatable.")
    ] = None,
) -> None:
    """Enter a folder of documents as a corpus. Entering the same again changes nothing.

    Example: kalm corpus add handbook ~/Documents/handbook
    """
    corpus = services().corpora.add(name, path, include or ())
    console.print(f"The corpus {corpus.name} stands for {corpus.root}.", soft_wrap=True)


@commands.command(name="list")
def list_() -> None:
    """List corpora with what is in them.

    Example: kalm corpus list
    """
    found = services().corpora.all()
    if not found:
        console.print("There are no corpora yet; enter one with kalm corpus add NAME PATH.")
        return
    folder = Column("folder", overflow="fold")
    table = Table("corpus", "documents", "passages", "failed", "model", "built", folder, box=box.SIMPLE)
    for info in found:
        built = f"{info.updated:%Y-%m-%d}" if info.updated else "not yet"
        counts = (f"{count:,}" for count in (info.documents, info.chunks, info.failed_files))
        table.add_row(info.name, *counts, info.model, built, str(info.root))
    console.print(table)


@commands.command()
def remove(name: Annotated[str, typer.Argument(help="The corpus to forget.")]) -> None:
    """Forget a corpus and its index. The documents themselves are left alone.

    Example: kalm corpus remove handbook
    """
    services().corpora.remove(name)
    console.print(f"The corpus {name} and its index are removed; its documents are where they were.", soft_wrap=True)
