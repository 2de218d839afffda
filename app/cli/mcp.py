"""``kalm mcp``: search as tools for language models."""

from typing import Annotated

import typer

from app.bootstrap import services
from embedder.errors import AppError
from indexer.documents import Documents


class NotInstalled(AppError):
    """The protocol's SDK is not there."""


def mcp(
    page_url: Annotated[str, typer.Option(help="Address of the pages, so that citations can be opened there.")] = "",
) -> None:
    """Serve search and fetch over the Model Context Protocol, on standard input and output.

    Example: kalm mcp --page-url http://localhost:8501
    """
    try:
        from app.agents import Library, create_server
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("mcp"):
            raise
        raise NotInstalled("The protocol's SDK is not installed; install kalm-retrieval[mcp].") from error
    made = services()
    library = Library(made.catalog, made.search, Documents(made.catalog.database))
    create_server(library, page_url).run("stdio")
