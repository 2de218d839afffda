"""The contestants of ``kalm bench train``, each in a process of its own so that its memory is its own.

A contestant is started with a job file, says when it is ready, then answers every line it is sent with one training
step. It computes at no other time, so contestants can take turns. Tokenisation happens before a step is timed: our
loop does it while the step before computes, and the peer's data loader can.
"""

import ctypes
import gc
import json
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import Tensor
from transformers import TrainerCallback

from trainer.backbones import open_backbone
from trainer.config import BackboneConfig, DataConfig, LossConfig, OptimizerConfig, RuntimeConfig, StageConfig
from trainer.distributed import Processes
from trainer.formats import Example, SourceInfo
from trainer.objective import Objective
from trainer.recipes import kalm_v2
from trainer.step import add_gradient
from trainer.student import Student
from trainer.weights import prepare_weights

OURS, SENTENCE_TRANSFORMERS = "ours", "sentence-transformers"
LEARNING_RATE, MAX_NORM, TEMPERATURE = 1e-5, 1.0, 0.05
NEGATIVES = 7
_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_RESET_PEAK = "5"
"""What sets the high-water mark of resident memory back to what is resident (proc_pid_clear_refs(5))."""


@dataclass(frozen=True, slots=True)
class Job:
    """What a contestant has to do.

    Attributes:
        contestant: Its name.
        model: Checkpoint folder with the weights all start from.
        texts: JSON file of rows: a query, its positive and its hard negatives.
        plan: How many of the rows each step takes, from the first on.
        tokens: Longest text.
        recipe_loss: Whether our side computes KaLM-V2's whole loss and not the peer's.
        scratch: Folder for whatever a trainer wants to write.
    """

    contestant: str
    model: str
    texts: str
    plan: list[int]
    tokens: int
    recipe_loss: bool
    scratch: str

    def rows(self) -> list[list[str]]:
        """The texts."""
        rows: list[list[str]] = json.loads(Path(self.texts).read_text(encoding="utf-8"))
        return rows

    def write(self, path: Path) -> None:
        """Write it for a contestant to read."""
        path.write_text(json.dumps(asdict(self)), encoding="utf-8")


class Turns:
    """The line protocol with the referee: a line of settings in, a line of measurements out."""

    def __init__(self) -> None:
        # Libraries print; what they print goes to standard error and the protocol keeps standard output.
        self._out = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)
        self._began = 0.0
        self._resident = 0

    def ready(self) -> None:
        """Say that nothing is computed until the next line comes."""
        self._say({"ready": True})

    def begin(self) -> dict[str, int | None]:
        """Wait for a turn; the settings it is to be made with. Ends the process when there are no more."""
        self.ready()
        line = sys.stdin.readline()
        if not line:
            sys.exit(0)
        gc.collect()
        _give_back_freed_memory()
        _reset_peak()
        self._resident, _ = memory_mib()
        self._began = time.perf_counter()
        settings: dict[str, int | None] = json.loads(line)
        return settings

    def end(self, tokens: int, loss: float) -> None:
        """Report a step.

        Args:
            tokens: Tokens it trained on, padding left out.
            loss: Mean loss of its rows.
        """
        seconds = time.perf_counter() - self._began
        _, peak = memory_mib()
        self._say({"seconds": seconds, "tokens": tokens, "loss": loss, "resident": self._resident, "peak": peak})

    def _say(self, value: object) -> None:
        self._out.write(json.dumps(value) + "\n")
        self._out.flush()


