"""The records of LangChain's ``index()``, kept with the documents themselves.

``index()`` asks its record manager what is in the store and never the store. Two places that can drift apart do: a
store that was restored from a copy, or a write that failed half-way, and documents are missing for good while every
run says success. Here there is one place. A record is part of a document's point: the document is gone, the record is
gone, and the next run brings both back. A point without a record, which a crash between the two writes leaves, counts
as older than every record, so it is written again or cleaned up.
"""

import time
from collections import defaultdict
from collections.abc import Sequence
from itertools import chain, islice

from langchain_core.indexing import RecordManager
from langchain_core.runnables.config import run_in_executor

from indexer.langchain.documents import point_key
from indexer.langchain.sources import StoreRefused
from indexer.langchain.store import KaLMVectorStore
from indexer.stores.conditions import METADATA, AllOf, AnyOf, Condition, Missing, Not, Numbers, OneOf
from indexer.stores.protocol import Point

_AT, _GROUP = "at", "group"
_WHEN, _WHOSE = ("record", _AT), ("record", _GROUP)


class KaLMRecordManager(RecordManager):
    """What ``index()`` has written into a store, and when.

    For one loader and one store: the store should hold nothing that ``index()`` did not write, since ``full`` cleans
    up all that it did not bring.
    """

    def __init__(self, store: KaLMVectorStore, source_id_key: str = "source") -> None:
        """Keep the records of a store in it.

        Args:
            store: Any but one for reading.
            source_id_key: Metadata field of a document's source, as it is given to ``index()``.

        Raises:
            StoreRefused: If the store is for reading.
        """
        super().__init__(namespace="kalm")
        if store.source.refusal:
            raise StoreRefused(store.source.refusal)
        self._store = store
        self._source_path = (METADATA, *source_id_key.split("."))

    def create_schema(self) -> None:
        """Nothing: there is none."""

    async def acreate_schema(self) -> None:
        """Nothing: there is none."""

    def get_time(self) -> float:
        """Seconds since 1970 by the clock of this machine."""
        return time.time()

    async def aget_time(self) -> float:
        """As ``get_time``."""
        return self.get_time()

    def update(
        self,
        keys: Sequence[str],
        *,
        group_ids: Sequence[str | None] | None = None,
        time_at_least: float | None = None,
    ) -> None:
        """Note that documents are up to date; those that are not in the store are not noted.

        Args:
            keys: Their ids.
            group_ids: Their sources; None leaves them as they are.
            time_at_least: Least time to note, so that a clock that was put back cleans nothing up.

        Raises:
            StoreRefused: If there are not as many sources as ids.
        """
        if group_ids is not None and len(group_ids) != len(keys):
            raise StoreRefused(f"There are {len(keys)} keys and {len(group_ids)} sources; give as many of each.")
        now = max(self.get_time(), time_at_least or 0.0)
        known = {point.id: point.record.get(_GROUP) for point in self._points(keys)}
        groups: defaultdict[str | None, list[str]] = defaultdict(list)
        for key, group in zip(keys, group_ids or [None] * len(keys), strict=True):
            id, _ = point_key(key)
            if id in known:
                groups[group if group_ids is not None else known[id]].append(id)
        with self._store.source.use() as opened:
            for group, ids in groups.items():
                opened.store.annotate(ids, {_AT: now} if group is None else {_AT: now, _GROUP: group})
            opened.store.flush()

    async def aupdate(
        self,
        keys: Sequence[str],
        *,
        group_ids: Sequence[str | None] | None = None,
        time_at_least: float | None = None,
    ) -> None:
        """As ``update``, in another thread."""
        await run_in_executor(None, self.update, keys, group_ids=group_ids, time_at_least=time_at_least)

    def exists(self, keys: Sequence[str]) -> list[bool]:
        """Whether documents are in the store, and noted."""
        there = {point.id for point in self._points(keys) if _AT in point.record}
        return [point_key(key)[0] in there for key in keys]

    async def aexists(self, keys: Sequence[str]) -> list[bool]:
        """As ``exists``, in another thread."""
        return await run_in_executor(None, self.exists, keys)

    def list_keys(
        self,
        *,
        before: float | None = None,
        after: float | None = None,
        group_ids: Sequence[str] | None = None,
        limit: int | None = None,
    ) -> list[str]:
        """Ids of documents.

        Args:
            before: Only those noted before this time, or not at all.
            after: Only those noted after it.
            group_ids: Only those of these sources.
            limit: Most ids.
        """
        conditions: list[Condition] = []
        if before is not None:
            conditions.append(Not(Numbers(_WHEN, gte=before)))
        if after is not None:
            conditions.append(Numbers(_WHEN, gt=after))
        if group_ids is not None:
            sources = tuple(sorted(set(group_ids)))
            unnoted = AllOf((Missing(_WHOSE), OneOf(self._source_path, sources)))
            conditions.append(AnyOf((OneOf(_WHOSE, sources), unnoted)))
        with self._store.source.use() as opened:
            points = chain.from_iterable(opened.store.points(AllOf(tuple(conditions))))
            return [point.key or point.id for point in islice(points, limit)]

    async def alist_keys(
        self,
        *,
        before: float | None = None,
        after: float | None = None,
        group_ids: Sequence[str] | None = None,
        limit: int | None = None,
    ) -> list[str]:
        """As ``list_keys``, in another thread."""
        return await run_in_executor(None, self.list_keys, before=before, after=after, group_ids=group_ids, limit=limit)

    def delete_keys(self, keys: Sequence[str]) -> None:
        """Forget that documents were noted; the documents that are still there stay, and are written again."""
        with self._store.source.use() as opened:
            opened.store.annotate([point_key(key)[0] for key in keys], {})
            opened.store.flush()

    async def adelete_keys(self, keys: Sequence[str]) -> None:
        """As ``delete_keys``, in another thread."""
        await run_in_executor(None, self.delete_keys, keys)

    def _points(self, keys: Sequence[str]) -> list[Point]:
        with self._store.source.use() as opened:
            return opened.store.get([point_key(key)[0] for key in keys])
