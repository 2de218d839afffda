"""What a run tells of itself while it goes: metrics, manifest and progress, written by the first process."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from trainer.distributed import Processes
from trainer.evaluation import means
from trainer.metrics import MetricsLog, Window
from trainer.progress import TrainingProgress
from trainer.runs import Manifest
from trainer.tasks import Task


@dataclass(frozen=True, slots=True)
class StepFacts:
    """One process's part of a step.

    Attributes:
        sources: Source of each of its rows.
        losses: Loss of each of its rows.
        hardness: Mean of 1 - p.
        tokens: Encoded, padding left out.
        padded_tokens: Padding included.
        gradient_norm: Before clipping.
        seconds: On the wall clock.
    """

    sources: Sequence[str]
    losses: Sequence[float]
    hardness: float
    tokens: int
    padded_tokens: int
    gradient_norm: float
    seconds: float


class Recorder:
    """Every process has one and calls it alike; only the first one's has where to write."""

    def __init__(
        self, processes: Processes, progress: TrainingProgress, log: MetricsLog | None, manifest: Manifest | None
    ) -> None:
        """Take what is written to.

        Args:
            processes: All of the run.
            progress: Shown by the first.
            log: None on all but the first.
            manifest: None on all but the first.
        """
        self._processes = processes
        self._progress = progress
        self._log = log
        self._manifest = manifest
        self._window = Window()
        self._tokens = 0

    @property
    def tokens(self) -> int:
        """Encoded since the run began, by all processes: what was logged, and since then as many by each as here."""
        return self._tokens + self._window.tokens * self._processes.world

    def add(self, facts: StepFacts) -> None:
        """Take in one step."""
        by_source: dict[str, tuple[float, int]] = {}
        for source, loss in zip(facts.sources, facts.losses, strict=True):
            total, rows = by_source.get(source, (0.0, 0))
            by_source[source] = (total + loss, rows + 1)
        self._window.add(
            by_source, facts.tokens, facts.padded_tokens, facts.hardness, facts.gradient_norm, facts.seconds
        )

    def log(self, done: int, total: int, learning_rate: float) -> None:
        """Write what happened since the last time, over all processes."""
        window = merged(self._processes.gather_objects(self._window))
        self._window = Window()
        self._tokens += window.tokens
        if self._log is None:
            return
        values = window.values()
        self._log.write(done, values | {"learning_rate": learning_rate})
        self._progress.advance(done, total, values["speed/tokens_per_second"], values["loss/total"])

    def scores(self, done: int, scores: Mapping[str, float], tasks: Sequence[Task]) -> None:
        """Write an evaluation; the first is that of the model the stage began with."""
        if self._log is None or self._manifest is None:
            return
        languages = {f"eval/mean/{language}": mean for language, mean in means(scores, tasks).items()}
        self._log.write(done, {f"eval/{name}": score for name, score in scores.items()} | languages)
        self._manifest.update(**{"scores" if done else "scores_before": dict(scores)})

    def saved(self, done: int) -> None:
        """Note that a checkpoint was written."""
        if self._manifest is not None:
            self._manifest.update(steps=done, tokens=self.tokens)

    def resume(self, done: int, tokens: int) -> None:
        """Forget what was measured after a checkpoint."""
        self._tokens = tokens
        if self._log is not None:
            self._log.rewind(done)


def merged(windows: Sequence[Window]) -> Window:
    """What several processes did in the same steps: sums of rows and tokens, the time and the gradient of one."""
    whole = Window(steps=windows[0].steps, gradient_norm=windows[0].gradient_norm)
    for window in windows:
        for name, loss in window.losses.items():
            whole.losses[name] = whole.losses.get(name, 0.0) + loss
            whole.rows[name] = whole.rows.get(name, 0) + window.rows[name]
        whole.tokens += window.tokens
        whole.padded_tokens += window.padded_tokens
        whole.hardness += window.hardness / len(windows)
        whole.seconds = max(whole.seconds, window.seconds)
    return whole
