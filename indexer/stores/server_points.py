"""Points, queries and conditions in the terms of a Qdrant server, and back; how collections of others are laid out."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qdrant_client import models

from indexer.lexical import SparseVector
from indexer.stores.conditions import METADATA, Condition, Flag, Leaf, Missing, Moments, Numbers, json_path, translated
from indexer.stores.protocol import ACORN_SELECTIVITY, DAY, OVERSAMPLING, Hit, Point, Query, StoreError, point_id

DENSE, LEXICAL = "dense", "lexical"
RECORD = "record"
_KEY = "key"


@dataclass(frozen=True, slots=True)
class Layout:
    """Names within a collection.

    Attributes:
        dense: Vector that texts are compared by; empty for the one without a name, None where nobody knows yet.
        lexical: Sparse vector that ``LexicalEncoder`` made; None where there is none.
        text: Payload field of the passage.
        metadata: Payload field of its metadata.
        others: Further vectors of its points, which nothing here writes.
    """

    dense: str | None = None
    lexical: str | None = None
    text: str = "page_content"
    metadata: str = METADATA
    others: tuple[str, ...] = ()

    def to_server(self, point: Point) -> models.PointStruct:
        """A point as the server takes it."""
        vectors: dict[str, Any] = {self.dense or "": point.dense.tolist()}
        if self.lexical is not None and point.lexical.indices:
            vectors[self.lexical] = _sparse(point.lexical)
        payload: dict[str, Any] = {self.text: point.text, self.metadata: dict(point.metadata)}
        extras = {_KEY: point.key, RECORD: dict(point.record)}
        payload |= {name: value for name, value in extras.items() if value}
        return models.PointStruct(id=point_id(point.id), vector=vectors, payload=payload)

    def to_hit(self, found: models.ScoredPoint) -> Hit:
        """A hit of the server's."""
        payload: Mapping[str, Any] = found.payload or {}
        text, metadata = payload.get(self.text) or "", payload.get(self.metadata) or {}
        return Hit(str(found.id), found.score, text, metadata, payload.get(_KEY, ""))

    def to_point(self, record: models.Record) -> Point:
        """A point that the server gives back.

        Raises:
            StoreError: If it has no dense vector.
        """
        payload: Mapping[str, Any] = record.payload or {}
        lexical = _vectors(record).get(self.lexical) if self.lexical is not None else None
        return Point(
            id=str(record.id),
            dense=self.dense_of(record),
            lexical=SparseVector(tuple(lexical.indices), tuple(lexical.values)) if lexical else SparseVector((), ()),
            text=payload.get(self.text) or "",
            metadata=payload.get(self.metadata) or {},
            key=payload.get(_KEY, ""),
            record=payload.get(RECORD, {}),
        )

    def dense_of(self, record: models.Record) -> NDArray[np.float32]:
        """The vector that texts are compared by.

        Raises:
            StoreError: If the point has none.
        """
        dense = _vectors(record).get(self.dense or "")
        if dense is None:
            raise StoreError(f"The point {record.id} has no vector {self.dense!r}; remove it.")
        return np.asarray(dense, dtype=np.float32)

    def request(self, query: Query) -> models.QueryRequest | None:
        """What to ask the server; None where the leg has nothing to go by."""
        asked: list[float] | models.SparseVector
        using: str | None
        if query.dense is not None:
            using, asked = self.dense, query.dense.tolist()
        elif query.lexical is not None and query.lexical.indices and self.lexical is not None:
            using, asked = self.lexical, _sparse(query.lexical)
        else:
            return None
        only = self._filter(query)
        return models.QueryRequest(
            query=asked,
            using=using or None,
            filter=only,
            params=_parameters(query, is_filtered=only is not None),
            limit=query.limit,
            with_payload=True,
        )

    def filter_of(self, condition: Condition) -> models.Filter:
        """A condition as the server's filter."""
        return translated(condition, self._leaf, lambda parts: models.Filter(**parts))  # type: ignore[arg-type]

    def _filter(self, query: Query) -> models.Filter | None:
        conditions: list[models.Condition] = [
            models.FieldCondition(key=self._path((METADATA, field)), match=models.MatchAny(any=sorted(values)))
            for field, values in query.only.items()
            if values
        ]
        if query.after or query.before:
            period = models.DatetimeRange(gte=query.after, lt=query.before)
            conditions.append(models.FieldCondition(key=self._path((METADATA, DAY)), range=period))
        if query.where is not None:
            conditions.append(self.filter_of(query.where))
        return models.Filter(must=conditions) if conditions else None

    def _leaf(self, condition: Leaf) -> models.Condition:
        key = self._path(condition.path)
        if isinstance(condition, Missing):
            return models.IsEmptyCondition(is_empty=models.PayloadField(key=key))
        if isinstance(condition, Flag):
            return models.FieldCondition(key=key, match=models.MatchValue(value=condition.value))
        if isinstance(condition, Numbers):
            numbers = models.Range(gte=condition.gte, gt=condition.gt, lte=condition.lte, lt=condition.lt)
            return models.FieldCondition(key=key, range=numbers)
        if isinstance(condition, Moments):
            period = models.DatetimeRange(gte=condition.gte, gt=condition.gt, lte=condition.lte, lt=condition.lt)
            return models.FieldCondition(key=key, range=period)
        values: Any = list(condition.values)
        return models.FieldCondition(key=key, match=models.MatchAny(any=values))

    def _path(self, path: tuple[str, ...]) -> str:
        return json_path((self.metadata, *path[1:]) if path[0] == METADATA else path)


