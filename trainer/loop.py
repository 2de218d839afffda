"""The loop that all stages run on: a batch, its gradient through the cache, a step, now and then a checkpoint.

A run is a function of its config and its data. What a step draws depends on the seed and the number of the step
alone, so there is no sampler state and no random state to keep: a run that is stopped, or killed, goes on from its
last checkpoint to the very weights it would have reached.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TypeVar

import torch
from torch import Tensor

from embedder.errors import AppError
from trainer.batches import BatchPlan
from trainer.collate import TextBatch
from trainer.config import OptimizerConfig, StageConfig
from trainer.data import TrainingData
from trainer.distributed import Processes
from trainer.draws import derive
from trainer.evaluation import deal, evaluate
from trainer.formats import Example
from trainer.heads import Heads
from trainer.layout import Layout
from trainer.objective import Objective
from trainer.recorder import Recorder, StepFacts
from trainer.runs import Run
from trainer.step import Taught, add_gradient
from trainer.student import Student
from trainer.tasks import Task
from trainer.teachers import Teachers
from trainer.weights import Weights

Prepared = TypeVar("Prepared")


class Stopped(AppError):
    """Training that was asked to stop, after its state was saved."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What a loop is put together from; ``stages.py`` opens them."""

    run: Run
    config: StageConfig
    student: Student
    weights: Weights
    data: TrainingData
    plan: BatchPlan
    processes: Processes
    teachers: Teachers | None
    tasks: Sequence[Task]

    @property
    def total_steps(self) -> int:
        """Steps of the whole stage."""
        return self.config.max_steps or self.plan.steps_per_epoch * self.config.epochs


