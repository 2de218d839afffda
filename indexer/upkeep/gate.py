"""What a rebuilt index has to show before it is put in use: all of it is there, and it finds what it should."""

import json
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from embedder.errors import AppError
from embedder.protocol import TextEncoder
from indexer.catalog.corpora import Catalog
from indexer.lexical import LexicalEncoder
from indexer.records import Generation, Manifest
from indexer.retrieval.query_text import ParsedQuery
from indexer.retrieval.ranking import Question, rank
from indexer.stores.protocol import Query, VectorEngine, VectorStore

EncoderFor = Callable[[Manifest], TextEncoder]

LEAST_RECALL = 0.95
"""Of the ten nearest passages by exact search, the share that the graph has to find."""

LEAST_DOCUMENTS = 0.9
"""Documents that a version has to have, as a share of those of the version in use."""

_PROBES = 100
_NEAREST = 10


class GateFailed(AppError):
    """A version that is not fit to be put in use."""


class BadGolden(AppError):
    """Golden queries that cannot be read."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at.

    Attributes:
        found: What was seen, for people.
    """

    name: str
    passed: bool
    found: str


@dataclass(frozen=True, slots=True)
class GoldenQuery:
    """A question, and the file that has to be among its first ten results."""

    query: str
    uri: str


@dataclass(frozen=True, slots=True)
class Gate:
    """What checks are made with."""

    catalog: Catalog
    engine: VectorEngine
    encoder_for: EncoderFor
    lexical: LexicalEncoder

    def checks(
        self, corpus: str, version: Generation, live: Generation | None, golden: Sequence[GoldenQuery]
    ) -> list[Check]:
        """Look at a version.

        Args:
            corpus: The corpus.
            version: What is to be put in use.
            live: What is in use, if anything is.
            golden: Questions that it has to answer as well as the one in use does.

        Raises:
            StoreError: If a store cannot be opened.
        """
        made = [] if live is None else [_documents(version, live), self._files(corpus, version, live)]
        with closing(self.engine.named(version.manifest.engine).open(corpus, version.number)) as store:
            made = [_passages(store, version), *made, recall_check(store)]
            if golden:
                answered = self._answered(store, version, golden)
                made.append(self._golden(corpus, live, golden, answered))
        return made

    def _files(self, corpus: str, version: Generation, live: Generation) -> Check:
        before, now = (self.catalog.failed_files(corpus, each.number) for each in (live, version))
        newly = sorted(now.keys() - before.keys())
        allowed = len(self.catalog.files(corpus, version.number)) // 100
        return Check("files", len(newly) <= allowed, f"{len(newly):,} files can no longer be read")

    def _golden(self, corpus: str, live: Generation | None, golden: Sequence[GoldenQuery], answered: int) -> Check:
        found = f"{answered:,} of {len(golden):,} golden queries are answered"
        if live is None:
            return Check("golden queries", answered == len(golden), found)
        with closing(self.engine.named(live.manifest.engine).open(corpus, live.number)) as store:
            before = self._answered(store, live, golden)
        return Check("golden queries", answered >= before, f"{found}, {before:,} by the version in use")

    def _answered(self, store: VectorStore, generation: Generation, golden: Sequence[GoldenQuery]) -> int:
        encoder = self.encoder_for(generation.manifest)
        vectors = encoder.encode_queries([each.query for each in golden])
        answered = 0
        for each, vector in zip(golden, vectors, strict=True):
            question = Question(ParsedQuery(each.query), [vector], [self.lexical.encode_query(each.query)], {})
            uris = [passages[0].hit.metadata["uri"] for passages in rank(store, question)[:_NEAREST]]
            answered += each.uri in uris
        return answered


def read_golden(path: Path) -> list[GoldenQuery]:
    """Golden queries of a JSON Lines file with ``query`` and ``uri``.

    Raises:
        BadGolden: If it is not one.
    """
    try:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        return [GoldenQuery(str(row["query"]), str(row["uri"])) for row in rows]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadGolden(
            f"{path} is no list of golden queries ({type(error).__name__}: {error}); write one JSON object with query "
            "and uri a line."
        ) from error


def _passages(store: VectorStore, version: Generation) -> Check:
    there = store.count()
    return Check("passages", there == version.chunks, f"{there:,} of {version.chunks:,} passages are there")


def _documents(version: Generation, live: Generation) -> Check:
    passed = version.documents >= LEAST_DOCUMENTS * live.documents
    return Check("documents", passed, f"{version.documents:,} documents, {live.documents:,} in the version in use")


def recall_check(store: VectorStore) -> Check:
    """How many of a passage's nearest the graph finds; ids are hashes, so the first of them are a fair sample."""
    probes = [point.dense for point in islice((point for batch in store.points() for point in batch), _PROBES)]
    if not probes:
        return Check("recall", True, "no passages to look for")
    exact = store.search_batch([Query(_NEAREST, dense=probe, exact=True) for probe in probes])
    found = store.search_batch([Query(_NEAREST, dense=probe) for probe in probes])
    # By score and not by id: passages that say the same are equally near.
    shares = [
        sum(hit.score >= right[-1].score - 1e-6 for hit in hits) / len(right)
        for right, hits in zip(exact, found, strict=True)
    ]
    recall = sum(shares) / len(shares)
    return Check("recall", recall >= LEAST_RECALL, f"{recall:.3f} of the {_NEAREST} nearest passages are found")
