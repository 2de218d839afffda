"""Every row is visited as often as its weight says, whatever the order in which steps are asked for."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from trainer.batches import BatchPlan, EmptyPlan, SourceSize
from trainer.draws import Permutation, below, derive, sample, share


@given(st.integers(1, 5000), st.integers(0, 2**64 - 1))
@settings(max_examples=50, deadline=None)
def test_a_permutation_is_a_bijection(size, key):
    assert sorted(Permutation(size, key)(np.arange(size))) == list(range(size))


def test_part_of_a_huge_permutation_is_read_without_the_rest():
    size = 10**12
    permutation = Permutation(size, 7)
    places = np.arange(1000) * 10**9
    there = permutation(places)
    assert ((there >= 0) & (there < size)).all()
    assert len(set(there.tolist())) == 1000
    assert permutation(places[::-1])[::-1].tolist() == there.tolist()
    assert abs(there.mean() / size - 0.5) < 0.05


def test_permutations_differ_by_key_and_leave_few_places_as_they_were():
    places = np.arange(1000)
    first, second = (Permutation(1000, key)(places) for key in (1, 2))
    assert (first == second).sum() < 20
    assert (first == places).sum() < 20


def test_a_place_outside_is_refused():
    for place in (-1, 10):
        with pytest.raises(IndexError):
            Permutation(10, 1)(np.array([place]))


def test_draws_are_even_and_keyed():
    shares = [share(derive(1, at), 0) for at in range(2000)]
    assert 0 <= min(shares) < max(shares) < 1
    assert abs(np.mean(shares) - 0.5) < 0.03
    counts = Counter(below(derive(2, at), 0, 5) for at in range(5000))
    assert set(counts) == set(range(5))
    assert min(counts.values()) > 850
    assert share(1, 1) != share(1, 2) != share(2, 2)


@given(st.integers(0, 2**64 - 1), st.integers(0, 30), st.integers(0, 30))
@settings(max_examples=50, deadline=None)
def test_a_sample_has_no_repeats_and_is_the_start_of_a_longer_one(key, size, count):
    drawn = sample(key, 3, size, count)
    assert len(set(drawn)) == len(drawn) == min(size, count)
    assert set(drawn) <= set(range(size))
    assert sample(key, 3, size, 30)[: len(drawn)] == drawn


sources = st.builds(
    SourceSize,
    name=st.uuids().map(str),
    rows=st.integers(1, 60),
    form=st.sampled_from(["contrastive", "graded"]),
    weight=st.sampled_from([0.5, 1.0, 1.5, 2.0]),
    cap=st.sampled_from([None, 7, 100]),
)


@given(
    st.lists(sources, min_size=1, max_size=6), st.integers(1, 16), st.sampled_from([0.0, 0.4, 1.0]), st.integers(0, 2)
)
@settings(max_examples=60, deadline=None)
def test_an_epoch_visits_every_row_as_often_as_its_weight_says(made, batch_size, homogeneous, epoch):
    assume(sum(source.visits for source in made))
    plan = BatchPlan(made, batch_size=batch_size, seed=5, homogeneous_share=homogeneous)
    counts = Counter()
    for step in range(epoch * plan.steps_per_epoch, (epoch + 1) * plan.steps_per_epoch):
        batch = plan.batch(step)
        assert (batch.step, batch.epoch) == (step, epoch)
        assert len(batch.visits) == batch_size
        assert {made[visit.source].form for visit in batch.visits} == {batch.form}
        assert len(set(batch.visits)) == batch_size
        counts.update((visit.source, visit.row) for visit in batch.visits)
    surplus = sum(counts.values()) - sum(source.visits for source in made)
    assert 0 <= surplus < 2 * batch_size
    beyond = 0
    for number, source in enumerate(made):
        seen = {row: count for (at, row), count in counts.items() if at == number}
        assert all(0 <= row < source.rows for row in seen)
        assert len(seen) <= source.used
        if source.weight >= 1:
            assert len(seen) == source.used
            assert min(seen.values()) >= int(source.weight)
        assert sum(seen.values()) >= source.visits
        beyond += sum(seen.values()) - source.visits
    assert beyond == surplus


def batches(made, seed=1, epochs=1, **settings):
    plan = BatchPlan(made, seed=seed, **settings)
    return [plan.batch(step) for step in range(epochs * plan.steps_per_epoch)]


def sized(rows, form="contrastive", **rest):
    return SourceSize(f"{form}-{rows}", rows, form, **rest)


def test_full_batches_are_of_one_source_and_leftovers_are_mixed():
    made = [sized(35), sized(47), sized(23, "graded")]
    found = batches(made, batch_size=10)
    of_one = [batch for batch in found if len({visit.source for visit in batch.visits}) == 1]
    by_source = Counter(batch.visits[0].source for batch in of_one)
    assert (by_source[0], by_source[1]) == (3, 4)
    assert by_source[2] == 3  # the third is filled up with its own rows
    assert len(found) == 3 + 4 + 2 + 3


def test_the_order_of_batches_is_shuffled():
    order = [batch.visits[0].source for batch in batches([sized(500), sized(501)], batch_size=10)]
    assert order != sorted(order)
    assert 15 < sum(order[:50]) < 35


def test_part_of_a_batch_is_exchanged():
    made = [sized(400), sized(401), sized(402)]
    for share_kept, most in ((0.5, 0.75), (0.0, 0.6)):
        found = batches(made, batch_size=20, homogeneous_share=share_kept)
        largest = [max(Counter(v.source for v in batch.visits).values()) / 20 for batch in found]
        assert share_kept <= min(largest)
        assert np.mean(largest) < most
    first = BatchPlan(made, batch_size=20, seed=1, homogeneous_share=0.5).batch(3)
    assert len({visit.source for visit in first.visits[:10]}) == 1


def test_a_step_is_the_same_whenever_it_is_asked_for():
    made = [sized(101), sized(57, weight=2.0), sized(30, "graded")]
    forward = batches(made, epochs=3, batch_size=8, homogeneous_share=0.5)
    plan = BatchPlan(made, batch_size=8, seed=1, homogeneous_share=0.5)
    for step in reversed(range(3 * plan.steps_per_epoch)):
        assert plan.batch(step) == forward[step]


def test_seeds_and_epochs_differ():
    made = [sized(100), sized(90)]
    one, again, other = (batches(made, seed, 2, batch_size=8) for seed in (1, 1, 2))
    assert one == again
    half = len(one) // 2
    for left, right in zip(one, other, strict=True):
        assert left.visits != right.visits
    assert [batch.visits for batch in one[:half]] != [batch.visits for batch in one[half:]]


def test_no_visit_of_a_run_comes_twice():
    made = [sized(10, weight=1.5), sized(3, weight=2.0), sized(2, "graded")]
    visits = [visit for batch in batches(made, epochs=4, batch_size=8) for visit in batch.visits]
    assert len(set(visits)) == len(visits)


def test_a_cap_draws_the_same_rows_in_every_epoch():
    found = batches([sized(1000, cap=16)], epochs=3, batch_size=8)
    rows = {visit.row for batch in found for visit in batch.visits}
    assert len(rows) == 16
    assert max(rows) > 100
    assert rows != {v.row for batch in batches([sized(1000, cap=16)], 2, batch_size=8) for v in batch.visits}


def test_a_source_keeps_its_rows_when_another_joins():
    alone = batches([sized(40)], batch_size=40)[0].visits
    joined = next(b for b in batches([sized(40), sized(80)], batch_size=40) if b.visits[0].source == 0).visits
    assert joined == alone


def test_few_rows_fill_a_batch_and_ten_billion_plan_at_once():
    (only,) = batches([sized(3)], batch_size=8)
    assert Counter(visit.row for visit in only.visits).most_common(1)[0][1] <= 3
    assert len(BatchPlan([sized(10**10), sized(10**9, cap=10**8)], batch_size=512, seed=1).batch(10**6).visits) == 512


def test_nothing_to_visit_is_an_error():
    with pytest.raises(EmptyPlan, match="No source has a row"):
        BatchPlan([sized(1, weight=0.1)], batch_size=4, seed=1)
