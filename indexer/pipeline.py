"""Build an index: plan -> read -> chunk -> embed -> upsert -> read back -> delete -> seal -> commit.

Everything happens in a new generation beside the live one, and one row flipped at the end makes it live. A crash
anywhere leaves the live generation as it was, and running again cures it: ids are made of content, vectors come
from the cache, and what the dead build left behind is swept away. A file that cannot be read is one failed row;
an earlier version of it stays searchable.
"""

import hashlib
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path

from embedder.errors import AppError
from embedder.protocol import TextEncoder
from indexer.catalog import Catalog
from indexer.chunking import Chunker
from indexer.lexical import LexicalEncoder
from indexer.locks import AlreadyLocked, locked
from indexer.plan import FoundFile, Plan
from indexer.readers import READER_VERSION, PartlyUnreadable, UnreadableFile
from indexer.readers.process import ReaderProcess
from indexer.records import Corpus, Document, FileState, KnownDocument, Manifest
from indexer.sink import GenerationSink, document_digest
from indexer.store import StoreError, VectorEngine

KEPT_GENERATIONS = 2
"""The live one and the one before it, to go back to."""

_TITLE_TOKENS = 64
_CHUNK_TOKENS = 256
_OVERLAP_TOKENS = 32


class BuildRefused(AppError):
    """A build that would mix models, or run beside another one of the same corpus."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a build is.

    Attributes:
        stage: ``embedding`` while documents are read and embedded, ``optimizing`` while the graph is built.
        bytes_done: Of the files to look at, the current one in part.
        chunks: Passages embedded, or found in the cache, so far.
    """

    stage: str
    files_done: int
    files: int
    bytes_done: int
    bytes: int
    chunks: int
    seconds: float


@dataclass(frozen=True, slots=True)
class BuildReport:
    """What a build did.

    Attributes:
        generation: The live generation afterwards.
        documents: Documents added or changed.
        removed: Documents that are no longer there.
        chunks: Passages written.
        failed: Files that could not be read, or not in every part, with the reason.
    """

    generation: int
    documents: int
    removed: int
    chunks: int
    failed: Mapping[str, str]
    seconds: float


