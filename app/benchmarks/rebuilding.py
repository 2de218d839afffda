"""What people who search notice of a rebuild: questions of many at once, before it and until it is in use.

The rebuild is a worker's, in a process of its own: the folder has another name by then, the vectors another width if
the model has one, and none of them is in the cache. So whatever mixed two versions would show: a page with files of
both, or a question in the width of the other, which the engine refuses.
"""

import itertools
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from shutil import copytree
from typing import Any

from app.benchmarks.errors import BenchRefused
from app.benchmarks.machine import machine, peak_memory_mib, percentiles
from app.bootstrap import Services
from app.services.searching import SearchService
from app.settings import Settings
from embedder.errors import AppError
from indexer.catalog.documents import Documents
from indexer.records import Run
from indexer.search import Mode, SearchRequest

ALLOWED = 3.0
"""How many times as long as before 95 of 100 searches may take while an index is rebuilt."""

_CORPUS = "rebuild"
_VERSIONS = ("one", "two")
_LEAST_SEARCHES = 100
_POLL_SECONDS = 0.1
_TITLES = 1_000


def bench_rebuild(texts: Path, model: str | None, searchers: int, seconds: float) -> dict[str, Any]:
    """Build an index, let people search it, and rebuild it under them.

    Args:
        texts: Folder of the documents.
        model: Anything ``Embedder.load`` opens; None for the one that is configured.
        searchers: How many people ask, each as soon as the last question is answered.
        seconds: How long they ask before the rebuild; at least so long that percentiles mean something.

    Raises:
        BenchRefused: If there are no documents, or a build fails.
    """
    if not texts.is_dir():
        raise BenchRefused(f"{texts} is no folder; name one with --texts.")
    with tempfile.TemporaryDirectory() as place:
        folder, data = Path(place) / "texts", Path(place) / "data"
        copytree(texts, folder / _VERSIONS[0])
        work = _Work(str(data), model, str(folder))
        work.carry_out("build")
        with closing(Services(_settings(work))) as services:
            crowd = _Crowd(services.search, _titles(services), searchers)
            before = crowd.search_until(_after(seconds))
            (folder / _VERSIONS[0]).rename(folder / _VERSIONS[1])
            for path in data.glob("vectors.sqlite*"):
                path.unlink()
            began = time.perf_counter()
            with work.under_way("rebuild") as is_over:
                during = crowd.search_until(is_over)
            took = time.perf_counter() - began
            after = crowd.search_until(_after(0.0))
            live = services.versions.all(_CORPUS)[0].generation
    ratio = during.p95 / before.p95
    return {
        "what": f"hybrid searches of {searchers} at once before, during and after a rebuild, milliseconds",
        "model": live.manifest.model,
        "documents": live.documents,
        "passages": live.chunks,
        "rebuild_seconds": round(took, 1),
        "before": before.report(),
        "during": during.report(),
        "after": after.report(),
        "p95_over_before": round(ratio, 2),
        "holds": ratio <= ALLOWED and not any(each.failures or each.mixed for each in (before, during, after)),
        "peak_memory_mib": peak_memory_mib(),
        "machine": machine(),
    }


@dataclass
class Searches:
    """What came of the searches of some time.

    Attributes:
        seconds: How long each took.
        versions: Searches by the version whose documents they found.
        mixed: Searches that found documents of both.
        failures: What went wrong.
    """

    seconds: list[float] = field(default_factory=list)
    versions: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_VERSIONS, 0))
    mixed: int = 0
    failures: list[str] = field(default_factory=list)

    @property
    def p95(self) -> float:
        """Milliseconds in which 95 of 100 were answered."""
        return percentiles(self.seconds)["p95"]

    def report(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            **percentiles(self.seconds),
            "searches": len(self.seconds),
            "by_version": self.versions,
            "errors": len(self.failures),
            "first_error": self.failures[0] if self.failures else None,
            "mixed": self.mixed,
        }


