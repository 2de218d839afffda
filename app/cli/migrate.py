"""``kalm index migrate``: move an index between the data folder and a Qdrant server."""

from enum import StrEnum
from typing import Annotated

import typer
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from app.bootstrap import services
from app.cli.output import console, errors
from indexer.stores.protocol import EMBEDDED, SERVER


class Place(StrEnum):
    """Where an index may be kept."""

    SERVER = "server"
    EMBEDDED = "embedded"


_ENGINES = {Place.SERVER: SERVER, Place.EMBEDDED: EMBEDDED}
_WHERE = {Place.SERVER: "on the server", Place.EMBEDDED: "in the data folder"}


def migrate(
    name: Annotated[str, typer.Argument(help="The corpus.")],
    to: Annotated[Place, typer.Option(help="The Qdrant server of KALM_QDRANT_URL, or the data folder.")],
) -> None:
    """Move an index to a Qdrant server, or back. Nothing is embedded again; searches go on meanwhile.

    Example: kalm index migrate handbook --to server
    """
    columns = TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn()
    with Progress(*columns, console=errors, disable=not errors.is_terminal) as bar:
        task = bar.add_task(f"Moving {name}", total=None)
        report = services().migrator.migrate(
            name, _ENGINES[to], lambda done, of: bar.update(task, completed=done, total=of)
        )
    if report.is_moved:
        console.print(f"{name}: {report.passages:,} passages copied and compared; it is {_WHERE[to]} now.")
    else:
        console.print(f"{name} is {_WHERE[to]} already; nothing changed.")
