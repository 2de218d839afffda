"""From a question to the documents it can reach, best first: ask the engine, put the legs together, check, group."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from embedder.protocol import Vectors
from indexer.conditions import Condition
from indexer.fusion import Ranked, fuse
from indexer.lexical import SparseVector
from indexer.query_text import ParsedQuery
from indexer.store import Hit, Query, VectorStore

POOL_PASSAGES = 200
"""Passages a question can reach. Fixed, so that every page is cut from the same ranking."""

_POOLS = (POOL_PASSAGES, 5 * POOL_PASSAGES, 25 * POOL_PASSAGES)
"""How many passages each leg is asked for, one after the other, while too few of them meet the conditions."""


@dataclass(frozen=True, slots=True)
class Question:
    """What the engine is asked.

    Attributes:
        parsed: The question as it was typed.
        dense: Its vector, shape (dim,); None leaves the leg out.
        lexical: Its terms; None leaves the leg out, as does a vector without terms.
        only: Allowed values by payload field.
        where: What else the metadata must be.
    """

    parsed: ParsedQuery
    dense: Vectors | None
    lexical: SparseVector | None
    only: Mapping[str, Collection[str]]
    where: Condition | None = None


def rank(store: VectorStore, question: Question) -> list[list[Ranked]]:
    """The passages found, by document: the document of the best passage first, each with its best passage first.

    Where the engine cannot judge what the question demands (phrases, words left out, title, author), more passages
    are looked at until enough of them do, up to 5,000 a leg.
    """
    kept: list[Ranked] = []
    for pool in _POOLS:
        dense, lexical = _legs(store, question, pool)
        kept = [one for one in fuse(dense, lexical, pool) if _allowed(question.parsed, one)]
        exhausted = all(len(leg) < pool for leg in (dense, lexical) if leg is not None)
        if len(kept) >= POOL_PASSAGES or exhausted or not question.parsed.is_checked:
            break
    return _by_document(kept[:POOL_PASSAGES])


def _by_document(passages: Sequence[Ranked]) -> list[list[Ranked]]:
    """Passages grouped by document, documents in the order of their best passage."""
    groups: dict[str, list[Ranked]] = {}
    for passage in passages:
        groups.setdefault(passage.hit.metadata["document_id"], []).append(passage)
    return list(groups.values())


def _legs(store: VectorStore, question: Question, pool: int) -> tuple[list[Hit] | None, list[Hit] | None]:
    """The passages of each leg, in one request; None for a leg that has nothing to go by."""
    parsed = question.parsed
    asked = Query(pool, only=question.only, after=parsed.after, before=parsed.before, where=question.where)
    has_terms = question.lexical is not None and bool(question.lexical.indices)
    queries = []
    if question.dense is not None:
        queries.append(replace(asked, dense=question.dense))
    if has_terms:
        queries.append(replace(asked, lexical=question.lexical))
    found = iter(store.search_batch(queries))
    return (next(found) if question.dense is not None else None), (next(found) if has_terms else None)


def _allowed(parsed: ParsedQuery, passage: Ranked) -> bool:
    metadata = passage.hit.metadata
    return parsed.allows(passage.hit.text, metadata["title"], metadata.get("author", ""))
