"""``kalm worker``: carry out the builds that wait."""

import signal
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from types import FrameType
from typing import Annotated

import typer

from app.bootstrap import services
from app.cli.output import errors
from embedder.errors import AppError
from indexer.records import Run

_IDLE_SECONDS = 2.0


def worker(
    once: Annotated[bool, typer.Option("--once", help="End when nothing waits any more.")] = False,
) -> None:
    """Carry out the builds that wait, beside other workers; Ctrl-C or SIGTERM lets go of what it holds.

    It also submits builds of corpora that are watched or have a schedule (kalm corpus watch, kalm corpus schedule).

    Example: kalm worker --once
    """
    indexing = services().indexing
    indexing.step_back()
    with (
        _ended_by_sigterm(),
        services().workers.signed_on(),
        closing(services().caretaker()) as caretaker,
    ):
        if not once:
            errors.print("Waiting for builds (Ctrl-C ends it).")
        while True:
            is_waiting = caretaker.look(_tell_problem, watch=not once)
            indexing.work(wait=once, on_error=_tell)
            if once and not is_waiting:
                return
            time.sleep(_IDLE_SECONDS)


def _tell(run: Run, error: AppError) -> None:
    errors.print(f"kalm: run {run.id} of {run.corpus}: {error}", soft_wrap=True)


def _tell_problem(corpus: str, problem: str) -> None:
    errors.print(f"kalm: {corpus}: {problem}", soft_wrap=True)


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """End the block in good order on SIGTERM, so that others need not wait for its leases."""

    def end(number: int, frame: FrameType | None) -> None:
        raise SystemExit(0)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
