"""Gradients through the cache are those of the plain backward pass over the whole batch, to 1e-9 in float64.

KALM_TEST_SWITCHES=all tries every combination of switches, else every fifth.
"""

import os

import pytest
import torch
from trainer_cases import SWITCHES, random_case, switch_config

from trainer.collate import Chunk
from trainer.config import RuntimeConfig
from trainer.distributed import Processes
from trainer.gradcache import cached_backward, objective_gradient
from trainer.objective import Objective
from trainer.step import _held

_TOLERANCE = 1e-9


class Network(torch.nn.Module):
    """A network with dropout, as an encoder of rows."""

    def __init__(self, dropout):
        super().__init__()
        torch.manual_seed(11)
        self.layers = torch.nn.Sequential(
            torch.nn.Linear(6, 16), torch.nn.Tanh(), torch.nn.Dropout(dropout), torch.nn.Linear(16, 8)
        ).double()

    def forward(self, chunk):
        return self.layers(chunk)

    def gradients(self):
        found = [parameter.grad.clone() for parameter in self.parameters()]
        self.zero_grad()
        return found


def plain(network, inputs, sizes, objective, layout):
    """All chunks with their graphs at once: the oracle."""
    torch.manual_seed(5)
    vectors = torch.cat([network(chunk) for chunk in inputs.split(sizes)])
    losses = objective(vectors, layout).total
    losses.mean().backward()
    return network.gradients(), losses.detach(), torch.get_rng_state()


def cached(network, inputs, sizes, objective, layout, held=0):
    torch.manual_seed(5)
    found = []

    def gradient_of(vectors):
        assert not vectors.requires_grad
        gradient, losses, _ = objective_gradient(objective, vectors, layout, slice(0, len(layout)))
        found.append(losses)
        return gradient

    cached_backward(network, inputs.split(sizes), gradient_of, held)
    return network.gradients(), found[0], torch.get_rng_state()


def assert_same(first, second):
    for ours, theirs in zip(first[0], second[0], strict=True):
        assert (ours - theirs).abs().max() <= _TOLERANCE
    assert (first[1] - second[1]).abs().max() <= _TOLERANCE
    assert (first[2] == second[2]).all(), "what is drawn after the step is another"


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_equal_for_every_combination_of_switches(dropout, monkeypatch):
    monkeypatch.setattr("trainer.objective._BLOCK_SIMILARITIES", 220)  # several blocks of rows
    network = Network(dropout)
    inputs = torch.randn(28, 6, dtype=torch.float64)
    assert len(SWITCHES) == 384
    step = 1 if os.environ.get("KALM_TEST_SWITCHES") == "all" else 5
    for number, switches in enumerate(SWITCHES[::step]):
        objective = Objective(switch_config(switches), 8)
        _, layout = random_case(number % 5)
        parts = (inputs, [10, 10, 5, 3], objective, layout)
        assert_same(cached(network, *parts, held=number % 5), plain(network, *parts))


@pytest.mark.parametrize(
    "sizes", [[28], [1] * 28, [27, 1], [1, 27]], ids=["one", "singles", "last-small", "first-small"]
)
def test_equal_however_the_batch_is_cut(sizes):
    network = Network(0.3)
    inputs = torch.randn(28, 6, dtype=torch.float64)
    _, layout = random_case(1)
    parts = (inputs, sizes, Objective(switch_config(("mixing", "focal", "matryoshka", "distil-batch")), 8), layout)
    assert_same(cached(network, *parts), plain(network, *parts))


def test_without_replaying_the_random_state_the_gradients_would_differ(monkeypatch):
    network = Network(0.5)
    inputs = torch.randn(28, 6, dtype=torch.float64)
    _, layout = random_case(1)
    parts = (inputs, [10, 10, 8], Objective(switch_config(()), 8), layout)
    expected = plain(network, *parts)
    monkeypatch.setattr("trainer.gradcache._set_random_state", lambda state: None)
    with pytest.raises(AssertionError):
        assert_same(cached(network, *parts), expected)


def test_graded_pairs_go_through_the_cache_too():
    network = Network(0.3)
    inputs = torch.randn(28, 6, dtype=torch.float64)
    _, layout = random_case(2)
    layout = layout.with_tensors({"scores": torch.rand(len(layout))})
    graded = type(layout)(**{name: getattr(layout, name) for name in layout.__slots__} | {"graded": True})
    parts = (inputs, [20, 8], Objective(switch_config(("matryoshka",)), 8), graded)
    assert_same(cached(network, *parts), plain(network, *parts))


@pytest.mark.parametrize("held", [0, 1, 3, 7])
def test_no_more_graphs_are_alive_than_are_granted(held):
    network = Network(0.0)
    alive, most, passes = set(), 0, 0

    def encode(chunk):
        nonlocal most, passes
        passes += 1
        vectors = network(chunk)
        if vectors.requires_grad:
            key = object()
            alive.add(key)
            most = max(most, len(alive))
            vectors.register_hook(lambda gradient: alive.discard(key))
        return vectors

    chunks = torch.randn(28, 6, dtype=torch.float64).split(4)
    cached_backward(encode, chunks, torch.ones_like, held)
    assert most == max(1, held)
    assert passes == 2 * 7 - held


@pytest.mark.parametrize(
    ("room", "chunks", "held"),
    [(0, [10] * 4, 0), (9, [10] * 4, 0), (10, [10] * 4, 1), (39, [10] * 4, 3), (40, [10] * 4, 4), (10, [10] * 20, 0)],
)
def test_graphs_are_kept_within_the_tokens_granted_and_where_they_count(room, chunks, held):
    made = [Chunk([0], torch.zeros(1, tokens), torch.ones(1, tokens)) for tokens in chunks]
    runtime = RuntimeConfig(graph_tokens=room)
    assert _held(made, Processes("cpu"), runtime) == held
