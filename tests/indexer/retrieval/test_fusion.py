"""Two legs become one order: pytest tests/indexer/retrieval/test_fusion.py."""

import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer.retrieval.fusion import Standing, fuse
from indexer.stores.protocol import Hit


def leg(**scores):
    hits = [Hit(id, score, "", {}) for id, score in scores.items()]
    return sorted(hits, key=lambda hit: (-hit.score, hit.id))


def order(ranked):
    return "".join(one.hit.id for one in ranked)


LEGS = st.dictionaries(st.sampled_from("abcdefghij"), st.floats(-1, 60, allow_nan=False).map(lambda x: round(x, 3)))


def test_a_leg_alone_keeps_its_order_and_its_scores():
    found = leg(a=0.9, b=0.7)
    assert [(one.hit.id, one.score) for one in fuse(found, None, 5)] == [("a", 0.9), ("b", 0.7)]
    assert fuse(None, found, 5)[0].lexical == Standing(0.9, 1)
    assert fuse(None, [], 5) == fuse([], None, 5) == fuse([], [], 5) == []


def test_the_score_is_the_sum_of_the_evidence():
    cosines = {"a": 0.8, "b": 0.5, "c": 0.4}
    deviation = statistics.pstdev(cosines.values())
    ranked = {one.hit.id: one for one in fuse(leg(**cosines), leg(b=7.0, d=2.0), pool=3)}
    assert ranked["a"].score == pytest.approx(0.4 / deviation)
    assert ranked["b"].score == pytest.approx(0.1 / deviation + 7.0)
    assert ranked["d"].score == pytest.approx(2.0)
    assert (ranked["b"].dense, ranked["b"].lexical) == (Standing(0.5, 2), Standing(7.0, 1))
    assert (ranked["d"].dense, ranked["a"].lexical) == (None, None)


def test_a_full_leg_knows_only_that_the_rest_is_not_above_its_last():
    ranked = {one.hit.id: one.score for one in fuse(leg(a=0.8, b=0.4), leg(c=9.0, d=6.0), pool=2)}
    assert ranked["b"] == pytest.approx(6.0)
    assert ranked["a"] == pytest.approx(6.0 + 2.0)  # two deviations above the last


def test_words_that_match_next_to_nothing_leave_the_order_to_the_vectors():
    dense = leg(**{letter: 0.5 - 0.02 * place for place, letter in enumerate("abcdefgh")})
    assert order(fuse(dense, leg(h=0.3, f=0.2), pool=50)) == "abcdefgh"


def test_rare_words_outweigh_a_model_that_is_unsure():
    dense = leg(**{letter: 0.5 - 0.001 * place for place, letter in enumerate("abcdefgh")})
    assert order(fuse(dense, leg(h=14.0, g=3.0), pool=50))[:1] == "h"


def test_the_scale_of_the_cosines_makes_no_difference():
    lexical = leg(c=1.0, d=0.7)
    wide, narrow = leg(a=0.9, b=0.5, c=0.3, d=0.1), leg(a=0.89, b=0.85, c=0.83, d=0.81)
    assert order(fuse(wide, lexical, 9)) == order(fuse(narrow, lexical, 9))


@given(LEGS, LEGS, st.integers(1, 12))
def test_every_passage_comes_once_and_better_in_both_legs_is_better(dense, lexical, pool):
    ranked = fuse(leg(**dense), leg(**lexical), pool)
    assert sorted(one.hit.id for one in ranked) == sorted(dense | lexical)
    assert [one.score for one in ranked] == sorted((one.score for one in ranked), reverse=True)
    place = {one.hit.id: rank for rank, one in enumerate(ranked)}
    both = sorted(dense.keys() & lexical.keys())
    for first in both:
        for second in both:
            if dense[first] > dense[second] and lexical[first] > lexical[second]:
                assert place[first] < place[second]
