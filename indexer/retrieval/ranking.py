"""From a question to the documents it can reach, best first: ask the engine, put the legs together, check, group."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

from embedder.protocol import Vectors
from indexer.lexical import SparseVector
from indexer.records import Duplicate
from indexer.retrieval.fusion import BALANCED, Ranked, fuse
from indexer.retrieval.query_text import ParsedQuery
from indexer.stores.conditions import Condition
from indexer.stores.protocol import Hit, Query, VectorStore

POOL_PASSAGES = 200
"""Passages a question can reach. Fixed, so that every page is cut from the same ranking."""

_POOLS = (POOL_PASSAGES, 5 * POOL_PASSAGES, 25 * POOL_PASSAGES)
"""How many passages each leg is asked for, one after the other, while too few of them meet the conditions."""

MOST_PASSAGES = _POOLS[-1]


@dataclass(frozen=True, slots=True)
class Question:
    """What the engine is asked.

    A question may have several parts, such as the passages of a text. A passage then scores in a leg what it scores for
    the part that it answers best.

    Attributes:
        parsed: The question as it was typed.
        dense: Vectors of its parts, each of shape (dim,); None leaves the leg out.
        lexical: Their terms; None leaves the leg out, as do vectors without terms.
        only: Allowed values by payload field.
        where: What else the metadata must be.
        after: First allowed day.
        before: The day after the last allowed one.
        balance: Weight of the dense leg in a fusion, 0 to 1.
        keep: Which of the passages found meet further conditions, in their order; None where there are none.
    """

    parsed: ParsedQuery
    dense: Sequence[Vectors] | None
    lexical: Sequence[SparseVector] | None
    only: Mapping[str, Collection[str]]
    where: Condition | None = None
    after: date | None = None
    before: date | None = None
    balance: float = BALANCED
    keep: Callable[[list[Ranked]], list[Ranked]] | None = None

    @property
    def is_checked(self) -> bool:
        """Whether the engine cannot judge all conditions."""
        return self.parsed.is_checked or self.keep is not None

    def allowed(self, passages: Iterable[Ranked]) -> list[Ranked]:
        """The passages that meet what the engine cannot judge."""
        kept = [one for one in passages if _holds(self.parsed, one)]
        return kept if self.keep is None else self.keep(kept)


@dataclass(frozen=True, slots=True)
class Found:
    """A document, its best passage first, and the documents that say nearly the same."""

    passages: list[Ranked]
    duplicates: tuple[Duplicate, ...] = ()

    @property
    def id(self) -> str:
        """UUID of the document."""
        return str(self.metadata["document_id"])

    @property
    def metadata(self) -> Mapping[str, Any]:
        """What the store says of the best passage."""
        return self.passages[0].hit.metadata


def rank(store: VectorStore, question: Question, reach: int = POOL_PASSAGES) -> list[list[Ranked]]:
    """The passages found, by document: the document of the best passage first, each with its best passage first.

    Where the engine cannot judge what the question demands (phrases, words left out, title, author), more passages
    are looked at until enough of them do, up to 5,000 a leg.

    Args:
        store: Whom to ask.
        question: What.
        reach: How many passages are enough.
    """
    kept: list[Ranked] = []
    for pool in (pool for pool in _POOLS if pool >= reach):
        dense, lexical = _legs(store, question, pool)
        kept = question.allowed(fuse(dense, lexical, pool, question.balance))
        exhausted = all(len(leg) < pool for leg in (dense, lexical) if leg is not None)
        if len(kept) >= reach or exhausted or not question.is_checked:
            break
    return _by_document(kept[:reach])


def folded(documents: Sequence[list[Ranked]], similar: Mapping[str, tuple[Duplicate, ...]]) -> list[Found]:
    """Documents with what says nearly the same; of those found, only the best stays a result."""
    shown: list[Found] = []
    hidden: set[str] = set()
    for passages in documents:
        document_id = passages[0].hit.metadata["document_id"]
        if document_id not in hidden:
            duplicates = similar.get(document_id, ())
            hidden.update(duplicate.document_id for duplicate in duplicates)
            shown.append(Found(passages, duplicates))
    return shown


def _by_document(passages: Sequence[Ranked]) -> list[list[Ranked]]:
    """Passages grouped by document, documents in the order of their best passage."""
    groups: dict[str, list[Ranked]] = {}
    for passage in passages:
        groups.setdefault(passage.hit.metadata["document_id"], []).append(passage)
    return list(groups.values())


def _legs(store: VectorStore, question: Question, pool: int) -> tuple[list[Hit] | None, list[Hit] | None]:
    """The passages of each leg, in one request; None for a leg that has nothing to go by."""
    asked = Query(pool, only=question.only, after=question.after, before=question.before, where=question.where)
    dense = [replace(asked, dense=part) for part in question.dense or ()]
    lexical = [replace(asked, lexical=part) for part in question.lexical or () if part.indices]
    found = store.search_batch([*dense, *lexical])
    by_meaning, by_words = found[: len(dense)], found[len(dense) :]
    return (_best(by_meaning, pool) if dense else None), (_best(by_words, pool) if lexical else None)


def _best(parts: Sequence[list[Hit]], pool: int) -> list[Hit]:
    """One leg of the hits of several parts, each passage with its best score."""
    if len(parts) == 1:
        return parts[0]
    best: dict[str, Hit] = {}
    for hit in (hit for part in parts for hit in part):
        if hit.id not in best or hit.score > best[hit.id].score:
            best[hit.id] = hit
    return sorted(best.values(), key=lambda hit: (-hit.score, hit.id))[:pool]


def _holds(parsed: ParsedQuery, passage: Ranked) -> bool:
    metadata = passage.hit.metadata
    return parsed.allows(passage.hit.text, metadata["title"], metadata.get("author", ""))
