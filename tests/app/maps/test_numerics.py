"""The numbers behind a map: neighbours stay neighbours, clusters are found again, the same input has the same map."""

import hashlib
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.services.maps.clusters import OUTLIER, Clustering, Method, Recipe, cluster
from app.services.maps.comparing import compare
from app.services.maps.items import without_language
from app.services.maps.layout import layout, reduced
from app.services.maps.quality import measure

_GROUPS, _EACH = 4, 40

_IN_A_PROCESS = """
import hashlib, sys
sys.path[:0] = {path!r}
from test_numerics import blobs, whole_map
print(hashlib.blake2b(b"".join(part.tobytes() for part in whole_map(blobs()[0]))).hexdigest())
"""


def blobs(seed=0):
    """Unit vectors around a few directions, and which of them each is around."""
    draws = np.random.default_rng(seed)
    middles = draws.standard_normal((_GROUPS, 24))
    groups = np.repeat(np.arange(_GROUPS), _EACH)
    vectors = middles[groups] + 0.25 * draws.standard_normal((len(groups), 24))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32), groups


def whole_map(vectors):
    components = reduced(vectors)
    places = layout(components, seed=3)
    found = cluster(components, places, Recipe(Method.KMEANS, count=_GROUPS, least=5, seed=3))
    return places, found.nearest, found.fit


@pytest.fixture(scope="module")
def blob_map():
    vectors, groups = blobs()
    components = reduced(vectors)
    return components, layout(components, seed=0), groups


def test_a_layout_keeps_groups_together(blob_map):
    _, places, groups = blob_map
    assert places.shape == (_GROUPS * _EACH, 2)
    assert np.abs(places).max() == pytest.approx(1)
    distances = np.linalg.norm(places[:, None] - places[None], axis=2)
    np.fill_diagonal(distances, np.inf)
    nearest = np.argsort(distances, axis=1)[:, :5]
    assert (groups[nearest] == groups[:, None]).mean() > 0.98


@pytest.mark.parametrize("method", list(Method))
def test_every_method_finds_the_groups_and_numbers_them_by_size(blob_map, method):
    components, places, groups = blob_map
    kept = np.concatenate([np.flatnonzero(groups == group)[: _EACH - 5 * group] for group in range(_GROUPS)])
    found = cluster(components[kept], places[kept], Recipe(method, count=_GROUPS, least=8, seed=0))
    assert (found.nearest == groups[kept]).mean() > 0.98
    quality = measure(components[kept], places[kept], found.labels(0), Recipe(method, count=_GROUPS, least=8, seed=0))
    assert quality.silhouette > 0.5
    assert quality.stability > 0.9
    assert quality.outliers == 0
    assert len(quality.by_cluster) == _GROUPS


def test_the_threshold_decides_who_is_an_outlier(blob_map):
    components, places, _ = blob_map
    found = cluster(components, places, Recipe(Method.KMEANS, count=_GROUPS, least=5, seed=0))
    shares = [(found.labels(threshold) == OUTLIER).mean() for threshold in (0.0, 0.1, 0.5, 1.0)]
    assert shares[0] == 0
    assert shares == sorted(shares)
    assert shares[1] == pytest.approx(0.1, abs=0.03)
    assert shares[3] < 1  # what lies in the middle of a cluster always belongs to it


def test_what_hdbscan_leaves_out_goes_to_the_nearest_cluster_or_stays_out():
    vectors, _ = blobs()
    stray = np.vstack([vectors, -vectors.mean(axis=0, keepdims=True)]).astype(np.float32)
    components = reduced(stray)
    places = np.vstack([layout(reduced(vectors), seed=0), [[9.0, 9.0]]]).astype(np.float32)
    found = cluster(components, places, Recipe(Method.HDBSCAN, count=2, least=8, seed=0))
    assert found.nearest[-1] != OUTLIER
    assert found.labels(0.02)[-1] == OUTLIER
    assert found.labels(0)[-1] == found.nearest[-1]


def test_the_same_input_has_the_same_map_in_another_process(pytestconfig):
    here = hashlib.blake2b(b"".join(part.tobytes() for part in whole_map(blobs()[0]))).hexdigest()
    code = _IN_A_PROCESS.format(path=[str(pytestconfig.rootpath / "tests/app/maps"), *sys.path])
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert there.stdout.strip() == here


def test_topics_come_together_across_languages():
    draws = np.random.default_rng(1)
    topics, languages = draws.standard_normal((3, 16)), draws.standard_normal((2, 16)) * 4
    topic, language = np.repeat(np.arange(3), 40), np.tile([0, 1], 60)
    vectors = topics[topic] + languages[language] + 0.1 * draws.standard_normal((120, 16))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    aligned = without_language(vectors, ["en" if code else "zh" for code in language])
    assert np.allclose(np.linalg.norm(aligned, axis=1), 1, atol=1e-5)
    means = np.stack([aligned[(topic == t) & (language == code)].mean(axis=0) for t in range(3) for code in (0, 1)])
    for place in range(0, 6, 2):
        others = [means[place] @ means[other] for other in range(6) if other // 2 != place // 2]
        assert means[place] @ means[place + 1] > max(others)


@given(count=st.integers(0, 12), same=st.booleans(), method=st.sampled_from(Method), wanted=st.integers(1, 15))
@settings(max_examples=25, deadline=None)
def test_few_or_equal_items_are_mapped_too(count, same, method, wanted):
    vectors = np.random.default_rng(count).standard_normal((count, 6)).astype(np.float32)
    vectors = np.ones_like(vectors) if same else vectors
    components = reduced(vectors)
    places = layout(components, seed=0)
    found = cluster(components, places, Recipe(method, count=wanted, least=2, seed=0))
    assert places.shape == (count, 2)
    assert np.isfinite(places).all()
    assert found.nearest.shape == found.fit.shape == (count,)
    assert set(found.nearest.tolist()) == set(range(len(set(found.nearest.tolist()))))
    assert ((found.fit >= 0) & (found.fit <= 1)).all()
    measure(components, places, found.labels(0.1), Recipe(method, count=wanted, least=2, seed=0))


_named = st.dictionaries(st.text(max_size=3), st.sampled_from("abc"), max_size=12)


@given(first=_named, second=_named)
@settings(deadline=None)
def test_a_comparison_counts_what_both_have(first, second):
    found = compare(first, second)
    assert found.shared == len(first.keys() & second.keys())
    assert found.moved.keys() <= first.keys() & second.keys()
    assert all(found.partners.get(old) != new for old, new in found.moved.values())


@given(_named, st.permutations("abc"))
@settings(deadline=None)
def test_other_names_for_the_same_clusters_move_nothing(first, names):
    found = compare(first, {item: dict(zip("abc", names, strict=True))[value] for item, value in first.items()})
    assert found.moved == {}
    assert not first or (found.rand, round(found.information, 6)) == (1.0, 1.0)


def test_labels_are_outliers_below_the_threshold_only():
    clustering = Clustering(np.array([0, 0, 1]), np.array([1.0, 0.2, 0.5], np.float32))
    assert clustering.labels(0.5).tolist() == [0, OUTLIER, 1]
