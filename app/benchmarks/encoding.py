"""Tokens per second of this encoder and of sentence-transformers, on the same weights and the same texts.

Every round runs every contestant once, so that a noisy minute hits all of them, and the best round of each counts.
Only one at a time has threads of OpenMP's: those of several would be more than the processors, and slow (``turns.py``).
"""

import itertools
import random
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from app.benchmarks.errors import BenchRefused
from app.benchmarks.machine import machine
from app.benchmarks.onnx_peer import onnx_contestants
from app.benchmarks.products import Products
from embedder.catalogue import locate
from embedder.checkpoint import load_backbone, load_tokenizer, read_checkpoint, save_checkpoint
from embedder.encoder import Embedder
from embedder.hardware import BYTES, UnknownSetting, bytes_here, dtype_name
from embedder.packing import PACKED_FILE
from embedder.turns import THREAD, in_passing
from indexer.readers import UnreadableFile, read
from indexer.records import Corpus
from indexer.sources.folders import find_files

RANDOM_MODEL = "qwen2-0.5b-random"
_OURS, _DEFAULT = "ours", "sentence-transformers, default"
_PLAIN = torch.float32
_MAX_TOKENS = 512
_PRODUCT_TOKENS, _PRODUCT_ROUNDS = 2048, 5
_FEW_TOKENS = 1024
"""More than a question has: for two seconds after one, our lists go in small passes."""

_SEED = 20506

Contestant = Callable[[list[str]], object]


@dataclass(frozen=True, slots=True)
class EncodeBench:
    """What to measure.

    Attributes:
        texts: Folder of documents to take the texts from.
        model: Anything ``Embedder.load`` opens, or ``qwen2-0.5b-random``.
        tokens: Tokens of text in a round.
        rounds: How often every contestant runs.
        length: Tokens of every text; None mixes 16 to 512.
        peer: Another model, as sentence-transformers runs it by default, to compare texts per second with.
        with_onnx: Whether ONNX Runtime takes part.
    """

    texts: Path
    model: str = RANDOM_MODEL
    tokens: int = 12_000
    rounds: int = 3
    length: int | None = None
    peer: Path | None = None
    with_onnx: bool = False


def bench_encode(wanted: EncodeBench) -> dict[str, Any]:
    """Measure; see the module.

    Raises:
        BenchRefused: If there are no texts, or a peer is not installed.
    """
    passages = passages_of(wanted.texts)
    with _model_folder(wanted.model, passages) as place, tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        ours = Embedder.load(str(place) if wanted.model == RANDOM_MODEL else wanted.model)
        texts, counts = texts_of(passages, ours, wanted.tokens, wanted.length)
        same = _ours(ours) | in_passing(lambda: _sentence_transformers(place, ours.max_tokens))
        if wanted.with_onnx:
            same |= in_passing(lambda: onnx_contestants(place, ours.max_tokens, folder))
        peer = wanted.peer
        other = {} if peer is None else in_passing(lambda: _other_model(peer))
        few = texts[: 1 + _FEW_TOKENS // min(counts)]
        best = _best_of(same | other, texts, few, wanted.rounds)
        alone = _seconds_alone(Products.of(ours))
    rates = {name: round(sum(counts) / seconds) for name, seconds in best.items()}
    first, *others = [rates[name] for name in same if name == next(iter(same)) or not name.startswith(_OURS)]
    return {
        "what": f"tokens per second, documents, best of {wanted.rounds} interleaved rounds",
        "model": wanted.model,
        "texts": len(texts),
        "tokens": sum(counts),
        "lengths": {"shortest": min(counts), "mean": round(sum(counts) / len(counts)), "longest": max(counts)},
        "tokens_per_second": rates,
        "texts_per_second": {name: round(len(texts) / seconds, 1) for name, seconds in best.items()},
        "products_alone_tokens_per_second": round(1 / alone),
        "ours_over_products_alone": round(first * alone, 2),
        "ours_over_default": round(first / rates[_DEFAULT], 2),
        "ours_over_best": round(first / max(others), 2),
        "machine": machine(),
    }


def _best_of(contestants: Mapping[str, Contestant], texts: list[str], few: list[str], rounds: int) -> dict[str, float]:
    """Seconds of the best round of each."""
    for encode in contestants.values():
        _seconds(encode, few, few)  # the first call of each pays for set-up
    best = dict.fromkeys(contestants, float("inf"))
    for _, (name, encode) in itertools.product(range(rounds), contestants.items()):
        best[name] = min(best[name], _seconds(encode, texts, few))
    return best


def _seconds(encode: Contestant, texts: list[str], few: list[str]) -> float:
    """Time of one call, when no other contestant has threads left and in a thread that leaves none."""
    while any(thread.name.startswith(THREAD) for thread in threading.enumerate()):
        time.sleep(0.1)

    def timed() -> float:
        encode(few)  # makes the team
        start = time.perf_counter()
        encode(texts)
        return time.perf_counter() - start

    return in_passing(timed)


def _seconds_alone(products: Products) -> float:
    """Time that the products of a token take."""
    runs = in_passing(lambda: [products.seconds(_PRODUCT_TOKENS) for _ in range(_PRODUCT_ROUNDS)])
    return min(runs) / _PRODUCT_TOKENS


def _ours(encoder: Embedder) -> dict[str, Contestant]:
    """In the arithmetic that it chose, and in the other one that it might have."""
    found: dict[str, Contestant] = {f"{_OURS}, {encoder.dtype}": encoder.encode_documents}
    here = bytes_here()
    other = dtype_name(BYTES[here]) if encoder.dtype in BYTES else here
    with suppress(UnknownSetting):  # no products of bytes here, or not for this model
        found[f"{_OURS}, {other}"] = Embedder.load(encoder.source, dtype=other).encode_documents
    return found


def _other_model(folder: Path) -> dict[str, Contestant]:
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(folder), device="cpu")
    return {f"{_DEFAULT}, {folder.parent.name}/{folder.name}": lambda texts: model.encode(texts)}


