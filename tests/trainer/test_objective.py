"""Who is whose negative, and the terms put together: against a slow computation row by row, and small cases by hand."""

import itertools
import math

import pytest
import torch
from torch.testing import assert_close
from trainer_cases import SWITCHES, random_case, switch_config

from trainer.config import LossConfig
from trainer.layout import Layout
from trainer.losses import cosent, distillation, focal_weight, info_nce, mix_list, mix_pairs
from trainer.objective import Objective


def unit(vectors):
    return vectors / vectors.norm(dim=-1, keepdim=True)


def row_by_row(vectors, layout, config):
    """The objective said in loops: what the vectorised one must equal."""
    dims, weights = config.dims or (vectors.shape[1],), config.weights or (1.0,)
    totals = []
    for row in range(len(layout)):
        total = torch.zeros((), dtype=vectors.dtype)
        for dim, weight in zip(dims, weights, strict=True):
            cut = unit(vectors[:, :dim])
            total = total + weight * config.contrastive_weight * _contrastive(cut, layout, row, config)
            if config.distill_weight and layout.teachers[row] >= 0:
                total = total + weight * config.distill_weight * _distilled(cut, layout, row, config)
        totals.append(total)
    return torch.stack(totals)


def _related(layout, row, text, label):
    return text.item() in set(layout.known[row].tolist()) or (label.item() != 0 and label == layout.labels[row])


def _contrastive(cut, layout, row, config):
    own = cut[layout.queries[row]] @ cut[layout.positives[row]]
    rows = range(len(layout)) if config.in_batch else [row]
    others = [found for other in rows for found in _from_row(cut, layout, row, other, config)]
    others += [found for other in range(len(layout)) for found in _directions(cut, layout, row, other, config)]
    if config.false_negative_margin is not None:
        others = [other for other in others if other <= own + config.false_negative_margin]
    negatives = torch.stack(others)[None] if others else cut.new_zeros(1, 0)
    loss = info_nce(own[None], negatives, temperature=config.temperature)
    return (focal_weight(loss, config.focal_gamma, detached=config.focal_detached) * loss)[0]


def _answers(layout, row, other):
    """Whether the other row's positive answers this row's query as far as is known."""
    same_query = layout.texts[layout.queries[other]] == layout.texts[layout.queries[row]]
    text = layout.texts[layout.positives[other]]
    return other == row or same_query or _related(layout, row, text, layout.labels[other])


def _from_row(cut, layout, row, other, config):
    """Similarities of a row's query to what another row brings: positive, hard negatives, mixes."""
    query = cut[layout.queries[row]]
    if not _answers(layout, row, other):
        yield query @ cut[layout.positives[other]]
    present = [place for place in layout.negatives[other].tolist() if place >= 0]
    labels = layout.negative_labels[other][: len(present)]
    related = [_related(layout, row, layout.texts[n], label) for n, label in zip(present, labels, strict=True)]
    yield from (query @ cut[n] for n, is_related in zip(present, related, strict=True) if not is_related)
    if any(related) or len(present) < 2:
        return
    theirs = cut[layout.negatives[other].clamp(min=0)][None]
    count, key = torch.tensor([len(present)]), layout.rows[other][None]
    mixes = [mix_pairs(theirs, count, key, draw)[0] for draw in range(config.pair_mixes)]
    if config.list_mixes:
        mixes.append(mix_list(cut[layout.queries[other]][None], theirs, count, config.list_temperature)[0])
    yield from (query @ (mix.detach() if config.mix_detached else mix) for mix in mixes)


def _directions(cut, layout, row, other, config):
    """Query to query and positive to positive."""
    text = layout.texts[layout.queries[other]]
    if config.query_query and other != row and not _related(layout, row, text, layout.labels[other]):
        yield cut[layout.queries[row]] @ cut[layout.queries[other]]
    if config.positive_positive and not _answers(layout, row, other):
        yield cut[layout.positives[row]] @ cut[layout.positives[other]]


def _distilled(cut, layout, row, config):
    pairs = []
    rows = [row] if config.distill_candidates == "group" else range(len(layout))
    for other in rows:
        if layout.teachers[other] != layout.teachers[row]:
            continue
        for column, place in enumerate([layout.positives[other], *layout.negatives[other]]):
            if place >= 0:
                by_teacher = layout.taught[row, 0].double() @ layout.taught[other, 1 + column].double()
                pairs.append((by_teacher, cut[layout.queries[row]] @ cut[place]))
    divergence = _divergence(pairs, config)
    if config.distill_candidates == "texts":
        mates = [o for o in range(len(layout)) if o != row and layout.teachers[o] == layout.teachers[row]]
        queries, taught = cut[layout.queries], layout.taught[:, 0].double()
        among = [(taught[row] @ taught[other], queries[row] @ queries[other]) for other in mates]
        divergence = (divergence + (_divergence(among, config) if among else 0)) / 2
    return divergence


def _divergence(pairs, config):
    teacher, student = (torch.stack(part)[None] for part in zip(*pairs, strict=True))
    return distillation(teacher, student, temperature=config.distill_temperature)[0]


