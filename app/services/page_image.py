"""The picture of one page of a PDF, made in a child process, which a hostile file may bring down without harm."""

import io
import json
import math
import resource
import subprocess
import sys
from pathlib import Path

from embedder.errors import AppError

MOST_PIXELS = 2_000_000
"""Of a picture: A4 at 150 dots an inch."""

_LONGEST_SIDE = 4_000
_LARGEST_SCALE = 2.0
_SECONDS = 20.0
_MEMORY_BYTES = 1 << 30
_START = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from app.services.page_image import draw; draw()"


class PageNotDrawn(AppError):
    """A page whose picture cannot be made."""


def render_page(path: Path, page: int) -> bytes:
    """The picture of a page, as PNG of at most ``MOST_PIXELS``.

    Args:
        path: The file.
        page: Number of the page, from 1.

    Raises:
        PageNotDrawn: If there is no such page, or it cannot be drawn in the time and memory a page may take.
    """
    command = [sys.executable, "-X", "utf8", "-c", _START, json.dumps(sys.path), str(path.absolute()), str(page)]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=_SECONDS
        )
    except subprocess.TimeoutExpired as error:
        raise _not_drawn(path, page) from error
    if done.returncode or not done.stdout:
        raise _not_drawn(path, page)
    return done.stdout


def draw() -> None:
    """What the child does: the page that its arguments name goes to its output."""
    _, _, path, page = sys.argv
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    allowed = _MEMORY_BYTES if hard == resource.RLIM_INFINITY else min(_MEMORY_BYTES, hard)
    resource.setrlimit(resource.RLIMIT_AS, (allowed, hard))
    import pypdfium2  # after the limit, and never in the process that serves pages

    with pypdfium2.PdfDocument(path) as pdf:
        drawn = pdf[int(page) - 1]
        picture = drawn.render(scale=_scale(*drawn.get_size())).to_pil()
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    sys.stdout.buffer.write(buffer.getvalue())


def _scale(width: float, height: float) -> float:
    """Pixels for each point: twice as many, or fewer where the page is large."""
    return min(_LARGEST_SCALE, math.sqrt(MOST_PIXELS / (width * height)), _LONGEST_SIDE / max(width, height))


def _not_drawn(path: Path, page: int) -> PageNotDrawn:
    return PageNotDrawn(f"Page {page} of {path.name} cannot be drawn; open the file itself to see it.")
