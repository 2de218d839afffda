"""Tokens per second of this encoder and of sentence-transformers, on the same weights and the same texts.

Every round runs every contestant once, so that a noisy minute hits all of them, and the best round of each counts.
"""

import itertools
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from app.benchmarks.machine import machine
from embedder.catalogue import locate
from embedder.checkpoint import save_checkpoint
from embedder.encoder import Embedder
from embedder.errors import AppError
from indexer.plan import find_files
from indexer.readers import UnreadableFile, read
from indexer.records import Corpus

RANDOM_MODEL = "qwen2-0.5b-random"
_MAX_TOKENS = 512
_SEED = 20506

Contestant = Callable[[list[str]], object]


class BenchRefused(AppError):
    """A measurement that cannot be made here."""


def bench_encode(folder: Path, model: str, tokens: int, rounds: int) -> dict[str, Any]:
    """Measure; see the module.

    Args:
        folder: Documents to take the texts from.
        model: Anything ``Embedder.load`` opens, or ``qwen2-0.5b-random``.
        tokens: Tokens of text in a round.
        rounds: How often every contestant runs.

    Raises:
        BenchRefused: If there are no texts, or sentence-transformers is not installed.
    """
    passages = passages_of(folder)
    with _model_folder(model, passages) as place:
        ours = Embedder.load(str(place), max_tokens=_MAX_TOKENS)
        texts, lengths = _mixed_lengths(passages, ours, tokens)
        contestants = {f"ours, {ours.dtype}": ours.encode_documents, **_sentence_transformers(place)}
        best = dict.fromkeys(contestants, float("inf"))
        for encode in contestants.values():
            encode(texts[:4])  # the first call of each pays for set-up
        for _, (name, encode) in itertools.product(range(rounds), contestants.items()):
            start = time.perf_counter()
            encode(texts)
            best[name] = min(best[name], time.perf_counter() - start)
    rates = {name: round(sum(lengths) / seconds) for name, seconds in best.items()}
    first, default, *tuned = rates.values()
    return {
        "what": f"tokens per second, documents, best of {rounds} interleaved rounds",
        "model": model,
        "texts": len(texts),
        "tokens": sum(lengths),
        "lengths": {"shortest": min(lengths), "mean": round(sum(lengths) / len(lengths)), "longest": max(lengths)},
        "tokens_per_second": rates,
        "ours_over_default": round(first / default, 2),
        "ours_over_best": round(first / max(default, *tuned), 2),
        "machine": machine(),
    }


def _sentence_transformers(place: Path) -> dict[str, Contestant]:
    """As installed by default, and at its best: bfloat16 weights, sorted by length as it does, two batch sizes."""
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError as error:
        raise BenchRefused(
            "The peer of this measurement is not installed; run pip install 'kalm-retrieval[dev]'."
        ) from error
    plain = SentenceTransformer(str(place), device="cpu")
    fast = SentenceTransformer(str(place), device="cpu", model_kwargs={"dtype": torch.bfloat16})
    for peer in (plain, fast):
        peer.max_seq_length = _MAX_TOKENS
    return {
        "sentence-transformers, default": lambda texts: plain.encode(texts),
        "sentence-transformers, bfloat16, batches of 32": lambda texts: fast.encode(texts, batch_size=32),
        "sentence-transformers, bfloat16, batches of 8": lambda texts: fast.encode(texts, batch_size=8),
    }


@contextmanager
def _model_folder(model: str, passages: list[str]) -> Iterator[Path]:
    """The folder of a model; the random one is made for the occasion, in float32 as KaLM V2.5 is published."""
    if model != RANDOM_MODEL:
        yield locate(model).folder
        return
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2Model

    end = "<|endoftext|>"
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=16_000, special_tokens=[end], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(passages, trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=end, pad_token=end)  # type: ignore[no-untyped-call]
    torch.manual_seed(_SEED)
    shape = Qwen2Config(
        hidden_size=896,
        intermediate_size=4864,
        num_hidden_layers=24,
        num_attention_heads=14,
        num_key_value_heads=2,
        pad_token_id=0,
    )
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        save_checkpoint(place, Qwen2Model(shape), fast, dims=(896,), max_tokens=_MAX_TOKENS, prompts={})
        yield place


def passages_of(folder: Path) -> list[str]:
    """Text of every readable document of a folder."""
    found = find_files(Corpus("bench", folder.resolve(), (), None)) if folder.exists() else {}
    texts: list[str] = []
    for uri, file in sorted(found.items()):
        try:
            texts.extend(document.text for document in read(file.path, uri))
        except UnreadableFile:
            continue  # a damaged file has nothing to measure with
    if not texts:
        raise BenchRefused(f"There are no readable documents in {folder}; name a folder with --texts.")
    return texts


def _mixed_lengths(passages: list[str], encoder: Embedder, tokens: int) -> tuple[list[str], list[int]]:
    """Pieces of 16 to 512 tokens, short ones as frequent as in search, until there are enough tokens."""
    random_ = random.Random(_SEED)  # noqa: S311 - not for secrets
    texts, lengths = [], []
    for text in itertools.cycle(passages):
        spans = encoder.token_spans(text)
        length = min(round(16 * 32 ** random_.random()), len(spans))
        if length:
            start = random_.randrange(len(spans) - length + 1)
            texts.append(text[spans[start, 0] : spans[start + length - 1, 1]])
            lengths.append(length)
        if sum(lengths) >= tokens:
            return texts, lengths
    raise BenchRefused("The documents hold no tokens.")
