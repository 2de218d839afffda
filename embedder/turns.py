"""Who computes when: questions first and together, long lists in between, on all processors.

One thread answers questions, with helpers of torch's inside every product, since one question is soonest answered so.
What arrives while a pass is running waits and then goes together as one batch: the busier it is, the larger the
batches, and nobody ever waits for company. A long list does not have to end for a question: between two layers of a
pass, what is asked is computed first, and while people ask, passes of lists are small ones, whose layers end soon.

Several parts of a list are computed at once, each by a thread without helpers: threads that meet only after a whole
pass lose nothing by waiting for each other, and nothing when another program has one of the processors.
"""

import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import Tensor

from embedder.errors import AppError
from embedder.line import Asked, Pass, Rows
from embedder.model import Forward
from embedder.team import Team

_Result = TypeVar("_Result")

THREAD = "encoder"
"""How the names of the threads that compute begin."""

BATCH_TOKENS = 1024
"""Most tokens, of questions of different people, in one pass; a question with more goes alone."""

LIST_TOKENS = 512
"""Most tokens, of lists of different people, in one pass; a part of a list with more goes alone."""

WAITING_QUESTIONS = 1024
"""More than that many behind each other could only be answered too late."""

SLICE_TOKENS = 256
"""Tokens of a list's pass while people ask, so that a step of it takes about half the time."""

COMPANY_SECONDS = 2.0
"""How long after a question another is expected."""

_IDLE_SECONDS = 10.0
"""How long the thread waits for more before it ends."""


class EncoderBusy(AppError):
    """More questions at once than can be answered in time."""


