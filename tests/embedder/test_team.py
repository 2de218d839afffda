"""A pass has fewer threads while they are held up, and all again when they are not."""

import time

import pytest
import torch

from embedder.team import Team
from embedder.turns import Turns


class Clock:
    """Runs with this thread's time on a processor, times what it is told: more than once is a thread held up."""

    def __init__(self):
        self.rate, self._now, self._before = 1.0, 0.0, time.thread_time()

    def __call__(self):
        cpu = time.thread_time()
        self._now += self.rate * (cpu - self._before)
        self._before = cpu
        return self._now

    def skip(self, seconds):
        self._now += seconds


@pytest.fixture
def clock():
    before = torch.get_num_threads()
    yield Clock()
    torch.set_num_threads(before)


def compute(seconds=0.15):
    """Be on a processor for some time."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


def judged(team, clock, rate):
    clock.rate = rate
    compute()
    team.check()
    clock.rate = 1.0
    assert torch.get_num_threads() == team.size
    return team.size


def test_held_up_threads_become_fewer_but_never_none(clock):
    team = Team(clock)
    team.begin(8)
    assert [judged(team, clock, rate) for rate in (1.0, 2.0, 1.0, 2.0, 2.0, 2.0, 1.0)] == [8, 4, 4, 2, 1, 1, 1]


def test_now_and_then_more_are_tried(clock):
    team = Team(clock)
    team.begin(4)
    assert judged(team, clock, 2.0) == 2
    team.try_more()
    assert team.size == 2  # not yet
    clock.skip(0.3)
    clock.rate = 2.0
    team.try_more()
    assert team.size == torch.get_num_threads() == 2  # still held up
    clock.rate = 1.0
    clock.skip(0.3)
    team.try_more()
    assert team.size == 2  # after each failure it waits longer
    clock.skip(0.3)
    team.try_more()
    assert team.size == torch.get_num_threads() == 4
    team.try_more()
    assert team.size == 4


def test_a_moment_says_nothing(clock):
    team = Team(clock)
    clock.rate = 2.0
    for _ in range(4):
        team.begin(2)
        compute(0.01)
        team.check()
    assert team.size == 2


def test_a_share_of_threads_is_of_those_wanted(clock):
    team = Team(clock)
    team.begin(8)
    assert judged(team, clock, 2.0) == 4
    team.begin(2)
    assert torch.get_num_threads() == team.size == 1
    team.begin(8)
    assert torch.get_num_threads() == team.size == 4


def test_a_pass_that_is_held_up_loses_threads_between_its_layers(clock):
    counts = []

    def forward(rows, between=None):
        for _ in range(4):
            compute()
            between()
            counts.append(torch.get_num_threads())
        return torch.zeros(len(rows), 1)

    turns = Turns(forward)
    turns._team = Team(clock)
    torch.set_num_threads(4)
    clock.rate = 2.0
    list(turns.work([[[1, 2]]]))
    assert counts == [2, 1, 1, 1]