class Loop:
    """One stage from its first step, or the one after its last checkpoint, to its last."""

    def __init__(self, parts: Parts, recorder: Recorder) -> None:
        self._parts = parts
        self._recorder = recorder
        self._collator = parts.student.collator()
        self._objective = Objective(parts.config.loss, parts.student.dims[0])
        self._checkpoints = parts.run.checkpoints()
        self._heads: Heads | None = None
        if parts.teachers and parts.config.loss.vector_weight:
            self._heads = Heads(parts.processes, len(parts.teachers), parts.teachers.width)
        self._is_stopping = False

    def stop(self) -> None:
        """Ask the run to save its state and stop after the step it is in; safe in a signal handler."""
        self._is_stopping = True

    def go(self) -> dict[str, Tensor]:
        """Train to the end; what ``Weights.tensors`` gives there.

        Raises:
            Stopped: If it was asked to, after a checkpoint.
            Diverged: If a gradient is not a number.
            DiskFull: If a checkpoint does not fit.
        """
        config, last = self._parts.config, self._parts.total_steps
        first = self._resume()
        if first == 0 and config.evaluate_before:
            self._evaluate(0)
        self._parts.student.model.train()
        for step, (examples, batch) in _ahead(self._prepare, first, last):
            self._recorder.add(self._step(step, examples, batch))
            done = step + 1
            if _is_due(done, config.log_every, last):
                self._recorder.log(done, last, learning_rate(step, last, config.optimizer))
            is_stopping = self._is_asked_to_stop()
            if is_stopping or _is_due(done, config.checkpoint_every, last):
                self._save(done)
            if is_stopping and done < last:
                raise Stopped(f"Stopped after step {done} of {last}; the same command goes on from there.")
            if config.evaluate_every and done < last and done % config.evaluate_every == 0:
                self._evaluate(done)
        self._evaluate(last)
        return self._parts.weights.tensors()

    def _prepare(self, step: int) -> tuple[list[Example], TextBatch]:
        """Read and tokenise this process's share of a step, while the step before it computes."""
        visits = self._parts.plan.batch(step).visits
        examples = self._parts.data.examples(visits[self._parts.processes.share(len(visits))])
        return examples, self._collator(examples)

    def _step(self, step: int, examples: list[Example], batch: TextBatch) -> StepFacts:
        """One move of the weights; KaLM-V2's loss over the batch of all processes."""
        parts, began = self._parts, time.perf_counter()
        seed = derive(parts.config.seed, "dropout", step, parts.processes.rank)
        torch.manual_seed(seed % 2**63)
        layout, taught = self._taught(examples, batch.layout)
        layout = layout.to(parts.processes.device)
        found = add_gradient(parts.student, self._objective, batch.ids, layout, parts.processes, parts.config, taught)
        norm = parts.weights.step(learning_rate(step, parts.total_steps, parts.config.optimizer))
        return StepFacts(
            sources=batch.sources,
            losses=found.losses.tolist(),
            hardness=float(found.hardness.mean()),
            tokens=batch.tokens,
            padded_tokens=found.padded_tokens,
            gradient_norm=norm,
            seconds=time.perf_counter() - began,
        )

    def _taught(self, examples: list[Example], layout: Layout) -> tuple[Layout, Taught | None]:
        """What the teachers say of a batch: who stands how to whom, and where each text stands."""
        teachers, config = self._parts.teachers, self._parts.config.loss
        if teachers is None or layout.graded:
            return layout, None
        taught = Taught(self._heads, teachers.lessons(examples, layout)) if self._heads else None
        if config.distill_weight:
            numbers, vectors = teachers.teach(examples, config.negatives_per_query)
            layout = replace(layout, teachers=numbers, taught=vectors)
        return layout, taught

    def _resume(self) -> int:
        """Take up the last checkpoint; the number of steps already done."""
        saved = self._checkpoints.latest()
        if saved is None:
            self._recorder.resume(-1, 0)  # what a run measured that was killed before it saved anything
            return 0
        tensors = saved.tensors()
        self._parts.weights.restore(tensors)
        if self._heads:
            self._heads.restore(tensors)
        self._recorder.resume(saved.step, int(saved.state["tokens"]))
        return saved.step

    def _save(self, done: int) -> None:
        tensors = self._parts.weights.tensors()  # every process takes part where weights are sharded
        if self._heads:
            tensors |= self._heads.tensors()
        if self._parts.processes.is_main:
            self._checkpoints.save(done, tensors, {"tokens": self._recorder.tokens})
        self._recorder.saved(done)
        self._parts.processes.wait()

    def _evaluate(self, done: int) -> None:
        """Score the local tasks on all processes: shared out, or together where a pass takes all of them."""
        parts = self._parts
        if not parts.tasks:
            return
        together = parts.config.runtime.strategy == "fsdp2"
        tasks = parts.tasks if together else deal(parts.tasks, parts.processes.rank, parts.processes.world)
        scores: dict[str, float] = {}
        for part in parts.processes.gather_objects(evaluate(tasks, parts.student.encode)):
            scores |= part
        self._recorder.scores(done, scores, parts.tasks)

    def _is_asked_to_stop(self) -> bool:
        return bool(self._parts.processes.most(int(self._is_stopping)))


def learning_rate(step: int, total: int, config: OptimizerConfig) -> float:
    """Linear from 0 to the peak over the warm-up, then linear to 0; at 0-based ``step`` of ``total``."""
    warmup = round(total * config.warmup)
    if step < warmup:
        return config.learning_rate * (step + 1) / warmup
    return config.learning_rate * (total - step) / max(1, total - warmup)


def _is_due(done: int, every: int, last: int) -> bool:
    return done % every == 0 or done == last


def _ahead(prepare: Callable[[int], Prepared], first: int, last: int) -> Iterator[tuple[int, Prepared]]:
    """Each step and what was prepared for it, one step ahead in another thread."""
    with ThreadPoolExecutor(1, "batches") as pool:
        pending = pool.submit(prepare, first) if first < last else None
        for step in range(first, last):
            assert pending is not None  # noqa: S101 - one was submitted for every step
            ready = pending.result()
            pending = pool.submit(prepare, step + 1) if step + 1 < last else None
            yield step, ready
