"""The command line, ``kalm``: one entry point, every command thin over a service."""

import logging
import sys

import typer

from app.bootstrap import close_services
from app.cli import (
    backup,
    bench,
    corpus,
    doctor,
    embed,
    index,
    jobs,
    key,
    mine,
    models,
    search,
    serve,
    task,
    train,
    worker,
)
from app.cli.output import errors
from embedder.errors import AppError

application = typer.Typer(
    name="kalm",
    help="Semantic retrieval for English and Chinese: embed texts, index folders, search them.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
application.add_typer(corpus.commands, name="corpus")
application.add_typer(index.commands, name="index")
application.add_typer(jobs.commands, name="jobs")
application.add_typer(key.commands, name="key")
application.add_typer(train.commands, name="train")
application.add_typer(bench.commands, name="bench")
application.add_typer(task.commands, name="task", hidden=True)
application.command()(search.search)
application.command()(embed.embed)
application.command()(mine.mine)
application.command()(models.models)
application.command()(serve.serve)
application.command()(worker.worker)
application.command()(doctor.doctor)
application.command()(backup.backup)
application.command()(backup.restore)


def main() -> None:
    """Run a command; an error meant for the user is one line, anything else keeps its traceback."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    try:
        application()
    except AppError as error:
        errors.print(f"kalm: {error}", soft_wrap=True)
        sys.exit(1)
    finally:
        close_services()
