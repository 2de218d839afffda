"""Who computes when: one thread runs the model, for questions first and together, for long lists in between.

The products of one pass already use every core, so two passes at once would only be in each other's way, and every
thread that computes would keep helpers and memory of its own. What arrives while a pass is running waits and then goes
together as one batch: the busier it is, the larger the batches, and nobody ever waits for company. A long list does
not have to end for a question: between two layers of its pass, what is asked is computed first, and while people ask,
its passes are small ones, whose layers end soon.
"""

import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

import torch
from torch import Tensor

from embedder.errors import AppError
from embedder.model import Forward
from embedder.team import Team

Rows = Sequence[Sequence[int]]
_Result = TypeVar("_Result")

THREAD = "encoder"
"""Name of the thread that computes."""

BATCH_TOKENS = 1024
"""Most tokens, of texts that different people wait for, in one pass; a text or a list with more goes alone."""

WAITING_QUESTIONS = 1024
"""More than that many behind each other could only be answered too late."""

SLICE_TOKENS = 256
"""Tokens of a list's pass while people ask, so that a step of it takes about a quarter of the time."""

COMPANY_SECONDS = 2.0
"""How long after a question another is expected."""

_IDLE_SECONDS = 10.0
"""How long the thread waits for more before it ends."""


class EncoderBusy(AppError):
    """More questions at once than can be answered in time."""


@dataclass(slots=True, eq=False)
class _Asked:
    """Texts somebody waits for.

    Attributes:
        rows: B texts as token ids.
        begun: How many of them went into a pass.
        parts: The vectors of the passes that have ended.
        answer: Gets all vectors, or what went wrong.
        threads: How many threads of torch's whoever asks is set to.
    """

    rows: Rows
    begun: int = 0
    parts: list[Tensor] = field(default_factory=list)
    answer: "Future[Tensor]" = field(default_factory=Future)
    threads: int = field(default_factory=torch.get_num_threads)

    def add(self, vectors: Tensor) -> None:
        """Take the vectors of the texts of one pass."""
        self.parts.append(vectors)
        if sum(map(len, self.parts)) == len(self.rows):
            self.answer.set_result(torch.cat(self.parts))


@dataclass(slots=True)
class _Pass:
    """Texts that go through the model together, and how many more of them may.

    Attributes:
        limit: Tokens; the first text is taken whatever it has.
        pads: Whether texts are filled up to the longest of them, so that padding counts.
        texts: Of each of those who asked, the texts taken.
    """

    limit: int
    pads: bool
    texts: list[tuple[_Asked, Rows]] = field(default_factory=list)
    _count: int = 0
    _longest: int = 0
    _tokens: int = 0

    def fill(self, line: "deque[_Asked]") -> "_Pass":
        """Take as many texts as fit from those who wait, the longest waiting first."""
        while line:
            asked = line[0]
            begun = asked.begun
            while asked.begun < len(asked.rows) and self._takes(len(asked.rows[asked.begun])):
                asked.begun += 1
            if asked.begun > begun:
                self.texts.append((asked, asked.rows[begun : asked.begun]))
            if asked.begun < len(asked.rows):
                break
            line.popleft()
        return self

    def _takes(self, length: int) -> bool:
        count, longest, tokens = self._count + 1, max(self._longest, length), self._tokens + length
        if self._count and (count * longest if self.pads else tokens) > self.limit:
            return False
        self._count, self._longest, self._tokens = count, longest, tokens
        return True