@dataclass(frozen=True, slots=True)
class Builder:
    """The parts every build works with.

    Attributes:
        reader: Reads the files; where none is given, each build has one of its own.
    """

    catalog: Catalog
    engine: VectorEngine
    encoder: TextEncoder
    lexical: LexicalEncoder
    lock_folder: Path
    reader: ReaderProcess | None = None

    def build(
        self,
        corpus: Corpus,
        plan: Plan,
        found: Mapping[str, FoundFile],
        *,
        fresh: bool,
        on_progress: Callable[[Progress], None],
    ) -> BuildReport:
        """Carry out a plan and make the result live.

        Args:
            corpus: What to build.
            plan: What to do; a fresh build's plan looks at every file.
            found: The files on disk.
            fresh: Start from nothing instead of from a copy of the live generation.
            on_progress: Called after every document; it decides how often to show anything.

        Raises:
            BuildRefused: If another build of the corpus runs, or the live generation was made with other parts.
            StoreError: If what was written does not read back.
        """
        self.lock_folder.mkdir(parents=True, exist_ok=True)
        try:
            with locked(self.lock_folder / f"{corpus.name}.lock", wait=False):
                return _run(self, corpus, plan, found, fresh, on_progress)
        except AlreadyLocked as error:
            raise BuildRefused(f"Another build of {corpus.name} is running; wait for it to end.") from error

    def manifest(self) -> Manifest:
        """What a generation made with these parts says of itself."""
        return Manifest(
            model=self.encoder.source,
            fingerprint=self.encoder.fingerprint,
            dim=self.encoder.dim,
            dtype=self.encoder.dtype,
            max_tokens=self.encoder.max_tokens,
            chunker=self.chunker().version,
            readers=READER_VERSION,
            lexical=self.lexical.version,
            engine=self.engine.name,
        )

    def chunker(self) -> Chunker:
        """Cuts passages that fit the model together with their title."""
        limit = self.encoder.max_tokens
        size = min(_CHUNK_TOKENS, max(limit // 2, limit - _TITLE_TOKENS))  # a model that reads little gets half
        return Chunker(self.encoder, max_tokens=size, overlap_tokens=min(_OVERLAP_TOKENS, size // 4))


def _run(
    parts: Builder,
    corpus: Corpus,
    plan: Plan,
    found: Mapping[str, FoundFile],
    fresh: bool,
    on_progress: Callable[[Progress], None],
) -> BuildReport:
    """One build, all stages in order."""
    base = None if fresh else corpus.live
    if base is not None:
        _check_manifest(corpus.name, parts.catalog.generation(corpus.name, base).manifest, parts.manifest())
    for abandoned in parts.catalog.unsealed(corpus.name):
        parts.engine.drop(corpus.name, abandoned)
    number = parts.catalog.begin(corpus.name, parts.manifest())
    store = parts.engine.create(corpus.name, number, parts.encoder.dim, base)
    try:
        expected = store.count()
        sink = GenerationSink(parts.catalog, store, parts.encoder, parts.lexical, corpus.name, number)
        reading: AbstractContextManager[ReaderProcess] = nullcontext(parts.reader) if parts.reader else ReaderProcess()
        with reading as reader:
            work = _Work(parts.catalog, reader, parts.chunker(), sink, corpus, base, plan, found, on_progress)
            work.index_files()
        sink.flush()
        work.remove_gone()
        sink.delete_stale()
        expected += sink.growth
        work.report("optimizing")
        if store.count() != expected:
            raise StoreError(
                f"The store holds {store.count()} passages where {expected} were written; nothing was changed, "
                "run the build again."
            )
        store.seal()
    finally:
        store.close()
    parts.catalog.commit(
        corpus.name,
        number,
        files=work.states,
        gone_uris=plan.gone,
        replaced_documents=work.replaced,
        everything_replaced=base is None,
        chunks=expected,
    )
    for old in parts.catalog.prune(corpus.name, keep=KEPT_GENERATIONS):
        parts.engine.drop(corpus.name, old)
    failed = {uri: state.error for uri, state in work.states.items() if state.error}
    return BuildReport(number, sink.documents, work.removed, sink.chunks, failed, work.seconds)


def _check_manifest(corpus: str, built: Manifest, now: Manifest) -> None:
    """Refuse to extend a generation with other parts than it was made with."""
    before, after = asdict(built), asdict(now)
    changed = [f"{key} was {before[key]} and is {after[key]}" for key in before if before[key] != after[key]]
    if changed:
        raise BuildRefused(
            f"The index of {corpus} was made otherwise ({'; '.join(changed)}); "
            f"run kalm index build {corpus} --fresh to build it anew beside the one in use."
        )


@dataclass
class _Work:
    """The files of one build, one after the other.

    Attributes:
        states: What to enter for every file looked at.
        replaced: Documents whose earlier version is no longer valid.
        removed: How many of those have no later one.
    """

    catalog: Catalog
    reader: ReaderProcess
    chunker: Chunker
    sink: GenerationSink
    corpus: Corpus
    base: int | None
    plan: Plan
    found: Mapping[str, FoundFile]
    on_progress: Callable[[Progress], None]
    states: dict[str, FileState] = field(default_factory=dict)
    replaced: set[str] = field(default_factory=set)
    removed: int = 0
    _bytes_done: int = 0
    _started: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        """Since the work began."""
        return time.monotonic() - self._started

    def index_files(self) -> None:
        """Look at every file of the plan; one that cannot be read is a failed row."""
        before = self.catalog.files(self.corpus.name, self.base)
        for uri in self.plan.look:
            file = self.found[uri]
            digest, error = "", ""
            try:
                digest = _file_digest(file.path)
                known = before.get(uri)
                if known is None or known.error or known.digest != digest:
                    self._index_file(uri, file)
            except UnreadableFile as reason:
                error = str(reason)
            except OSError as reason:
                error = f"The file cannot be opened ({reason.strerror}); check its permissions."
            self.states[uri] = FileState(file.size, file.mtime_ns, digest, error)
            self._bytes_done += file.size
            self.report("embedding")

    def remove_gone(self) -> None:
        """Let go of the documents of files that are no longer there."""
        for uri in self.plan.gone:
            for document_id, known in self._known(uri).items():
                self._remove(document_id, known)

    def report(self, stage: str, bytes_read: int = 0) -> None:
        """Tell how far the build is."""
        self.on_progress(
            Progress(
                stage=stage,
                files_done=len(self.states),
                files=len(self.plan.look),
                bytes_done=self._bytes_done + bytes_read,
                bytes=self.plan.size_bytes,
                chunks=self.sink.chunks,
                seconds=self.seconds,
            )
        )

    def _index_file(self, uri: str, file: FoundFile) -> None:
        """Documents that changed go to the sink; those no longer in the file go.

        The file is read to its end before anything is handed on, so that one that breaks half-way leaves its
        earlier version as it was. So does a file in an archive that cannot be read, the others in it aside.
        """
        documents: list[Document] = []
        partly: PartlyUnreadable | None = None
        try:
            documents.extend(self.reader.read(file.path, uri))
        except PartlyUnreadable as reason:
            partly = reason
        known = self._known(uri)
        bytes_read = 0
        for document_id, document in ((document.id(self.corpus.name), document) for document in documents):
            before = known.pop(document_id, None)
            if before is None or before.digest != document_digest(document):
                self.sink.add(document, self.chunker.chunks(document), before.chunk_ids if before else ())
                self.replaced.add(document_id)
            bytes_read += len(document.text)  # characters: near enough for a bar
            self.report("embedding", min(bytes_read, file.size))
        if partly is not None:
            raise partly
        for document_id, gone in known.items():
            self._remove(document_id, gone)

    def _known(self, uri: str) -> dict[str, KnownDocument]:
        return {} if self.base is None else self.catalog.known_documents(self.corpus.name, self.base, uri)

    def _remove(self, document_id: str, known: KnownDocument) -> None:
        self.sink.forget(known.chunk_ids)
        self.replaced.add(document_id)
        self.removed += 1


def _file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
