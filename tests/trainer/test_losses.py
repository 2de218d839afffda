"""Every term against numbers worked out by hand; the arithmetic stands beside each."""

import math

import pytest
import torch
from torch.testing import assert_close

from trainer.draws import uniforms
from trainer.losses import (
    cosent,
    distillation,
    false_negatives,
    focal_weight,
    info_nce,
    matryoshka,
    mix_list,
    mix_pairs,
)


def double(*values):
    return torch.tensor(values, dtype=torch.float64)


def test_info_nce_by_hand():
    # t = 0.5: logits 1.6 against 0.4 and 1.0, and 0 against 0 and -2.
    positives = double(0.8, 0.0)
    negatives = double([0.2, 0.5], [0.0, -1.0])
    first = math.log(math.exp(1.6) + math.exp(0.4) + math.exp(1.0)) - 1.6  # 0.6154...
    second = math.log(1 + 1 + math.exp(-2.0))  # 0.7586...
    losses = info_nce(positives, negatives, temperature=0.5)
    assert_close(losses, double(first, second))
    assert_close(losses, double(0.6152, 0.7586), atol=1e-4, rtol=0)


def test_info_nce_leaves_out_what_is_not_allowed():
    positives, negatives = double(0.8, 0.3), double([0.2, 0.5], [0.9, 0.9])
    allowed = torch.tensor([[True, False], [False, False]])
    losses = info_nce(positives, negatives, temperature=0.5, allowed=allowed)
    assert_close(losses, double(math.log(math.exp(1.6) + math.exp(0.4)) - 1.6, 0.0))


def test_a_masked_candidate_gets_no_gradient():
    negatives = double([0.2, 0.5]).requires_grad_()
    info_nce(double(0.8), negatives, temperature=0.1, allowed=torch.tensor([[True, False]])).sum().backward()
    assert negatives.grad[0, 0] > 0
    assert negatives.grad[0, 1] == 0


def test_false_negatives_are_those_above_the_positive_by_the_margin():
    found = false_negatives(double(0.6, 0.2), double([0.65, 0.71], [0.3, 0.31]), margin=0.1)
    assert found.tolist() == [[False, True], [False, True]]


def test_focal_weight_by_hand():
    losses = -double(0.25, 0.96).log()  # p = 0.25 and 0.96
    assert_close(focal_weight(losses, 0.5), double(math.sqrt(0.75), 0.2))
    assert_close(focal_weight(losses, 2.0), double(0.5625, 0.0016))
    assert focal_weight(losses, 0.0).tolist() == [1.0, 1.0]


def test_the_focal_weight_has_a_gradient_only_if_wanted():
    losses = double(0.5, 1.0).requires_grad_()
    (focal_weight(losses, 0.5) * losses).sum().backward()
    assert_close(losses.grad, focal_weight(losses.detach(), 0.5))
    losses.grad = None
    (focal_weight(losses, 0.5, detached=False) * losses).sum().backward()
    assert (losses.grad > focal_weight(losses.detach(), 0.5)).all()


def test_the_focal_weight_of_a_loss_of_zero_has_a_finite_gradient():
    losses = double(0.0).requires_grad_()
    (focal_weight(losses, 0.5, detached=False) * losses).sum().backward()
    assert losses.grad.isfinite().all()


def test_a_pair_mix_lies_between_two_different_negatives_by_the_keyed_share():
    negatives = torch.eye(3, dtype=torch.float64)[None]  # (1, 3, 3)
    counts, keys = torch.tensor([3]), torch.tensor([12345])
    (mixed,) = mix_pairs(negatives, counts, keys)
    chance = uniforms(keys, 5)[0].tolist()
    first = int(chance[0] * 3)
    second = (first + 1 + int(chance[1] * 2)) % 3
    share = sorted(chance[2:])[1]
    by_hand = [0.0, 0.0, 0.0]
    by_hand[first], by_hand[second] = share, 1 - share
    length = math.hypot(share, 1 - share)
    assert_close(mixed, double(*by_hand) / length)


def test_pair_mixes_use_only_negatives_that_are_there():
    negatives = torch.eye(4, dtype=torch.float64).expand(500, 4, 4)
    mixed = mix_pairs(negatives, torch.full((500,), 2), torch.arange(500))
    assert (mixed[:, 2:] == 0).all()
    assert ((mixed[:, :2] > 0).sum(dim=1) == 2).all()