@pytest.mark.parametrize("switches", SWITCHES[::7], ids="-".join)
def test_the_objective_is_what_the_loops_say(switches):
    config = switch_config(switches)
    vectors, layout = random_case(0)
    assert_close(Objective(config, 8)(vectors, layout).total, row_by_row(vectors, layout, config))


@pytest.mark.parametrize("size", [1, 2, 5])
def test_blocks_of_rows_are_parts_of_the_whole(size):
    config = switch_config(("mixing", "distil-batch", "focal", "matryoshka", "directions"))
    vectors, layout = random_case(3)
    objective = Objective(config, 8)
    whole = objective(vectors, layout)
    parts = [objective(vectors, layout, slice(at, at + size)) for at in range(0, len(layout), size)]
    assert_close(torch.cat([part.total for part in parts]), whole.total, rtol=1e-12, atol=1e-12)
    assert_close(torch.cat([part.hardness for part in parts]), whole.hardness)


def test_blocks_cover_the_rows_once_and_stay_within_the_bound(monkeypatch):
    monkeypatch.setattr("trainer.objective._BLOCK_SIMILARITIES", 100)
    _, layout = random_case(0)
    blocks = Objective(LossConfig(), 8).blocks(layout, slice(2, 6))
    assert list(itertools.chain(*(range(block.start, block.stop) for block in blocks))) == [2, 3, 4, 5]
    assert len(blocks) > 1


def test_hardness_is_one_less_the_probability_of_the_positive():
    vectors = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0], [0.8, 0.6]], dtype=torch.float64)
    layout = plain_layout(queries=[0, 2], positives=[1, 3])
    losses = Objective(LossConfig(temperature=1.0), 2)(vectors, layout)
    # Similarities: first 0.6 to its own and 0.8 to the other, second 0.6 and 0.8.
    probability = math.exp(0.6) / (math.exp(0.6) + math.exp(0.8))
    assert_close(losses.hardness, torch.full((2,), 1 - probability, dtype=torch.float64))
    assert_close(losses.total, torch.full((2,), -math.log(probability), dtype=torch.float64))


def test_a_text_that_answers_a_query_is_never_its_negative():
    # Both rows have the same positive: neither is left with a negative.
    vectors = torch.randn(3, 4, dtype=torch.float64)
    layout = plain_layout(queries=[0, 1], positives=[2, 2])
    assert Objective(LossConfig(), 4)(vectors, layout).total.tolist() == [0.0, 0.0]


def test_answers_to_the_same_query_are_not_each_others_negatives():
    vectors = torch.randn(3, 4, dtype=torch.float64)
    layout = plain_layout(queries=[0, 0], positives=[1, 2])
    assert Objective(LossConfig(), 4)(vectors, layout).total.tolist() == [0.0, 0.0]


def test_texts_of_the_same_class_are_not_each_others_negatives():
    vectors = torch.randn(4, 4, dtype=torch.float64)
    layout = plain_layout(queries=[0, 1], positives=[2, 3], labels=[9, 9])
    assert Objective(LossConfig(), 4)(vectors, layout).total.tolist() == [0.0, 0.0]
    other = plain_layout(queries=[0, 1], positives=[2, 3], labels=[9, 8])
    assert (Objective(LossConfig(temperature=1.0), 4)(vectors, other).total > 0).all()


def test_graded_pairs_are_ranked():
    vectors = torch.randn(6, 8, dtype=torch.float64)
    layout = plain_layout(queries=[0, 1, 2], positives=[3, 4, 5], scores=[0.9, 0.1, 0.5])
    config = LossConfig(dims=(8, 4), weights=(1.0, 0.5))
    by_hand = 0.0
    for dim, weight in ((8, 1.0), (4, 0.5)):
        cut = unit(vectors[:, :dim])
        by_hand = by_hand + weight * cosent((cut[:3] * cut[3:]).sum(1), layout.scores.double(), 20.0)
    assert_close(Objective(config, 8)(vectors, layout, slice(1, 3)).total, by_hand[1:])


def plain_layout(queries, positives, labels=None, scores=None):
    rows = len(queries)
    texts = torch.arange(1, 1 + max(*queries, *positives) + 1)
    known = torch.stack([texts[torch.tensor(queries)], texts[torch.tensor(positives)]], dim=1)
    return Layout(
        texts=texts,
        queries=torch.tensor(queries),
        positives=torch.tensor(positives),
        negatives=torch.zeros(rows, 0, dtype=torch.int64),
        negative_labels=torch.zeros(rows, 0, dtype=torch.int64),
        labels=torch.tensor(labels or [0] * rows),
        known=known,
        rows=torch.arange(rows),
        scores=torch.tensor(scores or [0.0] * rows),
        graded=scores is not None,
        teachers=torch.full((rows,), -1),
        taught=torch.zeros(rows, 2, 0),
    )


def test_a_row_whose_teacher_teaches_no_other_learns_from_its_candidates_alone():
    config = switch_config(("distil-texts",))
    vectors, layout = random_case(0)
    alone = layout.with_tensors({"teachers": torch.tensor([3, 0, 0, -1, -1, 0, 0])})
    leaf = vectors.clone().requires_grad_()
    losses = Objective(config, 8)(leaf, alone).total
    assert_close(losses, row_by_row(vectors, alone, config))
    losses.sum().backward()
    assert leaf.grad.isfinite().all()
