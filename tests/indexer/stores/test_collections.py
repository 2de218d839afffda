"""Collections that stand by themselves, and conditions on metadata: one contract, every engine."""

import uuid
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from qdrant_server import LOCAL_MODE_WARNS
from store_cases import DIM, LEXICAL, identifier, point, unit

from indexer.stores import edge_points, server_points
from indexer.stores.conditions import FilterRefused, Missing, Numbers, parse_filter
from indexer.stores.protocol import Query, StoreError
from indexer.stores.server import ServerEngine

pytestmark = LOCAL_MODE_WARNS


def numbers(hits):
    return [int(hit.id[-12:]) for hit in hits]


@pytest.fixture
def collection(engine):
    """One that stands by itself."""
    name = f"test-{uuid.uuid4().hex}"
    store = engine.collection(name, DIM)
    yield store
    if isinstance(engine, ServerEngine):
        engine._delete(name)


def test_a_collection_is_written_and_read_at_once_and_found_again(engine):
    name = f"test-{uuid.uuid4().hex}"
    store = engine.collection(name, DIM)
    store.upsert([point(1, "honey"), point(2, "bread")])
    store.flush()
    assert numbers(store.search(Query(1, dense=unit(1)))) == [1]
    store.optimize()
    store.delete([identifier(1)])
    again = engine.collection(name, DIM)
    again.upsert([point(3, "tofu")])
    assert sorted(numbers(store.search(Query(5, dense=unit(1))))) == [2, 3]
    with pytest.raises(StoreError, match="have 8 dimensions .* 9;"):
        engine.collection(name, DIM + 1)
    assert (again.count(), again.maker) == (2, "")
    again.sign("a model")
    assert engine.collection(name, DIM).maker == "a model"
    if isinstance(engine, ServerEngine):
        engine._delete(name)


def test_points_are_got_by_id_whole_and_those_that_are_not_there_left_out(collection):
    whole = replace(point(1, "honey", page=7), key="what its owner calls it", record={"at": 1.5})
    collection.upsert([whole, replace(point(2), id="18446744073709551615")])
    one, other = sorted(collection.get([identifier(1), "18446744073709551615", identifier(9)]), key=lambda p: p.id)
    assert (one.id, one.key, one.record) == (identifier(1), "what its owner calls it", {"at": 1.5})
    assert (one.text, one.metadata, one.lexical.indices) == (whole.text, whole.metadata, whole.lexical.indices)
    np.testing.assert_allclose(one.dense, whole.dense, atol=1e-6)
    assert (other.id, other.key, other.record) == ("18446744073709551615", "", {})
    assert {hit.id: hit.key for hit in collection.search(Query(5, dense=unit(1)))} == {
        identifier(1): "what its owner calls it",
        "18446744073709551615": "",
    }
    collection.delete(["18446744073709551615"])
    assert collection.present([identifier(1), "18446744073709551615"]) == {identifier(1)}
    assert collection.get([]) == []


def test_a_record_is_replaced_where_there_is_a_point(collection):
    collection.upsert([point(1), point(2)])
    collection.annotate([identifier(1), identifier(9)], {"at": 1.0, "group": "a"})
    collection.annotate([identifier(1)], {"at": 2.0})
    records = {each.id: each.record for batch in collection.points() for each in batch}
    assert records == {identifier(1): {"at": 2.0}, identifier(2): {}}
    at = [Numbers(("record", "at"), gte=2.0), Missing(("record", "at"))]
    assert [[each.id for batch in collection.points(where) for each in batch] for where in at] == [
        [identifier(1)],
        [identifier(2)],
    ]


METADATA = {
    1: {"source": "a.md", "year": 2019, "public": True, "tags": ["bees", "honey"], "loc": {"page number": 3}},
    2: {"source": "b.md", "year": 2020.0, "public": False, "tags": [], "date": "2024-01-31"},
    3: {"source": "c.md", "year": 2024, "public": 1, "tags": None, "date": "2024-02-01T12:00:00Z", "作者": "李白"},
    4: {"id": 9007199254740993, "public": [False, True], "ptex.fullbanner": "TeX", "ptex.pages": 7, "ptex.new": True},
}


