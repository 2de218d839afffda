"""``kalm key``: who may ask over REST."""

from typing import Annotated

import typer
from rich import box
from rich.table import Table

from app.bootstrap import services
from app.cli.output import console, errors
from app.services.access import OWNER, Role

commands = typer.Typer(help="Enter, list and revoke keys of the REST interface.", no_args_is_help=True)


@commands.command()
def add(
    name: Annotated[str, typer.Argument(help="What to call it, for example after the program that will use it.")],
    role: Annotated[Role, typer.Option(help="Search and embed; change things; see to everything.")] = Role.VIEWER,
) -> None:
    """Enter a key and show it, this once. From the first one on, the REST interface asks everybody for a key.

    Example: kalm key add notebook --role viewer
    """
    made = services()
    secret = made.keys.add(name, role)
    made.audit.note(OWNER, "key.add", name, role=role.value)
    errors.print(f"This is the key {name}; it is shown only now.", soft_wrap=True)
    typer.echo(secret)


@commands.command(name="list")
def list_() -> None:
    """List keys, revoked ones too, without their secrets.

    Example: kalm key list
    """
    found = services().keys.all()
    if not found:
        console.print("There are no keys, so REST answers this machine only; enter one with kalm key add NAME.")
        return
    table = Table("name", "role", "created", "last used", "revoked", box=box.SIMPLE)
    for key in found:
        days = [f"{moment:%Y-%m-%d %H:%M}" if moment else "" for moment in (key.created, key.used, key.revoked)]
        table.add_row(key.name, key.role.value, *days)
    console.print(table)


@commands.command()
def revoke(name: Annotated[str, typer.Argument(help="The key to end.")]) -> None:
    """End a key: a running server refuses it from the next second on.

    Example: kalm key revoke notebook
    """
    made = services()
    made.keys.revoke(name)
    made.audit.note(OWNER, "key.revoke", name)
    console.print(f"The key {name} is no longer valid.", soft_wrap=True)
