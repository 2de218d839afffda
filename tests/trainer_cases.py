"""Batches for the tests of the objective: random, small, and with every special case in them."""

import itertools

import torch

from trainer.config import LossConfig
from trainer.layout import Layout

OPTIONS = {
    "alone": {"in_batch": False},
    "directions": {"query_query": True, "positive_positive": True},
    "margin": {"false_negative_margin": 0.1},
    "focal": {"focal_gamma": 0.5},
    "attached": {"focal_gamma": 0.5, "focal_detached": False},
    "mixing": {"pair_mixes": 2, "list_mixes": 1},
    "detached": {"mix_detached": True},
    "matryoshka": {"dims": (8, 4, 2), "weights": (1.0, 0.3, 0.2)},
    "distil-group": {"distill_weight": 0.7},
    "distil-batch": {"distill_weight": 0.7, "distill_candidates": "batch"},
    "distil-texts": {"distill_weight": 0.7, "distill_candidates": "texts"},
}

_INDEPENDENT = ("directions", "margin", "mixing", "matryoshka", "alone")
SWITCHES = [
    tuple(itertools.compress(_INDEPENDENT, chosen)) + focal + teacher
    for chosen in itertools.product((True, False), repeat=len(_INDEPENDENT))
    for focal in ((), ("focal",), ("attached",))
    for teacher in ((), ("distil-group",), ("distil-batch",), ("distil-texts",))
]
"""Every combination of the switches of the objective."""


def switch_config(switches):
    options = {"temperature": 0.2, "negatives_per_query": 3}
    for switch in switches:
        options |= OPTIONS[switch]
    return LossConfig(**options)


def random_case(seed, rows=7, hard=3, width=8):
    """Vectors and a layout with missing negatives, shared texts, classes, and rows without a teacher."""
    torch.manual_seed(seed)
    texts = 4 * rows
    vectors = torch.randn(texts, width, dtype=torch.float64)
    keys = torch.randint(1, 3 * rows, (texts,))  # some texts are the same
    queries, positives = torch.randint(texts, (rows,)), torch.randint(texts, (rows,))
    negatives = torch.randint(texts, (rows, hard))
    counts = torch.randint(0, hard + 1, (rows,))
    counts[:2] = hard
    there = torch.arange(hard) < counts[:, None]
    known = torch.stack([keys[queries], keys[positives], torch.randint(1, 3 * rows, (rows,))], dim=1)
    taught = torch.nn.functional.normalize(torch.randn(rows, 2 + hard, 5), dim=-1)
    layout = Layout(
        texts=keys,
        queries=queries,
        positives=positives,
        negatives=negatives.where(there, -1),
        negative_labels=torch.randint(0, 4, (rows, hard)),
        labels=torch.randint(0, 4, (rows,)),
        known=known,
        rows=torch.randint(2**40, (rows,)),
        scores=torch.zeros(rows),
        graded=False,
        teachers=torch.tensor([0, 1, -1] * rows)[:rows],
        taught=taught,
    )
    return vectors, layout