class Turns:
    """A forward pass that many threads share."""

    def __init__(self, forward: Forward, *, pads: bool = True, limit: int = WAITING_QUESTIONS) -> None:
        """Start nothing yet.

        Args:
            forward: Computes.
            pads: Whether it fills texts up to the longest of a pass.
            limit: Questions that may wait at once.
        """
        self.forward = forward
        self._pads = pads
        self._limit = limit
        self._questions: deque[_Asked] = deque()
        self._lists: deque[_Asked] = deque()
        self._asked_at = float("-inf")
        self._team = Team()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._computing = threading.Lock()
        self._is_over = threading.Event()
        weakref.finalize(self, _end, self._is_over, self._computing)

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
        return self._answer(asked, self._questions)

    def work(self, rows: Rows) -> Tensor:
        """Vectors of one batch of a long list: lists take turns, short ones together, and questions go before them.

        Args:
            rows: B texts as token ids.

        Returns:
            ``(B, D)`` as ``forward`` gives them.
        """
        with self._changed:
            asked = self._enter(rows, self._lists)
        return self._answer(asked, self._lists)

    def _enter(self, rows: Rows, line: "deque[_Asked]") -> _Asked:
        """Stand in a line, and see that somebody computes."""
        line.append(asked := _Asked(rows))
        if self._thread is None or not self._thread.is_alive():  # dead in a fork of the process that started it
            self._thread = threading.Thread(target=self._run, name=THREAD, daemon=True)
            self._thread.start()
        self._changed.notify()
        return asked

    def _answer(self, asked: _Asked, line: "deque[_Asked]") -> Tensor:
        try:
            return asked.answer.result()
        finally:  # whoever is interrupted while waiting leaves the line
            self._leave(asked, line)

    def _leave(self, asked: _Asked, line: "deque[_Asked]") -> None:
        with self._changed:
            if asked in line:
                line.remove(asked)

    def _run(self) -> None:
        """Compute as long as anybody waits, and a while longer."""
        while not self._is_over.is_set():
            with self._changed:
                if not self._changed.wait_for(lambda: self._questions or self._lists, _IDLE_SECONDS):
                    self._thread = None
                    return
            with self._computing:
                self._answer_questions()
                self._work_on_lists()
                if not self._questions:
                    self._team.try_more()

    def _answer_questions(self) -> None:
        """Compute one pass of the questions that wait."""
        with self._changed:
            together = _Pass(BATCH_TOKENS, self._pads).fill(self._questions)
        self._compute(together, self._questions)

    def _work_on_lists(self) -> None:
        """Compute one pass of the lists that wait."""
        with self._changed:
            together = _Pass(self._room(), self._pads).fill(self._lists)
        self._compute(together, self._lists, self._answer_questions)

    def _room(self) -> int:
        """Tokens of the next pass of lists."""
        if time.monotonic() - self._asked_at < COMPANY_SECONDS:
            return SLICE_TOKENS
        # The first goes whole: it is a batch made to the measure of the device.
        lengths = [len(row) for row in self._lists[0].rows] if self._lists else [0]
        return max(BATCH_TOKENS, len(lengths) * max(lengths) if self._pads else sum(lengths))

    def _compute(self, together: _Pass, line: "deque[_Asked]", between: Callable[[], None] | None = None) -> None:
        """Run the model, unless nobody waits any longer, and hand out what comes of it."""
        if not together.texts:
            return
        threads = together.texts[0][0].threads
        rows = [row for _, texts in together.texts for row in texts]

        def pause() -> None:
            self._team.check()
            if between:
                between()
                self._team.begin(threads)

        self._team.begin(threads)
        try:
            vectors = self.forward(rows, pause)
            self._team.check()
        except BaseException as error:  # it belongs to those who asked; the thread goes on for the others
            for asked, _ in together.texts:
                asked.answer.set_exception(error)
                self._leave(asked, line)
            return
        if self._is_over.is_set():
            # Who still waits is a daemon thread. Awake, it would let go of a tensor while Python ends: abort.
            return
        shares = torch.split(vectors, [len(texts) for _, texts in together.texts])
        for (asked, _), share in zip(together.texts, shares, strict=True):
            asked.add(share)


def in_passing(work: Callable[[], _Result]) -> _Result:
    """Compute in a thread that ends, set to as many threads of torch's as this one."""
    threads = torch.get_num_threads()

    def alone() -> _Result:
        torch.set_num_threads(threads)
        return work()

    with ThreadPoolExecutor(1, "passing") as pool:
        return pool.submit(alone).result()


def _end(is_over: threading.Event, computing: threading.Lock) -> None:
    """When the program ends, wait for the pass under way, and let no other begin."""
    is_over.set()
    computing.acquire()
