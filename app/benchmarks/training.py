"""Tokens per second and memory of a fine-tuning step, ours and sentence-transformers' with its gradient cache.

Both start from the same weights and take the same texts, a positive and seven hard negatives to a query, in steps of
the same batch: forward and backward in bfloat16 over float32 weights, clipping, and AdamW. The peer is driven by its
own trainer, and its mini-batch is the best of those tried. Every round runs every contestant once, one at a time, and
the best round of each counts. All of it is on the CPU.
"""

import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from statistics import mean
from typing import Any, Literal

from app.benchmarks.encoding import BenchRefused, passages_of
from app.benchmarks.machine import machine
from app.benchmarks.peers import NEGATIVES, OURS, SENTENCE_TRANSFORMERS, TEMPERATURE, Job, can_reset_peak
from embedder.checkpoint import save_checkpoint
from embedder.protocol import TokenSpans
from embedder.tokenization import TextTokenizer
from trainer.backbones import open_backbone
from trainer.config import BackboneConfig, RuntimeConfig

Lengths = Literal["equal", "mixed"]
Settings = dict[str, int | None]

DEFAULT_SIZES = {"tiny": (64, 32), "small": (512, 128), "0.5b": (16, 64)}
"""Queries and tokens of a text for each shape: a step of minutes at most on two cores."""

_SEED = 20506
_SHORTEST = 16
_SPARE_TOKENS = 16
"""Tokens more than wanted, so that a text is still long enough when it is tokenised by itself; cut off later."""

_TRIES = 20
"""Texts drawn for each that is needed before the documents are said to be too few."""

_LOSS_TOLERANCE = 0.02
"""Relative, between two ways of computing the first loss in bfloat16."""

_WARM_UP_QUERIES = 4
_CALIBRATION_QUERIES = 64
_MINI_BATCHES = (8, 16, 32, 64)
_MINI_BATCH_TOKENS = RuntimeConfig().chunk_tokens


@dataclass(frozen=True, slots=True)
class TrainingBench:
    """What to measure.

    Attributes:
        shape: ``tiny``, ``small`` or ``0.5b``: the random Qwen2 shapes of the trainer.
        queries: Queries of a step.
        tokens: Longest text.
        rounds: How often every contestant runs.
        lengths: Every text of exactly ``tokens`` tokens, or 16 to ``tokens``, short ones more often.
        batches: Further numbers of queries, one step each, whose peak memory is wanted.
        peer_batches: Whether the peer makes those steps too.
        recipe_loss: Whether our side computes KaLM-V2's whole loss and not the peer's.
    """

    shape: str
    queries: int
    tokens: int
    rounds: int = 3
    lengths: Lengths = "equal"
    batches: tuple[int, ...] = ()
    peer_batches: bool = False
    recipe_loss: bool = False

    @property
    def warm_up(self) -> int:
        """Queries of the first step, which pays for set-up and makes the optimizer's state."""
        return min(_WARM_UP_QUERIES, self.queries)

    @property
    def calibration(self) -> int:
        """Queries of the steps that choose the peer's mini-batch."""
        return min(_CALIBRATION_QUERIES, self.queries)

    def mini_batches(self) -> list[Settings]:
        """What is tried for the peer: rows of a column at a time, or tokens as many as we take."""
        sizes = sorted({min(size, self.calibration) for size in _MINI_BATCHES})
        tried: list[Settings] = [{"mini_batch_size": size, "mini_batch_num_tokens": None} for size in sizes]
        if self.calibration * self.tokens > _MINI_BATCH_TOKENS:  # else a column is one mini-batch
            tried.append({"mini_batch_size": sizes[-1], "mini_batch_num_tokens": _MINI_BATCH_TOKENS})
        return tried


