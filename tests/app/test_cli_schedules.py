"""Watched corpora, schedules and addresses from the command line, and a real worker that acts on them."""

import http.server
import signal
import threading
import time
from contextlib import nullcontext
from functools import partial

import pytest

from indexer.readers.process import ReaderProcess

_WAIT_SECONDS = 300


@pytest.fixture(scope="module")
def reader():
    """One child for all tests: it takes a second until it has loaded what the readers need."""
    with ReaderProcess() as process:
        yield process


@pytest.fixture(autouse=True)
def _read_by_one_child(reader, monkeypatch):
    monkeypatch.setattr("indexer.pipeline.ReaderProcess", lambda: nullcontext(reader))


@pytest.fixture
def shelf(cli, write):
    """A folder that is a corpus of the test's own, not built yet."""
    root = write(cli.folder / "shelf", **{"a.md": "# Apples\n\nApples grow on trees.\n"})
    assert cli("corpus", "add", "shelf", "shelf").code == 0
    return root


@pytest.fixture
def site(tmp_path, write):
    """A web server on a folder."""
    folder = write(tmp_path / "site", **{"a.md": "# Apples\n\nApples grow on trees.\n"})

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", folder
        server.shutdown()


# Words


def test_watching_is_told_and_taken_back(cli, shelf):
    said = cli("corpus", "watch", "shelf").out
    assert said == "shelf is watched: kalm worker builds it when its folder has been at rest for 2 s.\n"
    said = cli("corpus", "watch", "shelf", "--poll", 60, "--quiet", 5).out
    assert "when its folder, looked through every 60 s, has been at rest for 5 s" in said
    assert cli("corpus", "list").out.split()[-2] == "watched"
    assert "By itself: watched.\n" in cli("index", "status", "shelf").out
    assert cli("corpus", "watch", "shelf", "--off").out == "shelf is not watched.\n"
    assert "By itself" not in cli("index", "status", "shelf").out
    assert "There is no corpus novels" in cli("corpus", "watch", "novels").refusal


def test_a_schedule_is_told_and_taken_back(cli, shelf):
    said = cli("corpus", "schedule", "shelf", "30 4 * * *", "--timezone", "Asia/Shanghai").out
    assert said.startswith("shelf has a schedule: kalm worker builds it at 20")
    assert said.endswith(" 20:30 UTC next.\n")
    assert "30 4 * * * Asia/Shanghai" in cli("corpus", "list").out
    status = cli("index", "status", "shelf").out
    assert "By itself: 30 4 * * * Asia/Shanghai; built at 20" in status
    assert cli("corpus", "schedule", "shelf", "--off").out == "shelf has no schedule.\n"
    assert "By itself" not in cli("index", "status", "shelf").out


def test_what_is_no_schedule_is_one_sentence(cli, shelf):
    assert cli("corpus", "schedule", "shelf").refusal.startswith("'' is no schedule (it should have 5 fields); write")
    assert (
        "There is no time zone 'Nowhere'"
        in cli("corpus", "schedule", "shelf", "0 3 * * *", "--timezone", "Nowhere").refusal
    )
    assert "There is no corpus novels" in cli("corpus", "schedule", "novels", "0 3 * * *").refusal


# Addresses


def test_a_corpus_at_an_address_is_built_and_searched(cli, site):
    url, folder = site
    assert cli("corpus", "add", "web", url).out == f"The corpus web stands for {url}.\n"
    assert cli("corpus", "add", "web", url).code == 0
    assert cli("corpus", "list").out.split()[-1] == url
    assert cli("index", "build", "web").out.startswith("web: 1 documents written")
    (folder / "b.txt").write_text("Bees make honey.\n")
    assert "look at 1 new or changed files" in cli("index", "status", "web").out
    assert cli("index", "build", "web").out.startswith("web: 1 documents written")
    assert "b.txt" in cli("search", "web", "honey", "--mode", "keyword").out
    assert "give it a schedule, such as kalm corpus schedule web" in cli("corpus", "watch", "web").refusal
    assert "already stands for" in cli("corpus", "add", "web", f"{url}/a.md").refusal


def test_an_address_that_cannot_be_a_corpus_is_one_sentence(cli):
    refused = cli("corpus", "add", "web", "https://key:hunter2@example.org/docs")
    assert "give it to the driver of https:// by the environment" in refused.refusal
    assert "hunter2" not in refused.err
    assert "cannot be had (" in cli("corpus", "add", "web", "http://127.0.0.1:1/docs").refusal
    assert "names another machine" in cli("corpus", "add", "web", "file://server/docs").refusal
    assert "There are no corpora yet" in cli("corpus", "list").out


def test_an_address_of_a_folder_here_is_that_folder(cli, shelf):
    root = shelf.rename(shelf.with_name("a shelf"))
    url = root.as_uri()
    assert "%20" in url
    assert cli("corpus", "add", "same", url).out == f"The corpus same stands for {root}.\n"
    assert cli("corpus", "watch", "same").code == 0


# Workers


def test_a_worker_that_is_to_end_looks_at_what_is_watched(cli, shelf):
    cli("corpus", "watch", "shelf")
    worked = cli("worker", "--once")
    assert (worked.code, worked.out, worked.err) == (0, "", "")
    assert "shelf: 1 documents" in cli("index", "status", "shelf").out
    (shelf / "b.txt").write_text("Bees make honey.\n")
    cli("index", "build", "shelf", "--detach")
    (shelf / "c.txt").write_text("Cats sleep.\n")  # since the plan of that run
    cli("worker", "--once")
    assert "shelf: 3 documents" in cli("index", "status", "shelf").out


def test_a_worker_sees_a_new_file_and_the_index_in_use_has_it(cli, shelf, start, tiny_model):
    cli("index", "build", "shelf")
    cli("corpus", "watch", "shelf", "--quiet", 0.2)
    with start(cli.data, "worker", KALM_MODEL=tiny_model) as worker:
        try:
            assert worker.stderr.readline() == "Waiting for builds (Ctrl-C ends it).\n"
            (shelf / "b.txt").write_text("Bees make honey.\n")
            deadline = time.monotonic() + _WAIT_SECONDS
            while "b.txt" not in cli("search", "shelf", "honey", "--mode", "keyword").out:
                assert worker.poll() is None, worker.stderr.read()
                assert time.monotonic() < deadline
                time.sleep(0.5)
        finally:
            worker.send_signal(signal.SIGTERM)
            said = worker.communicate(timeout=60)
    assert (worker.returncode, said) == (0, ("", ""))
