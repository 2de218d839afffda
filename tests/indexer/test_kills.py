"""Every operation on an index killed at any moment while people search: running it again heals, nothing is lost.

KALM_TEST_KILLS=200 python -m pytest -s tests/indexer/test_kills.py kills that many. What is killed where depends on the
number of the test alone: a line of our code out of all that the operation passes through, and how often it was passed.
"""

import itertools
import multiprocessing
import os
import random
import signal
import sys
import threading
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from build_cases import check_whole, found_at_once, opened_bench

import indexer
from indexer.catalog.corpora import Catalog
from indexer.catalog.staging import VersionWaits
from indexer.lexical import LexicalEncoder
from indexer.plan import plan
from indexer.readers import read
from indexer.search import Searcher
from indexer.sources.folders import find_files
from indexer.stores.edge import EdgeEngine
from indexer.upkeep.backup import make_backup, restore_backup
from indexer.upkeep.gate import Gate
from indexer.upkeep.versions import NoVersion, Versions

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(
    ["indexer.upkeep.backup", "indexer.pipeline", "indexer.search", "indexer.upkeep.versions", "psycopg"]
)
CODE = str(Path(indexer.__file__).parent)
OLD = frozenset({"steady.txt", "doomed.txt"})
NEW = frozenset({"steady.txt", *(f"new-{n}.txt" for n in range(12))})
SEEN = {
    "build": (frozenset(), NEW),
    "update": (OLD, NEW),
    "rebuild": (OLD,),
    "swap": (OLD, NEW),
    "rollback": (NEW, OLD),
    "backup": (OLD,),
    "restore": (OLD,),
}
"""What searches may find meanwhile, and at last what they have to."""

KEPT = ("accounts.json", "uploads/notes/a.txt", "maps/books/1/run.json")
"""Files beside catalog and indexes that a backup brings back."""

KILLS = int(os.environ.get("KALM_TEST_KILLS", str(len(SEEN))))
_LONGEST_DELAY = 0.02


def write_files(bench, uris):
    for path in bench.root.iterdir():
        path.unlink()
    for uri in uris:
        bench.write(uri, f"honey of {uri}")


def prepare(bench, operation):
    """Everything up to the operation."""
    if operation != "build":
        write_files(bench, OLD)
        bench.build()
    if NEW in SEEN[operation] or operation == "rebuild":
        write_files(bench, NEW)
    if operation in ("swap", "rollback"):
        carry_out(bench, "rebuild")
    if operation == "rollback":
        carry_out(bench, "swap")
    if operation in ("backup", "restore"):
        for name in KEPT:
            (bench.data / name).parent.mkdir(parents=True, exist_ok=True)
            (bench.data / name).write_text(name)
    if operation == "restore":
        carry_out(bench, "backup")


def carry_out(bench, operation):
    """What a person would run, and run again; what says that it is done already is as good."""
    lexical = LexicalEncoder()
    gate = Gate(bench.catalog, bench.engine, lambda manifest: bench.encoder, lexical)
    versions = Versions(bench.catalog, bench.engine, gate)
    archive, restored = bench.data.parent / "kalm.tar.gz", bench.data.parent / "restored"
    try:
        match operation:
            case "build" | "update":
                bench.build()
            case "rebuild":
                parts, corpus = bench.parts(), bench.catalog.corpus("books")
                files = find_files(corpus)
                run = parts.submit(corpus, plan({}, files), files, fresh=True, by="test", held=True)
                parts.work(run.id, on_progress=lambda _: None)
            case "swap":
                versions.swap("books")
            case "rollback":
                versions.rollback("books")
            case "backup" if not archive.exists():
                make_backup(bench.catalog, bench.data, bench.data / "locks", archive)
            case "restore" if not (restored / "catalog.sqlite").exists():
                restore_backup(archive, restored)
    except VersionWaits:
        assert operation == "rebuild"
    except NoVersion:
        assert operation in ("swap", "rollback")


class ReadHere:
    """Reads files in this process: starting another one to read them would take longer than all the rest."""

    def read(self, path, uri):
        return read(path, uri)


def be_killed(folder, url, operation, place, times, signs):
    """Carry out an operation; at a place in the code the process ends itself, or gives a sign that it may be ended.

    Args:
        folder: The installation and its corpus, prepared.
        url: Its catalog.
        operation: What to do.
        place: File and line of a call; None is nowhere.
        times: The how manieth time the place is passed; negative for a sign instead of the end.
        signs: Told at last how often each place was passed.
    """
    passed = Counter()

    def watch(frame, event, _):
        here = (frame.f_code.co_filename, frame.f_lineno)
        if event not in ("call", "c_call") or not here[0].startswith(CODE):
            return
        passed[here] += 1
        if here == place and passed[here] == abs(times):
            if times > 0:
                os.kill(os.getpid(), signal.SIGKILL)
            signs.send("now")

    with opened_bench(folder, ReadHere(), url) as bench:
        sys.setprofile(watch)
        carry_out(bench, operation)
        sys.setprofile(None)
    signs.send(passed)


