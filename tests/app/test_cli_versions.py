"""Versions of an index from the command line: rebuilt, checked, put in use, gone back from."""

import json

import pytest


@pytest.fixture
def shelf(cli, write):
    """A folder that is a corpus of the test's own, built."""
    root = write(cli.folder / "shelf", **{"a.md": "# Apples\n\nApples grow on trees.\n", "b.txt": "Bees make honey.\n"})
    cli("corpus", "add", "shelf", "shelf")
    assert cli("index", "build", "shelf").code == 0
    return root


def done(outcome):
    assert outcome.code == 0, outcome.err
    return outcome.out


def versions(cli):
    found = json.loads(done(cli("index", "versions", "shelf", "--json")))
    return [(each["is_live"], each["waits"], each["generation"]["documents"]) for each in found]


def test_a_version_is_rebuilt_checked_and_put_in_use(cli, shelf):
    (shelf / "c.txt").write_text("Cats sleep.\n")
    (cli.folder / "golden.jsonl").write_text(json.dumps({"query": "honey", "uri": "b.txt"}))
    shown = done(cli("index", "rebuild", "shelf", "--golden", "golden.jsonl"))
    assert "3 documents, 3 passages" in shown
    assert "is in use; kalm index rollback shelf goes back" in shown
    assert versions(cli) == [(True, False, 3), (False, False, 2)]
    assert "in use again" in done(cli("index", "rollback", "shelf"))
    assert versions(cli) == [(False, True, 3), (True, False, 2)]
    assert "kept" not in done(cli("index", "versions", "shelf"))


def test_as_many_versions_are_kept_as_are_wanted(cli, shelf):
    [first] = json.loads(done(cli("index", "versions", "shelf", "--json")))
    for name in ("c.txt", "d.txt"):
        (shelf / name).write_text(f"Cats of {name} sleep.\n")
        done(cli("index", "build", "shelf", KALM_KEPT_VERSIONS="3"))
    number = str(first["generation"]["number"])
    assert f"Version {number} of shelf is in use again" in done(cli("index", "rollback", "shelf", "--to", number))
    assert versions(cli) == [(False, True, 4), (False, True, 3), (True, False, 2)]


def test_what_is_held_waits_and_fails_its_checks_in_the_open(cli, shelf):
    (shelf / "b.txt").unlink()
    shown = done(cli("index", "rebuild", "shelf", "--hold"))
    assert "passed: passages: 1 of 1 passages are there." in shown
    assert "FAILED: documents: 1 documents, 2 in the version in use." in shown
    refused = cli("index", "swap", "shelf")
    assert refused.code == 1
    assert "was not put in use (documents:" in refused.err
    assert "kalm index discard shelf" in cli("index", "build", "shelf").err
    done(cli("index", "swap", "shelf", "--force"))
    assert versions(cli)[0] == (True, False, 1)


def test_a_worker_builds_a_version_that_waits(cli, shelf):
    assert "kalm index swap shelf" in done(cli("index", "rebuild", "shelf", "--detach"))
    done(cli("worker", "--once"))
    assert versions(cli) == [(False, True, 2), (True, False, 2)]
    assert "passed: recall" in done(cli("index", "check", "shelf"))
    assert "is removed" in done(cli("index", "discard", "shelf"))
    assert versions(cli) == [(True, False, 2)]


def test_a_version_is_rebuilt_with_the_model_and_the_width_asked_for(cli, shelf, tiny_checkpoint):
    assert "has no vectors of 17 dimensions; it has 32, 16" in cli("index", "rebuild", "shelf", "--dim", 17).refusal
    refused = cli("index", "rebuild", "shelf", "--model", "nothing-of-this-name").refusal
    assert "nothing-of-this-name" in refused
    other = tiny_checkpoint("llama")
    done(cli("index", "rebuild", "shelf", "--model", other, "--dim", 16))
    live = json.loads(done(cli("index", "versions", "shelf", "--json")))[0]
    assert (live["is_live"], live["generation"]["manifest"]["dim"]) == (True, 16)
    assert live["generation"]["manifest"]["model"] == str(other)
    done(cli("index", "rebuild", "shelf", "--dim", 8, "--detach"))
    assert json.loads(done(cli("jobs", "--json")))[0]["manifest"]["dim"] == 8


def test_what_nobody_needs_is_listed_and_removed_when_told_so(cli, shelf):
    assert done(cli("index", "clean")) == "Nothing is unused.\n"
    left = cli.data / "indexes" / "gone"
    left.mkdir()
    (left / "points").write_bytes(b"x" * 200_000)
    listed = done(cli("index", "clean"))
    assert str(left) in listed
    assert "0.2 MB are unused; kalm index clean --remove removes them." in listed
    assert left.exists()
    assert "0.2 MB are free again." in done(cli("index", "clean", "--remove"))
    assert not left.exists()


def test_a_build_and_a_rebuild_do_not_end_each_other(cli, shelf):
    done(cli("index", "rebuild", "shelf", "--detach"))
    refused = cli("index", "build", "shelf")
    assert (refused.code, "A rebuild of shelf is queued (run 2); finish it" in refused.err) == (1, True)
    done(cli("index", "rebuild", "shelf"))
    assert versions(cli) == [(True, False, 2), (False, False, 2)]


@pytest.mark.parametrize("command", ["swap", "check", "discard"])
def test_where_nothing_waits_one_sentence_says_so(cli, shelf, command):
    assert "kalm index rebuild shelf builds one" in cli("index", command, "shelf").err
