"""``kalm user``: who may sign in to the pages."""

from typing import Annotated

import typer
from rich import box
from rich.table import Table

from app.bootstrap import services
from app.cli.output import console
from app.services.access import OWNER, Role

commands = typer.Typer(help="Enter, list, change and remove accounts of the pages.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="What they sign in as.")]


@commands.command()
def add(
    name: Name,
    role: Annotated[Role, typer.Option(help="Search; change things; see to everything.")] = Role.VIEWER,
) -> None:
    """Enter an account; the password is asked for.

    From the first one on, which has to be an admin, the pages ask everybody to sign in.

    Example: kalm user add ann --role admin
    """
    made = services()
    made.accounts.add(name, role, _password())
    made.audit.note(OWNER, "user.add", name, role=role.value)
    console.print(f"{name} can sign in as {role.value}.", soft_wrap=True)


@commands.command(name="list")
def list_() -> None:
    """List accounts with their roles.

    Example: kalm user list
    """
    found = services().accounts.all()
    if not found:
        console.print("There are no accounts; make one with kalm user add NAME --role admin.")
        return
    table = Table("name", "role", box=box.SIMPLE)
    for account in found:
        table.add_row(account.name, account.role.value)
    console.print(table)


@commands.command()
def role(name: Name, role: Annotated[Role, typer.Argument(help="Their new role.")]) -> None:
    """Give somebody another role, at once.

    Example: kalm user role ann editor
    """
    made = services()
    made.accounts.change(name, role=role)
    made.audit.note(OWNER, "user.role", name, role=role.value)
    console.print(f"{name} is {role.value} now.", soft_wrap=True)


@commands.command()
def password(name: Name) -> None:
    """Give somebody another password; wherever they are signed in, they have to sign in again.

    Example: kalm user password ann
    """
    made = services()
    made.accounts.change(name, password=_password())
    made.sessions.end_all_of(name)
    made.audit.note(OWNER, "user.password", name)
    console.print(f"The password of {name} is changed.", soft_wrap=True)


@commands.command()
def remove(name: Name) -> None:
    """Forget an account; whoever is signed in with it is signed out.

    Example: kalm user remove ann
    """
    made = services()
    made.accounts.remove(name)
    made.sessions.end_all_of(name)
    made.audit.note(OWNER, "user.remove", name)
    console.print(f"There is no account {name} any more.", soft_wrap=True)


def _password() -> str:
    """Asked for twice at a terminal; the first line of what is piped in."""
    stdin = typer.get_text_stream("stdin")
    if stdin.isatty():
        typed: str = typer.prompt("Password", hide_input=True, confirmation_prompt=True)
        return typed
    return stdin.readline().rstrip("\r\n")