def test_every_pair_of_negatives_is_drawn_about_as_often():
    negatives = torch.eye(3, dtype=torch.float64).expand(3000, 3, 3)
    mixed = mix_pairs(negatives, torch.full((3000,), 3), torch.arange(3000))
    left_out = (mixed == 0).int().argmax(dim=1).bincount(minlength=3)
    assert (left_out - 1000).abs().max() < 120


def test_shares_are_distributed_as_beta_2_2():
    shares = uniforms(torch.arange(20_000), 3).median(dim=1).values
    assert shares.mean().item() == pytest.approx(0.5, abs=0.01)
    assert shares.var().item() == pytest.approx(0.05, abs=0.002)  # a b / ((a + b)^2 (a + b + 1)) = 4 / 80
    assert (shares < 0.25).double().mean().item() == pytest.approx(3 / 16 - 2 / 64, abs=0.01)  # 3x^2 - 2x^3


def test_draws_depend_on_the_key_alone():
    keys = torch.tensor([7, -3, 2**62, 7])
    together = uniforms(keys, 4)
    assert_close(together[2], uniforms(keys[2:3], 4)[0], rtol=0, atol=0)
    assert (together[0] == together[3]).all()
    assert (together[0] != together[1]).all()
    assert (uniforms(keys, 4, salt=1) != together).all()
    assert ((together >= 0) & (together < 1)).all()


def test_a_list_mix_weighs_by_similarity():
    queries = double([1.0, 0.0])
    negatives = double([[0.6, 0.8], [0.8, -0.6], [0.0, 0.0]])
    (mixed,) = mix_list(queries, negatives, torch.tensor([2]), temperature=0.2)
    heavy = math.exp(4) / (math.exp(3) + math.exp(4))  # similarities 0.6 and 0.8 over 0.2
    x, y = 0.6 * (1 - heavy) + 0.8 * heavy, 0.8 * (1 - heavy) - 0.6 * heavy
    assert_close(mixed, double(x, y) / math.hypot(x, y))


def test_a_query_without_negatives_mixes_nothing_that_is_not_a_number():
    mixed = mix_list(double([1.0, 0.0]), torch.zeros(1, 2, 2, dtype=torch.float64), torch.tensor([0]), 0.1)
    assert mixed.isfinite().all()


def test_distillation_by_hand():
    teacher, student = double([0.1, 0.0]), double([0.0, 0.1])  # t = 0.1: odds e to 1 and 1 to e
    p = math.e / (1 + math.e)
    expected = p * 1.0 + (1 - p) * -1.0  # log-odds differ by 1 up and 1 down
    assert_close(distillation(teacher, student, temperature=0.1), double(expected))
    assert distillation(teacher, teacher, temperature=0.1).item() == 0


def test_distillation_over_some_candidates_is_that_over_these_alone():
    teacher, student = double([0.9, 0.1, 0.4], [0.3, 0.2, 0.1]), double([0.5, 0.5, 0.2], [0.1, 0.9, 0.3])
    allowed = torch.tensor([[True, False, True], [True, True, True]])
    student.requires_grad_()
    found = distillation(teacher, student, temperature=0.05, allowed=allowed)
    alone = distillation(teacher[:1, [0, 2]], student[:1, [0, 2]], temperature=0.05)
    assert_close(found[:1], alone)
    found.sum().backward()
    assert student.grad[0, 1] == 0
    assert student.grad.isfinite().all()


def test_cosent_by_hand():
    # Only the pairs (first, second) and (first, third) are ordered; 20 times the gaps are -4 and 2.
    similarities, scores = double(0.5, 0.3, 0.6), double(1.0, 0.2, 0.2)
    expected = math.log(1 + math.exp(-4) + math.exp(2))
    assert_close(cosent(similarities, scores, 20.0), double(expected, expected, expected))


def test_cosent_of_equal_scores_is_nothing():
    similarities = double(0.5, 0.3).requires_grad_()
    loss = cosent(similarities, double(0.4, 0.4), 20.0)
    assert loss.tolist() == [0.0, 0.0]
    loss.mean().backward()
    assert similarities.grad.tolist() == [0.0, 0.0]


def test_matryoshka_is_a_weighted_sum():
    losses = {4: double(1.0, 2.0), 2: double(10.0, 20.0), 1: double(100.0, 200.0)}
    assert_close(matryoshka(losses.__getitem__, (4, 2, 1), (1.0, 0.3, 0.2)), double(24.0, 48.0))
