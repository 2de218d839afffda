"""Where the blocking work is done: a bounded number of threads, and a bounded line before them."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from embedder.errors import AppError

THREADS = 32
"""Enough that questions meet before the model and go through it together; one that computes keeps every core busy."""

T = TypeVar("T")


class Overloaded(AppError):
    """More requests than may wait."""


class TooSlow(AppError):
    """An answer that took longer than it may."""


class Workers:
    """A pool of threads that refuses work rather than pile it up."""

    def __init__(self, waiting: int, timeout_seconds: float, threads: int = THREADS) -> None:
        """Start nothing yet.

        Args:
            waiting: How much work may wait behind that being done.
            timeout_seconds: How long somebody waits for the result.
            threads: How much is done at once.
        """
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="rest")
        self._places = threading.BoundedSemaphore(threads + waiting)
        self._timeout_seconds = timeout_seconds

    async def run(self, work: Callable[[Callable[[], bool]], T]) -> T:
        """The result of ``work``, done in a thread.

        Work that has begun cannot be taken back, so it keeps its place until it ends, whoever has left meanwhile;
        it is handed a function that says whether somebody has.

        Raises:
            Overloaded: If too much waits already.
            TooSlow: If it takes too long.
            Exception: Whatever ``work`` does.
        """
        if not self._places.acquire(blocking=False):
            raise Overloaded("Too many requests are waiting already; send it again in a moment.")
        abandoned = threading.Event()
        future = self._pool.submit(work, abandoned.is_set)
        future.add_done_callback(lambda _: self._places.release())
        waiting = asyncio.wrap_future(future)
        try:
            await asyncio.wait({waiting}, timeout=self._timeout_seconds)
            if waiting.done():
                return waiting.result()
            raise TooSlow(
                f"There was no answer within {self._timeout_seconds:g} s; send fewer texts at once, or try again later."
            )
        finally:
            abandoned.set()
            future.cancel()  # now, where the next line does so only when the loop comes round to it
            waiting.cancel()
