"""``kalm serve``: the pages and the REST interface, in one process."""

import socket
import sys
from typing import Annotated

import typer

from app.cli.output import errors
from app.settings import SettingsError, keep_flags, load_settings

_SWITCH_SECONDS = 1e-4
"""After how long a thread that waits for Python's lock is given it. A pass of the model waits for it at every step,
some hundred times: beside a thread that draws a page a question took 3.6 s at Python's usual 5 ms, and 0.07 s so."""


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on.")] = None,
) -> None:
    """Serve the search page and the REST interface.

    Example: kalm serve --port 8501
    """
    import uvicorn  # with the pages behind it takes a second, which no other command should wait for

    keep_flags(host=host, port=port)
    settings = load_settings()
    _check_address(settings.host, settings.port)
    sys.setswitchinterval(_SWITCH_SECONDS)
    errors.print(f"Search is at http://{_shown(settings.host)}:{settings.port} (Ctrl-C ends it).", soft_wrap=True)
    uvicorn.run(
        "app.asgi:app",
        host=settings.host,
        port=settings.port,
        log_level="warning",
        forwarded_allow_ips=[str(network) for network in settings.trusted_proxies],
    )


def _check_address(host: str, port: int) -> None:
    """Say now what the server would say only after everything is loaded, and in its own words."""
    try:
        for family, _, _, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            with socket.socket(family, socket.SOCK_STREAM) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(address)
    except OSError as error:
        raise SettingsError(
            f"Nothing can be served at {host}:{port} ({error.strerror}); choose another --port or --host, or end what "
            "is running there."
        ) from error


def _shown(host: str) -> str:
    return "localhost" if host in ("127.0.0.1", "0.0.0.0", "::") else host
