"""A request in the engine's terms: vectors and words of what was typed, of a text, of documents to be like or unlike.

What is typed is encoded as a query. A text is cut as documents are, and its passages are encoded as documents: each is
a part of the question. Documents to be like move every vector towards their own, documents to be unlike away from
theirs (Rocchio, *Relevance Feedback in Information Retrieval*, 1971); with nothing typed they are the question.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from embedder.protocol import TextEncoder, Vectors
from indexer.catalog.documents import Documents
from indexer.chunking import Chunker
from indexer.lexical import LexicalEncoder, SparseVector
from indexer.readers.language import detect_language
from indexer.records import Document, IndexedDocument, Manifest, Section
from indexer.retrieval.generations import OpenGeneration
from indexer.retrieval.remembered import Remembered
from indexer.retrieval.results import Example, Mode, SearchRefused, SearchRequest

_LIKE, _UNLIKE = 0.75, 0.5
"""Weights beside what was typed, which has 1. Rocchio's usual 0.75 and 0.15; but his negatives are many and found by a
machine, and here a person points at each."""

_PARTS = 16
"""Passages of a text that are asked for, spread over it."""

_PASSAGES_PER_EXAMPLE = 64
_REMEMBERED_QUERIES, _REMEMBERED_TEXTS = 256, 8
_OTHER_SCRIPTS = frozenset({"zh", "ja", "ko"})
"""Languages that even three words give away; Latin ones are not told apart in so short a text."""

_SMALLEST_NORM = 1e-6

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Asked:
    """A request in the engine's terms.

    Attributes:
        dense: Unit rows, one for each part, shape (parts, dim); None where the vectors are not asked.
        lexical: Terms of each part; None where the words are not asked.
        examples: The documents it should be like or unlike, as far as the index has them.
    """

    dense: Vectors | None
    lexical: tuple[SparseVector, ...] | None
    examples: tuple[Example, ...] = ()

    @property
    def scored_by(self) -> Mode:
        """What the scores will be: a leg contributes only where it has something to go by."""
        if not any(part.indices for part in self.lexical or ()):
            return Mode.SEMANTIC if self.dense is not None else Mode.KEYWORD
        return Mode.KEYWORD if self.dense is None else Mode.HYBRID


class Asker:
    """Encodes requests; the latest vectors are remembered, for paging and filtering. Safe between threads."""

    def __init__(
        self, documents: Documents, lexical: LexicalEncoder, encoder_for: Callable[[Manifest], TextEncoder]
    ) -> None:
        self._documents = documents
        self._lexical = lexical
        self._encoder_for = encoder_for
        self._queries: Remembered[tuple[Manifest, str], Vectors] = Remembered(_REMEMBERED_QUERIES)
        self._parts: Remembered[tuple[Manifest, str], list[str]] = Remembered(_REMEMBERED_TEXTS)
        self._texts: Remembered[tuple[Manifest, str], Vectors] = Remembered(_REMEMBERED_TEXTS)

    def ask(self, request: SearchRequest, live: OpenGeneration) -> Asked:
        """Encode a request.

        Raises:
            SearchRefused: If nothing is left that could be searched by.
        """
        known = self._known(request, live)
        dense = self._dense(request, live)
        lexical = self._terms(request, live.manifest) if request.mode is not Mode.SEMANTIC else None
        if towards := self._towards(request, live, known):
            base = dense if dense is not None else np.zeros((1, live.manifest.dim), np.float32)
            dense = _unit(base + sum(towards))
        if dense is None and lexical is None:
            raise SearchRefused(
                f"None of the documents to search by is in {request.corpus} any more; take them out of the question."
            )
        return Asked(dense, lexical, _examples(request, known))

    def query_vector(self, manifest: Manifest, query: str) -> Vectors:
        """Unit vector of a query, shape (dim,)."""
        # By the whole manifest: two indexes of one model may differ in width and arithmetic.
        return self._queries.get((manifest, query), lambda: self._encoder_for(manifest).encode_queries([query])[0])

    def can_read(self, language: str, manifest: Manifest) -> bool:
        """Whether the model of an index reads a language."""
        languages = self._encoder_for(manifest).languages
        return languages is None or language not in _OTHER_SCRIPTS - languages

    def _dense(self, request: SearchRequest, live: OpenGeneration) -> Vectors | None:
        """Vectors of the words or the text, shape (parts, dim); None where there are none, or they are not asked.

        They are asked neither for words alone, nor half-heartedly of a model that cannot read them: in a fusion the
        noise of such a leg would push down what the words found.
        """
        words = request.text or request.parsed.text
        if not words.strip() or request.mode is Mode.KEYWORD:
            return None
        if request.mode is Mode.HYBRID and not self.can_read(detect_language(words), live.manifest):
            return None
        if not request.text:
            return self.query_vector(live.manifest, words)[None]
        parts = self._passages(live.manifest, words)
        return self._texts.get((live.manifest, words), lambda: self._encoder_for(live.manifest).encode_documents(parts))

    def _terms(self, request: SearchRequest, manifest: Manifest) -> tuple[SparseVector, ...] | None:
        if request.text:
            return tuple(map(self._lexical.encode_query, self._passages(manifest, request.text)))
        query = request.parsed.text
        return (self._lexical.encode_query(query),) if query.strip() else None

    def _passages(self, manifest: Manifest, text: str) -> list[str]:
        """Passages of a text, cut as those of the index."""

        def cut() -> list[str]:
            size = int(manifest.chunker.split(":")[1])
            whole = Document("", "", text, (Section(0, len(text)),), "text")
            chunks = Chunker(self._encoder_for(manifest), max_tokens=size, overlap_tokens=0).chunks(whole)
            return [chunk.text for chunk in _spread(chunks, _PARTS)]

        return self._parts.get((manifest, text), cut)

    def _known(self, request: SearchRequest, live: OpenGeneration) -> dict[str, IndexedDocument]:
        ids = (*request.like, *request.unlike)
        return self._documents.some(request.corpus, live.number, ids) if ids else {}

    def _towards(
        self, request: SearchRequest, live: OpenGeneration, known: dict[str, IndexedDocument]
    ) -> list[Vectors]:
        """Where the examples move a vector, each of shape (dim,); nowhere if there is none it should be like."""
        liked, unliked = ([known[id] for id in ids if id in known] for ids in (request.like, request.unlike))
        if not liked and not (request.text or request.parsed.text).strip():
            return []
        sides = ((_LIKE, liked), (-_UNLIKE, unliked))
        return [weight * _mean([_centre(live, one) for one in side]) for weight, side in sides if side]


def _centre(live: OpenGeneration, indexed: IndexedDocument) -> Vectors:
    """Unit vector in the middle of a document's passages, shape (dim,)."""
    ids = [place.id for place in _spread(indexed.chunks, _PASSAGES_PER_EXAMPLE)]
    vectors = live.store.vectors(ids)
    return _mean([vectors[id] for id in ids if id in vectors])


def _mean(vectors: Sequence[Vectors]) -> Vectors:
    return _unit(np.mean(np.stack(vectors), axis=0, dtype=np.float32))


def _unit(rows: Vectors) -> Vectors:
    """Rows of length 1; opposites that cancel each other out stay nothing."""
    norms = np.linalg.norm(rows, axis=-1, keepdims=True)
    unit: Vectors = (rows / np.maximum(norms, _SMALLEST_NORM)).astype(np.float32)
    return unit


def _examples(request: SearchRequest, known: dict[str, IndexedDocument]) -> tuple[Example, ...]:
    sides = ((True, request.like), (False, request.unlike))
    return tuple(
        Example(id, known[id].document.title, known[id].document.uri, known[id].document.key, liked)
        for liked, ids in sides
        for id in ids
        if id in known
    )


def _spread(items: Sequence[Item], count: int) -> list[Item]:
    """At most so many items, evenly spread, the first among them."""
    if len(items) <= count:
        return list(items)
    return [items[place * len(items) // count] for place in range(count)]
