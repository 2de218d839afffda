"""``kalm index``: make corpora searchable."""

import json
from dataclasses import asdict
from typing import Annotated, Literal

import typer
from rich import box
from rich.table import Table

from app.bootstrap import services
from app.cli.corpus import in_words, next_time
from app.cli.migrate import migrate
from app.cli.output import build_progress, console
from app.cli.versions import check, clean, discard, rebuild, rollback, swap, versions
from app.services.indexing import UpToDate
from app.services.outlook import Outlook
from indexer.builds.nodes import ClusterError
from indexer.pipeline import BuildReport
from indexer.records import Run

commands = typer.Typer(help="Build indexes and look at them.", no_args_is_help=True)
commands.command()(migrate)
for command in (rebuild, versions, check, swap, rollback, discard, clean):
    commands.command()(command)

_SHARES = {
    "add": "add",
    "update": "update",
    "move": "move",
    "delete": "delete",
    "unchanged": "unchanged",
    "failed_before": "of them failed before",
}
_Name = Annotated[str, typer.Argument(help="The corpus.")]


@commands.command()
def build(
    name: _Name,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Build from nothing with the configured model, and put it in use unchecked.")
    ] = False,
    detach: Annotated[
        bool, typer.Option("--detach", help="Only write the plan down; kalm worker carries it out.")
    ] = False,
    engine: Annotated[
        Literal["local", "ray"], typer.Option(help="Who reads and encodes: this process, or a Ray cluster.")
    ] = "local",
    ray_address: Annotated[
        str | None, typer.Option(help="HOST:PORT of a cluster that this machine is part of; else RAY_ADDRESS counts.")
    ] = None,
    encoders: Annotated[
        int | None, typer.Option(min=1, help="How many of the cluster load the model; one for each GPU or node.")
    ] = None,
) -> None:
    """Bring an index up to date with its folder. Only what changed is embedded; searches go on meanwhile.

    A build that was killed goes on from where it was; one that others work on is joined.

    Example: kalm index build handbook
    """
    if detach and engine == "ray":
        raise ClusterError("A detached build is carried out by kalm worker, without a cluster; leave out --detach.")
    cluster = services().ray_cluster(ray_address, encoders) if engine == "ray" else None
    if detach:
        _tell_submitted(name, services().indexing.submit(name, fresh=fresh))
        return
    with build_progress(name) as on_progress:
        report = services().indexing.build(name, fresh=fresh, cluster=cluster, on_progress=on_progress)
    if isinstance(report, UpToDate):
        _tell_up_to_date(name, report)
    else:
        _tell(name, report)


@commands.command()
def plan(
    name: _Name,
    rebuild: Annotated[bool, typer.Option("--rebuild", help="What kalm index rebuild would do.")] = False,
    model: Annotated[str | None, typer.Option(help="The same with this model instead of the configured one.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs, every file named.")] = False,
) -> None:
    """Show what a build would do, how long it would take, and what the vectors would need. Nothing is done.

    Example: kalm index plan handbook
    """
    ahead = services().indexing.outlook(name, rebuild=rebuild or model is not None, model=model)
    if as_json:
        typer.echo(json.dumps(asdict(ahead), ensure_ascii=False, indent=2))
    else:
        _tell_outlook(ahead)


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
    kept = services().schedules.all().get(name)
    if kept is not None:
        due = f"; built {next_time(kept)}" if kept.due else ""
        console.print(f"By itself: {in_words(kept)}{due}.", soft_wrap=True)
        if kept.note:
            console.print(f"  problem: {kept.note}", soft_wrap=True)
    if services().indexing.must_be_rebuilt(name):
        _tell_must_be_rebuilt(name)
    elif todo.is_empty:
        console.print("A build would change nothing.")
    else:
        console.print(
            f"A build would look at {len(todo.look):,} new or changed files ({todo.size_bytes / 1e6:,.1f} MB) "
            f"and take out {len(todo.gone):,}.",
            soft_wrap=True,
        )


def _tell_up_to_date(name: str, report: UpToDate) -> None:
    console.print(f"{name} is up to date: {len(report.plan.unchanged):,} files, nothing changed.")


def _tell_submitted(name: str, run: Run | UpToDate) -> None:
    if isinstance(run, UpToDate):
        _tell_up_to_date(name, run)
        return
    console.print(
        f"Run {run.id} of {name} is {run.state}: {run.files:,} files, {run.bytes / 1e6:,.1f} MB. kalm worker carries "
        f"it out, kalm jobs show {run.id} tells how far it is.",
        soft_wrap=True,
    )


def _tell_must_be_rebuilt(name: str) -> None:
    console.print(
        f"A build is refused: {name} was read or cut otherwise than is done now. kalm index rebuild {name} builds a "
        f"new version, and kalm index plan {name} --rebuild tells what that takes.",
        soft_wrap=True,
    )


def _tell_outlook(ahead: Outlook) -> None:
    if ahead.must_be_rebuilt:
        _tell_must_be_rebuilt(ahead.corpus)
    table = Table("", "files", "MB", box=box.SIMPLE)
    for share, label in _SHARES.items():
        table.add_row(label, f"{len(ahead.shares[share].files):,}", f"{ahead.shares[share].bytes / 1e6:,.1f}")
    console.print(table)
    for before, now in zip(ahead.moved_from, ahead.shares["move"].files, strict=True):
        console.print(f"  moved: {before} -> {now}", soft_wrap=True)
    if ahead.seconds is None:
        console.print(f"How long it takes is not known: no build with {ahead.model} has been measured yet.")
    else:
        console.print(f"It takes about {ahead.seconds:,.0f} s, at the speed of run {ahead.measured_in}.")
    if ahead.passages is None:
        console.print("How many passages it makes is known after the first build.")
        return
    if not ahead.storage:
        console.print(f"The index then holds about {ahead.passages:,} passages.")
        return
    console.print(f"The index then holds about {ahead.passages:,} passages; their vectors take, in MB:")
    sizes: dict[int, dict[str, str]] = {}
    for kept in ahead.storage:
        sizes.setdefault(kept.dim, {})[kept.quantisation] = f"{kept.bytes / 1e6:,.1f}"
    table = Table("width", *next(iter(sizes.values())), box=box.SIMPLE)
    for dim, by_kind in sizes.items():
        table.add_row(str(dim), *by_kind.values())
    console.print(table)


def _tell(name: str, report: BuildReport) -> None:
    speed = report.chunks / report.seconds if report.seconds else 0.0
    console.print(
        f"{name}: {report.documents:,} documents written as {report.chunks:,} passages, {report.removed:,} taken out, "
        f"in {report.seconds:,.1f} s ({speed:,.0f} passages/s).",
        soft_wrap=True,
    )
    for uri, reason in report.failed.items():
        console.print(f"  failed: {uri}: {reason}", soft_wrap=True)
