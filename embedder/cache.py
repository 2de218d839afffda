"""Vectors on disk by content: the same text through the same model is encoded once.

Keyed by weights, prompt, text, dtype and length limit, not by width: the full vector is kept and a narrower one
is cut from it. One SQLite file in write-ahead mode, so that any number of processes may write at once and a
process killed at any moment leaves either the old or the new rows. Least recently used rows go first when the
file reaches its bound.
"""

import hashlib
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from embedder.errors import AppError
from embedder.protocol import Side, TextEncoder, TokenSpans, Vectors, check_texts
from embedder.vectors import narrow

_SCHEMA = """
CREATE TABLE IF NOT EXISTS vectors (key BLOB PRIMARY KEY, value BLOB NOT NULL, used INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS vectors_by_use ON vectors (used);
"""
_VERSION = 1
_KEYS_PER_QUERY = 500
_EVICTED_SHARE = 0.1
"""How much goes at a time once the bound is reached, so that not every write evicts."""

_WAIT_SECONDS = 60.0
_REUSE_SECONDS = 3600
"""A row's time of use is written again only after this long: reading should not cost a write."""


class CacheUnreadable(AppError):
    """The cache file is damaged or of another version."""


class VectorCache:
    """A bounded store of float32 vectors by key. Safe between threads and between processes.

    Attributes:
        path: The SQLite file.
        added: How many vectors were put in by way of this object, those replaced counted again.
    """

    def __init__(self, path: Path, max_bytes: int = 4 * 2**30) -> None:
        """Open or make the file.

        Args:
            path: The SQLite file; its folder is made.
            max_bytes: Bound on the file, kept to within one write.

        Raises:
            CacheUnreadable: If the file is not such a cache.
        """
        self.added = 0
        self.path = path
        self._max_bytes = max_bytes
        self._local = threading.local()
        path.parent.mkdir(parents=True, exist_ok=True)
        with self._connection() as connection:
            connection.executescript(_SCHEMA)
            connection.execute(f"PRAGMA user_version = {_VERSION}")

    def get(self, keys: Sequence[bytes]) -> dict[bytes, Vectors]:
        """The vectors that are there, each of shape (D,), by key."""
        found: dict[bytes, Vectors] = {}
        stale: list[bytes] = []
        now = int(time.time())
        with self._connection() as connection:
            for part in _parts(keys):
                marks = ",".join("?" * len(part))
                rows = connection.execute(f"SELECT key, value, used FROM vectors WHERE key IN ({marks})", part)
                for key, value, used in rows:
                    found[key] = np.frombuffer(value, dtype="<f4")
                    if now - used > _REUSE_SECONDS:
                        stale.append(key)
            if stale:
                connection.executemany("UPDATE vectors SET used = ? WHERE key = ?", ((now, key) for key in stale))
        return found

    def put(self, vectors: Mapping[bytes, Vectors]) -> None:
        """Keep vectors, each of shape (D,), in one transaction; then drop the least recently used if need be."""
        now = int(time.time())
        rows = [(key, np.ascontiguousarray(value, dtype="<f4").tobytes(), now) for key, value in vectors.items()]
        with self._connection() as connection:
            connection.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?, ?)", rows)
        self.added += len(rows)
        self._evict()

    def size_bytes(self) -> int:
        """Bytes in use in the file."""
        with self._connection() as connection:
            pages, free, page = (_pragma(connection, name) for name in ("page_count", "freelist_count", "page_size"))
        return (pages - free) * page

    def __len__(self) -> int:
        """Number of vectors kept."""
        with self._connection() as connection:
            return int(connection.execute("SELECT COUNT(*) FROM vectors").fetchone()[0])

    def close(self) -> None:
        """Close this thread's connection; the file stays."""
        connection = getattr(self._local, "connection", None)
        if connection is not None:
            connection.close()
            del self._local.connection

    def _evict(self) -> None:
        if self.size_bytes() <= self._max_bytes:
            return
        with self._connection() as connection:
            count = int(connection.execute("SELECT COUNT(*) FROM vectors").fetchone()[0])
            share = max(_EVICTED_SHARE, 1 - self._max_bytes / self.size_bytes() + _EVICTED_SHARE)
            connection.execute(
                "DELETE FROM vectors WHERE key IN (SELECT key FROM vectors ORDER BY used LIMIT ?)",
                (int(count * min(share, 1.0)) + 1,),
            )

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        """This thread's connection inside a transaction; nested use shares it."""
        connection = getattr(self._local, "connection", None)
        try:
            if connection is None:
                connection = self._local.connection = self._connect()
            with connection:
                yield connection
        except sqlite3.DatabaseError as error:
            raise CacheUnreadable(
                f"The vector cache {self.path} cannot be used ({error}); delete the file, it will be made anew."
            ) from error

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=_WAIT_SECONDS)
        try:
            version = _pragma(connection, "user_version")
            if version not in (0, _VERSION):
                raise sqlite3.DatabaseError(f"its version is {version}, not {_VERSION}")
            _write_ahead(connection)
        except sqlite3.DatabaseError:
            connection.close()
            raise
        connection.execute("PRAGMA synchronous = NORMAL")  # a killed process loses nothing, a power cut the last rows
        return connection