OURS = Layout(DENSE, LEXICAL)
"""How the collections that are made here are laid out."""


def _vectors(record: models.Record) -> dict[str, Any]:
    """A point's vectors by name; the one without a name is under the empty one."""
    return dict(record.vector) if isinstance(record.vector, dict) else {"": record.vector}


def layout_of(name: str, params: models.CollectionParams, asked: Layout) -> tuple[Layout, int]:
    """How a collection is laid out, and the width of its dense vectors.

    Args:
        name: Of the collection.
        params: What it was made with.
        asked: Names that the caller knows of. Where it names no vectors, they are found: ours, or else the only dense
            one that there is, and no sparse one, since nobody knows what made it.

    Raises:
        StoreError: If there is no such vector, or several, or one that is not compared by its direction.
    """
    vectors = params.vectors if isinstance(params.vectors, dict) else {"": params.vectors}
    sparse = params.sparse_vectors or {}
    only = next(iter(vectors)) if len(vectors) == 1 else DENSE
    dense = asked.dense if asked.dense is not None else DENSE if DENSE in vectors else only
    lexical = asked.lexical if asked.lexical is not None else LEXICAL if LEXICAL in sparse else None
    found = vectors.get(dense)
    if found is None:
        there = ", ".join(repr(each) for each in sorted(vectors))
        raise StoreError(f"The collection {name} has no vector {dense!r}; name one of those it has: {there}.")
    if lexical is not None and lexical not in sparse:
        raise StoreError(f"The collection {name} has no sparse vector {lexical!r}; leave its name out.")
    if found.distance not in (models.Distance.COSINE, models.Distance.DOT):
        raise StoreError(f"The collection {name} compares vectors by {found.distance}; it would have to be by cosine.")
    others = tuple(sorted({*vectors, *sparse} - {dense, lexical}))
    return replace(asked, dense=dense, lexical=lexical, others=others), found.size


def _parameters(query: Query, *, is_filtered: bool) -> models.SearchParams:
    if query.exact:
        return models.SearchParams(exact=True)
    rescored = models.QuantizationSearchParams(rescore=True, oversampling=OVERSAMPLING)  # nothing without quantization
    acorn = models.AcornSearchParams(enable=True, max_selectivity=ACORN_SELECTIVITY) if is_filtered else None
    return models.SearchParams(hnsw_ef=query.effort, quantization=rescored, acorn=acorn)


def _sparse(terms: SparseVector) -> models.SparseVector:
    return models.SparseVector(indices=list(terms.indices), values=list(terms.values))
