"""LangChain's ``index()`` with the records kept in the store: whatever fails, the next run makes it right."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_cases import Counted
from langchain_core.documents import Document
from langchain_core.indexing import aindex, index
from qdrant_client import QdrantClient
from qdrant_server import LOCAL_MODE_WARNS

from embedder.errors import AppError
from indexer.langchain import KaLMRecordManager, KaLMVectorStore

pytestmark = LOCAL_MODE_WARNS


def documents(**texts):
    return [Document(page_content=text, metadata={"source": source}) for source in texts for text in texts[source]]


def run(store, wanted, cleanup="full", **options):
    options = {"batch_size": 3, "key_encoder": "blake2b"} | options
    return index(wanted, KaLMRecordManager(store), store, cleanup=cleanup, source_id_key="source", **options)


def held(store):
    found = store.similarity_search("bee", k=1000)
    return sorted((document.metadata["source"], document.page_content) for document in found)


def pairs(wanted):
    return sorted({(document.metadata["source"], document.page_content) for document in wanted})


@pytest.fixture
def store(place):
    opened = KaLMVectorStore(Counted(), **place)
    yield opened
    opened.close()


BEFORE = documents(a=["one bee", "two bees", "three bees"], b=["bread"])
AFTER = documents(a=["one bee", "two bees and a half"], c=["a hole"])


@pytest.mark.parametrize(
    ("cleanup", "left"),
    [
        (None, BEFORE + AFTER),
        ("incremental", AFTER + documents(b=["bread"])),
        ("scoped_full", AFTER + documents(b=["bread"])),
        ("full", AFTER),
    ],
)
def test_cleanup_modes(store, cleanup, left):
    assert run(store, BEFORE, cleanup)["num_added"] == 4
    again = run(store, BEFORE, cleanup)
    assert (again["num_skipped"], again["num_added"], again["num_deleted"]) == (4, 0, 0)
    run(store, AFTER, cleanup)
    assert held(store) == pairs(left)


@pytest.mark.parametrize("cleanup", ["incremental", "scoped_full", "full"])
def test_a_write_that_fails_half_way_leaves_nothing_behind_that_the_next_run_does_not_mend(store, cleanup):
    run(store, BEFORE, cleanup)
    changed = documents(a=["a first new bee", "a second new bee", "a third new bee"])
    store.embeddings.broken = "third"
    with pytest.raises(ConnectionError):
        run(store, changed, cleanup, batch_size=100, upsert_kwargs={})
    with pytest.raises(ConnectionError):  # and again, between two batches of the store's own
        store.add_documents(changed, batch_size=2)
    assert {("a", "one bee"), ("a", "two bees"), ("a", "three bees")} <= set(held(store))  # nothing went before
    store.embeddings.broken = ""
    run(store, documents(a=["the last bee"], b=["bread"]), cleanup)
    assert held(store) == [("a", "the last bee"), ("b", "bread")]


def test_what_the_store_lost_comes_back(store):
    run(store, BEFORE)
    lost = KaLMRecordManager(store).list_keys(limit=2)
    store.delete(lost)
    assert len(held(store)) == 2
    assert run(store, BEFORE)["num_added"] == 2
    assert held(store) == pairs(BEFORE)


def test_forgetting_records_deletes_nothing(store):
    run(store, BEFORE)
    records = KaLMRecordManager(store)
    keys = records.list_keys()
    records.delete_keys(keys)
    assert not any(records.exists(keys))
    assert held(store) == pairs(BEFORE)
    assert run(store, BEFORE)["num_added"] == 4
    assert all(records.exists(keys))


def test_a_clock_that_was_put_back_cleans_nothing_up(store, monkeypatch):
    times = iter([2000.0, 1000.0, 1000.0, 1000.0])
    monkeypatch.setattr(KaLMRecordManager, "get_time", lambda self: next(times))
    run(store, BEFORE)
    assert held(store) == pairs(BEFORE)


def test_records_are_listed_by_time_and_source(store):
    run(store, BEFORE)
    records = KaLMRecordManager(store)
    now = records.get_time()
    assert len(records.list_keys(before=now + 1)) == len(records.list_keys(after=now - 1000)) == 4
    assert records.list_keys(before=now - 1000) == records.list_keys(after=now + 1) == []
    assert len(records.list_keys(group_ids=["a"])) == 3
    assert len(records.list_keys(group_ids=["a"], limit=2)) == 2
    with pytest.raises(AppError, match="1 keys and 2 sources"):
        records.update(["x"], group_ids=["a", "b"])


def test_the_asynchronous_way(store):
    async def runs():
        records = KaLMRecordManager(store)
        await records.acreate_schema()
        options = {"cleanup": "full", "source_id_key": "source", "key_encoder": "blake2b"}
        await aindex(BEFORE, records, store, **options)
        return await aindex(AFTER, records, store, **options)

    assert asyncio.run(runs())["num_deleted"] == 3
    assert held(store) == pairs(AFTER)


TEXTS = st.lists(st.sampled_from(["bee", "bees", "bread", "a hole", "broken bee"]), max_size=4, unique=True)
LOADED = st.fixed_dictionaries({"a": TEXTS, "b": TEXTS})


@settings(max_examples=25, deadline=None, database=None)
@given(runs=st.lists(st.tuples(LOADED, st.booleans(), st.sampled_from([None, "incremental", "full"])), max_size=4))
def test_a_full_run_makes_the_store_what_the_loader_has_whatever_happened_before(runs):
    client = QdrantClient(":memory:")
    store = KaLMVectorStore(Counted(), client=client)
    for loaded, fails, cleanup in runs:
        store.embeddings.broken = "broken" if fails else ""
        wanted = documents(**loaded)
        try:
            run(store, wanted, cleanup)
        except ConnectionError:
            assert fails
    store.embeddings.broken = ""
    wanted = documents(a=["bee", "broken bee"], b=["bread"])
    run(store, wanted)
    assert held(store) == pairs(wanted)
    client.close()