@dataclass(frozen=True, slots=True)
class CachedEncoder:
    """An encoder that looks documents up before it encodes them.

    Attributes:
        encoder: The model.
        cache: Where vectors are looked up and kept.
        queries: Whether queries are, too. People's queries are short and rarely come twice; those of a training set
            come every epoch.
    """

    encoder: TextEncoder
    cache: VectorCache
    queries: bool = False

    @property
    def name(self) -> str:
        """What a person calls the model."""
        return self.encoder.name

    @property
    def source(self) -> str:
        """What to load the model by again."""
        return self.encoder.source

    @property
    def languages(self) -> frozenset[str] | None:
        """What the model reads."""
        return self.encoder.languages

    @property
    def dim(self) -> int:
        """Width of the vectors returned."""
        return self.encoder.dim

    @property
    def dims(self) -> tuple[int, ...]:
        """Widths the checkpoint was trained for, widest first."""
        return self.encoder.dims

    @property
    def dtype(self) -> str:
        """Arithmetic of the forward pass."""
        return self.encoder.dtype

    @property
    def max_tokens(self) -> int:
        """Longest input in tokens."""
        return self.encoder.max_tokens

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the model."""
        return self.encoder.fingerprint

    def resized(self, dim: int) -> "CachedEncoder":
        """The same model and cache at another width."""
        return replace(self, encoder=self.encoder.resized(dim))

    def prompt(self, side: Side, task: str = "Retrieval", instruction: str | None = None) -> str:
        """The exact string put before a text."""
        return self.encoder.prompt(side, task, instruction)

    def token_spans(self, text: str) -> TokenSpans:
        """Character offsets of every token of a text."""
        return self.encoder.token_spans(text)

    def encode_queries(
        self, texts: Sequence[str], *, task: str = "Retrieval", instruction: str | None = None
    ) -> Vectors:
        """Vectors of queries, shape (N, dim); looked up only where ``queries`` says so."""
        if not self.queries:
            return self.encoder.encode_queries(texts, task=task, instruction=instruction)
        wide = self.encoder.resized(self.dims[0])
        return self._cached(
            texts,
            self.encoder.prompt("query", task, instruction),
            lambda missing: wide.encode_queries(missing, task=task, instruction=instruction),
        )

    def encode_documents(self, texts: Sequence[str], *, task: str = "Retrieval") -> Vectors:
        """Vectors of documents, shape (N, dim): from the cache where they are there, else encoded and kept."""
        wide = self.encoder.resized(self.dims[0])
        prompt = self.encoder.prompt("document", task)
        return self._cached(texts, prompt, lambda missing: wide.encode_documents(missing, task=task))

    def _cached(self, texts: Sequence[str], prompt: str, encode: Callable[[list[str]], Vectors]) -> Vectors:
        check_texts(texts)
        keys = [vector_key(self, prompt, text) for text in texts]
        known = self.cache.get(list(dict.fromkeys(keys)))
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
        if missing:
            fresh = dict(zip(missing, encode(list(missing.values())), strict=True))
            self.cache.put(fresh)
            known |= fresh
        if not keys:
            return np.empty((0, self.dim), dtype=np.float32)
        return narrow(np.stack([known[key] for key in keys]), self.dim)


def document_keys(encoder: TextEncoder, texts: Sequence[str], *, task: str = "Retrieval") -> list[bytes]:
    """Where the cache keeps the vectors of documents, for programs that fill it from elsewhere."""
    prompt = encoder.prompt("document", task)
    return [vector_key(encoder, prompt, text) for text in texts]


def vector_key(encoder: TextEncoder, prompt: str, text: str) -> bytes:
    """Sixteen bytes over everything that decides a vector; lengths keep the parts apart."""
    digest = hashlib.blake2b(digest_size=16)
    for part in (encoder.fingerprint, encoder.dtype, str(encoder.max_tokens), prompt, text):
        data = part.encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(8, "little") + data)
    return digest.digest()


def _parts(keys: Sequence[bytes]) -> Iterable[Sequence[bytes]]:
    return (keys[start : start + _KEYS_PER_QUERY] for start in range(0, len(keys), _KEYS_PER_QUERY))


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Switch to write-ahead mode; SQLite's own timeout does not cover this, so a busy file is asked again."""
    deadline = time.monotonic() + _WAIT_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])
