"""A process that trains when it is told to, seen from the one that measures."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from app.benchmarks.errors import BenchRefused
from app.benchmarks.peers import Job

Settings = dict[str, int | None]


@dataclass(frozen=True, slots=True)
class Step:
    """What a contestant measured of one of its steps; memory in MiB."""

    seconds: float
    tokens: int
    loss: float
    resident: int
    peak: int

    @property
    def tokens_per_second(self) -> int:
        """Padding left out."""
        return round(self.tokens / self.seconds)


@dataclass(slots=True)
class Contestant:
    """One side of the comparison; its process lives as long as it is :meth:`running`.

    Attributes:
        job: What it opens and trains on.
        place: Folder for the files it is told with and what it complains of.
        settings: Its mini-batches.
        made: All its steps; the first is small and from the common weights.
        rounds: Those that count.
        calibration: Speed and memory with each of the settings tried.
    """

    job: Job
    place: Path
    settings: Settings = field(default_factory=dict)
    made: list[Step] = field(default_factory=list)
    rounds: list[Step] = field(default_factory=list)
    calibration: list[dict[str, Any]] = field(default_factory=list)
    _process: "subprocess.Popen[str] | None" = None

    @property
    def name(self) -> str:
        """What the report calls it."""
        return self.job.contestant

    @contextmanager
    def running(self, plan: Sequence[int]) -> Iterator[None]:
        """Its process, from the common weights on, ready for the steps of a plan.

        Args:
            plan: Queries of each step, in order; the first warms up.

        Raises:
            BenchRefused: If it ends before its time.
        """
        job_file = self.place / f"{self.name}.json"
        replace(self.job, plan=list(plan)).write(job_file)
        command = [sys.executable, "-m", "app.benchmarks.peers", str(job_file)]
        pipe = subprocess.PIPE
        with (
            self._complaints.open("w") as errors,
            subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=errors, text=True) as process,
        ):
            self._process = process
            try:
                self._hear()
                yield
            finally:
                process.kill()
                self._process = None

    def step(self) -> Step:
        """Let it make its next step, and wait until it computes no more."""
        process = self._alive()
        assert process.stdin is not None  # noqa: S101 - a pipe, see above
        try:  # past the buffer, which would be flushed once more when it is closed
            os.write(process.stdin.fileno(), (json.dumps(self.settings) + "\n").encode())
        except BrokenPipeError:
            raise self._ended() from None
        self.made.append(Step(**self._hear()))
        self._hear()  # it has prepared its next batch
        return self.made[-1]

    @property
    def _complaints(self) -> Path:
        return self.place / f"{self.name}.err"

    def _alive(self) -> "subprocess.Popen[str]":
        assert self._process is not None  # noqa: S101 - only asked for while it is running
        return self._process

    def _hear(self) -> dict[str, Any]:
        process = self._alive()
        assert process.stdout is not None  # noqa: S101 - a pipe, see above
        line = process.stdout.readline()
        if not line:
            raise self._ended()
        heard: dict[str, Any] = json.loads(line)
        return heard

    def _ended(self) -> BenchRefused:
        code = self._alive().wait()
        lines = self._complaints.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        reason = lines[-1].rstrip(".") if lines and code > 0 else f"exit code {code} (-9 means that memory ran out)"
        return BenchRefused(f"The process of {self.name} ended before its measurement did: {reason}.")
