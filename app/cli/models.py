"""``kalm models``: which models there are."""

from rich import box
from rich.table import Column, Table

from app.cli.output import console
from embedder.catalogue import BUNDLED, DEFAULT, PUBLISHED


def models() -> None:
    """List the models that have a name; any sentence-transformers folder or hub id works as well.

    Example: kalm models
    """
    table = Table("name", "what it is", "licence", Column("where", overflow="fold"), box=box.SIMPLE)
    for name, entry in BUNDLED.items():
        mark = " (default)" if name == DEFAULT else ""
        table.add_row(f"{name}{mark}", entry.about, entry.licence, "comes with this package")
    for name, model in PUBLISHED.items():
        table.add_row(name, model.about, model.licence, f"{model.repository}@{model.revision[:7]}")
    console.print(table)
