"""Tokens per second and memory of a fine-tuning step, ours and sentence-transformers' with its gradient cache.

Both start from the same weights and take the same texts, a positive and seven hard negatives to a query, in steps of
the same batch: forward and backward in bfloat16 over float32 weights, clipping, and AdamW. The peer is driven by its
own trainer, and its mini-batch is the best of those tried. Every round runs every contestant once, one at a time, and
the best round of each counts. All of it is on the CPU.
"""

import json
import random
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from statistics import mean
from typing import Any, Literal

from app.benchmarks.contestants import Contestant, Settings, Step
from app.benchmarks.encoding import passages_of
from app.benchmarks.errors import BenchRefused
from app.benchmarks.machine import machine
from app.benchmarks.peers import NEGATIVES, OURS, SENTENCE_TRANSFORMERS, TEMPERATURE, Job, can_reset_peak
from embedder.checkpoint import save_checkpoint
from embedder.protocol import TokenSpans
from embedder.tokenization import TextTokenizer
from trainer.backbones import open_backbone
from trainer.config import BackboneConfig, RuntimeConfig

Lengths = Literal["equal", "mixed"]

DEFAULT_SIZES = {"tiny": (64, 32), "small": (512, 128), "0.5b": (16, 64)}
"""Queries and tokens of a text for each shape: a step of minutes at most on two cores."""

APART = ("0.5b",)
"""Shapes of which two, with the state of their optimizers, are more than most machines hold."""

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
        apart: Whether only one contestant is in memory at a time, loaded afresh for every turn.
    """

    shape: str
    queries: int
    tokens: int
    rounds: int = 3
    lengths: Lengths = "equal"
    batches: tuple[int, ...] = ()
    peer_batches: bool = False
    recipe_loss: bool = False
    apart: bool = False

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
    with tempfile.TemporaryDirectory() as place:
        lengths = _prepare(Path(place), folder, wanted)
        ours, peer = (_contestant(name, Path(place), wanted) for name in (OURS, SENTENCE_TRANSFORMERS))
        (_measure_apart if wanted.apart else _measure_together)(ours, peer, wanted)
        over_batches = {
            contestant.name: _memory_over_batches(contestant, wanted)
            for contestant in ((ours, peer) if wanted.peer_batches else (ours,))
            if wanted.batches
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


def _contestant(name: str, place: Path, wanted: TrainingBench) -> Contestant:
    model, texts, scratch = (str(place / part) for part in ("model", "texts.json", "scratch"))
    job = Job(name, model, texts, [], wanted.tokens, wanted.recipe_loss, scratch)
    settings: Settings = {"chunk_tokens": RuntimeConfig().chunk_tokens} if name == OURS else {}
    return Contestant(job, place, settings)


def _measure_together(ours: Contestant, peer: Contestant, wanted: TrainingBench) -> None:
    """Both loaded at once, taking turns."""
    rounds, tried = [wanted.queries] * wanted.rounds, [wanted.calibration] * len(wanted.mini_batches())
    with ours.running([wanted.warm_up, *rounds]), peer.running([wanted.warm_up, *tried, *rounds]):
        ours.step()
        peer.step()
        _calibrate(peer, wanted)
        for _ in range(wanted.rounds):
            for contestant in (ours, peer):
                contestant.rounds.append(contestant.step())


def _measure_apart(ours: Contestant, peer: Contestant, wanted: TrainingBench) -> None:
    """One loaded at a time, afresh for each of its turns, where memory does not hold both."""
    with peer.running([wanted.warm_up, *[wanted.calibration] * len(wanted.mini_batches())]):
        peer.step()
        _calibrate(peer, wanted)
    for _ in range(wanted.rounds):
        for contestant in (ours, peer):
            with contestant.running([wanted.warm_up, wanted.queries]):
                contestant.step()
                contestant.rounds.append(contestant.step())


def _memory_over_batches(contestant: Contestant, wanted: TrainingBench) -> dict[str, dict[str, int]]:
    with contestant.running([wanted.warm_up, *wanted.batches]):
        contestant.step()
        return {str(queries): _memory([contestant.step()]) for queries in wanted.batches}


def _calibrate(peer: Contestant, wanted: TrainingBench) -> None:
    """Find the peer's best mini-batch."""
    fastest = 0
    best: Settings = {}
    for settings in wanted.mini_batches():
        peer.settings = settings
        step = peer.step()
        peer.calibration.append({**settings, "tokens_per_second": step.tokens_per_second, **_memory([step])})
        if step.tokens_per_second > fastest:
            fastest, best = step.tokens_per_second, settings
    peer.settings = best


def _check_same_work(ours: Contestant, peer: Contestant, lengths: list[int], wanted: TrainingBench) -> None:
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


def _memory(steps: Sequence[Step]) -> dict[str, int]:
    """Resident before the first of some steps, weights and optimizer state included, and the peak of all."""
    return {"baseline_memory_mib": steps[0].resident, "peak_memory_mib": max(step.peak for step in steps)}


def _report(
    wanted: TrainingBench,
    lengths: list[int],
    ours: Contestant,
    peer: Contestant,
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
        "contestants_loaded": "one at a time" if wanted.apart else "together",
        "precision": "bfloat16 over float32 weights",
        "loss": {OURS: "KaLM-V2's fine-tuning loss" if wanted.recipe_loss else plain, SENTENCE_TRANSFORMERS: plain},
        "contestants": {side.name: _findings(side, best[side.name]) for side in (ours, peer)},
        "ratio": round(best[ours.name] / best[peer.name], 2),
        "memory_by_queries": over_batches,
        "peak_memory_is_of": "the steps" if can_reset_peak() else "the process, loading included",
        "machine": machine(),
    }


def _findings(side: Contestant, best: int) -> dict[str, Any]:
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
