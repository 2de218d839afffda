"""What a LangChain search asks, and the documents that answer it."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from langchain_core.documents import Document
from langchain_core.vectorstores.utils import maximal_marginal_relevance
from numpy.typing import NDArray

from indexer.langchain.documents import document_of
from indexer.langchain.sources import Opened, Source, StoreRefused
from indexer.lexical import LexicalEncoder
from indexer.retrieval.fusion import Ranked, fuse
from indexer.retrieval.ranking import POOL_PASSAGES
from indexer.retrieval.results import Mode
from indexer.stores.conditions import Condition, encodable, parse_filter
from indexer.stores.protocol import Query

_ARGUMENTS = ("filter", "mode", "score_threshold")
_LEXICAL = LexicalEncoder()


@dataclass(frozen=True, slots=True)
class Asked:
    """What a search is asked.

    Attributes:
        text: The question; empty where it is a vector.
        k: Documents wanted.
        where: What their metadata must be.
        floor: Least score.
    """

    text: str
    k: int
    mode: Mode
    where: Condition | None
    floor: float | None


def asked(text: str, k: int, kwargs: Mapping[str, Any], default: Mode, source: Source) -> Asked:
    """Read the arguments of a search.

    Raises:
        StoreRefused: If they say nothing that could be meant, or passages have no terms to be found by.
        FilterRefused: If the filter is none.
    """
    refuse_unknown("This store", kwargs, _ARGUMENTS)
    if not isinstance(text, str):
        raise StoreRefused(f"A question is a text, and not {text!r}.")
    mode, conditions = mode_of(kwargs.get("mode") or default), kwargs.get("filter")
    if k < 1:
        raise StoreRefused(f"k is how many documents are wanted, at least 1, and not {k}.")
    if mode is not Mode.SEMANTIC and not source.has_terms:
        raise StoreRefused(
            f"This collection has no terms to search with mode={str(mode)!r}; search with mode='semantic', or let "
            "another store adopt it."
        )
    where = None if conditions is None else parse_filter(conditions)
    return Asked(encodable(text), k, mode, where, kwargs.get("score_threshold"))


def mode_of(mode: object) -> Mode:
    """A mode by its name.

    Raises:
        StoreRefused: If there is none of that name.
    """
    if mode not in set(Mode):
        raise StoreRefused(f"There is no mode {mode!r}; there are {', '.join(Mode)}.")
    return Mode(str(mode))


def refuse_unknown(who: str, kwargs: Mapping[str, Any], known: Collection[str]) -> None:
    """Refuse arguments that would have no effect on whom they are given to.

    Raises:
        StoreRefused: If there are any.
    """
    if unknown := sorted(kwargs.keys() - set(known)):
        there = f"it knows {', '.join(known)}" if known else "leave it out"
        raise StoreRefused(f"{who} does not know the argument {unknown[0]}; {there}.")


def find(opened: Opened, vector: Sequence[float] | None, asked: Asked) -> list[tuple[Document, float]]:
    """The best documents with their scores; the vector is of shape (dim,), None where only words count.

    Raises:
        StoreRefused: If the vector is of another width.
    """
    return [(document_of(one.hit), one.score) for one in _ranked(opened, vector, asked)]


def find_diverse(
    opened: Opened, vector: Sequence[float], asked: Asked, k: int, lambda_mult: float
) -> list[tuple[Document, float]]:
    """Of the best documents those that are unlike each other (maximal marginal relevance), with their scores.

    Args:
        opened: Where to look.
        vector: That of the question, shape (dim,).
        asked: ``asked.k`` documents to choose from.
        k: How many to choose.
        lambda_mult: 1 for the nearest, 0 for the most different ones.

    Raises:
        StoreRefused: If the vector is of another width.
    """
    dense = _dense(opened, vector)
    candidates = _ranked(opened, vector, asked)
    points = {point.id: point for point in opened.store.get([one.hit.id for one in candidates])}
    candidates = [one for one in candidates if one.hit.id in points]  # one may just have been deleted
    vectors = [points[one.hit.id].dense.tolist() for one in candidates]
    chosen = maximal_marginal_relevance(dense, vectors, lambda_mult, k)
    return [(document_of(candidates[place].hit), candidates[place].score) for place in chosen]


def relevance(cosine: float) -> float:
    """A cosine on a scale from 0 to 1."""
    return min(max((cosine + 1) / 2, 0.0), 1.0)  # engines are a rounding error off


def _dense(opened: Opened, vector: Sequence[float]) -> NDArray[np.float32]:
    if len(vector) != opened.dim:
        raise StoreRefused(
            f"The vector has {len(vector)} dimensions and those of this store {opened.dim}; search by one of its model."
        )
    return np.asarray(vector, dtype=np.float32)


def _ranked(opened: Opened, vector: Sequence[float] | None, asked: Asked) -> list[Ranked]:
    dense = _dense(opened, vector) if vector is not None and asked.mode is not Mode.KEYWORD else None
    terms = _LEXICAL.encode_query(asked.text) if asked.mode is not Mode.SEMANTIC else None
    if asked.mode is Mode.HYBRID and terms is not None and not terms.indices:
        terms = None  # what has no words is found by its meaning alone
    pool = asked.k if dense is None or terms is None else max(asked.k, POOL_PASSAGES)
    legs = [Query(pool, dense=dense, where=asked.where)] if dense is not None else []
    if terms is not None:
        legs.append(Query(pool, lexical=terms, where=asked.where))
    found = opened.store.search_batch(legs)
    by_meaning = found[0] if dense is not None else None
    by_words = found[-1] if terms is not None else None
    ranked = fuse(by_meaning, by_words, pool)[: asked.k]
    return [one for one in ranked if asked.floor is None or one.score >= asked.floor]
