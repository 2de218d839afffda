"""What it costs to bring a large index up to date when little has changed: ours, and LangChain's ``index()``.

Both read the same folder, embed with the same function and end with the same documents. LangChain's side keeps its
vectors and its records in memory, which is the least that they can cost: nothing is written to a disk, no graph is
built, and both are gone when the process ends. Ours is the whole build: planned, run, read back, sealed and live.
"""

import random
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.benchmarks.hashed import HashedEncoder
from app.benchmarks.langchain_peer import LangChainIndex
from app.benchmarks.machine import machine, peak_memory_mib
from embedder.cache import CachedEncoder, VectorCache
from indexer.catalog.corpora import Catalog
from indexer.catalog.jobs import Jobs
from indexer.catalog.leases import Leases
from indexer.lexical import LexicalEncoder
from indexer.pipeline import Builder, Progress
from indexer.plan import plan
from indexer.readers.process import ReaderProcess
from indexer.sources.folders import find_files
from indexer.stores.edge import EdgeEngine

_CORPUS = "update"
_FILES_A_FOLDER = 1_000
_WORDS_A_TEXT = 60
_VOCABULARY = 20_000
_STAGES = {"embedding": "reading", "writing": "writing", "optimizing": "graph"}


def bench_update(documents: int, changed: float) -> dict[str, Any]:
    """Build an index, change a share of its files, and bring it up to date.

    Args:
        documents: Files of the folder, each one passage.
        changed: Share of them that is written anew.

    Raises:
        BenchRefused: If LangChain's core is not installed.
    """
    with tempfile.TemporaryDirectory() as place:
        texts = Path(place) / "texts"
        _write(texts, range(documents), "first")
        peer = LangChainIndex(texts)
        with _our_index(Path(place), texts) as ours:
            fill, fill_peer = ours.bring_up_to_date(), peer.bring_up_to_date()
            some = random.Random(0).sample(range(documents), max(1, round(documents * changed)))
            _write(texts, some, "second")
            update, update_peer = ours.bring_up_to_date(), peer.bring_up_to_date()
    return {
        "what": f"{documents:,} files of one passage each, {len(some):,} of them changed; seconds",
        "embeddings": "hashed words, the same for both, so that bookkeeping and store are what is measured",
        "changed": len(some),
        "ours": {"fill": fill, "update": update},
        "langchain": {"store": "in memory, as its records are", "fill": fill_peer, "update": update_peer},
        "peak_memory_mib": peak_memory_mib(),
        "machine": machine(),
    }


@dataclass(frozen=True, slots=True)
class _OurIndex:
    """Our engine on a folder."""

    builder: Builder
    encoder: HashedEncoder

    def bring_up_to_date(self) -> dict[str, Any]:
        """Plan and build; seconds of each step."""
        catalog, encoded, began = self.builder.catalog, self.encoder.encoded, time.perf_counter()
        corpus = catalog.corpus(_CORPUS)
        found = find_files(corpus)
        todo = plan(catalog.files(_CORPUS, corpus.live), found)
        planned = time.perf_counter()
        run = self.builder.submit(corpus, todo, found, fresh=False, by="bench")
        stages = _Stages()
        done = self.builder.work(run.id, on_progress=stages.note)
        ended = time.perf_counter()
        generation = catalog.generation(_CORPUS, done.generation)
        return {
            "total": round(ended - began, 2),
            "plan": round(planned - began, 2),
            **stages.seconds(until=ended),
            "embedded": self.encoder.encoded - encoded,
            "documents": generation.documents,
            "passages": generation.chunks,
        }


class _Stages:
    """How long each stage of a build took."""

    def __init__(self) -> None:
        self._stage, self._since = "embedding", time.perf_counter()
        self._seconds: defaultdict[str, float] = defaultdict(float)

    def note(self, progress: Progress) -> None:
        """Take the time where one stage gives way to another."""
        if progress.stage != self._stage:
            self._change(progress.stage, time.perf_counter())

    def seconds(self, until: float) -> dict[str, float]:
        """By stage."""
        self._change(self._stage, until)
        return {name: round(self._seconds[stage], 2) for stage, name in _STAGES.items()}

    def _change(self, stage: str, now: float) -> None:
        self._seconds[self._stage] += now - self._since
        self._stage, self._since = stage, now


@contextmanager
def _our_index(place: Path, texts: Path) -> Iterator[_OurIndex]:
    encoder = HashedEncoder()
    catalog = Catalog(f"sqlite:///{place}/catalog.sqlite")
    with closing(catalog), closing(VectorCache(place / "vectors.sqlite")) as cache, ReaderProcess() as reader:
        catalog.add_corpus(_CORPUS, texts)
        builder = Builder(
            catalog=catalog,
            jobs=Jobs(catalog.database),
            leases=Leases(catalog.database),
            engine=EdgeEngine(place / "indexes"),
            encoder=CachedEncoder(encoder, cache),
            lexical=LexicalEncoder(),
            lock_folder=place / "locks",
            reader=reader,
        )
        yield _OurIndex(builder, encoder)


def _write(texts: Path, numbers: Iterable[int], version: str) -> None:
    for number in numbers:
        dice = random.Random(f"{version} {number}")
        words = (f"w{int(_VOCABULARY * dice.random() ** 2)}" for _ in range(_WORDS_A_TEXT))
        path = texts / f"{number // _FILES_A_FOLDER:03}" / f"{number:06}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"Text {number}\n\n{' '.join(words)}\n", encoding="utf-8")