CONDITIONS = [
    ({}, [1, 2, 3, 4]),
    ({"source": "a.md"}, [1]),
    ({"source": {"$ne": "a.md"}}, [2, 3, 4]),
    ({"source": {"$in": ["a.md", "b.md"]}}, [1, 2]),
    ({"source": {"$in": []}}, []),
    ({"source": {"$nin": ["a.md", "b.md"]}}, [3, 4]),
    ({"source": None}, [4]),
    ({"source": {"$exists": True}, "year": {"$gte": 2020}}, [2, 3]),
    ({"year": 2020}, [2]),
    ({"year": {"$gt": 2019, "$lt": 2024}}, [2]),
    ({"year": {"$in": [2019, 2024.0, "x"]}}, [1, 3]),
    ({"public": True}, [1, 4]),
    ({"public": {"$ne": True}}, [2, 3]),
    ({"public": 1}, [3]),
    ({"tags": "honey"}, [1]),
    ({"tags": {"$exists": False}}, [2, 3, 4]),
    ({"date": {"$gte": "2024-02-01"}}, [3]),
    ({"date": {"$lt": "2024-02-01T12:00:00+01:00"}}, [2]),
    ({"loc.page number": 3}, [1]),
    ({"ptex.fullbanner": "TeX"}, [4]),
    ({"ptex.fullbanner": {"$ne": "TeX"}}, [1, 2, 3]),
    ({"ptex.pages": {"$gt": 6}, "ptex.new": True}, [4]),
    ({"ptex.pages": {"$exists": True}}, [4]),
    ({"loc.page number": {"$exists": False}, "ptex.pages": None}, [2, 3]),
    ({"作者": "李白"}, [3]),
    ({"id": 9007199254740993}, [4]),
    ({"id": 9007199254740992}, []),
    ({"$or": [{"source": "a.md"}, {"year": {"$gt": 2020}}]}, [1, 3]),
    ({"$and": [{"public": False}, {"$not": {"source": "b.md"}}]}, [4]),
    ({"$not": {"$or": [{"source": "a.md"}, {"source": {"$exists": False}}]}}, [2, 3]),
]


def test_conditions_on_metadata(collection):
    collection.upsert([replace(point(n), metadata=metadata) for n, metadata in METADATA.items()])
    honey = LEXICAL.encode_query("honey")
    for conditions, expected in CONDITIONS:
        where = parse_filter(conditions)
        found = [int(each.id[-12:]) for batch in collection.points(where) for each in batch]
        by_meaning = collection.search(Query(10, dense=unit(1), where=where))
        by_words = collection.search(Query(10, lexical=honey, where=where))
        assert (found, sorted(numbers(by_meaning)), sorted(numbers(by_words))) == (expected,) * 3, conditions


@pytest.mark.parametrize(
    ("conditions", "words"),
    [
        ("a.md", "A filter is a dictionary"),
        ({"year": {}}, "says nothing"),
        ({"year": {"$gte": 1, "$lt": "2024-01-01"}}, "a number and a date"),
        ({"year": {"$gte": True}}, "a number or a date"),
        ({"year": {"$gte": "soon"}}, "a number or a date"),
        ({"year": {"$near": 1}}, r"does not know '\$near'"),
        ({"year": {"$in": "2020"}}, "takes a list of values"),
        ({"year": {"$exists": 1}}, "takes True or False"),
        ({"year": b"x"}, "compares texts, finite numbers"),
        ({"year": float("nan")}, "compares texts, finite numbers"),
        ({"year": {"$lt": float("inf")}}, "a number or a date"),
        ({"$or": []}, "at least one"),
        ({"$or": ["a"]}, "takes filters"),
        ({"$nor": [{}]}, r"one of \$and, \$or, \$not"),
        ({"a..b": 1}, "cannot be a field"),
    ],
)
def test_a_filter_that_is_none_is_refused_in_one_sentence(conditions, words):
    with pytest.raises(FilterRefused, match=words) as caught:
        parse_filter(conditions)
    assert "\n" not in str(caught.value)


NAMES = st.sampled_from(["a", "a.b", "a b", "x\ny", "", "$and", "$or", "$not", "$in", "$nin", "$gte", "$eq", "$exists"])
WORDS = st.sampled_from(["", "a", "2024-01-31"])
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.dates() | WORDS
ANYTHING = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3), max_leaves=6
)


@settings(max_examples=200, deadline=None, database=None)
@given(ANYTHING | st.dictionaries(NAMES, ANYTHING, max_size=3))
def test_whatever_is_given_is_a_condition_that_engines_take_or_one_sentence(given):
    said = ""
    try:
        condition = parse_filter(given)
        assert edge_points.filter_of(condition)
        assert server_points.OURS.filter_of(condition).model_dump_json()
    except FilterRefused as error:
        said = str(error)
    assert "\n" not in said