@dataclass(frozen=True, slots=True)
class _Crowd:
    """People who search."""

    service: SearchService
    titles: list[str]
    searchers: int
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def search_until(self, is_over: Callable[[], bool]) -> Searches:
        """Let all of them ask one question after the other until something is over, and long enough to count."""
        searches, is_enough, lock = Searches(), threading.Event(), threading.Lock()

        def ask() -> None:
            while not is_enough.is_set():
                number = next(self.numbers)  # no question comes twice: the answer would come from memory
                question = f"{self.titles[number % len(self.titles)]} {number}"
                began = time.perf_counter()
                outcome = self._outcome(question)
                with lock:
                    searches.seconds.append(time.perf_counter() - began)
                    _note(searches, outcome)

        threads = [threading.Thread(target=ask) for _ in range(self.searchers)]
        for thread in threads:
            thread.start()
        while not is_over() or len(searches.seconds) < _LEAST_SEARCHES:
            time.sleep(_POLL_SECONDS)
        is_enough.set()
        for thread in threads:
            thread.join()
        return searches

    def _outcome(self, question: str) -> set[str] | Exception:
        """The versions whose files were found."""
        try:
            page = self.service.search(SearchRequest(_CORPUS, question, Mode.HYBRID, operators=False))
        except Exception as error:  # any is one too many, and to be counted
            return error
        return {result.uri.partition("/")[0] for result in page.results}


def _note(searches: Searches, outcome: set[str] | Exception) -> None:
    if isinstance(outcome, Exception):
        searches.failures.append(f"{type(outcome).__name__}: {outcome}")
    elif len(outcome) == 1:
        searches.versions[outcome.pop()] += 1
    else:
        searches.mixed += len(outcome) > 1


def _after(seconds: float) -> Callable[[], bool]:
    end = time.perf_counter() + seconds
    return lambda: time.perf_counter() >= end


def _titles(services: Services) -> list[str]:
    live = services.catalog.live_number(_CORPUS)
    found = Documents(services.catalog.database).beginnings(_CORPUS, live or 0, 1, _TITLES)
    if not found:
        raise BenchRefused("There is no document in the folder that could be read; name another one with --texts.")
    return [each.title for each in found]


@dataclass(frozen=True, slots=True)
class _Work:
    """What a worker's process is told."""

    data: str
    model: str | None
    texts: str

    def carry_out(self, step: str) -> None:
        """Have a step done by a process, to its end."""
        with self.under_way(step) as is_over:
            while not is_over():
                time.sleep(_POLL_SECONDS)

    @contextmanager
    def under_way(self, step: str) -> Iterator[Callable[[], bool]]:
        """A process that does a step; what is yielded says whether it is done.

        Raises:
            BenchRefused: At the end, if it failed.
        """
        command = [sys.executable, "-m", "app.benchmarks.rebuilding", step, self.data, self.model or "", self.texts]
        with tempfile.TemporaryFile("w+") as said, subprocess.Popen(command, stdout=said, stderr=said) as process:
            try:
                yield lambda: process.poll() is not None
            finally:
                if process.poll() is None:
                    process.kill()
            if process.returncode:
                said.seek(0)
                lines = said.read().strip().splitlines() or [f"exit code {process.returncode}"]
                raise BenchRefused(f"The {step} failed: {lines[-1].removesuffix('.')}.")


def _settings(work: _Work) -> Settings:
    data = Path(work.data)
    return Settings(data_dir=data, model=work.model) if work.model else Settings(data_dir=data)


def _carry_out(step: str, work: _Work) -> None:
    """What the worker's process does."""
    with closing(Services(_settings(work))) as services:
        services.indexing.step_back()
        if step == "build":
            services.corpora.add(_CORPUS, Path(work.texts))
            services.indexing.submit(_CORPUS)
            services.indexing.work(wait=True, on_error=_fail)
            return
        widths = services.encoders.default().dims
        services.indexing.submit(_CORPUS, fresh=True, held=True, dim=widths[min(1, len(widths) - 1)])
        services.indexing.work(wait=True, on_error=_fail)
        services.versions.swap(_CORPUS)


def _fail(_: Run, error: AppError) -> None:
    raise error


if __name__ == "__main__":
    _, _step, _data, _model, _texts = sys.argv
    _carry_out(_step, _Work(_data, _model or None, _texts))
