"""One server, other processes beside it that build and search the same index, and what is left when it ends."""

import json
import logging
import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest

from app.services.searching import SearchService
from embedder.errors import AppError
from indexer.records import Corpus

DOCUMENTS = 1500
CALLS = 50


@dataclass(frozen=True)
class Library:
    """A corpus that was built while a server without one was running."""

    root: Path
    data: Path
    server: object
    page: object
    healthz_seconds: list[float]

    def titles(self, words: str) -> list[str]:
        """What the page of the running server finds for words."""
        self.page.goto(f"{self.server.url}/?q={words}&mode=keyword&corpus=library")
        self.page.locator("article.kalm-card, .kalm-notice").first.wait_for()
        return self.page.locator(".kalm-title").all_inner_texts()

    def readers(self) -> list[str]:
        """What is in the folder of private copies, but for its lock."""
        return [path.name for path in (self.data / "indexes/library/readers").iterdir() if path.name != "reader.lock"]


def word(number):
    """A word that no other document has; digits would be words of their own."""
    return "".join("bcdfghklmn"[int(digit)] + "o" for digit in f"{number:04}") + "x"


@pytest.fixture(scope="module")
def library(tmp_path_factory, tiny_model, kalm, start, serve, browser) -> Iterator[Library]:
    folder = tmp_path_factory.mktemp("library")
    root, data = folder / "documents", folder / "data"
    root.mkdir()
    for number in range(DOCUMENTS):
        (root / f"{number:04}.txt").write_text(f"Volume {number}\n\nIt is about the {word(number)} of old.\n")
    assert kalm(data, "corpus", "add", "library", root).code == 0
    page = browser.new_page()  # stays open when the server ends
    page.set_default_timeout(60_000)
    with serve(data, KALM_MODEL=tiny_model) as server:
        with start(data, "index", "build", "library", KALM_MODEL=tiny_model) as build:
            seconds = []
            while build.poll() is None:
                seconds.append(server.healthz())
                time.sleep(0.02)
            assert build.returncode == 0, build.stderr.read()
            assert build.stdout.read().startswith("library: 1,500 documents written")
        built = Library(root, data, server, page, seconds)
        yield built
        assert len(built.readers()) == 1
    assert built.readers() == []
    page.close()


def test_the_health_check_answers_at_once_while_a_build_runs(library):
    seconds = library.healthz_seconds
    median, slowest = statistics.median(seconds), max(seconds)
    figures = f"{len(seconds)} calls, median {median * 1e3:.1f} ms, slowest {slowest * 1e3:.0f} ms"
    sys.stdout.write(f"/healthz during a build: {figures}\n")
    assert len(seconds) >= CALLS, figures
    assert median < 0.1, figures
    assert slowest < 1.0, figures


def test_other_processes_search_the_index_that_the_server_has_open(library, start, tiny_model):
    assert library.titles(word(77)) == ["Volume 77"]
    assert len(library.readers()) == 1
    numbers = (5, 700, 1499)
    searches = [
        start(library.data, "search", "library", word(n), "--mode", "keyword", "--json", KALM_MODEL=tiny_model)
        for n in numbers
    ]
    for number, search in zip(numbers, searches, strict=True):
        with search:
            out, err = search.communicate(timeout=60)
        assert (search.returncode, err) == (0, "")
        assert [result["title"] for result in json.loads(out)] == [f"Volume {number}"]
    assert library.titles(word(78)) == ["Volume 78"]
    assert len(library.readers()) == 1


def test_the_server_follows_a_build_of_another_process(library, module_cli):
    assert library.titles(word(9)) == ["Volume 9"]
    assert library.titles("aardvark") == []
    (library.root / "0009.txt").unlink()
    (library.root / "0010.txt").write_text("Volume 10\n\nThis one is about the aardvark now.\n")
    (library.root / "new.txt").write_text("New volume\n\nAnother one about an aardvark.\n")
    built = module_cli("index", "build", "library", KALM_DATA_DIR=library.data)  # other than the server's
    assert built.out.startswith("library: 2 documents written as 2 passages, 1 taken out")
    assert sorted(library.titles("aardvark")) == ["New volume", "Volume 10"]
    assert library.titles(word(9)) == []
    assert library.titles(word(10)) == []
    assert library.titles(word(11)) == ["Volume 11"]
    assert len(library.readers()) == 1


def test_a_server_is_warm_before_anybody_comes_and_leaves_nothing_behind(library, serve, tiny_model):
    assert library.titles(word(12)) == ["Volume 12"]  # the other server has opened what is live now
    before = set(library.readers())
    with serve(library.data, KALM_MODEL=tiny_model):
        deadline = time.monotonic() + 60
        while not set(library.readers()) - before:
            assert time.monotonic() < deadline, "the index was not opened"
            time.sleep(0.05)
        # Ended here, it is in the middle of its first search.
    assert set(library.readers()) == before


class Warm:
    """A search service without an index: the parts say what they were asked for, and some of them fail."""

    def __init__(self, *names):
        self.steps = []
        self._names = names
        self.service = SearchService(self, None, self, self)

    def corpora(self):
        if not self._names:
            raise RuntimeError("no database")
        return [Corpus(name, Path(), (), None if name == "new" else 1) for name in self._names]

    def generation(self, name, number):
        return SimpleNamespace(manifest=name)

    def of(self, manifest):
        self.steps.append(f"load {manifest}")
        if manifest == "moved":
            raise AppError("The model of moved is gone.")
        if manifest == "last":
            self.service.close()

    def search(self, request):
        self.steps.append(f"open {request.corpus}")
        if request.corpus == "damaged":
            raise RuntimeError("disk on fire")

    def close(self):
        self.steps.append("close")


def test_warming_up_goes_through_every_index_and_survives_broken_ones(caplog):
    warm = Warm("damaged", "moved", "new", "whole")
    warm.service.warm_up()
    assert warm.steps == ["load damaged", "open damaged", "load moved", "load whole", "open whole"]
    assert "disk on fire" in caplog.text
    assert "Could not warm up moved: The model of moved is gone." in caplog.text
    assert [record.levelno for record in caplog.records] == [logging.ERROR, logging.WARNING]


def test_warming_up_opens_nothing_once_the_service_is_closed():
    warm = Warm("last", "whole")
    warm.service.warm_up()
    assert warm.steps == ["load last", "close"]


def test_warming_up_survives_a_catalog_that_cannot_be_read(caplog):
    Warm().service.warm_up()
    assert "no database" in caplog.text