def memory_mib() -> tuple[int, int]:
    """Resident size of this process, and its largest since it was last reset, in MiB."""
    lines = dict(line.split(":", 1) for line in _STATUS.read_text(encoding="utf-8").splitlines())
    resident, peak = (int(lines[key].split()[0]) // 1024 for key in ("VmRSS", "VmHWM"))
    return resident, peak


def can_reset_peak() -> bool:
    """Whether the peak can be told apart from that of loading the model."""
    return os.access(_CLEAR, os.W_OK)


def _reset_peak() -> None:
    if can_reset_peak():
        _CLEAR.write_text(_RESET_PEAK, encoding="ascii")


def _give_back_freed_memory() -> None:
    """Let the allocator return what the last step freed, else it counts as memory of the next one."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc has it
    if trim:
        trim(0)


def train_ours(job: Job, turns: Turns) -> None:
    """Steps as ``trainer.loop`` makes them, on batches that were tokenised before."""
    processes = Processes("cpu")
    backbone = open_backbone(BackboneConfig(path=job.model), texts=None)
    config = StageConfig(
        name="finetune",
        data=DataConfig(max_query_tokens=job.tokens, max_document_tokens=job.tokens),
        loss=loss_config(backbone.model.config.hidden_size, recipe=job.recipe_loss),
        optimizer=OptimizerConfig(learning_rate=LEARNING_RATE, max_norm=MAX_NORM),
        runtime=RuntimeConfig(device="cpu"),
    )
    student = Student(backbone, config)
    weights = prepare_weights(student.model, config.optimizer, config.runtime, processes)
    objective = Objective(config.loss, student.dims[0])
    student.model.train()
    collate = student.collator()
    examples = list(_examples(job.rows()))
    for queries in job.plan:
        batch = collate(examples[:queries])
        turns.begin()
        losses = add_gradient(student, objective, batch.ids, batch.layout, processes, config).losses
        weights.step(LEARNING_RATE)
        turns.end(batch.tokens, float(losses.mean()))


def loss_config(width: int, *, recipe: bool) -> LossConfig:
    """The peer's loss, InfoNCE over all other positives and hard negatives; or KaLM-V2's, at the widths there are."""
    if not recipe:
        return LossConfig(temperature=TEMPERATURE, negatives_per_query=NEGATIVES)
    stage = kalm_v2().stage("finetune")
    assert isinstance(stage, StageConfig)  # noqa: S101 - its recipe says so
    nested = [(dim, weight) for dim, weight in zip(stage.loss.dims, stage.loss.weights, strict=True) if dim < width]
    dims, weights = zip(*[(width, stage.loss.weights[0]), *nested], strict=True)
    return stage.loss.model_copy(update={"dims": dims, "weights": weights})


def _examples(rows: list[list[str]]) -> Iterator[Example]:
    source = SourceInfo("bench", "", "", frozenset(), "contrastive", "Retrieval")
    for key, (query, positive, *negatives) in enumerate(rows):
        yield Example(key, source, query, positive, tuple(negatives), (positive,), None, None)


def train_sentence_transformers(job: Job, turns: Turns) -> None:
    """The library's own trainer at its best: fused AdamW, bfloat16 autocast over float32 weights."""
    from datasets import Dataset
    from sentence_transformers import (
        SentenceTransformer,
        SentenceTransformerTrainer,
        SentenceTransformerTrainingArguments,
    )
    from sentence_transformers.sentence_transformer.losses import CachedMultipleNegativesRankingLoss

    model = SentenceTransformer(job.model, device="cpu")
    loss = CachedMultipleNegativesRankingLoss(model, scale=1 / TEMPERATURE)
    columns = ["anchor", "positive", *(f"negative_{number}" for number in range(1, NEGATIVES + 1))]
    arguments = SentenceTransformerTrainingArguments(
        output_dir=job.scratch,
        max_steps=len(job.plan),
        per_device_train_batch_size=max(job.plan),
        batch_sampler=lambda dataset, **_: planned_batches(dataset, job.plan),
        bf16=True,
        use_cpu=True,
        optim="adamw_torch_fused",
        learning_rate=LEARNING_RATE,
        lr_scheduler_type="constant",
        max_grad_norm=MAX_NORM,
        save_strategy="no",
        logging_strategy="no",
        report_to="none",
        disable_tqdm=True,
        dataloader_pin_memory=False,
    )
    trainer = SentenceTransformerTrainer(
        model=model,
        args=arguments,
        train_dataset=Dataset.from_dict(dict(zip(columns, map(list, zip(*job.rows(), strict=True)), strict=True))),
        loss=loss,
        callbacks=[_PeerTurns(turns, loss)],
    )
    trainer.train()


def planned_batches(dataset: Any, plan: list[int]) -> Any:  # noqa: ANN401 - types of an optional library
    """A batch sampler of sentence-transformers that takes the first rows, as many as each step wants."""
    from sentence_transformers.base.sampler import DefaultBatchSampler

    class Planned(DefaultBatchSampler):
        def __iter__(self) -> Iterator[list[int]]:
            return (list(range(queries)) for queries in plan)

        def __len__(self) -> int:
            return len(plan)

    return Planned(dataset, batch_size=max(plan), drop_last=False)


class _PeerTurns(TrainerCallback):
    """Makes the peer's trainer wait for its turns, and counts what it is given."""

    def __init__(self, turns: Turns, loss: Any) -> None:  # noqa: ANN401 - of an optional library
        self._turns = turns
        self._loss = loss
        self._tokens = 0
        self._value = 0.0
        loss.register_forward_hook(self._count)

    def on_step_begin(self, *_: object, **__: object) -> None:
        """Wait; take up the settings of this turn."""
        for name, value in self._turns.begin().items():
            setattr(self._loss, name, value)

    def on_step_end(self, *_: object, **__: object) -> None:
        """The optimizer has moved and the gradients are gone."""
        self._turns.end(self._tokens, self._value)

    def _count(self, _: object, inputs: tuple[Any, ...], output: Tensor) -> None:
        self._tokens = sum(int(features["attention_mask"].sum()) for features in inputs[0])
        self._value = float(output.detach())


def main(job_file: str) -> None:
    """Run the contestant of a job file."""
    job = Job(**json.loads(Path(job_file).read_text(encoding="utf-8")))
    turns = Turns()
    (train_ours if job.contestant == OURS else train_sentence_transformers)(job, turns)
    turns.ready()


if __name__ == "__main__":
    main(sys.argv[1])