def bench_train(folder: Path, wanted: TrainingBench) -> dict[str, Any]:
    """Measure; see the module.

    Args:
        folder: Documents to take the texts from.
        wanted: The measurement.

    Raises:
        BenchRefused: If it cannot be made here, or the contestants did not do the same work.
    """
    _check_possible()
    with tempfile.TemporaryDirectory() as place, ExitStack() as running:
        lengths = _prepare(Path(place), folder, wanted)
        jobs = _jobs(Path(place), wanted)
        ours, peer = (running.enter_context(_started(job, Path(place))) for job in jobs)
        _calibrate(ours, peer, wanted)
        for _ in range(wanted.rounds):
            for contestant in (ours, peer):
                contestant.rounds.append(contestant.step())
        over_batches = {
            contestant.name: {str(queries): _memory([contestant.step()]) for queries in wanted.batches}
            for contestant in ((ours, peer) if wanted.peer_batches else (ours,))
        }
    _check_same_work(ours, peer, lengths[: wanted.queries * (2 + NEGATIVES)], wanted)
    return _report(wanted, lengths, ours, peer, over_batches)


def default_sizes(shape: str) -> tuple[int, int]:
    """Queries and tokens of a step of a shape.

    Raises:
        BenchRefused: If there is no such shape.
    """
    if shape not in DEFAULT_SIZES:
        raise BenchRefused(f"There is no shape {shape!r}; there are {', '.join(DEFAULT_SIZES)}.")
    return DEFAULT_SIZES[shape]


def read_batches(text: str) -> tuple[int, ...]:
    """Numbers with commas between them.

    Raises:
        BenchRefused: If they are not positive numbers.
    """
    parts = [part.strip() for part in text.split(",")] if text else []
    if not all(part.isdecimal() and int(part) for part in parts):
        raise BenchRefused(f"--batches {text} is not a list of numbers of queries; write it as 128,512,2048.")
    return tuple(int(part) for part in parts)


@dataclass(frozen=True, slots=True)
class _Step:
    seconds: float
    tokens: int
    loss: float
    resident: int
    peak: int

    @property
    def tokens_per_second(self) -> int:
        return round(self.tokens / self.seconds)


@dataclass(slots=True)
class _Contestant:
    """A process that trains when it is told to.

    Attributes:
        name: What the report calls it.
        process: It.
        said: What it writes to standard error.
        settings: Its mini-batches.
        made: All its steps; the first is small and from the common weights.
        rounds: Those that count.
        calibration: Speed and memory with each of the settings tried.
    """

    name: str
    process: "subprocess.Popen[str]"
    said: Path
    settings: Settings = field(default_factory=dict)
    made: list[_Step] = field(default_factory=list)
    rounds: list[_Step] = field(default_factory=list)
    calibration: list[dict[str, Any]] = field(default_factory=list)

    def step(self) -> _Step:
        """Let it make its next step, and wait until it computes no more."""
        assert self.process.stdin is not None  # noqa: S101 - a pipe, see below
        try:  # past the buffer, which would be flushed once more when it is closed
            os.write(self.process.stdin.fileno(), (json.dumps(self.settings) + "\n").encode())
        except BrokenPipeError:
            raise self._ended() from None
        self.made.append(_Step(**self.hear()))
        self.hear()  # it has prepared its next batch
        return self.made[-1]

    def hear(self) -> dict[str, Any]:
        """The next line it says.

        Raises:
            BenchRefused: If it has ended.
        """
        assert self.process.stdout is not None  # noqa: S101 - a pipe, see below
        line = self.process.stdout.readline()
        if not line:
            raise self._ended()
        heard: dict[str, Any] = json.loads(line)
        return heard

    def _ended(self) -> BenchRefused:
        code = self.process.wait()
        lines = self.said.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        reason = lines[-1].rstrip(".") if lines and code > 0 else f"exit code {code} (-9 means that memory ran out)"
        return BenchRefused(f"The process of {self.name} ended before its measurement did: {reason}.")


