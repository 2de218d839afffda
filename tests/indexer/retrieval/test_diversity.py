"""Variety among results: pytest tests/indexer/retrieval/test_diversity.py."""

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from indexer.retrieval.diversity import maximal_marginal_relevance


def unit(*rows):
    vectors = np.array(rows, np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


ITEMS = st.lists(st.tuples(st.floats(-5, 5, width=16), st.integers(0, 2**31)), max_size=12)


def test_the_twin_of_the_best_comes_after_what_says_something_else():
    vectors = unit([1, 0], [1, 0.01], [0, 1])
    assert maximal_marginal_relevance(np.array([1.0, 0.9, 0.6], np.float32), vectors, trade_off=0.5) == [0, 2, 1]


def test_each_next_one_has_the_most_of_the_equation():
    scores, vectors = np.array([3.0, 2.5, 2.0, 1.0], np.float32), unit([1, 0], [0.9, 0.1], [0.5, 0.5], [0, 1])
    order = maximal_marginal_relevance(scores, vectors, trade_off=0.6)
    relevance = (scores - 1) / 2
    for place in range(1, 4):
        gains = {
            item: 0.6 * relevance[item] - 0.4 * max(vectors[item] @ vectors[before] for before in order[:place])
            for item in order[place:]
        }
        assert order[place] == max(gains, key=gains.get)


@given(ITEMS)
def test_every_item_comes_once_and_the_most_relevant_first(items):
    scores = np.array([score for score, _ in items], np.float32)
    vectors = unit(*(np.random.default_rng(seed).normal(size=4) for _, seed in items)) if items else np.empty((0, 4))
    order = maximal_marginal_relevance(scores, vectors)
    assert sorted(order) == list(range(len(items)))
    assert not items or scores[order[0]] == scores.max()


@given(ITEMS)
@example([(0.0, 0), (5.960464477539063e-08, 0), (-1.0, 0)])
def test_relevance_alone_keeps_the_order(items):
    scores = np.array([score for score, _ in items], np.float32)
    vectors = unit(*(np.random.default_rng(seed).normal(size=4) for _, seed in items)) if items else np.empty((0, 4))
    ordered = scores[maximal_marginal_relevance(scores, vectors, trade_off=1.0)]
    assert list(ordered) == sorted(scores, reverse=True)
