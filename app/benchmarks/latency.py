"""How long one question takes to become a vector: alone, in a crowd, and beside a long list."""

import itertools
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from app.benchmarks.encoding import passages_of
from app.benchmarks.machine import machine, percentiles
from embedder.encoder import Embedder

USERS = 8
_QUESTION_CHARACTERS = 60


def bench_latency(folder: Path, model: str | None, questions: int) -> dict[str, Any]:
    """Measure single questions in three situations.

    Args:
        folder: Documents to take questions and the long list from.
        model: Anything ``Embedder.load`` opens; None is the default model.
        questions: How many are asked in each situation.

    Raises:
        BenchRefused: If there are no texts.
    """
    passages = passages_of(folder)
    encoder = Embedder.load(model)
    asked = _questions(passages, questions)
    for question in asked[:5]:
        encoder.encode_queries([question])
    situations = {
        "alone": _ask(encoder, asked, users=1),
        f"{USERS} at once": _ask(encoder, asked, users=USERS),
    }
    with _encoding_for_ever(encoder, passages):
        situations["beside a long list"] = _ask(encoder, asked, users=1)
    return {
        "what": "one question to its vector, milliseconds",
        "model": encoder.name,
        "dtype": encoder.dtype,
        "questions": questions,
        "situations": situations,
        "machine": machine(),
    }


def _questions(passages: Sequence[str], count: int) -> list[str]:
    """Different beginnings of lines, about as long as what people type."""
    lines = itertools.chain.from_iterable(text.splitlines() for text in itertools.cycle(passages))
    short = (line.strip()[:_QUESTION_CHARACTERS] for line in lines if line.strip())
    return [f"{line} {number}" for number, line in enumerate(itertools.islice(short, count))]


def _ask(encoder: Embedder, asked: Sequence[str], users: int) -> dict[str, float]:
    def timed(question: str) -> float:
        began = time.perf_counter()
        encoder.encode_queries([question])
        return time.perf_counter() - began

    began = time.perf_counter()
    with ThreadPoolExecutor(users) as pool:
        seconds = list(pool.map(timed, asked))
    whole = time.perf_counter() - began
    return percentiles(seconds) | {"questions_per_second": round(len(asked) / whole, 1)}


@contextmanager
def _encoding_for_ever(encoder: Embedder, passages: Sequence[str]) -> Iterator[None]:
    """Another thread encodes documents until the block ends."""
    stopped = threading.Event()

    def work() -> None:
        while not stopped.is_set():
            encoder.encode_documents(passages[:200])

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()