def killed(folder, url, operation, place, times, delay=0.0):
    """Let a process be killed. Returns how often it passed each place; None where it did not come to its end."""
    signs, theirs = FORKS.Pipe()
    process = FORKS.Process(target=be_killed, args=(folder, url, operation, place, times, theirs))
    process.start()
    theirs.close()
    passed = None
    try:
        passed = signs.recv()
        if passed == "now":
            time.sleep(delay)
            process.kill()
            passed = signs.recv()
    except EOFError:
        passed = None
    process.join()
    signs.close()
    assert process.exitcode in (-signal.SIGKILL, 0)
    return passed


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """How often an operation passes each place of our code: carried out once to the end, when first asked for."""

    @cache
    def count(operation):
        folder = tmp_path_factory.mktemp(operation)
        url = f"sqlite:///{folder}/data/catalog.sqlite"
        with opened_bench(folder, ReadHere(), url) as bench:
            prepare(bench, operation)
        return killed(folder, url, operation, None, 0)

    return count


@contextmanager
def people_searching(bench, may_find):
    """Somebody who asks one question after the other; each must be answered, from one version of the index."""
    answers, failures, is_over = [], [], threading.Event()

    def ask():
        for number in itertools.count():
            try:
                answers.append(found_at_once(bench, f"honey of {number}"))
            except Exception as error:
                failures.append(error)
            if is_over.is_set():
                return
            time.sleep(0.02)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield answers
    finally:
        is_over.set()
        thread.join()
    assert failures == []
    assert set(answers) <= set(may_find), "a search saw half of something"


def database_of(number):
    """Of each operation some are killed with SQLite and some with PostgreSQL, but for those that need a file."""
    operation = list(SEEN)[number % len(SEEN)]
    on_postgres = (number + number // len(SEEN)) % 2 == 1 and operation not in ("backup", "restore")
    return "postgres" if on_postgres else "sqlite"


@pytest.fixture(scope="module")
def tally():
    """Figures of all kills together."""
    counts = Counter()
    yield counts
    kinds = ", ".join(f"{name} {counts[name]}" for name in SEEN)
    sys.stdout.write(
        f"\n{counts['killed']} of {KILLS} killed before their end ({kinds}), {counts['searches']} searches meanwhile: "
        "0 failed, 0 documents lost or there twice\n"
    )


@pytest.mark.parametrize(
    ("number", "catalog_url"), [(n, database_of(n)) for n in range(KILLS)], indirect=["catalog_url"]
)
def test_killed_anywhere_and_run_again_nothing_is_lost(number, catalog_url, tmp_path, places, tally):
    dice, operation = random.Random(number), list(SEEN)[number % len(SEEN)]
    passed = places(operation)
    place = dice.choice(sorted(passed))
    times = dice.randint(1, passed[place]) * dice.choice((1, -1))
    with opened_bench(tmp_path, ReadHere(), catalog_url) as bench:
        prepare(bench, operation)
        with people_searching(bench, SEEN[operation]) as answers:
            passed = killed(tmp_path, catalog_url, operation, place, times, dice.uniform(0, _LONGEST_DELAY))
            carry_out(bench, operation)
        tally.update({operation: int(passed is None), "killed": int(passed is None), "searches": len(answers)})
        check_whole(bench, SEEN[operation][-1])
        check_what_was_made(bench, operation, tmp_path)


def check_what_was_made(bench, operation, folder):
    """What searches do not show yet."""
    if operation == "rebuild":
        carry_out(bench, "swap")
        check_whole(bench, NEW)
    if operation == "backup":
        assert {path.name for path in folder.iterdir()} == {"books", "data", "kalm.tar.gz"}
        carry_out(bench, "restore")
    if operation in ("backup", "restore"):
        restored = EdgeEngine(folder / "restored" / "indexes")
        catalog = Catalog(f"sqlite:///{folder}/restored/catalog.sqlite")
        bench = replace(bench, catalog=catalog, engine=restored, data=folder / "restored")
        bench.searcher = Searcher(catalog, restored, LexicalEncoder(), lambda manifest: bench.encoder)
        check_whole(bench, OLD)
        assert [(bench.data / name).read_text() for name in KEPT] == list(KEPT)
        bench.searcher.close()
        catalog.close()