def _sentence_transformers(place: Path, max_tokens: int) -> dict[str, Contestant]:
    """As installed by default, and at its best: bfloat16 where the processor has it, and a smaller batch."""
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError as error:
        raise BenchRefused(
            "The peer of this measurement is not installed; run pip install 'kalm-retrieval[dev]'."
        ) from error
    dtype = BYTES[bytes_here()]
    plain = SentenceTransformer(str(place), device="cpu")
    fast = SentenceTransformer(str(place), device="cpu", model_kwargs={"dtype": dtype}) if dtype != _PLAIN else plain
    for peer in (plain, fast):
        peer.max_seq_length = max_tokens
    name = f"sentence-transformers, {dtype_name(dtype)}, batches of"
    found: dict[str, Contestant] = {_DEFAULT: lambda texts: plain.encode(texts)}
    found[f"{name} 8"] = lambda texts: fast.encode(texts, batch_size=8)
    if fast is not plain:
        found[f"{name} 32"] = lambda texts: fast.encode(texts, batch_size=32)
    return found


@contextmanager
def _model_folder(model: str, passages: list[str]) -> Iterator[Path]:
    """The folder of a model that every contestant can open: the random one and unpacked weights are written first."""
    folder = None if model == RANDOM_MODEL else locate(model).folder
    if folder is not None and not folder.joinpath(PACKED_FILE).exists():
        yield folder
        return
    with tempfile.TemporaryDirectory() as made:
        place = Path(made)
        in_passing(lambda: _write_random(place, passages) if folder is None else _write_unpacked(place, folder))
        yield place


def _write_unpacked(place: Path, folder: Path) -> None:
    """Packed weights in float32."""
    checkpoint = read_checkpoint(folder)
    backbone, tokenizer = load_backbone(checkpoint, torch.float32), load_tokenizer(folder)
    limit = checkpoint.max_tokens or _MAX_TOKENS
    save_checkpoint(place, backbone, tokenizer, dims=checkpoint.dims, max_tokens=limit, prompts={})


def _write_random(place: Path, passages: list[str]) -> None:
    """Random weights in the shape of KaLM V2.5, in float32 as it is published, with a tokenizer of the passages."""
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
    save_checkpoint(place, Qwen2Model(shape), fast, dims=(896,), max_tokens=_MAX_TOKENS, prompts={})


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


def texts_of(passages: list[str], encoder: Embedder, tokens: int, length: int | None) -> tuple[list[str], list[int]]:
    """Pieces of passages until there are enough tokens, and how many tokens each has.

    All of one length; or of 16 to 512 tokens, short ones as frequent as in search.
    """
    random_ = random.Random(_SEED)  # noqa: S311 - not for secrets
    texts: list[str] = []
    counts: list[int] = []
    for number, text in enumerate(itertools.cycle(passages)):
        spans = encoder.token_spans(text)
        count = min(length or round(16 * 32 ** random_.random()), len(spans))
        if count and count >= (length or 0):
            start = random_.randrange(len(spans) - count + 1)
            texts.append(text[spans[start, 0] : spans[start + count - 1, 1]])
            counts.append(count)
        if sum(counts) >= tokens:
            return texts, counts
        if number == len(passages) and not texts:
            break
    raise BenchRefused("The documents hold too few tokens; name a folder of longer ones with --texts.")
