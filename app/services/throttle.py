"""Guessing made slow: after a few failures, whoever tries has to wait, each time for longer."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable

FREE_TRIES = 5
_FIRST_SECONDS = 2.0
_LONGEST_SECONDS = 900.0
_FORGOTTEN_SECONDS = 3600.0
_REMEMBERED = 10_000
"""Keys kept at most; whoever sends from more addresses than that is a matter for a firewall."""


class Throttle:
    """Counts failures by key, e.g. by account and by address. Safe between threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, free_tries: int = FREE_TRIES) -> None:
        self._clock = clock
        self._free_tries = free_tries
        self._lock = threading.Lock()
        self._failures: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def wait_seconds(self, *keys: str) -> float:
        """How long until the next try is looked at; 0 for now."""
        with self._lock:
            return max((self._wait(key) for key in keys), default=0.0)

    def failed(self, *keys: str) -> None:
        """Count a failure."""
        now = self._clock()
        with self._lock:
            for key in keys:
                count, last = self._failures.pop(key, (0, now))
                self._failures[key] = (1 if now - last > _FORGOTTEN_SECONDS else count + 1, now)
            while len(self._failures) > _REMEMBERED:
                self._failures.popitem(last=False)

    def succeeded(self, *keys: str) -> None:
        """Forget the failures."""
        with self._lock:
            for key in keys:
                self._failures.pop(key, None)

    def _wait(self, key: str) -> float:
        count, last = self._failures.get(key, (0, 0.0))
        if count < self._free_tries:
            return 0.0
        pause = min(_FIRST_SECONDS * 2.0 ** min(count - self._free_tries, 20), _LONGEST_SECONDS)
        return max(0.0, last + pause - self._clock())
