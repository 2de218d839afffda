"""``kalm task``: the process in which long work of the pages is done. People have no need to call it."""

from typing import Annotated

import typer

from app.bootstrap import services
from app.services.tasks import carry_out
from app.work import turn_of, work_of
from indexer.catalog.task_tables import TaskTable

commands = typer.Typer(help="Long work of the pages.", no_args_is_help=True)


@commands.command()
def run(task_id: Annotated[str, typer.Argument(help="Id of the task.")]) -> None:
    """Carry out a task that a page has entered; the server starts this by itself.

    Example: kalm task run 5f3c...
    """
    made = services()
    table = TaskTable(made.catalog.database)
    carry_out(table, made.task_folder, task_id, lambda kind: work_of(kind, made), turn_of)
