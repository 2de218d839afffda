"""Who waits for the model, and what goes through it together."""

import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

import torch
from torch import Tensor

Rows = Sequence[Sequence[int]]


@dataclass(slots=True, eq=False)
class Asked:
    """Texts somebody waits for.

    Attributes:
        rows: B texts as token ids.
        begun: How many of them went into a pass.
        parts: The vectors of the passes that have ended, by the number of their first text.
        answer: Gets all vectors, or what went wrong.
        threads: How many threads of torch's whoever asks is set to.
    """

    rows: Rows
    begun: int = 0
    parts: dict[int, Tensor] = field(default_factory=dict)
    answer: "Future[Tensor]" = field(default_factory=Future)
    threads: int = field(default_factory=torch.get_num_threads)
    _adding: threading.Lock = field(default_factory=threading.Lock)

    def add(self, first: int, vectors: Tensor) -> None:
        """Take the vectors of the texts of one pass, of which this was the first."""
        with self._adding:  # passes of one list may end at once
            self.parts[first] = vectors
            is_whole = sum(map(len, self.parts.values())) == len(self.rows)
        if is_whole and not self.answer.done():
            self.answer.set_result(torch.cat([self.parts[first] for first in sorted(self.parts)]))

    def fail(self, error: BaseException) -> None:
        """Say what went wrong, the first time that something does."""
        with self._adding:
            if not self.answer.done():
                self.answer.set_exception(error)


@dataclass(slots=True)
class Pass:
    """Texts that go through the model together, and how many more of them may.

    Attributes:
        limit: Tokens; the first text is taken whatever it has.
        pads: Whether texts are filled up to the longest of them, so that padding counts.
        texts: Of each of those who asked, the number of the first text taken and all that were.
    """

    limit: int
    pads: bool
    texts: list[tuple[Asked, int, Rows]] = field(default_factory=list)
    _count: int = 0
    _longest: int = 0
    _tokens: int = 0

    def fill(self, line: "deque[Asked]") -> "Pass":
        """Take as many texts as fit from those who wait, the longest waiting first."""
        while line:
            asked = line[0]
            begun = asked.begun
            while asked.begun < len(asked.rows) and self._takes(len(asked.rows[asked.begun])):
                asked.begun += 1
            if asked.begun > begun:
                self.texts.append((asked, begun, asked.rows[begun : asked.begun]))
            if asked.begun < len(asked.rows):
                break
            line.popleft()
        return self

    @property
    def rows(self) -> Rows:
        """All texts."""
        return [row for _, _, rows in self.texts for row in rows]

    @property
    def threads(self) -> int:
        """How many threads of torch's the first of those who asked is set to."""
        return self.texts[0][0].threads

    def hand_out(self, vectors: Tensor) -> None:
        """Give everybody their own."""
        shares = torch.split(vectors, [len(rows) for _, _, rows in self.texts])
        for (asked, first, _), share in zip(self.texts, shares, strict=True):
            asked.add(first, share)

    def _takes(self, length: int) -> bool:
        count, longest, tokens = self._count + 1, max(self._longest, length), self._tokens + length
        if self._count and (count * longest if self.pads else tokens) > self.limit:
            return False
        self._count, self._longest, self._tokens = count, longest, tokens
        return True
