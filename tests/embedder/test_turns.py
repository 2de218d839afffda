"""Threads share one forward pass: everybody gets their own vectors, in a fair order, whatever goes wrong."""

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from embedder.turns import BATCH_TOKENS, COMPANY_SECONDS, LIST_TOKENS, SLICE_TOKENS, EncoderBusy, Turns, in_passing

PATIENCE = 60


@pytest.fixture
def threads():
    """Sets how many threads of torch's this one is set to."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


class Model:
    """Adds up ids, layer by layer, and says what it was given; ``gates`` hold it up before a layer until opened."""

    def __init__(self, layers=1, gates=0):
        self.layers = layers
        self.passes = []
        self.reached = [threading.Event() for _ in range(gates)]
        self.opened = [threading.Event() for _ in range(gates)]
        self.computing = 0

    def __call__(self, rows, between=None):
        number = len(self.passes)
        self.passes.append([list(row) for row in rows])
        for _ in range(self.layers):
            if number < len(self.reached):
                self.reached[number].set()
                assert self.opened[number].wait(PATIENCE)
            if between:
                between()
            self.computing += 1
            assert self.computing == 1
            self.computing -= 1
        return torch.tensor([[float(sum(row))] for row in rows])


def work(turns, rows):
    """A list in one part."""
    (vectors,) = turns.work([rows])
    return vectors


def ask(turns, rows):
    return turns.ask(rows)


def start(pool, model, turns, gate, call, rows):
    """Begin a pass and wait until it stands before its first layer."""
    running = pool.submit(call, turns, rows)
    assert model.reached[gate].wait(PATIENCE)
    return running


def wait_until(condition):
    for _ in range(PATIENCE * 1000):
        if condition():
            return
        threading.Event().wait(0.001)
    raise AssertionError("it never came true")


@settings(max_examples=25)
@given(lists=st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=5), min_size=1, max_size=12))
def test_everybody_gets_their_own(lists):
    turns = Turns(Model(layers=3))
    with ThreadPoolExecutor(6) as pool:
        calls = [ask, work]
        found = [pool.submit(calls[i % 2], turns, [[value] for value in row]) for i, row in enumerate(lists)]
        for row, future in zip(lists, found, strict=True):
            assert future.result(PATIENCE)[:, 0].tolist() == row


def test_questions_that_wait_go_together():
    model = Model(gates=1)
    turns = Turns(model)
    with ThreadPoolExecutor(10) as pool:
        first = start(pool, model, turns, 0, ask, [[1]])
        others = [pool.submit(turns.ask, [[number]]) for number in range(2, 10)]
        wait_until(lambda: len(turns._questions) == 8)
        model.opened[0].set()
        assert [int(other.result(PATIENCE)) for other in others] == list(range(2, 10))
        assert int(first.result(PATIENCE)) == 1
    assert len(model.passes) == 2
    assert sorted(model.passes[1]) == [[number] for number in range(2, 10)]


def test_a_list_lets_questions_through_before_it_ends():
    model = Model(layers=4, gates=1)
    turns = Turns(model)
    with ThreadPoolExecutor(3) as pool:
        bulk = start(pool, model, turns, 0, work, [[5]] * 100)
        question = pool.submit(turns.ask, [[7]])
        wait_until(lambda: len(turns._questions) == 1)
        model.opened[0].set()
        assert int(question.result(PATIENCE)) == 7
        assert bulk.result(PATIENCE).sum() == 500
    assert [len(rows) for rows in model.passes] == [100, 1]


def test_short_lists_that_wait_go_together_and_long_ones_take_turns():
    model = Model(gates=1)
    turns = Turns(model)
    with ThreadPoolExecutor(5) as pool:
        running = [start(pool, model, turns, 0, work, [[0]])]
        sizes = [LIST_TOKENS // 2] * 3 + [LIST_TOKENS // 4]
        for waiting, size in enumerate(sizes, start=1):
            running.append(pool.submit(work, turns, [[waiting] * (size // 2)] * 2))
            wait_until(lambda waiting=waiting: len(turns._lists) == waiting)
        model.opened[0].set()
        sums = [future.result(PATIENCE).flatten().tolist() for future in running]
    assert sums == [[0]] + [[number * (size // 2)] * 2 for number, size in enumerate(sizes, start=1)]
    assert [[row[0] for row in rows] for rows in model.passes] == [[0], [1, 1, 2, 2], [3, 3, 4, 4]]


def test_a_list_that_does_not_fit_is_shared_out():
    model = Model(gates=1)
    turns = Turns(model)
    with ThreadPoolExecutor(3) as pool:
        running = [start(pool, model, turns, 0, work, [[0]])]
        for number in (1, 2):
            running.append(pool.submit(work, turns, [[number] * (LIST_TOKENS // 4)] * 3))
            wait_until(lambda waiting=number: len(turns._lists) == waiting)
        model.opened[0].set()
        assert running[2].result(PATIENCE).flatten().tolist() == [LIST_TOKENS / 2] * 3
    assert [[row[0] for row in rows] for rows in model.passes] == [[0], [1, 1, 1, 2], [2, 2]]


def test_padding_counts_only_where_there_is_any():
    rows = [[1] * (BATCH_TOKENS // 2), *[[1]] * 7]
    for pads, passes in ((True, [1, 2, 6]), (False, [1, 8])):
        model = Model(gates=1)
        turns = Turns(model, pads=pads)
        with ThreadPoolExecutor(9) as pool:
            start(pool, model, turns, 0, ask, [[1]])
            for waiting, row in enumerate(rows, start=1):
                pool.submit(turns.ask, [row])
                wait_until(lambda waiting=waiting, turns=turns: len(turns._questions) == waiting)
            model.opened[0].set()
        assert [len(rows) for rows in model.passes] == passes


def test_one_thread_computes_and_ends_when_nobody_asks(monkeypatch):
    monkeypatch.setattr("embedder.turns._IDLE_SECONDS", 0.05)
    computing = []

    class Watched(Model):
        def __call__(self, rows, between=None):
            computing.append(threading.current_thread())
            return super().__call__(rows, between)

    turns = Turns(Watched())
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(turns.ask, [[[number]] for number in range(20)]))
        list(pool.map(partial(work, turns), [[[number]] for number in range(20)]))
    assert len(set(computing)) == 1
    wait_until(lambda: not computing[0].is_alive())
    assert int(turns.ask([[4]])) == 4


def test_the_model_has_the_threads_of_whoever_asks(threads):
    class Counts(Model):
        def __call__(self, rows, between=None):
            return super().__call__(rows, between) * 0 + torch.get_num_threads()

    turns = Turns(Counts())
    for number in (1, 2, 1):
        threads(number)
        assert int(turns.ask([[4]])) == number


class Side(Model):
    """Computes in several threads at once, and waits in each until so many do."""

    def __init__(self, together):
        super().__init__()
        self.barrier = threading.Barrier(together)
        self.computing = set()
        self.threads = {}

    def __call__(self, rows, between=None):
        self.barrier.wait(PATIENCE)
        self.threads[threading.current_thread().name] = torch.get_num_threads()
        return torch.tensor([[float(sum(row))] for row in rows])


def test_the_parts_of_a_list_are_computed_at_once_each_by_one_thread(threads):
    threads(3)
    model = Side(together=3)
    turns = Turns(model, pads=False)
    parts = list(turns.work([[[number]] * LIST_TOKENS for number in range(6)]))
    assert [part.unique().tolist() for part in parts] == [[number] for number in range(6)]
    assert model.threads == {"encoder": 1, "encoder 2": 1, "encoder 3": 1}


def test_a_list_of_one_part_has_all_threads(threads):
    threads(3)
    model = Side(together=1)
    assert work(Turns(model, pads=False), [[5], [7]]).flatten().tolist() == [5, 7]
    assert model.threads == {"encoder": 3}


def test_a_part_that_several_threads_share_out_comes_back_in_order(threads):
    threads(2)
    turns = Turns(Side(together=2), pads=False)
    turns._asked_at = float("inf")  # somebody asks: small passes
    rows = [[number] * (SLICE_TOKENS // 2) for number in range(16)]
    found = torch.cat(list(turns.work([rows[:8], rows[8:]])))
    assert found.flatten().tolist() == [number * SLICE_TOKENS / 2 for number in range(16)]


def test_an_interrupted_list_leaves_the_line(threads):
    threads(1)
    model = Model(gates=1)
    turns = Turns(model, pads=False)
    with ThreadPoolExecutor(1) as pool:
        start(pool, model, turns, 0, work, [[1]])
        parts = turns.work([[[number]] * LIST_TOKENS for number in range(9)])
        reading = pool.submit(next, parts)
        model.opened[0].set()
        assert reading.result(PATIENCE).unique().item() == 0
        parts.close()
    wait_until(lambda: not turns._lists)
    assert len(model.passes) < 9


STAYS = """
(thread,) = [thread for thread in threading.enumerate() if thread.name == "encoder"]
turns._ending.come()
thread.join(0.2)
assert thread.is_alive()
"""
"""What is computing as the end comes keeps what it holds."""


@pytest.mark.parametrize("end", ["", STAYS], ids=["at once", "watched"])
def test_an_end_of_the_program_waits_for_the_pass_and_not_for_the_list(end):
    program = """
