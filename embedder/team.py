"""How many threads compute together: fewer while others use the processors.

Threads of OpenMP's wait for each other at the end of every step, some hundred times a pass, and whoever waits spins.
When another program has the processor of one of them, all are held up until it is that one's turn again: a question of
64 tokens took 20 ms with one thread and 15 with two on two processors, and beside two busy programs 29 ms and 2.5 s. A
thread that is held up shows it: alone it is on a processor all the time.
"""

import time
from collections.abc import Callable

import torch

_HELD_UP = 0.9
"""Share of the time that a thread was on a processor, below which it was held up; alone it is 0.99."""

_TICKS = 20
"""A share is judged after so many steps of the clock that it is measured with."""

_JUDGED_SECONDS = max(0.1, _TICKS * time.get_clock_info("thread_time").resolution)
"""After how long: some turns of whoever shares a processor."""

_FIRST_PAUSE, _LONGEST_PAUSE = 0.25, 4.0
"""Seconds until more threads are tried; twice as many each time that they are held up again."""

_BALLAST = 1 << 16
"""Values for each thread to add to: so many that torch shares them out."""


class Team:
    """The threads of one that computes. Not to be shared between threads."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        """Begin with all threads.

        Args:
            clock: Tells seconds.
        """
        self._clock = clock
        self._wanted = torch.get_num_threads()
        self._divisor = 1
        self._pause, self._due = _FIRST_PAUSE, 0.0
        self._since, self._cpu_since = 0.0, 0.0
        self._wall, self._cpu = 0.0, 0.0

    @property
    def size(self) -> int:
        """Threads that compute."""
        return max(1, self._wanted // self._divisor)

    def begin(self, wanted: int) -> None:
        """Go on computing, with so many threads if nobody else needs the processors."""
        self._wanted = wanted
        self._gather()
        self._since, self._cpu_since = self._clock(), time.thread_time()

    def check(self) -> None:
        """Judge what has been computed since the beginning or the last time; to be called now and then."""
        now, cpu = self._clock(), time.thread_time()
        self._wall += now - self._since
        self._cpu += cpu - self._cpu_since
        self._since, self._cpu_since = now, cpu
        if self._wall < _JUDGED_SECONDS:
            return
        is_held_up = self._cpu < _HELD_UP * self._wall
        self._wall = self._cpu = 0.0
        if is_held_up and self.size > 1:
            self._shrink()
        elif not is_held_up and self._divisor == 1:
            self._pause = _FIRST_PAUSE

    def try_more(self) -> None:
        """Where there are fewer threads than wanted, see now and then whether twice as many would be held up."""
        if self._divisor == 1 or self._clock() < self._due:
            return
        self._divisor //= 2
        self._gather()
        ballast = torch.zeros(_BALLAST * self.size)
        began, cpu_began = self._clock(), time.thread_time()
        while (passed := self._clock() - began) < _JUDGED_SECONDS / 2:
            ballast.add_(1)
        if time.thread_time() - cpu_began < _HELD_UP * passed:
            self._shrink()

    def _shrink(self) -> None:
        self._divisor *= 2
        self._due = self._clock() + self._pause
        self._pause = min(2 * self._pause, _LONGEST_PAUSE)
        self._gather()

    def _gather(self) -> None:
        if torch.get_num_threads() != self.size:  # a setting of each thread
            torch.set_num_threads(self.size)
