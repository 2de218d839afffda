"""What a cosine is compared with: pytest tests/indexer/retrieval/test_background.py."""

import numpy as np
import pytest

from indexer.retrieval.background import Background, background


def test_a_cosine_stands_above_those_that_are_lower():
    chance = Background(np.array([0.1, 0.2, 0.3, 0.4], np.float32))
    place = chance.place(0.35)
    assert (place.share, place.passages) == (0.75, 4)
    assert place.deviations == pytest.approx((0.35 - 0.25) / np.std([0.1, 0.2, 0.3, 0.4]), rel=1e-5)
    assert chance.place(0.05).share == 0
    assert chance.place(0.9).share == 1


def test_nothing_to_compare_with_says_nothing():
    assert background(np.empty((0, 0), np.float32), np.ones((1, 3), np.float32)).place(0.5) is None
    assert Background(np.array([0.5], np.float32)).place(0.5) is None
    assert Background(np.array([0.5, 0.5], np.float32)).place(0.5).deviations == 0


def test_a_passage_is_as_near_as_to_the_nearest_part():
    sample = np.eye(3, dtype=np.float32)
    assert background(sample, np.eye(3, dtype=np.float32)[:2]).cosines.tolist() == [0, 1, 1]