@contextmanager
def _started(job: Job, place: Path) -> Iterator[_Contestant]:
    """A contestant that has loaded its model."""
    job_file, said = place / f"{job.contestant}.json", place / f"{job.contestant}.err"
    job.write(job_file)
    command = [sys.executable, "-m", "app.benchmarks.peers", str(job_file)]
    with (
        said.open("w") as errors,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True) as process,
    ):
        contestant = _Contestant(job.contestant, process, said)
        try:
            contestant.hear()
            yield contestant
        finally:
            process.kill()


def _check_possible() -> None:
    """Refuse what cannot be measured before any work."""
    if not Path("/proc/self/status").exists():
        raise BenchRefused("Memory is read from /proc, which this system does not have; measure on Linux.")
    if not find_spec("sentence_transformers") or not find_spec("datasets"):
        raise BenchRefused("The peer of this measurement is not installed; run pip install 'kalm-retrieval[dev]'.")


def _prepare(place: Path, folder: Path, wanted: TrainingBench) -> list[int]:
    """Write the weights and the texts all contestants open; tokens of each text, row by row."""
    passages = passages_of(folder)
    backbone = open_backbone(BackboneConfig(path=f"random:qwen2-{wanted.shape}"), texts=lambda: passages)
    width = backbone.model.config.hidden_size
    save_checkpoint(
        place / "model", backbone.model, backbone.tokenizer, dims=(width,), max_tokens=wanted.tokens, prompts={}
    )
    per_row = 2 + NEGATIVES
    rows = max((wanted.queries, *wanted.batches))
    texts, lengths = draw_texts(
        passages, TextTokenizer(backbone.tokenizer, wanted.tokens), rows * per_row, wanted.tokens, wanted.lengths
    )
    table = [texts[start : start + per_row] for start in range(0, len(texts), per_row)]
    (place / "texts.json").write_text(json.dumps(table), encoding="utf-8")
    return lengths


def draw_texts(
    passages: Sequence[str], tokenizer: TextTokenizer, count: int, tokens: int, lengths: Lengths
) -> tuple[list[str], list[int]]:
    """Different pieces of passages, cut at random places, and the tokens of each.

    Args:
        passages: Documents.
        tokenizer: Cuts at ``tokens``.
        count: Pieces wanted.
        tokens: Most tokens of a piece.
        lengths: See :class:`TrainingBench`.

    Raises:
        BenchRefused: If the documents are too short or too few.
    """
    spare = _SPARE_TOKENS if lengths == "equal" else 0
    known = [(text, tokenizer.token_spans(text)) for text in passages]
    long_enough = [(text, spans) for text, spans in known if len(spans) >= tokens + spare]
    random_ = random.Random(_SEED)  # noqa: S311 - not for secrets
    found: dict[str, int] = {}
    for _ in range(_TRIES * count if long_enough else 0):
        length = tokens if lengths == "equal" else _mixed_length(random_, tokens)
        piece = _piece(random_, *random_.choice(long_enough), length + spare)
        size = len(tokenizer.tokenize([piece])[0].ids)
        if piece and (lengths == "mixed" or size == tokens):
            found[piece] = size
        if len(found) == count:
            return list(found), list(found.values())
    raise BenchRefused(
        f"The documents do not give {count} different pieces of {tokens} tokens; "
        "name a folder with more text with --texts."
    )


def _mixed_length(random_: random.Random, tokens: int) -> int:
    shortest = min(_SHORTEST, tokens)
    growth: float = (tokens / shortest) ** random_.random()
    return round(shortest * growth)


def _piece(random_: random.Random, text: str, spans: TokenSpans, length: int) -> str:
    start = random_.randrange(len(spans) - length + 1)
    return text[spans[start, 0] : spans[start + length - 1, 1]].strip()


def _jobs(place: Path, wanted: TrainingBench) -> list[Job]:
    """The same steps for both, but the peer's that choose its mini-batch."""
    rounds, tried = [wanted.queries] * wanted.rounds, [wanted.calibration] * len(wanted.mini_batches())
    peer_batches = wanted.batches if wanted.peer_batches else ()
    plans = {
        OURS: [wanted.warm_up, *rounds, *wanted.batches],
        SENTENCE_TRANSFORMERS: [wanted.warm_up, *tried, *rounds, *peer_batches],
    }
    model, texts, scratch = (str(place / name) for name in ("model", "texts.json", "scratch"))
    return [Job(name, model, texts, plan, wanted.tokens, wanted.recipe_loss, scratch) for name, plan in plans.items()]


