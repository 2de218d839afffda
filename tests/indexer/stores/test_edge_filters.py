"""What meets a filter is found, also where it is neither rare enough to be compared whole nor common."""

import numpy as np
import pytest
from store_cases import identifier

from indexer.lexical import SparseVector
from indexer.stores import edge
from indexer.stores.edge import EdgeEngine
from indexer.stores.edge_points import request
from indexer.stores.protocol import Point, Query

DIM, COUNT, KINDS, HITS = 256, 12_000, 12, 10


@pytest.fixture
def vectors():
    """Clusters: the neighbours of most passages are of other kinds."""
    random = np.random.default_rng(0)
    middles = random.normal(size=(300, 24))[random.integers(0, 300, COUNT)]
    rows = (middles + 0.5 * random.normal(size=(COUNT, 24))) @ random.normal(size=(24, DIM))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("field", ["file_type", "shelf"], ids=["indexed", "unindexed"])
def test_a_filter_that_a_twelfth_meets_loses_nothing(tmp_path, monkeypatch, vectors, field):
    # As many kilobytes as there are of a kind: a hundredth of the passages fewer, and all would be compared.
    threshold = COUNT // KINDS * DIM * 4 // 1024
    monkeypatch.setattr(edge, "_HNSW", edge.edge.HnswIndexConfig(m=16, ef_construct=128, full_scan_threshold=threshold))
    kinds = np.random.default_rng(1).permutation(COUNT) % KINDS
    engine = EdgeEngine(tmp_path)
    building = engine.create("books", 1, DIM, None)
    terms = SparseVector((1,), (1.0,))
    rows = enumerate(zip(vectors, kinds, strict=True))
    building.upsert([Point(identifier(n), vector, terms, "honey", {field: f"k{kind}"}) for n, (vector, kind) in rows])
    building.seal()
    store = engine.open("books", 1)
    found, nearest = [], []
    for number, query in enumerate(vectors[:12]):
        kind = number % KINDS
        hits = store.search(Query(HITS, dense=query, only={field: {f"k{kind}"}}))
        assert {hit.metadata[field] for hit in hits} == {f"k{kind}"}
        found.append(sorted(hit.score for hit in hits))
        nearest.append(np.sort(vectors[kinds == kind] @ query)[-HITS:])
    store.close()
    assert np.mean(np.array(found) >= np.array(nearest) - 1e-4) > 0.95


def test_only_a_search_with_a_filter_minds_it():
    query = Query(HITS, dense=np.ones(2, np.float32))
    assert not request(query).params.acorn.enable
    assert request(Query(HITS, dense=query.dense, only={"kind": {"k1"}})).params.acorn.enable
