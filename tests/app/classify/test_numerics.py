"""Heads, folds, figures and suggestions on vectors made up for the purpose."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.services.classify.figures import decided, figures, likely_errors, threshold_curve, wilson
from app.services.classify.folds import near_duplicate_groups, stratified_folds
from app.services.classify.heads import described, logistic, prototypes
from app.services.classify.suggestions import label_next
from app.services.classify.training import Method, choose_method, temperature, train

NEARLY = "the quick brown fox jumps over the lazy dog near the river bank on a sunny day while birds sing in tall trees"


def clouds(sizes, spread=0.6, dim=16, seed=0):
    """Unit vectors around a centre for each label, and their labels."""
    random = np.random.default_rng(seed)
    centres = random.normal(size=(len(sizes), dim))
    targets = np.repeat(np.arange(len(sizes)), sizes)
    vectors = centres[targets] + spread * random.normal(size=(len(targets), dim)) * np.linalg.norm(centres[0]) / 4
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32), targets


def apart(count):
    return np.arange(count)


def test_near_duplicates_share_a_group_and_others_do_not():
    texts = [
        NEARLY,
        "Honey is made by bees.",
        NEARLY.upper() + "!",
        f"{NEARLY} indeed",
        "honey is made by bees",
        "🐝",
        "🐝",
    ]
    groups = near_duplicate_groups([*texts, "🍯", ""])
    assert groups[0] == groups[2] == groups[3]
    assert groups[1] == groups[4]
    assert groups[5] == groups[6]
    assert len(set(groups)) == 5


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 12)), min_size=2, max_size=60),
    st.integers(0, 5),
)
def test_a_group_is_never_on_both_sides(pairs, seed):
    targets, groups = np.array([label for label, _ in pairs]), np.array([group for _, group in pairs])
    folds = stratified_folds(targets, groups, seed=seed)
    for group in set(groups):
        assert len(set(folds[groups == group])) == 1


def test_every_label_is_spread_over_all_folds():
    targets = np.repeat([0, 1], [50, 10])
    folds = stratified_folds(targets, apart(60))
    assert [np.bincount(targets[folds == fold], minlength=2).tolist() for fold in range(5)] == [[10, 2]] * 5


def test_what_is_known_by_heart_is_not_counted_as_known():
    """Labels at random: pairs of equal texts would be found again if a fold split them, and reach nearly 1."""
    random = np.random.default_rng(1)
    once = random.normal(size=(150, 256)).astype(np.float32)
    once /= np.linalg.norm(once, axis=1, keepdims=True)
    labels = random.integers(0, 3, 150)
    vectors, targets, groups = np.tile(once, (2, 1)), np.tile(labels, 2), np.tile(np.arange(150), 2)
    honest = figures(train(vectors, targets, groups, 3).probabilities, targets, "abc")
    assert abs(honest.accuracy - 1 / 3) < 0.12
    leaking = figures(train(vectors, targets, apart(300), 3).probabilities, targets, "abc")
    assert leaking.accuracy > honest.accuracy + 0.15


def test_figures_of_labels_that_can_be_learnt_hold_on_texts_never_seen():
    vectors, targets = clouds([80, 60, 40], spread=1.2)
    fresh, right = clouds([400, 300, 200], spread=1.2)
    trained = train(vectors, targets, apart(180), 3)
    low, high = figures(trained.probabilities, targets, "abc").interval
    found = float((trained.head.logits(fresh).argmax(axis=1) == right).mean())
    assert trained.method is Method.LOGISTIC
    assert low - 0.03 <= found <= high + 0.03
    assert figures(trained.probabilities, targets, "abc").calibration_error < 0.12


def test_the_method_follows_the_smallest_label():
    targets = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    assert choose_method(targets, apart(8)) is Method.LOGISTIC
    assert choose_method(targets, np.array([0, 1, 2, 3, 4, 4, 5, 6])) is Method.PROTOTYPES


def test_one_example_a_label_is_enough_to_begin():
    vectors, targets = clouds([1, 1], spread=0.1)
    trained = train(vectors, targets, apart(2), 2)
    assert trained.method is Method.PROTOTYPES
    assert trained.head.logits(vectors).argmax(axis=1).tolist() == [0, 1]
    assert np.isfinite(trained.probabilities).all()


@pytest.mark.parametrize("sizes", [[30, 30], [20, 20, 20]])
def test_a_regression_is_that_of_scikit_learn(sizes):
    from sklearn.linear_model import LogisticRegression

    vectors, targets = clouds(sizes)
    peer = LogisticRegression(C=10.0, max_iter=300, tol=1e-3).fit(vectors, targets)
    head = logistic(vectors, targets, len(sizes), 10.0)
    assert np.allclose(head.probabilities(vectors), peer.predict_proba(vectors), atol=1e-4)


def test_a_label_without_examples_is_never_given():
    vectors, targets = clouds([10, 0, 10])
    for head in (logistic(vectors, targets, 3, 10.0), prototypes(vectors, targets, 3)):
        assert (head.probabilities(vectors)[:, 1] < 1e-6).all()


def test_described_labels_are_the_nearest_by_cosine():
    labels = np.eye(4, dtype=np.float32)[:3]
    vectors, _ = clouds([5, 5], dim=4)
    assert (described(labels).logits(vectors).argmax(axis=1) == (vectors @ labels.T).argmax(axis=1)).all()


def test_the_temperature_undoes_what_made_logits_too_sure():
    random = np.random.default_rng(0)
    logits = random.normal(size=(4000, 3)).astype(np.float32) * 2
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    targets = np.array([random.choice(3, p=row / row.sum()) for row in chances.astype(np.float64)])
    assert temperature(5 * logits, targets) == pytest.approx(5, rel=0.1)


def test_figures_by_hand():
    probabilities = np.array([[0.9, 0.1], [0.6, 0.4], [0.3, 0.7], [0.8, 0.2]], dtype=np.float32)
    targets = np.array([0, 0, 1, 1])
    whole = figures(probabilities, targets, ["a", "b"])
    assert (whole.accuracy, whole.coverage, whole.chance) == (0.75, 1.0, 0.5)
    assert whole.confusion.tolist() == [[2, 0, 0], [1, 1, 0]]
    first, second = whole.classes
    assert (first.precision, first.recall, first.f1) == (pytest.approx(2 / 3), 1.0, pytest.approx(0.8))
    assert (second.precision, second.recall) == (1.0, 0.5)
    sure = figures(probabilities, targets, ["a", "b"], threshold=0.65)
    assert sure.confusion.tolist() == [[1, 0, 1], [1, 1, 0]]
    assert (sure.accuracy, sure.coverage) == (pytest.approx(2 / 3), 0.75)
    none = figures(probabilities, targets, ["a", "b"], threshold=0.99)
    assert (none.accuracy, none.coverage, none.classes[0].precision) == (None, 0.0, None)
    assert decided(probabilities, 0.65).tolist() == [0, 2, 1, 0]


def test_the_curve_agrees_with_the_figures_at_every_threshold():
    vectors, targets = clouds([30, 30], spread=2)
    probabilities = prototypes(vectors, targets, 2).probabilities(vectors)
    for point in threshold_curve(probabilities, targets):
        there = figures(probabilities, targets, "ab", point.threshold)
        assert (point.coverage, point.accuracy) == (pytest.approx(there.coverage), there.accuracy)


def test_the_interval_is_wilsons():
    assert wilson(8, 10) == (pytest.approx(0.4902, abs=1e-4), pytest.approx(0.9433, abs=1e-4))
    assert wilson(0, 0) == (0.0, 1.0)


def test_wrong_labels_are_found_and_right_ones_left_alone():
    vectors, targets = clouds([60, 60, 60], spread=0.5)
    wrong = targets.copy()
    for place in (3, 70, 130):
        wrong[place] = (wrong[place] + 1) % 3
    found = likely_errors(train(vectors, wrong, apart(180), 3).probabilities, wrong, 10)
    assert {doubt.place for doubt in found[:3]} == {3, 70, 130}
    assert all(doubt.likely == targets[doubt.place] for doubt in found[:3])
    assert len(found) < 6


def test_what_to_label_next_is_unsure_and_varied():
    random = np.random.default_rng(0)
    unsure = np.repeat(np.eye(8, dtype=np.float32)[:4], 5, axis=0)  # four things, each said five times
    sure = random.normal(size=(200, 8)).astype(np.float32)
    vectors = np.vstack([sure / np.linalg.norm(sure, axis=1, keepdims=True), unsure])
    probabilities = np.array([[0.99, 0.01]] * 200 + [[0.51, 0.49]] * 20, dtype=np.float32)
    chosen = label_next(vectors, probabilities, 4)
    assert sorted({(place - 200) // 5 for place in chosen}) == [0, 1, 2, 3]
    assert label_next(vectors[:0], probabilities[:0], 4) == []
    assert len(label_next(unsure[:5], probabilities[200:205], 4)) == 1
