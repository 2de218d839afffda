"""Points, queries and conditions in the terms of Qdrant Edge, and back."""

from collections.abc import Iterator, Mapping
from datetime import date, datetime
from typing import Any

import numpy as np
import qdrant_edge as edge
from numpy.typing import NDArray

from indexer.lexical import SparseVector
from indexer.stores.conditions import METADATA, Condition, Flag, Leaf, Missing, Moments, Numbers, json_path, translated
from indexer.stores.protocol import ACORN_SELECTIVITY, DAY, OVERSAMPLING, Hit, Point, Query, point_id

DENSE, LEXICAL = "dense", "lexical"
_TEXT, _KEY, RECORD = "page_content", "key", "record"
_FLAGS = "flags"
"""The truth values of the metadata as texts, ``published=true``: this engine takes True in a condition for 1."""


def to_edge(point: Point) -> edge.Point:
    """A point as the engine takes it."""
    lexical = edge.SparseVector(list(point.lexical.indices), list(point.lexical.values))
    payload: dict[str, Any] = {_TEXT: point.text, METADATA: dict(point.metadata)}
    extras = {_KEY: point.key, RECORD: dict(point.record), _FLAGS: sorted(set(_flags(point.metadata, (METADATA,))))}
    payload |= {name: value for name, value in extras.items() if value}
    return edge.Point(point_id(point.id), {DENSE: point.dense.tolist(), LEXICAL: lexical}, payload)


def from_edge(found: edge.ScoredPoint) -> Hit:
    """A hit of the engine's."""
    payload: Mapping[str, Any] = found.payload or {}
    return Hit(str(found.id), found.score, payload[_TEXT], payload[METADATA], payload.get(_KEY, ""))


def to_point(record: edge.Record) -> Point:
    """A point that the engine gives back."""
    payload: Mapping[str, Any] = record.payload or {}
    vectors: Any = record.vector
    lexical = vectors.get(LEXICAL)
    terms = SparseVector(tuple(lexical.indices), tuple(lexical.values)) if lexical else SparseVector((), ())
    extras = payload.get(_KEY, ""), payload.get(RECORD, {})
    return Point(str(record.id), dense_of(vectors), terms, payload[_TEXT], payload[METADATA], *extras)


def dense_of(vectors: Any) -> NDArray[np.float32]:  # noqa: ANN401 - the engine's mapping of names to vectors
    """The dense one of a point's vectors."""
    return np.asarray(vectors[DENSE], dtype=np.float32)


def field_path(field: str) -> str:
    """Where a field of the metadata is in the payload."""
    return f"{METADATA}.{field}"


def request(query: Query) -> edge.QueryRequest | None:
    """What the engine is asked; nothing where the leg has nothing to go by."""
    if query.dense is not None:
        nearest = edge.Query.Nearest(query.dense.tolist(), using=DENSE)
    elif query.lexical is not None and query.lexical.indices:
        terms = edge.SparseVector(list(query.lexical.indices), list(query.lexical.values))
        nearest = edge.Query.Nearest(terms, using=LEXICAL)
    else:
        return None
    only = _filter(query)
    parameters = edge.SearchParams(
        hnsw_ef=query.effort,
        exact=query.exact,
        quantization=edge.QuantizationSearchParams(ignore=query.exact, rescore=True, oversampling=OVERSAMPLING),
        acorn=edge.AcornSearchParams(enable=only is not None, max_selectivity=ACORN_SELECTIVITY),
    )
    return edge.QueryRequest(query.limit, query=nearest, filter=only, with_payload=True, params=parameters)


def filter_of(condition: Condition) -> edge.Filter:
    """A condition as the engine's filter."""
    return translated(condition, _leaf, lambda parts: edge.Filter(**parts))  # type: ignore[arg-type]


def _flags(value: object, path: tuple[str, ...]) -> Iterator[str]:
    if isinstance(value, bool):
        yield _flag(path, value)
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _flags(inner, (*path, name))
    elif isinstance(value, list | tuple):
        for inner in value:
            if isinstance(inner, bool):  # as the engines do, which look into one list but not into one in it
                yield _flag(path, inner)


def _flag(path: tuple[str, ...], value: bool) -> str:
    return f"{json_path(path)}={str(value).lower()}"


def _leaf(condition: Leaf) -> "edge.ConditionType":
    if isinstance(condition, Flag):
        return edge.FieldCondition(_FLAGS, match=edge.MatchAny([_flag(condition.path, condition.value)]))
    key = json_path(condition.path)
    if isinstance(condition, Missing):
        return edge.IsEmptyCondition(key)
    if isinstance(condition, Numbers):
        numbers = edge.RangeFloat(condition.gte, condition.gt, condition.lte, condition.lt)
        return edge.FieldCondition(key, range=numbers)
    if isinstance(condition, Moments):
        gte, gt, lte, lt = map(_instant, (condition.gte, condition.gt, condition.lte, condition.lt))
        return edge.FieldCondition(key, range=edge.RangeDateTime(gte, gt, lte, lt))
    values: Any = list(condition.values)
    return edge.FieldCondition(key, match=edge.MatchAny(values))


def _filter(query: Query) -> edge.Filter | None:
    conditions: list[edge.ConditionType] = [
        edge.FieldCondition(field_path(field), match=edge.MatchAny(sorted(values)))
        for field, values in query.only.items()
        if values
    ]
    if query.after or query.before:
        period = edge.RangeDateTime(gte=_moment(query.after), lt=_moment(query.before))
        conditions.append(edge.FieldCondition(field_path(DAY), range=period))
    if query.where is not None:
        conditions.append(filter_of(query.where))
    return edge.Filter(must=conditions) if conditions else None


def _moment(day: date | None) -> str | None:
    return None if day is None else f"{day.isoformat()}T00:00:00Z"


def _instant(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