def _calibrate(ours: _Contestant, peer: _Contestant, wanted: TrainingBench) -> None:
    """The first, small step of each, and the peer's best mini-batch."""
    ours.settings = {"chunk_tokens": _MINI_BATCH_TOKENS}
    for contestant in (ours, peer):
        contestant.step()
    fastest = 0
    best: Settings = {}
    for settings in wanted.mini_batches():
        peer.settings = settings
        step = peer.step()
        peer.calibration.append({**settings, "tokens_per_second": step.tokens_per_second, **_memory([step])})
        if step.tokens_per_second > fastest:
            fastest, best = step.tokens_per_second, settings
    peer.settings = best


def _check_same_work(ours: _Contestant, peer: _Contestant, lengths: list[int], wanted: TrainingBench) -> None:
    """Refuse a comparison in which one side had less to do."""
    counts = {ours.name: ours.rounds[0].tokens, peer.name: peer.rounds[0].tokens, "the texts": sum(lengths)}
    if len(set(counts.values())) > 1:
        said = ", ".join(f"{name} {count}" for name, count in counts.items())
        raise BenchRefused(f"The contestants counted different tokens ({said}), so nothing can be compared.")
    own, other = ours.made[0].loss, peer.made[0].loss
    if not wanted.recipe_loss and abs(own - other) > _LOSS_TOLERANCE * other:
        raise BenchRefused(
            f"The first losses differ (ours {own:.4f}, the peer's {other:.4f}), "
            "so the contestants do not train the same model."
        )


def _memory(steps: Sequence[_Step]) -> dict[str, int]:
    """Resident before the first of some steps, weights and optimizer state included, and the peak of all."""
    return {"baseline_memory_mib": steps[0].resident, "peak_memory_mib": max(step.peak for step in steps)}


def _report(
    wanted: TrainingBench,
    lengths: list[int],
    ours: _Contestant,
    peer: _Contestant,
    over_batches: dict[str, dict[str, dict[str, int]]],
) -> dict[str, Any]:
    used = lengths[: wanted.queries * (2 + NEGATIVES)]
    best = {side.name: max(step.tokens_per_second for step in side.rounds) for side in (ours, peer)}
    plain = f"InfoNCE at temperature {TEMPERATURE}"
    return {
        "what": f"tokens per second of a fine-tuning step on the CPU, best of {wanted.rounds} interleaved rounds",
        "shape": f"qwen2-{wanted.shape}, random weights",
        "queries": wanted.queries,
        "texts": len(used),
        "tokens": sum(used),
        "lengths": {"kind": wanted.lengths, "shortest": min(used), "mean": round(mean(used)), "longest": max(used)},
        "precision": "bfloat16 over float32 weights",
        "loss": {OURS: "KaLM-V2's fine-tuning loss" if wanted.recipe_loss else plain, SENTENCE_TRANSFORMERS: plain},
        "contestants": {side.name: _findings(side, best[side.name]) for side in (ours, peer)},
        "ratio": round(best[ours.name] / best[peer.name], 2),
        "memory_by_queries": over_batches,
        "peak_memory_is_of": "the steps" if can_reset_peak() else "the process, loading included",
        "machine": machine(),
    }


def _findings(side: _Contestant, best: int) -> dict[str, Any]:
    tried = {"tried_settings": side.calibration} if side.calibration else {}
    return {
        "settings": side.settings,
        "tokens_per_second": best,
        **_memory(side.rounds),
        "rounds": [step.tokens_per_second for step in side.rounds],
        "tokens": side.rounds[0].tokens,
        "first_loss": round(side.made[0].loss, 4),
        **tried,
    }
