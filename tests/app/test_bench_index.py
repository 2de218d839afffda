"""``kalm bench update`` and ``kalm bench rebuild``: what an index costs that people use while it changes."""

import json
from time import sleep

import pytest

from app.benchmarks import rebuilding

PAUSE_SECONDS = 0.1


def measured(done):
    assert done.code == 0, done.err
    return json.loads(done.out)


def test_only_what_changed_is_embedded_again_by_either_side(cli):
    found = measured(cli("bench", "update", "--documents", "300", "--changed", "0.02"))
    assert found["changed"] == 6
    for side in ("ours", "langchain"):
        fill, update = found[side]["fill"], found[side]["update"]
        assert (fill["documents"], fill["embedded"]) == (300, 300)
        assert (update["documents"], update["embedded"]) == (300, 6)
        assert 0 < update["total"]
    ours = found["ours"]["update"]
    assert ours["passages"] == 300
    assert ours["plan"] + ours["reading"] + ours["writing"] + ours["graph"] <= ours["total"] + 0.05
    assert found["machine"]["cores"] >= 1


@pytest.fixture
def thoughtful(monkeypatch):
    """Those who search think between two questions: without that they leave the rebuild a fourth of a core."""
    ask = rebuilding._Crowd._outcome

    def ask_and_think(crowd, question):
        outcome = ask(crowd, question)
        sleep(PAUSE_SECONDS)
        return outcome

    monkeypatch.setattr(rebuilding._Crowd, "_outcome", ask_and_think)


def test_searches_go_on_while_the_index_is_rebuilt(cli, write, thoughtful):
    write(
        cli.folder / "texts", **{f"{n}.txt": f"Text {n}\n\nBees make honey, and this is number {n}." for n in range(20)}
    )
    found = measured(cli("bench", "rebuild", "--texts", "texts", "--searchers", "3", "--seconds", "0"))
    assert (found["documents"], found["passages"]) == (20, 20)
    for time in ("before", "during", "after"):
        assert found[time]["searches"] >= 100
        assert (found[time]["errors"], found[time]["mixed"], found[time]["first_error"]) == (0, 0, None)
    assert found["before"]["by_version"]["two"] == found["after"]["by_version"]["one"] == 0
    assert found["p95_over_before"] > 0


def test_a_rebuild_without_documents_is_refused(cli, write):
    assert "is no folder" in cli("bench", "rebuild", "--texts", "nowhere").refusal
    write(cli.folder / "texts", **{"a.bin": "x"})
    assert "no document" in cli("bench", "rebuild", "--texts", "texts").refusal
