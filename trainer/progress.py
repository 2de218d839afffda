"""What a person sees of a training run: a bar on a terminal, a plain line now and then elsewhere."""

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

_LINE_SECONDS = 10.0


class TrainingProgress:
    """A context manager that shows steps, tokens per second and remaining time on standard error."""

    def __init__(self, title: str, *, is_shown: bool = True, console: Console | None = None) -> None:
        """Decide where to show what.

        Args:
            title: What is trained.
            is_shown: Off in every process but the first.
            console: Where to; standard error if None.
        """
        self._title = title
        self._is_shown = is_shown
        self._console = console or Console(markup=False, emoji=False, highlight=False, stderr=True)
        self._bar: Progress | None = None
        self._due = 0.0
        self._first: tuple[int, float] | None = None

    def __enter__(self) -> Self:
        """Start the bar, if there is a terminal to draw it on."""
        if self._is_shown and self._console.is_terminal:
            self._bar = Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                TaskProgressColumn(),
                TextColumn("{task.fields[facts]}", markup=False),
                TimeRemainingColumn(),
                console=self._console,
            )
            self._task = self._bar.add_task(self._title, total=None, facts="")
            self._bar.start()
        self._due = time.monotonic() + _LINE_SECONDS
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the bar as it stands."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def advance(self, step: int, total: int, tokens_per_second: float, loss: float) -> None:
        """Show where the run is.

        Args:
            step: Steps done.
            total: Steps there are.
            tokens_per_second: Current speed.
            loss: Current loss.
        """
        if not self._is_shown:
            return
        facts = f"step {step:,} of {total:,}, loss {loss:.4f}, {tokens_per_second:,.0f} tokens/s"
        if self._bar is not None:
            self._bar.update(self._task, total=total, completed=step, facts=facts)
            return
        now = time.monotonic()
        self._first = self._first or (step, now)
        if now >= self._due or step == total:
            self._due = now + _LINE_SECONDS
            self._console.print(f"{self._title}: {facts}{self._remaining(step, total, now)}", soft_wrap=True)

    def _remaining(self, step: int, total: int, now: float) -> str:
        """From the pace since this process began: a resumed run did not do its first steps now."""
        first, began = self._first or (step, now)
        if step in (first, total):
            return ""
        return f", about {(now - began) * (total - step) / (step - first):,.0f} s left"
