"""What the nodes of a Ray cluster do for a build: read files, cut them, encode the passages. Nothing has an effect.

Two stages of Ray Data, chained in ``stream``: tasks that read and cut, and a pool of actors that each load the model
once. Between them and to whoever takes the results go lots of passages, small enough that the passages of a large
file are encoded by many.
"""

import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np
import ray
import ray.data
from ray.actor import ActorHandle

from embedder.cache import VectorCache, document_keys
from embedder.errors import AppError
from embedder.protocol import TextEncoder, Vectors
from indexer.builds.intake import Intake
from indexer.builds.nodes import ClusterError, EncoderPool, ModelSource
from indexer.chunking import CHUNKING, Chunker
from indexer.readers import READER_VERSION
from indexer.readers.process import ReaderProcess
from indexer.records import Corpus, FileOutcome, FileState, PlannedFile
from indexer.sources.downloads import Downloads

_LOT_PASSAGES = 256
_BATCHED_LOTS = 4
"""Encoded in one call: as many passages as the engine in the process takes at a time."""

_BLOCK_BYTES = 2**20
_TASK_RETRIES = 3
"""An encoder may die so often over its passages, and is started again; then whoever asked is told."""


@dataclass(frozen=True, slots=True)
class Job:
    """What a node has to know of a build.

    Attributes:
        chunk_tokens: Longest passage.
        overlap_tokens: Most that a passage repeats of the one before it.
        versions: Of readers and chunking, as they are where the results go to.
    """

    corpus: Corpus
    model: ModelSource
    chunk_tokens: int
    overlap_tokens: int
    versions: tuple[str, str] = (READER_VERSION, CHUNKING)


@dataclass(frozen=True, slots=True)
class LeasedFile:
    """A file to look at.

    Attributes:
        task: Its number in the run.
        before: As the index has it, or None.
        known: Digests of the documents that the index has of it, by id.
    """

    task: int
    file: PlannedFile
    before: FileState | None
    known: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Sheaf:
    """Files that one task reads, one after the other."""

    number: int
    files: tuple[LeasedFile, ...]


@dataclass(frozen=True, slots=True)
class Lot:
    """Passages of a sheaf, and what came of the files that end with them.

    Attributes:
        number: Its place among the lots of the sheaf, from 0.
        outcomes: By task.
    """

    sheaf: int
    number: int
    passages: tuple[str, ...]
    outcomes: tuple[tuple[int, FileOutcome], ...]


@dataclass(frozen=True, slots=True)
class EncodedLot:
    """A lot with its passages encoded.

    Attributes:
        passages: How many there were.
        vectors: Of passages that were not in the cache, each of the model's full width, by their key there.
    """

    sheaf: int
    number: int
    passages: int
    outcomes: tuple[tuple[int, FileOutcome], ...]
    vectors: Mapping[bytes, Vectors]


@dataclass(frozen=True, slots=True)
class Refusal:
    """Goes the way of a lot where a node cannot do its work: Ray would add words of its own to an error.

    Attributes:
        reason: One sentence for whoever asked for the build.
    """

    reason: str


class CacheKeeper:
    """Tells encoders what need not be encoded. An actor on the machine that has the cache."""

    def __init__(self, path: Path) -> None:
        self._cache = VectorCache(path)

    def known(self, keys: list[bytes]) -> set[bytes]:
        """Which of these are in the cache."""
        return set(self._cache.get(keys))


def stream(
    job: Job, sheaves: list[Sheaf], pool: EncoderPool, keeper: ActorHandle[CacheKeeper]
) -> Iterator[EncodedLot | Refusal]:
    """Read and encode sheaves, as a task of its own that yields lots in whatever order they are finished."""
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.target_max_block_size = _BLOCK_BYTES
    lots = ray.data.from_items([{"sheaf": sheaf} for sheaf in sheaves], override_num_blocks=len(sheaves)).flat_map(
        lambda row: _read(job, row["sheaf"]), num_cpus=1
    )
    encoded = lots.map_batches(
        _Encoder,
        fn_constructor_args=(job, keeper),
        compute=ray.data.ActorPoolStrategy(size=pool.size),
        batch_size=_BATCHED_LOTS,
        batch_format="numpy",
        num_cpus=pool.cpus,
        num_gpus=pool.gpus,
        ray_remote_args_fn=lambda: {"max_restarts": -1, "max_task_retries": _TASK_RETRIES},
    )
    for row in encoded.iter_rows():
        yield row["lot"]