class _Ending:
    """Lets passes begin until the program ends, which waits for those under way."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._passes = 0
        self.is_near = False

    @contextmanager
    def put_off(self) -> Iterator[None]:
        """While something is computed.

        Once the end is near this goes on for ever: a thread that came to its own end while Python ends would let go of
        the model's tensors, and torch aborts where those cannot have Python's lock.
        """
        with self._changed:
            self._changed.wait_for(lambda: not self.is_near)
            self._passes += 1
        try:
            yield
        finally:
            with self._changed:
                self._passes -= 1
                self._changed.notify_all()

    def come(self) -> None:
        """Let no other pass begin, and wait for those that have."""
        with self._changed:
            self.is_near = True
            self._changed.wait_for(lambda: not self._passes)


class Turns:
    """A forward pass that many threads share."""

    def __init__(self, forward: Forward, *, pads: bool = True, limit: int = WAITING_QUESTIONS) -> None:
        """Start nothing yet.

        Args:
            forward: Computes; several threads at once, unless it pads.
            pads: Whether it fills texts up to the longest of a pass.
            limit: Questions that may wait at once.
        """
        self.forward = forward
        self.pads = pads
        self._limit = limit
        self._questions: deque[Asked] = deque()
        self._lists: deque[Asked] = deque()
        self._asked_at = float("-inf")
        self._team = Team()
        self._changed = threading.Condition()
        self._threads: dict[str, threading.Thread] = {}
        self._helping = 0
        self._ending = _Ending()
        weakref.finalize(self, self._ending.come)

    def ask(self, rows: Rows) -> Tensor:
        """Vectors of a few texts, computed with those of everybody who waits.

        Args:
            rows: B texts as token ids.

        Returns:
            ``(B, D)`` as ``forward`` gives them.

        Raises:
            EncoderBusy: If too many wait already.
        """
        with self._changed:
            if len(self._questions) >= self._limit:
                raise EncoderBusy(f"{self._limit} questions are waiting for the model already; ask again in a moment.")
            self._asked_at = time.monotonic()
            asked = self._enter(rows, self._questions)
        try:
            return asked.answer.result()
        finally:  # whoever is interrupted while waiting leaves the line
            self._leave(asked, self._questions)

    def work(self, batches: Iterable[Rows]) -> Iterator[Tensor]:
        """Vectors of a long list: lists take turns, short ones together, and questions go before them.

        Args:
            batches: The list in parts, each B texts as token ids.

        Yields:
            ``(B, D)`` of each part, as ``forward`` gives them.
        """
        waiting: deque[Asked] = deque()
        try:
            for rows in batches:
                with self._changed:
                    waiting.append(self._enter(rows, self._lists))
                if len(waiting) > torch.get_num_threads():  # enough to keep everybody busy, and not all before others
                    yield waiting[0].answer.result()
                    waiting.popleft()
            while waiting:
                yield waiting[0].answer.result()
                waiting.popleft()
        finally:
            for asked in waiting:
                self._leave(asked, self._lists)

    def _enter(self, rows: Rows, line: "deque[Asked]") -> Asked:
        """Stand in a line, and see that somebody computes."""
        line.append(asked := Asked(rows))
        self._start(THREAD, self._first_waits, self._take_turns)
        if not self.pads:
            for number in range(2, min(asked.threads, len(self._lists) + self._helping) + 1):
                self._start(f"{THREAD} {number}", self._list_waits, self._help)
        self._changed.notify_all()
        return asked

    def _leave(self, asked: Asked, line: "deque[Asked]") -> None:
        with self._changed:
            if asked in line:
                line.remove(asked)

    def _start(self, name: str, waits: Callable[[], bool], take: Callable[[], None]) -> None:
        """Have a thread that takes what waits, unless there is one."""
        known = self._threads.get(name)
        if known is None or not known.is_alive():  # dead in a fork of the process that started it
            self._threads[name] = threading.Thread(target=self._run, args=(waits, take), name=name, daemon=True)
            self._threads[name].start()

    def _run(self, waits: Callable[[], bool], take: Callable[[], None]) -> None:
        """Compute as long as anybody waits, and a while longer."""
        while True:
            with self._changed:
                if not self._changed.wait_for(waits, _IDLE_SECONDS):
                    del self._threads[threading.current_thread().name]
                    return
            with self._ending.put_off():
                take()

    def _first_waits(self) -> bool:
        return bool(self._questions or self._lists)

    def _list_waits(self) -> bool:
        return bool(self._lists)

    def _take_turns(self) -> None:
        """What the first thread does: questions, then one pass of lists, which questions interrupt."""
        self._answer_questions()
        with self._changed:
            together = Pass(self._room(), self.pads).fill(self._lists)
        self._compute_as_team(together, self._lists, self._answer_questions)
        if not self._questions and not self._is_shared():
            self._team.try_more()

    def _answer_questions(self) -> None:
        with self._changed:
            together = Pass(BATCH_TOKENS, self.pads).fill(self._questions)
        self._compute_as_team(together, self._questions)

    def _help(self) -> None:
        """What the others do: one pass of lists, alone and to its end."""
        with self._changed:
            together = Pass(self._room(), self.pads).fill(self._lists)
            self._helping += 1
        torch.set_num_threads(1)
        self._compute(together, self._lists)
        with self._changed:
            self._helping -= 1

    def _room(self) -> int:
        """Tokens of the next pass of lists."""
        if time.monotonic() - self._asked_at < COMPANY_SECONDS:
            return SLICE_TOKENS
        # The first goes whole: it is a batch made to the measure of the device.
        lengths = [len(row) for row in self._lists[0].rows] if self._lists else [0]
        return max(LIST_TOKENS, len(lengths) * max(lengths) if self.pads else sum(lengths))

    def _is_shared(self) -> bool:
        """Whether others compute, or are about to."""
        return not self.pads and bool(self._helping or self._lists)

    def _compute_as_team(self, together: Pass, line: "deque[Asked]", between: Callable[[], None] | None = None) -> None:
        """Compute with all threads that those who asked are set to, unless they are computing other passes."""
        if not together.texts:
            return

        def begin() -> None:
            self._team.begin(1 if self._is_shared() else together.threads)

        def pause() -> None:
            self._team.check()
            if between:
                between()
                begin()

        begin()
        self._compute(together, line, pause)
        self._team.check()

    def _compute(self, together: Pass, line: "deque[Asked]", pause: Callable[[], None] | None = None) -> None:
        """Run the model, unless nobody waits any longer, and hand out what comes of it."""
        if not together.texts:
            return
        try:
            vectors = self.forward(together.rows, pause)
        except BaseException as error:  # it belongs to those who asked; the thread goes on for the others
            for asked, _, _ in together.texts:
                asked.fail(error)
                self._leave(asked, line)
            return
        # While the program ends, who still waits is a daemon thread. Awake, it would let go of a tensor: abort.
        if not self._ending.is_near:
            together.hand_out(vectors)


def in_passing(work: Callable[[], _Result]) -> _Result:
    """Compute in a thread that ends, set to as many threads of torch's as this one."""
    threads = torch.get_num_threads()

    def alone() -> _Result:
        torch.set_num_threads(threads)
        return work()

    with ThreadPoolExecutor(1, "passing") as pool:
        return pool.submit(alone).result()
