"""What ``/v1/embeddings`` answers many clients, beside the same encoder called in this process.

The server is a process of its own, as people start it; the clients are tasks of this process. The two take turns at
the machine, so that a ratio is fair though the clients share the server's cores.
"""

import asyncio
import itertools
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import httpx

from app.benchmarks.encoding import passages_of
from app.benchmarks.errors import BenchRefused
from app.benchmarks.machine import machine, percentiles
from embedder import Embedder

_ROUNDS = 3
_TEXT_CHARACTERS = 600
_READY_SECONDS = 120.0
_POLL_SECONDS = 0.1
_PATIENCE_SECONDS = 120.0


@dataclass
class Answers:
    """What came of the requests of some time.

    Attributes:
        seconds: How long each answer took.
        texts: Whose vectors were brought, in all.
        failures: What went wrong.
        took: How long the whole lasted, seconds.
    """

    seconds: list[float] = field(default_factory=list)
    texts: int = 0
    failures: list[str] = field(default_factory=list)
    took: float = 0.0


def bench_rest(folder: Path, model: str | None, clients: int, seconds: float, batch: int) -> dict[str, Any]:
    """Measure vectors a second through the REST interface and without it, in turns.

    Args:
        folder: Documents that the texts are taken from.
        model: Anything ``Embedder.load`` opens; None for the default model.
        clients: How many ask at once, each as soon as it has its answer.
        seconds: How long they ask, all rounds together.
        batch: Texts of a request.

    Raises:
        BenchRefused: If there are no texts, or the server does not start.
    """
    texts = (f"{number} {text[:_TEXT_CHARACTERS]}" for number, text in enumerate(itertools.cycle(passages_of(folder))))
    encoder = Embedder.load(model)
    rates: dict[str, list[float]] = {"in process": [], "served": []}
    answers, memory = Answers(), []
    with _server(encoder.source) as (url, process):
        asyncio.run(_ask(url, texts, clients, 0.0, batch))  # every thread keeps memory once it has computed
        for _ in range(_ROUNDS):
            rates["in process"].append(_in_process(encoder, texts, seconds / _ROUNDS / 2, clients * batch))
            memory.append(_resident_mib(process))
            round_ = asyncio.run(_ask(url, texts, clients, seconds / _ROUNDS, batch))
            rates["served"].append(round_.texts / round_.took)
            answers.seconds += round_.seconds
            answers.failures += round_.failures
            answers.texts += round_.texts
        memory.append(_resident_mib(process))
    if not answers.seconds:
        raise BenchRefused(f"No request was answered; the first said: {answers.failures[0]}.")
    return {
        "what": f"{clients} clients at /v1/embeddings, {batch} texts a request, and the encoder called in process",
        "model": encoder.name,
        "dtype": encoder.dtype,
        "texts_per_second": {name: round(median(found), 1) for name, found in rates.items()},
        "served_over_in_process": round(median(rates["served"]) / median(rates["in process"]), 3),
        "requests": len(answers.seconds),
        "errors": len(answers.failures),
        "first_error": answers.failures[0] if answers.failures else None,
        "answered_in": percentiles(answers.seconds),
        "server_memory_mib": memory,
        "machine": machine(),
    }


def _in_process(encoder: Embedder, texts: Iterator[str], seconds: float, count: int) -> float:
    """Texts a second."""
    began, done = time.perf_counter(), 0
    while (took := time.perf_counter() - began) < seconds:
        encoder.encode_documents(list(itertools.islice(texts, count)))
        done += count
    return done / took


async def _ask(url: str, texts: Iterator[str], clients: int, seconds: float, batch: int) -> Answers:
    """Let clients ask for some time, each at least once."""
    answers, began = Answers(), time.perf_counter()

    async def ask(client: httpx.AsyncClient) -> None:
        while True:
            body = {"input": list(itertools.islice(texts, batch)), "encoding_format": "base64"}
            asked = time.perf_counter()
            try:
                answer = await client.post("/v1/embeddings", json=body)
                answer.raise_for_status()
            except httpx.HTTPError as error:
                answers.failures.append(f"{type(error).__name__}: {error}")
            else:
                answers.seconds.append(time.perf_counter() - asked)
                answers.texts += len(answer.json()["data"])
            if time.perf_counter() - began >= seconds:
                return

    limits = httpx.Limits(max_connections=clients)
    async with httpx.AsyncClient(base_url=url, timeout=_PATIENCE_SECONDS, limits=limits) as client:
        await asyncio.gather(*(ask(client) for _ in range(clients)))
    answers.took = time.perf_counter() - began
    return answers


@contextmanager
def _server(model: str) -> Iterator[tuple[str, "subprocess.Popen[str]"]]:
    """A server of a new installation, ready to answer."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryDirectory() as data, tempfile.TemporaryFile("w+") as said:
        settings = [f"KALM_DATA_DIR={data}", f"KALM_MODEL={model}"]
        command = ["env", *settings, sys.executable, "-m", "app.cli", "serve", "--port", str(port)]
        with subprocess.Popen(command, stdout=said, stderr=said, text=True) as process:
            try:
                until = time.monotonic() + _READY_SECONDS
                while not _is_ready(url):
                    if process.poll() is not None or time.monotonic() > until:
                        said.seek(0)
                        lines = said.read().strip().splitlines() or ["it said nothing"]
                        raise BenchRefused(f"The server does not start: {lines[-1].removesuffix('.')}.")
                    time.sleep(_POLL_SECONDS)
                yield url, process
            finally:
                process.terminate()


def _is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz").status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False


def _resident_mib(process: "subprocess.Popen[str]") -> int | None:
    """Memory that a process holds; None where the system does not say."""
    status = Path(f"/proc/{process.pid}/status")
    if not status.exists():
        return None
    lines = status.read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) // 1024 for line in lines if line.startswith("VmRSS:"))
