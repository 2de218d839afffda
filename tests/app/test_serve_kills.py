"""A server killed while the index it serves is swapped: the next one answers from what is in use.

KALM_TEST_KILLS=200 python -m pytest tests/app/test_serve_kills.py kills ten of them.
"""

import itertools
import json
import os
import random
import threading
import time
import urllib.error
import urllib.request
from contextlib import contextmanager

import pytest

KILLS = max(1, int(os.environ.get("KALM_TEST_KILLS", "0")) // 20)
OLD, NEW = {"steady.txt", "old.txt"}, {"steady.txt", "new.txt"}


@pytest.fixture
def shelf(cli, write):
    """A corpus with a version in use and another one that waits."""
    folder = write(cli.folder / "shelf", **{"steady.txt": "Bees make honey.", "old.txt": "Old honey crystallises."})
    for words in (("corpus", "add", "shelf", "shelf"), ("index", "build", "shelf")):
        assert cli(*words).code == 0
    (folder / "old.txt").unlink()
    write(folder, **{"new.txt": "New honey flows."})
    assert cli("index", "rebuild", "shelf", "--hold").code == 0
    return cli


def ask(server, number):
    """The files that a server finds, or None where it does not answer any more."""
    body = {"corpus": "shelf", "query": f"honey {number}", "mode": "keyword"}
    request = urllib.request.Request(f"{server.url}/v1/search", json.dumps(body).encode())
    request.add_header("Content-Type", "application/json")
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return {result["uri"] for result in json.load(answer)["results"]}
    except urllib.error.HTTPError:
        raise
    except OSError:
        return None


def in_use(cli):
    """The files of the version in use, by the catalog."""
    versions = json.loads(cli("index", "versions", "shelf", "--json").out)
    return NEW if versions[0]["is_live"] else OLD


@contextmanager
def swapped_for_ever(cli):
    """The two versions in use by turns."""
    is_over, words = threading.Event(), itertools.cycle((("swap", "shelf", "--force"), ("rollback", "shelf")))
    if in_use(cli) == NEW:
        next(words)

    def swap():
        while not is_over.is_set():
            verb, *rest = next(words)
            assert cli("index", verb, *rest).code == 0

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def test_a_server_killed_during_swaps_comes_back_on_the_version_in_use(shelf, serve, tiny_model):
    numbers = itertools.count()
    for seed in range(KILLS):
        with serve(shelf.data, KALM_MODEL=tiny_model) as server:
            assert ask(server, next(numbers)) == in_use(shelf)
            with swapped_for_ever(shelf):
                end = time.monotonic() + random.Random(seed).uniform(0, 2)
                while time.monotonic() < end:
                    assert ask(server, next(numbers)) in (OLD, NEW)
                server.process.kill()
            assert ask(server, next(numbers)) is None
    with serve(shelf.data, KALM_MODEL=tiny_model) as server:
        assert ask(server, next(numbers)) == in_use(shelf)
        clones = {path.name for path in (shelf.data / "indexes/shelf/readers").iterdir()} - {"reader.lock"}
        assert len(clones) == 1, "what the dead had open is still there"
