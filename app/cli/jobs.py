"""``kalm jobs``: builds that wait, run and ran."""

import json
from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich import box
from rich.table import Column, Table

from app.bootstrap import services
from app.cli.output import console
from indexer.records import Run, RunState

commands = typer.Typer(help="See the builds that wait, run and ran; pause, resume, cancel and retry them.")

_MAX = 2**31 - 1
"""The largest number that either database keeps."""

_Number = Annotated[int, typer.Argument(min=1, max=_MAX, help="The run, as kalm jobs numbers it.")]
_Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


@commands.callback(invoke_without_command=True)
def jobs(
    context: typer.Context,
    limit: Annotated[int, typer.Option(min=1, max=_MAX, help="How many to show.")] = 20,
    as_json: _Json = False,
) -> None:
    """List builds, newest first, with how far they are; or look after one of them.

    Example: kalm jobs
    """
    if context.invoked_subcommand is not None:
        return
    runs = services().jobs.runs(limit)
    if as_json:
        typer.echo(json.dumps([_plain(run) for run in runs], ensure_ascii=False, indent=2))
    elif runs:
        console.print(_table(runs))
    else:
        console.print("There were no builds yet; kalm index build NAME makes one.")


@commands.command()
def show(number: _Number, as_json: _Json = False) -> None:
    """Show how far a build is, and which of its files failed and why.

    Example: kalm jobs show 12
    """
    run, failures = services().jobs.run(number), services().jobs.failures(number)
    if as_json:
        typer.echo(json.dumps(_plain(run) | {"failures": failures}, ensure_ascii=False, indent=2))
        return
    started_from = "nothing" if run.base is None else f"generation {run.base}"
    console.print(
        f"Run {run.id} of {run.corpus} is {run.state}: {run.files_done:,} of {run.files:,} files "
        f"({run.bytes_done / 1e6:,.1f} of {run.bytes / 1e6:,.1f} MB), {run.documents:,} documents as {run.chunks:,} "
        f"passages, {run.removed:,} taken out, {run.seconds:,.1f} s of work.",
        soft_wrap=True,
    )
    console.print(
        f"It makes generation {run.generation} from {started_from} with {run.manifest.model}; {run.by} asked for it "
        f"on {run.created:%Y-%m-%d %H:%M} UTC.",
        soft_wrap=True,
    )
    if run.error:
        console.print(f"  error: {run.error}", soft_wrap=True)
    for uri, reason in failures.items():
        console.print(f"  failed: {uri}: {reason}", soft_wrap=True)


@commands.command()
def pause(number: _Number) -> None:
    """Have the workers let go of a build; what is done stays done.

    Example: kalm jobs pause 12
    """
    _tell(services().jobs.pause(number))


@commands.command()
def resume(number: _Number) -> None:
    """Let a build that was paused, or that failed, go on from where it was.

    Example: kalm jobs resume 12
    """
    _tell(services().jobs.resume(number))


@commands.command()
def cancel(number: _Number) -> None:
    """End a build. The index in use stays as it is.

    Example: kalm jobs cancel 12
    """
    _tell(services().indexing.cancel(number))


@commands.command()
def retry(number: _Number) -> None:
    """Have the failed files of a build looked at again; of a build that is done, in a new one.

    Example: kalm jobs retry 12
    """
    _tell(services().indexing.retry(number))


def _tell(run: Run) -> None:
    waits = run.state in (RunState.QUEUED, RunState.RUNNING)
    hint = f"; kalm worker or kalm index build {run.corpus} carries it out" if waits else ""
    console.print(f"Run {run.id} of {run.corpus} is {run.state}{hint}.", soft_wrap=True)


def _table(runs: list[Run]) -> Table:
    error = Column("error", overflow="fold")
    table = Table("run", "corpus", "state", "files", "failed", "passages", "asked for", error, box=box.SIMPLE)
    for run in runs:
        files = f"{run.files_done:,}/{run.files:,}"
        created = f"{run.created:%Y-%m-%d %H:%M}"
        counts = (f"{run.failed:,}", f"{run.chunks:,}")
        table.add_row(str(run.id), run.corpus, run.state, files, *counts, created, run.error)
    return table


def _plain(run: Run) -> dict[str, Any]:
    fields = asdict(run)
    return fields | {
        "created": run.created.isoformat(),
        "finished": run.finished.isoformat() if run.finished else None,
    }
