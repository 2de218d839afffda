"""``kalm index``: make corpora searchable."""

from typing import Annotated

import typer

from app.bootstrap import services
from app.cli.migrate import migrate
from app.cli.output import build_progress, console
from app.services.indexing import UpToDate
from indexer.pipeline import BuildReport

commands = typer.Typer(help="Build indexes and look at them.", no_args_is_help=True)
commands.command()(migrate)

_Name = Annotated[str, typer.Argument(help="The corpus.")]


@commands.command()
def build(
    name: _Name,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Build from nothing, beside the index in use, with the configured model.")
    ] = False,
) -> None:
    """Bring an index up to date with its folder. Only what changed is embedded; searches go on meanwhile.

    Example: kalm index build handbook
    """
    with build_progress(name) as on_progress:
        report = services().indexing.build(name, fresh=fresh, on_progress=on_progress)
    if isinstance(report, UpToDate):
        count = len(report.plan.unchanged)
        console.print(f"{name} is up to date: {count:,} files, nothing changed.")
    else:
        _tell(name, report)


@commands.command()
def status(name: _Name) -> None:
    """Show what an index holds, which files failed and why, and what a build would do now.

    Example: kalm index status handbook
    """
    info = services().corpora.one(name)
    _, todo = services().indexing.plan(name)
    if info.searchable:
        console.print(
            f"{name}: {info.documents:,} documents, {info.chunks:,} passages, model {info.model}, "
            f"built {info.updated:%Y-%m-%d %H:%M} UTC.",
            soft_wrap=True,
        )
    else:
        console.print(f"{name}: not built yet.")
    for uri, reason in services().corpora.failed_files(name).items():
        console.print(f"  failed: {uri}: {reason}", soft_wrap=True)
    if todo.is_empty:
        console.print("A build would change nothing.")
    else:
        console.print(
            f"A build would look at {len(todo.look):,} new or changed files ({todo.size_bytes / 1e6:,.1f} MB) "
            f"and take out {len(todo.gone):,}.",
            soft_wrap=True,
        )


def _tell(name: str, report: BuildReport) -> None:
    speed = report.chunks / report.seconds if report.seconds else 0.0
    console.print(
        f"{name}: {report.documents:,} documents written as {report.chunks:,} passages, {report.removed:,} taken out, "
        f"in {report.seconds:,.1f} s ({speed:,.0f} passages/s).",
        soft_wrap=True,
    )
    for uri, reason in report.failed.items():
        console.print(f"  failed: {uri}: {reason}", soft_wrap=True)
