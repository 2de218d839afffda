"""``kalm mcp``: search as tools for language models."""

from typing import Annotated

import typer

from app.bootstrap import services
from app.cli.extras import require
from indexer.catalog.documents import Documents


def mcp(
    page_url: Annotated[str, typer.Option(help="Address of the pages, so that citations can be opened there.")] = "",
) -> None:
    """Serve search and fetch over the Model Context Protocol, on standard input and output.

    Example: kalm mcp --page-url http://localhost:8501
    """
    require("The Model Context Protocol", ["mcp"], "mcp")
    from app.agents import Library, create_server

    made = services()
    library = Library(made.catalog, made.search, Documents(made.catalog.database))
    create_server(library, page_url).run("stdio")