import threading, time, torch
from embedder.turns import Turns
begun = threading.Event()
def forward(rows, between=None):
    print("begun", flush=True)
    begun.set()
    time.sleep(1)
    print("ended", flush=True)
    return torch.zeros(len(rows), 1)
turns = Turns(forward)
for _ in range(9):
    threading.Thread(target=list, args=(turns.work([[[1] * 2000]]),), daemon=True).start()
begun.wait()
"""
    program += end
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=PATIENCE, check=True)
    assert done.stdout.split() == ["begun", "ended"]
    assert not done.stderr


def test_a_list_goes_in_small_passes_while_people_ask():
    model = Model()
    turns = Turns(model)
    long_list = [[1] * 100] * 5 + [[1] * (2 * SLICE_TOKENS)]
    assert work(turns, long_list).flatten().tolist() == [100.0] * 5 + [2.0 * SLICE_TOKENS]
    turns.ask([[7]])
    assert work(turns, long_list).flatten().tolist() == [100.0] * 5 + [2.0 * SLICE_TOKENS]
    assert [len(rows) for rows in model.passes] == [6, 1, 2, 2, 1, 1]
    turns._asked_at -= COMPANY_SECONDS
    work(turns, long_list)
    assert len(model.passes[-1]) == 6


def test_a_pass_of_questions_has_a_bound():
    model = Model(gates=1)
    turns = Turns(model)
    sizes = [BATCH_TOKENS // 2, BATCH_TOKENS // 4, BATCH_TOKENS // 4, BATCH_TOKENS * 3, 1]
    with ThreadPoolExecutor(6) as pool:
        running = [start(pool, model, turns, 0, ask, [[1]])]
        for waiting, size in enumerate(sizes, start=1):
            running.append(pool.submit(turns.ask, [[1] * size]))
            wait_until(lambda waiting=waiting: len(turns._questions) == waiting)
        model.opened[0].set()
        assert [int(future.result(PATIENCE)) for future in running] == [1, *sizes]
    # Padding counts: beside the first, the second is as long as it.
    assert [[len(row) for row in rows] for rows in model.passes[1:]] == [sizes[:2], sizes[2:3], sizes[3:4], sizes[4:]]


def test_too_many_questions_are_refused(refused):
    model = Model(gates=1)
    turns = Turns(model, limit=2)
    with ThreadPoolExecutor(3) as pool:
        running = [start(pool, model, turns, 0, work, [[1]])]
        running += [pool.submit(turns.ask, [[2]]) for _ in range(2)]
        wait_until(lambda: len(turns._questions) == 2)
        with refused(EncoderBusy, "2 questions", "again"):
            turns.ask([[3]])
        model.opened[0].set()
        assert [int(future.result(PATIENCE)) for future in running] == [1, 2, 2]


def test_what_goes_wrong_belongs_to_those_who_asked():
    class Fails(Model):
        def __call__(self, rows, between=None):
            vectors = super().__call__(rows, between)
            if any(13 in row for row in rows):
                raise MemoryError("thirteen")
            return vectors

    model = Fails(layers=2, gates=1)
    turns = Turns(model)
    with ThreadPoolExecutor(3) as pool:
        bulk = start(pool, model, turns, 0, work, [[1]])
        bad = pool.submit(turns.ask, [[13]])
        wait_until(lambda: len(turns._questions) == 1)
        model.opened[0].set()
        with pytest.raises(MemoryError, match="thirteen"):
            bad.result(PATIENCE)
        assert int(bulk.result(PATIENCE)) == 1
    with pytest.raises(MemoryError, match="thirteen"):
        work(turns, [[13]])
    assert int(turns.ask([[4]])) == 4


def test_an_interruption_is_passed_on_and_frees_the_turn():
    class Interrupted(Model):
        def __call__(self, rows, between=None):
            vectors = super().__call__(rows, between)
            if rows[0] == [13]:
                raise KeyboardInterrupt
            return vectors

    turns = Turns(Interrupted())
    for call in (ask, work):
        with pytest.raises(KeyboardInterrupt):
            call(turns, [[13]])
        assert int(call(turns, [[4]])) == 4


def test_under_a_crowd_nobody_waits_for_ever():
    turns = Turns(Model(layers=3))
    with ThreadPoolExecutor(32) as pool:
        futures = [pool.submit(work if n % 7 == 0 else ask, turns, [[n]]) for n in range(1000)]
        assert np.array_equal([int(future.result(PATIENCE)) for future in futures], np.arange(1000))


_LOADED = """
import threading, time
from pathlib import Path
from embedder import Embedder
import torch
torch.set_num_threads(2)
def tasks(): return len(list(Path("/proc/self/task").iterdir()))
before = tasks()
embedder = Embedder.load(dtype="float32")
deadline = time.monotonic() + 20
while tasks() > before and time.monotonic() < deadline:  # the system takes a moment to end them
    time.sleep(0.05)
print(tasks() - before)
embedder.encode_documents(["a text"] * 64)
print([thread.name for thread in threading.enumerate() if thread is not threading.main_thread()])
"""


def test_loading_leaves_no_threads_behind():
    """Those of a second team would be more than the processors, and make every step of a pass wait."""
    done = subprocess.run([sys.executable, "-c", _LOADED], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["0", "['encoder']"]


def test_what_is_computed_in_passing_is_given_or_raised():
    assert in_passing(torch.get_num_threads) == torch.get_num_threads()
    assert in_passing(threading.current_thread) not in threading.enumerate()
    with pytest.raises(ZeroDivisionError):
        in_passing(lambda: 1 / 0)
