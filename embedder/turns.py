"""Who computes when: one forward pass at a time, short questions together, and before long lists.

The products of one pass already use every core, so two passes at once would only be in each other's way. Questions
that arrive while a pass is running wait and then go together as one batch: the busier it is, the larger the batches,
and nobody ever waits for company. A long list does not have to end for them: between two layers of its pass, what is
waiting is computed first, and while people ask, its passes are small ones, whose layers end soon. There is no thread of
its own: whoever waits and finds nobody computing does it for all.
"""

import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor

from embedder.errors import AppError
from embedder.model import Forward

Rows = Sequence[Sequence[int]]

BATCH_TOKENS = 1024
"""Most tokens, padding counted, that questions waiting together make in one pass; one with more goes alone."""

WAITING_QUESTIONS = 1024
"""More than that many behind each other could only be answered too late."""

SLICE_TOKENS = 256
"""Tokens of a list's pass while people ask, so that a layer of it takes about a quarter of the time."""

COMPANY_SECONDS = 2.0
"""How long after a question another is expected."""


class EncoderBusy(AppError):
    """More questions at once than can be answered in time."""


@dataclass(slots=True, eq=False)
class _Question:
    """Texts somebody waits for."""

    rows: Rows
    vectors: Tensor | None = None
    error: BaseException | None = None

    @property
    def is_answered(self) -> bool:
        return self.vectors is not None or self.error is not None


@dataclass(eq=False)
class Turns:
    """A forward pass that many threads share.

    Attributes:
        forward: Computes.
        limit: Questions that may wait at once.
    """

    forward: Forward
    limit: int = WAITING_QUESTIONS
    _questions: deque[_Question] = field(default_factory=deque)
    _lists: deque[object] = field(default_factory=deque)
    _is_computing: bool = False
    _asked_at: float = float("-inf")
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def ask(self, rows: Rows) -> Tensor:
        """Vectors of a few texts, computed with those of everybody who waits.

        Args:
            rows: B texts as token ids.

        Returns:
            ``(B, D)`` as ``forward`` gives them.

        Raises:
            EncoderBusy: If too many wait already.
        """
        question = _Question(rows)
        with self._changed:
            if len(self._questions) >= self.limit:
                raise EncoderBusy(f"{self.limit} questions are waiting for the model already; ask again in a moment.")
            self._questions.append(question)
            self._asked_at = time.monotonic()
            self._changed.wait_for(lambda: question.is_answered or not self._is_computing)
            is_mine_to_do = not question.is_answered
            self._is_computing |= is_mine_to_do
        if is_mine_to_do:
            with self._computing():
                while not question.is_answered:
                    self._answer_waiting()
        if question.error is not None:
            raise question.error
        assert question.vectors is not None  # noqa: S101 - answered, and not by an error
        return question.vectors

    def work(self, rows: Rows) -> Tensor:
        """Vectors of one batch of a long list: lists take turns, and questions are answered in between.

        Args:
            rows: B texts as token ids.

        Returns:
            ``(B, D)`` as ``forward`` gives them.
        """
        parts: list[Tensor] = []
        done = 0
        while done < len(rows):
            end = _slice_end(rows, done) if self._is_in_company() else len(rows)
            parts.append(self._work(rows[done:end]))
            done = end
        return torch.cat(parts)

    def _is_in_company(self) -> bool:
        return time.monotonic() - self._asked_at < COMPANY_SECONDS

    def _work(self, rows: Rows) -> Tensor:
        """One pass of a list, when it is its turn."""
        place = object()
        with self._changed:
            self._lists.append(place)
            try:
                self._changed.wait_for(lambda: not self._is_computing and self._lists[0] is place)
            finally:  # whoever is interrupted while waiting leaves the line
                self._lists.remove(place)
            self._is_computing = True
        with self._computing():
            return self.forward(rows, self._answer_waiting)

    @contextmanager
    def _computing(self) -> Iterator[None]:
        """Gives up the turn at the end, whatever happens."""
        try:
            yield
        finally:
            with self._changed:
                self._is_computing = False
                self._changed.notify_all()

    def _answer_waiting(self) -> None:
        """Answer one batch of what is waiting, the longest waiting first."""
        with self._changed:
            together = self._taken()
        if not together:
            return
        try:
            vectors = iter(self.forward([row for question in together for row in question.rows]))
            for question in together:
                question.vectors = torch.stack([next(vectors) for _ in question.rows])
        except BaseException as error:
            for question in together:
                question.error = error
            if not isinstance(error, Exception):  # an interruption is also that of whoever happens to compute
                raise
        finally:
            with self._changed:
                self._changed.notify_all()

    def _taken(self) -> list[_Question]:
        together: list[_Question] = []
        texts = longest = 0
        while self._questions:
            rows = self._questions[0].rows
            texts, longest = texts + len(rows), max(longest, *map(len, rows))
            if together and texts * longest > BATCH_TOKENS:
                break
            together.append(self._questions.popleft())
        return together


def _slice_end(rows: Rows, start: int) -> int:
    """Where a pass of few tokens ends that begins here; it has at least one text."""
    end, tokens = start + 1, len(rows[start])
    while end < len(rows) and tokens + len(rows[end]) <= SLICE_TOKENS:
        tokens += len(rows[end])
        end += 1
    return end