def _read(job: Job, sheaf: Sheaf) -> Iterator[dict[str, Lot | Refusal]]:
    try:
        for lot in lots_of(_intake(job), sheaf):
            yield {"lot": lot}
    except AppError as error:
        yield {"lot": Refusal(str(error))}


def lots_of(intake: Intake, sheaf: Sheaf) -> Iterator[Lot]:
    """The lots of a sheaf. The same files make the same lots: Ray does a task over when what it made is lost.

    Raises:
        RemoteError: If nothing can be fetched from where the corpus is.
    """
    number = 0
    passages: list[str] = []
    outcomes: list[tuple[int, FileOutcome]] = []
    for leased in sheaf.files:
        outcome = _look(intake, leased, passages)
        while len(passages) >= _LOT_PASSAGES:
            yield Lot(sheaf.number, number, tuple(passages[:_LOT_PASSAGES]), tuple(outcomes))
            number += 1
            del passages[:_LOT_PASSAGES]
            outcomes.clear()
        outcomes.append((leased.task, outcome))
    yield Lot(sheaf.number, number, tuple(passages), tuple(outcomes))


def _look(intake: Intake, leased: LeasedFile, passages: list[str]) -> FileOutcome:
    return intake.look(leased.file, leased.before, lambda: leased.known, lambda _, more: passages.extend(more))


@cache
def _intake(job: Job) -> Intake:
    """One for each process of a node: the tokenizer and the readers' child take a second to load."""
    here = (READER_VERSION, CHUNKING)
    if here != job.versions:
        raise ClusterError(
            f"{_node()} has another version of this program (readers {here[0]}, chunking {here[1]}); install the same "
            "one on all nodes."
        )
    if not job.corpus.url and not job.corpus.root.is_dir():
        raise ClusterError(
            f"{_node()} does not see {job.corpus.root}; mount the folder there under the same path, or add the corpus "
            "by an address that all nodes reach."
        )
    chunker = Chunker(job.model.tokenizer(), job.chunk_tokens, job.overlap_tokens)
    # For the file in hand; nothing is kept.
    downloads = Downloads(Path(mkdtemp(prefix="kalm-")), max_bytes=0) if job.corpus.url else None
    return Intake(job.corpus, chunker, ReaderProcess(), downloads)


class _Encoder:
    """An actor with the model in memory."""

    def __init__(self, job: Job, keeper: ActorHandle[CacheKeeper]) -> None:
        self._keeper: Any = keeper
        self._model: TextEncoder | Refusal
        try:
            model = job.model.encoder()
            self._model = model.resized(model.dims[0])
        except AppError as error:
            self._model = Refusal(str(error))

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Encode lots, those passages aside that the cache has."""
        done: list[EncodedLot] | list[Refusal] = [each for each in batch["lot"] if isinstance(each, Refusal)]
        if isinstance(self._model, Refusal):
            done = [self._model]
        elif not done:
            done = self._encode(self._model, list(batch["lot"]))
        column = np.empty(len(done), dtype=object)
        column[:] = done
        return {"lot": column}

    def _encode(self, model: TextEncoder, lots: list[Lot]) -> list[EncodedLot]:
        texts = {
            key: text
            for lot in lots
            for key, text in zip(document_keys(model, lot.passages), lot.passages, strict=True)
        }
        known: set[bytes] = ray.get(self._keeper.known.remote(list(texts))) if texts else set()
        missing = {key: text for key, text in texts.items() if key not in known}
        fresh = dict(zip(missing, model.encode_documents(list(missing.values())), strict=True))
        return [encoded(model, lot, fresh) for lot in lots]


def encoded(model: TextEncoder, lot: Lot, vectors: dict[bytes, Vectors]) -> EncodedLot:
    """A lot with those of its vectors that are among these; they are taken out."""
    own = {key: vectors.pop(key) for key in document_keys(model, lot.passages) if key in vectors}
    return EncodedLot(lot.sheaf, lot.number, len(lot.passages), lot.outcomes, own)


def _node() -> str:
    return f"The node {socket.gethostname()}"
