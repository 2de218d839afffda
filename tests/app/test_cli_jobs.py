"""Builds as runs: planned, queued, worked on, paused, cancelled and retried from the command line."""

import json
import shutil
import signal

import pytest

_BITS = {"float32": 32, "int8": 8, "binary": 1}


@pytest.fixture
def shelf(cli, write):
    """A folder that is a corpus of the test's own, not built yet."""
    root = write(cli.folder / "shelf", **{"a.md": "# Apples\n\nApples grow on trees.\n", "b.txt": "Bees make honey.\n"})
    assert cli("corpus", "add", "shelf", "shelf").code == 0
    return root


def jobs(cli, *arguments):
    """What kalm jobs says as JSON."""
    shown = cli("jobs", *arguments, "--json")
    assert shown.code == 0, shown.err
    return json.loads(shown.out)


# Plans


def test_a_plan_tells_what_is_to_do_and_does_nothing(cli, shelf):
    before = cli("index", "plan", "shelf").out
    assert "How long it takes is not known: no build with" in before
    assert "known after the first build" in before
    assert cli("jobs").out.startswith("There were no builds yet")

    (shelf / "broken.pdf").write_bytes(b"%PDF-1.7 and then nothing that a PDF should hold")
    cli("index", "build", "shelf")
    (shelf / "a.md").write_text("# Pears\n\nPears grow on trees as well.\n")
    (shelf / "b.txt").rename(shelf / "moved.txt")
    (shelf / "new.txt").write_text("Cats sleep.\n")
    ahead = json.loads(cli("index", "plan", "shelf", "--json").out)
    assert {kind: share["files"] for kind, share in ahead["shares"].items()} == {
        "add": ["new.txt"],
        "update": ["a.md"],
        "move": ["moved.txt"],
        "delete": [],
        "unchanged": ["broken.pdf"],
        "failed_before": ["broken.pdf"],
    }
    assert ahead["shares"]["move"]["bytes"] == len("Bees make honey.\n")
    assert ahead["moved_from"] == ["b.txt"]
    assert (ahead["measured_in"], ahead["seconds"] > 0) == (1, True)
    width = ahead["storage"][0]["dim"]
    sizes = [(kept["quantisation"], kept["bytes"]) for kept in ahead["storage"]]
    assert sizes == [(name, ahead["passages"] * width * bits // 8) for name, bits in _BITS.items()]

    shown = cli("index", "plan", "shelf").out
    assert "  moved: b.txt -> moved.txt" in shown
    assert "at the speed of run 1." in shown
    assert "failed before" in shown
    assert [run["id"] for run in jobs(cli)] == [1]


def test_a_rebuild_is_planned_over_every_file_with_the_model_asked_for(cli, shelf, tiny_checkpoint):
    cli("index", "build", "shelf")
    ahead = json.loads(cli("index", "plan", "shelf", "--rebuild", "--json").out)
    assert (ahead["shares"]["add"]["files"], ahead["shares"]["unchanged"]["files"]) == (["a.md", "b.txt"], [])
    assert (ahead["measured_in"], ahead["passages"], ahead["seconds"] > 0) == (1, 2, True)
    assert {kept["dim"] for kept in ahead["storage"]} == {32, 16, 8}
    other = tiny_checkpoint("llama")
    shown = cli("index", "plan", "shelf", "--model", other).out
    assert f"no build with {other} has been measured" in shown
    assert "no build with nothing-of-this-name" in cli("index", "plan", "shelf", "--model", "nothing-of-this-name").out


def test_a_plan_says_that_an_index_read_otherwise_has_to_be_rebuilt(cli, shelf, monkeypatch):
    cli("index", "build", "shelf")
    monkeypatch.setattr("app.services.indexing.READER_VERSION", "later")
    for shown in (cli("index", "plan", "shelf").out, cli("index", "status", "shelf").out):
        assert "kalm index rebuild shelf builds a new version" in shown
    assert json.loads(cli("index", "plan", "shelf", "--json").out)["must_be_rebuilt"]
    shutil.rmtree(next(cli.data.glob("indexes/shelf/generation-*")))
    assert "cannot be made again as it was" in cli("doctor", "shelf", "--repair", "--json").refusal


# Runs


def test_a_detached_build_is_carried_out_by_a_worker(cli, shelf):
    said = cli("index", "build", "shelf", "--detach").out
    assert said.startswith("Run 1 of shelf is queued: 2 files, 0.0 MB.")
    assert cli("index", "build", "shelf", "--detach").out == said  # the same run, not another
    [run] = jobs(cli)
    assert (run["state"], run["files"], run["files_done"], run["finished"]) == ("queued", 2, 0, None)

    worked = cli("worker", "--once")
    assert (worked.code, worked.out, worked.err) == (0, "", "")
    run = jobs(cli, "show", 1)
    assert (run["state"], run["files_done"], run["documents"], run["failures"]) == ("done", 2, 2, {})
    assert cli("index", "build", "shelf", "--detach").out == "shelf is up to date: 2 files, nothing changed.\n"
    assert "b.txt" in cli("search", "shelf", "honey", "--mode", "keyword").out


def test_a_build_goes_on_with_what_is_queued_and_then_with_what_is_new(cli, shelf):
    cli("index", "build", "shelf", "--detach")
    (shelf / "c.txt").write_text("Cats sleep.\n")
    built = cli("index", "build", "shelf").out
    assert built.startswith("shelf: 3 documents written as 3 passages, 0 taken out")
    assert [run["state"] for run in jobs(cli)] == ["done", "done"]


def test_a_paused_build_waits_until_it_is_resumed(cli, shelf):
    cli("index", "build", "shelf", "--detach")
    assert cli("jobs", "pause", 1).out == "Run 1 of shelf is paused.\n"
    assert cli("worker", "--once").code == 0
    assert "is paused (run 1); let it go on with kalm jobs resume 1" in cli("index", "build", "shelf").refusal
    resumed = "Run 1 of shelf is queued; kalm worker or kalm index build shelf carries it out.\n"
    assert cli("jobs", "resume", 1).out == resumed
    assert cli("index", "build", "shelf").out.startswith("shelf: 2 documents written")


def test_a_cancelled_build_leaves_nothing_behind(cli, shelf):
    cli("index", "build", "shelf", "--detach")
    assert cli("jobs", "cancel", 1).out == "Run 1 of shelf is cancelled.\n"
    assert cli("index", "status", "shelf").out.startswith("shelf: not built yet.")
    assert "cancelled and cannot be resumed" in cli("jobs", "resume", 1).refusal
    assert cli("index", "build", "shelf").out.startswith("shelf: 2 documents written")


def test_failed_files_are_shown_and_retried_alone(cli, shelf):
    (shelf / "broken.pdf").write_bytes(b"%PDF-1.7 and then nothing that a PDF should hold")
    cli("index", "build", "shelf")
    shown = cli("jobs", "show", 1).out
    assert shown.startswith("Run 1 of shelf is done: 3 of 3 files")
    assert "  failed: broken.pdf: " in shown
    assert cli("jobs").out.splitlines()[-2].split()[:6] == ["1", "shelf", "done", "3/3", "1", "2"]
    assert cli("jobs", "retry", 1).out.startswith("Run 2 of shelf is queued")
    assert jobs(cli)[0]["files"] == 1
    cli("worker", "--once")
    assert list(jobs(cli, "show", 2)["failures"]) == ["broken.pdf"]
    (shelf / "broken.pdf").unlink()
    assert "there is nothing to retry" in cli("jobs", "retry", 2).refusal


def test_a_queued_build_of_another_model_gives_way_to_the_one_asked_for(cli, shelf, tiny_checkpoint):
    cli("index", "build", "shelf", "--detach")
    other = {"KALM_MODEL": tiny_checkpoint("llama")}
    assert cli("index", "build", "shelf", **other).out.startswith("shelf: 2 documents written")
    assert [run["state"] for run in jobs(cli)] == ["done", "cancelled"]
    cli("index", "build", "shelf", "--fresh", "--detach", **other)
    assert jobs(cli)[0]["base"] is None


def test_a_run_whose_model_is_gone_fails_and_the_others_are_carried_out(cli, shelf, write, tiny_checkpoint):
    model = shutil.copytree(tiny_checkpoint(), cli.folder / "model")
    cli("index", "build", "shelf", "--detach", KALM_MODEL=model)
    write(cli.folder / "other", **{"c.txt": "Cats sleep.\n"})
    cli("corpus", "add", "other", "other")
    cli("index", "build", "other", "--detach")
    shutil.rmtree(model)
    worked = cli("worker", "--once")
    assert worked.code == 0
    assert worked.err.startswith("kalm: run 1 of shelf: ")
    assert [run["state"] for run in jobs(cli)] == ["done", "failed"]
    assert jobs(cli)[1]["error"]


@pytest.mark.parametrize("command", ["show", "pause", "resume", "cancel", "retry"])
def test_a_run_that_is_not_there_is_said_in_one_line(cli, command):
    assert cli("jobs", command, 7).refusal == "There is no run 7; kalm jobs lists them."


@pytest.mark.parametrize("asked", ["show", "pause", "resume", "cancel", "retry", "--limit"])
def test_a_number_that_no_database_holds_is_out_of_range(cli, asked):
    done = cli("jobs", asked, 99999999999999999999)
    assert (done.code, done.out) == (2, "")
    assert "2147483647" in done.err


def test_a_worker_ends_when_it_is_told_to(start, tmp_path):
    with start(tmp_path, "worker") as worker:
        assert worker.stderr.readline() == "Waiting for builds (Ctrl-C ends it).\n"
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(timeout=60) == 0
        assert (worker.stdout.read(), worker.stderr.read()) == ("", "")
