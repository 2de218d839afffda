"""What a run measures of itself: one line of JSON per log step, the same numbers for TensorBoard.

Names are paths: ``loss/total``, ``loss/<source>``, ``gradient/norm``, ``padding/share``, ``hardness/mean``,
``speed/tokens_per_second``, ``learning_rate``, ``eval/<task>`` and ``eval/mean/<language>``.
"""

import json
import logging
import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embedder.errors import AppError
from trainer.durable import write_text

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

FILE = "metrics.jsonl"

_logger = logging.getLogger(__name__)


class UnreadableMetrics(AppError):
    """A metrics file with a line that no trainer wrote."""


class MetricsLog:
    """Appends to a run's metrics. Lines are flushed one by one, so that a killed run loses at most half a line."""

    def __init__(self, folder: Path) -> None:
        """Open the metrics of a run folder, which is made; what is there stays, but for half a last line.

        Args:
            folder: The run folder: ``metrics.jsonl`` and ``tensorboard/`` lie in it.

        Raises:
            UnreadableMetrics: If a line before the last is none of ours.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / FILE
        self._events = folder / "tensorboard"
        self._purged_from: int | None = None
        self._board: SummaryWriter | None = None
        self._has_board = True
        if self._path.exists():
            self._keep(read_metrics(self._path))
        self._file = self._path.open("a", encoding="utf-8", buffering=1)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Add one line.

        Args:
            step: Steps done.
            values: By name; what is not finite is kept as null.
        """
        finite = {name: float(value) if math.isfinite(value) else None for name, value in values.items()}
        self._file.write(json.dumps({"step": step, **finite}, ensure_ascii=False) + "\n")
        board = self._open_board()
        if board is not None:
            for name, value in values.items():
                board.add_scalar(name, float(value), step)
            board.flush()

    def rewind(self, step: int) -> None:
        """Forget what was measured after a step, because training goes on from there."""
        self._file.close()
        self._keep([line for line in read_metrics(self._path) if line["step"] <= step])
        self._file = self._path.open("a", encoding="utf-8", buffering=1)
        self._close_board()
        self._purged_from = step + 1

    def close(self) -> None:
        """Close the files; nothing can be written after it."""
        self._file.close()
        self._close_board()

    def _keep(self, lines: list[dict[str, Any]]) -> None:
        write_text(self._path, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))

    def _open_board(self) -> "SummaryWriter | None":
        if self._board is None and self._has_board:
            try:
                with warnings.catch_warnings():  # tensorboard's generated code warns of protobuf's and NumPy's plans
                    warnings.simplefilter("ignore", DeprecationWarning)
                    from torch.utils.tensorboard import SummaryWriter
            except ImportError:
                _logger.warning("TensorBoard is not installed; the metrics are in %s only.", self._path)
                self._has_board = False
                return None
            self._board = SummaryWriter(str(self._events), purge_step=self._purged_from)
        return self._board

    def _close_board(self) -> None:
        if self._board is not None:
            self._board.close()
            self._board = None


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The lines of a metrics file, oldest first; half a last line is left out, a missing file has none.

    Raises:
        UnreadableMetrics: If a line before the last is not one of ours.
    """
    if not path.exists():
        return []
    *whole, _ = path.read_bytes().split(b"\n")  # what follows the last line break was cut off
    lines: list[dict[str, Any]] = []
    for number, text in enumerate(whole, start=1):
        try:
            line = json.loads(text)
            line["step"] = int(line["step"])
        except (ValueError, KeyError, TypeError) as error:
            raise UnreadableMetrics(
                f"Line {number} of {path} is not a measurement; delete the line, or the file if plots can be missed."
            ) from error
        lines.append(line)
    return lines


@dataclass
class Window:
    """Sums what happens between two log lines; make a new one for the next."""

    losses: dict[str, float] = field(default_factory=dict)
    """Sum of the losses of each source's rows."""
    rows: dict[str, int] = field(default_factory=dict)
    steps: int = 0
    tokens: int = 0
    padded_tokens: int = 0
    hardness: float = 0.0
    gradient_norm: float = 0.0
    seconds: float = 0.0

    def add(
        self,
        dataset_losses: Mapping[str, tuple[float, int]],
        tokens: int,
        padded_tokens: int,
        hardness: float,
        gradient_norm: float,
        seconds: float,
    ) -> None:
        """Take in one step.

        Args:
            dataset_losses: By source, the sum of its rows' losses and the number of these rows.
            tokens: Tokens that were encoded, padding left out.
            padded_tokens: Positions that were encoded, padding included: the sum of B * T over the chunks.
            hardness: Mean hardness of the step's negatives.
            gradient_norm: Length of the gradient before it is clipped.
            seconds: Time of the step on the wall clock.
        """
        for name, (loss, rows) in dataset_losses.items():
            self.losses[name] = self.losses.get(name, 0.0) + loss
            self.rows[name] = self.rows.get(name, 0) + rows
        self.steps += 1
        self.tokens += tokens
        self.padded_tokens += padded_tokens
        self.hardness += hardness
        self.gradient_norm += gradient_norm
        self.seconds += seconds

    def values(self) -> dict[str, float]:
        """Means over the window by the names that are logged; none if nothing happened."""
        if not self.steps:
            return {}
        rows = sum(self.rows.values())
        means = {f"loss/{name}": loss / self.rows[name] for name, loss in self.losses.items() if self.rows[name]}
        return {
            **({"loss/total": sum(self.losses.values()) / rows} if rows else {}),
            **means,
            "gradient/norm": self.gradient_norm / self.steps,
            "padding/share": 1 - self.tokens / self.padded_tokens if self.padded_tokens else 0.0,
            "hardness/mean": self.hardness / self.steps,
            "speed/tokens_per_second": self.tokens / self.seconds if self.seconds else 0.0,
        }
