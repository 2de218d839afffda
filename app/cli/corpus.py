"""``kalm corpus``: which folders are searchable under which names."""

from datetime import UTC, datetime
from typing import Annotated

import typer
from rich import box
from rich.table import Column, Table

from app.bootstrap import services
from app.cli.output import console
from app.services.schedules import QUIET_SECONDS
from indexer.catalog.schedule_tables import Schedule

commands = typer.Typer(help="Enter, list and remove corpora; have them watched.", no_args_is_help=True)


@commands.command()
def add(
    name: Annotated[str, typer.Argument(help="What to call it.")],
    path: Annotated[str, typer.Argument(help="A folder, a single file, or an address such as s3://bucket/folder.")],
    include: Annotated[
        list[str] | None, typer.Option(help="Only files that match this pattern, relative to the folder; repeatable.")
    ] = None,
) -> None:
    """Enter a folder of documents as a corpus. Entering the same again changes nothing.

    Example: kalm corpus add handbook ~/Documents/handbook
    """
    corpus = services().corpora.add(name, path, include or ())
    console.print(f"The corpus {corpus.name} stands for {corpus.place}.", soft_wrap=True)


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
    schedules = services().schedules.all()
    table = Table("corpus", "documents", "passages", "failed", "model", "built", "by itself", folder, box=box.SIMPLE)
    for info in found:
        built = f"{info.updated:%Y-%m-%d}" if info.updated else "not yet"
        counts = (f"{count:,}" for count in (info.documents, info.chunks, info.failed_files))
        table.add_row(info.name, *counts, info.model, built, in_words(schedules.get(info.name)), info.root)
    console.print(table)
    for schedule in schedules.values():
        if schedule.note:
            console.print(f"{schedule.corpus}: {schedule.note}", soft_wrap=True)


@commands.command()
def watch(
    name: Annotated[str, typer.Argument(help="The corpus.")],
    off: Annotated[bool, typer.Option("--off", help="Watch it no longer.")] = False,
    quiet: Annotated[
        float, typer.Option(min=0.1, help="Seconds that its folder has to be at rest before it is built.")
    ] = QUIET_SECONDS,
    poll: Annotated[
        float | None,
        typer.Option(min=0.1, help="Look through the folder every so many seconds: for one on the network."),
    ] = None,
) -> None:
    """Have workers bring a corpus up to date whenever its folder changes.

    Example: kalm corpus watch handbook
    """
    if off:
        services().schedules.unwatch(name)
        console.print(f"{name} is not watched.")
        return
    services().schedules.watch(name, quiet_seconds=quiet, poll_seconds=poll)
    looked = f", looked through every {poll:g} s," if poll else ""
    console.print(
        f"{name} is watched: kalm worker builds it when its folder{looked} has been at rest for {quiet:g} s.",
        soft_wrap=True,
    )


@commands.command()
def schedule(
    name: Annotated[str, typer.Argument(help="The corpus.")],
    times: Annotated[
        str, typer.Argument(help="Minute, hour, day of the month, month, day of the week, as cron takes them.")
    ] = "",
    timezone: Annotated[str, typer.Option(help="In which they are told, such as Asia/Shanghai.")] = "UTC",
    off: Annotated[bool, typer.Option("--off", help="Keep no times for it.")] = False,
) -> None:
    """Have workers bring a corpus up to date at certain times.

    Example: kalm corpus schedule handbook "0 3 * * *" --timezone Europe/Berlin
    """
    if off:
        services().schedules.unschedule(name)
        console.print(f"{name} has no schedule.")
        return
    made = services().schedules.schedule(name, times, timezone)
    console.print(f"{name} has a schedule: kalm worker builds it {next_time(made)}.", soft_wrap=True)


@commands.command()
def remove(name: Annotated[str, typer.Argument(help="The corpus to forget.")]) -> None:
    """Forget a corpus, its index and its maps. The documents themselves are left alone.

    Example: kalm corpus remove handbook
    """
    services().corpora.remove(name)
    console.print(
        f"The corpus {name}, its index and its maps are removed; its documents are where they were.", soft_wrap=True
    )


def in_words(schedule: Schedule | None) -> str:
    """What workers do for a corpus by themselves."""
    if schedule is None:
        return ""
    watched = ["watched"] if schedule.watched else []
    return ", ".join([*watched, *([f"{schedule.cron} {schedule.timezone}"] if schedule.cron else [])])


def next_time(schedule: Schedule) -> str:
    """When a corpus with times is due."""
    due, now = datetime.fromtimestamp(schedule.due or 0.0, UTC), datetime.now(UTC)
    return f"at {due:%Y-%m-%d %H:%M} UTC next" if due > now else f"as soon as it can (due {due:%Y-%m-%d %H:%M} UTC)"
