"""How commands speak: results on standard output, everything else on standard error."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from indexer.pipeline import Progress

_WIDE = 10_000
"""Columns where nobody looks: a program that reads a table should find its cells whole."""

# What is printed is names, paths and texts of users, in which [brackets] and :colons: mean themselves.
console = Console(markup=False, emoji=False, highlight=False, width=None if sys.stdout.isatty() else _WIDE)
errors = Console(markup=False, emoji=False, highlight=False, stderr=True)

_STAGES = {"embedding": "Indexing", "writing": "Writing", "optimizing": "Building the graph of"}
_LINE_SECONDS = 10.0
"""How often a build says something where there is no terminal."""

_TELLING = 100
"""Passages from which on their number says how fast it goes."""


class OnProgress(Protocol):
    """Takes what a build reports."""

    def __call__(self, progress: Progress, /) -> None:
        """Show it, or not."""
        ...


@contextmanager
def build_progress(corpus: str) -> Iterator[OnProgress]:
    """A bar with rate and remaining time on a terminal, plain lines now and then elsewhere."""
    if not errors.is_terminal:
        yield _Lines(corpus)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Bar(*columns, console=errors) as bar:
        task = bar.add_task(f"Indexing {corpus}", total=None, rate="")

        def show(progress: Progress) -> None:
            bar.update(
                task,
                description=f"{_STAGES[progress.stage]} {corpus}",
                total=progress.bytes,
                completed=progress.bytes_done,
                rate=rate(progress),
            )

        yield show


class _Lines:
    """A line every few seconds."""

    def __init__(self, corpus: str) -> None:
        self._corpus = corpus
        self._due = time.monotonic() + _LINE_SECONDS

    def __call__(self, progress: Progress, /) -> None:
        if time.monotonic() < self._due:
            return
        self._due = time.monotonic() + _LINE_SECONDS
        line = f"{_STAGES[progress.stage]} {self._corpus}: {_share(progress)}, {rate(progress)}{_remaining(progress)}"
        errors.print(line, soft_wrap=True)


def rate(progress: Progress) -> str:
    """Passages so far, and per second once there is something to go by."""
    count = f"{progress.chunks:,} passage{'' if progress.chunks == 1 else 's'}"
    return f"{count}, {progress.chunks / progress.seconds:,.0f}/s" if progress.chunks >= _TELLING else count


def _share(progress: Progress) -> str:
    return f"{progress.bytes_done / progress.bytes:.0%}" if progress.bytes else "0%"


def _remaining(progress: Progress) -> str:
    if not 0 < progress.bytes_done < progress.bytes or progress.chunks < _TELLING:
        return ""
    return f", about {_time(progress.seconds * (progress.bytes - progress.bytes_done) / progress.bytes_done)} left"


def _time(seconds: float) -> str:
    """In the unit that leaves it two or three digits."""
    for size, unit in ((3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:,.0f} {unit}"
    return f"{seconds:.0f} s"
