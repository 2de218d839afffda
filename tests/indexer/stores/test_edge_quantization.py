"""A quantised generation answers as a full one does, on fewer bytes, and stays quantised when it is built upon."""

import json

import numpy as np
import pytest
from store_cases import identifier

from indexer.lexical import SparseVector
from indexer.stores.edge import EdgeEngine
from indexer.stores.edge_points import request
from indexer.stores.protocol import Point, Query, StoreError

DIM, COUNT, HITS = 128, 3000, 10


@pytest.fixture(scope="module")
def vectors():
    random = np.random.default_rng(3)
    rows = random.normal(size=(COUNT, 24)) @ random.normal(size=(24, DIM)) + 0.3 * random.normal(size=(COUNT, DIM))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def points(vectors, start=0):
    return [
        Point(identifier(n), vector, SparseVector((1,), (1.0,)), "honey", {"file_type": "txt" if n % 3 else "pdf"})
        for n, vector in enumerate(vectors, start)
    ]


def settings_of(folder):
    return json.loads(next(folder.rglob("edge_config.json")).read_text(encoding="utf-8"))


@pytest.mark.parametrize("quantization", ["int8", "turbo", "binary"])
def test_a_quantised_generation_finds_what_is_nearest(tmp_path, vectors, quantization):
    engine = EdgeEngine(tmp_path, quantization)
    building = engine.create("books", 1, DIM, None)
    building.upsert(points(vectors))
    building.seal()
    store = engine.open("books", 1)
    recall = []
    for query in vectors[:20]:
        found = store.search(Query(HITS, dense=query))
        nearest = np.sort(vectors @ query)[::-1][:HITS]
        # The best are scored again, so scores are those of the full vectors.
        assert found[0].score == pytest.approx(1, abs=1e-4)
        recall.append(np.mean([hit.score >= nearest[-1] - 1e-4 for hit in found]))
        exact = store.search(Query(HITS, dense=query, exact=True))
        assert [hit.score for hit in exact] == pytest.approx(nearest.tolist(), abs=1e-4)
        typed = store.search(Query(HITS, dense=query, only={"file_type": {"pdf"}}))
        assert {hit.metadata["file_type"] for hit in typed} == {"pdf"}
    assert np.mean(recall) >= (0.5 if quantization == "binary" else 0.95)
    store.close()


def test_a_copy_stays_as_its_base_is(tmp_path, vectors):
    first = EdgeEngine(tmp_path, "int8").create("books", 1, DIM, None)
    first.upsert(points(vectors[:100]))
    first.seal()
    plain = EdgeEngine(tmp_path)  # the setting was changed meanwhile
    second = plain.create("books", 2, DIM, 1)
    second.upsert(points(vectors[100:200], start=100))
    second.seal()
    store = plain.open("books", 2)
    assert store.count() == 200
    assert store.search(Query(1, dense=vectors[150]))[0].id == identifier(150)
    store.close()
    kept = [settings_of(tmp_path / "books" / f"generation-{number:04d}") for number in (1, 2)]
    assert "int8" in json.dumps(kept[0]["vectors"]).lower()
    assert kept[0]["vectors"] == kept[1]["vectors"]


def test_effort_is_the_width_of_the_search(vectors):
    for effort in (None, 16, 512):
        assert request(Query(HITS, dense=vectors[7], effort=effort)).params.hnsw_ef == effort


def test_an_unknown_quantization_is_refused(tmp_path):
    with pytest.raises(StoreError, match="int4.*use none, int8"):
        EdgeEngine(tmp_path, "int4")
