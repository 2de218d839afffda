"""Files read in a child process: nothing that happens there happens here.

python -m pytest tests/indexer/readers/test_process.py
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from reader_cases import make_zip, valid_files

from indexer.readers import Limits, PartlyUnreadable, UnreadableFile, read
from indexer.readers.process import ReaderProcess

_START = "indexer.readers.process._START"
TRAPS = """
import ctypes, os, sys, time
def trap(path, uri, limits):
    if uri == "hang.txt":
        time.sleep(60)
    if uri == "crash.txt":
        os.kill(os.getpid(), 11)
    if uri == "hog.txt":
        bytearray(limits.memory_bytes)
    if uri == "bug.txt":
        raise KeyError("no reason")
    if uri == "noisy.txt":
        print("a library that prints", flush=True)
        os.write(1, b"or writes")
    yield from read(path, uri, limits)
"""


@pytest.fixture
def trapped(monkeypatch):
    """A child in whose readers files of some names do what hostile files are made to do."""
    start = (
        "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from indexer.readers import child, read\n"
        f"{TRAPS}\nchild.read = trap; child.serve()"
    )
    monkeypatch.setattr(_START, start)
    with ReaderProcess(Limits(seconds=3.0, memory_bytes=1 << 30)) as process:
        yield process


@pytest.fixture
def folder(tmp_path):
    for name in ("good", "hang", "crash", "hog", "bug", "noisy"):
        (tmp_path / f"{name}.txt").write_text(f"绿茶 of the file {name}.", encoding="utf-8")
    return tmp_path


@pytest.fixture(scope="module")
def process():
    with ReaderProcess() as process:
        yield process


def test_one_child_reads_as_this_process_does(process, tmp_path, build_pdf):
    pids = set()
    for name, content in valid_files(build_pdf([[(10.0, 700.0, "Words")]])).items():
        path = tmp_path / name
        path.write_bytes(content)
        assert list(process.read(path, name)) == list(read(path, name)), name
        pids.add(process.pid)
    assert len(pids) == 1
    assert pids != {os.getpid()}


def test_errors_are_the_same(process, tmp_path):
    path = tmp_path / "a.zip"
    path.write_bytes(make_zip({"good.txt": "text", "bad.pdf": "no"}))
    documents = process.read(path, "a.zip")
    assert next(documents).key == "good.txt"
    with pytest.raises(PartlyUnreadable, match="bad.pdf: The file is named .pdf"):
        next(documents)
    with pytest.raises(UnreadableFile, match="The file is gone") as caught:
        list(process.read(tmp_path / "gone.txt", "gone.txt"))
    assert not isinstance(caught.value, PartlyUnreadable)


def test_names_that_are_no_text(process, tmp_path):
    path = tmp_path / "\udcff.txt"
    path.write_text("text")
    assert next(process.read(path, "x.txt")).text == "text"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("hang.txt", "took longer than 3 seconds"),
        ("crash.txt", r"crashed its reader \(exit code -11\)"),
        ("hog.txt", "needs more than 1 GB of memory"),
        ("bug.txt", r"could not be read \(KeyError\)"),
    ],
)
def test_harm_to_the_child_is_one_failed_file(trapped, folder, name, reason):
    for _ in range(2):
        assert [document.title for document in trapped.read(folder / "good.txt", "good.txt")] == [
            "绿茶 of the file good."
        ]
        with pytest.raises(UnreadableFile, match=reason):
            list(trapped.read(folder / name, name))


def test_what_a_library_prints_is_no_answer(trapped, folder):
    assert len(list(trapped.read(folder / "noisy.txt", "noisy.txt"))) == 1


def test_a_child_killed_at_any_moment_is_started_again(process, tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("text\n" + "some words of a row\n" * 3000)
    documents = process.read(path, "rows.csv")
    next(documents)
    os.kill(process.pid, signal.SIGKILL)
    with pytest.raises(UnreadableFile, match="exit code -9"):
        list(documents)
    assert sum(1 for _ in process.read(path, "rows.csv")) == 3000
    os.kill(process.pid, signal.SIGKILL)
    time.sleep(0.1)
    assert sum(1 for _ in process.read(path, "rows.csv")) == 3000


def test_a_table_comes_in_batches_and_may_be_left(process, tmp_path):
    path = tmp_path / "rows.jsonl"
    row = json.dumps({"text": "some words of a row " * 20})
    path.write_text(f"{row}\n" * 100_000)
    documents = process.read(path, "rows.jsonl")
    started = time.monotonic()
    assert next(documents).key == "row-1"
    documents.close()
    assert time.monotonic() - started < 10  # all rows take longer
    path.write_text(row)
    assert len(list(process.read(path, "rows.jsonl"))) == 1


def test_the_time_that_the_caller_takes_is_not_counted(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"text": "some words of a row"}\n' * 1000)
    with ReaderProcess(Limits(seconds=4.0)) as process:
        list(process.read(path, "rows.jsonl"))
        documents = process.read(path, "rows.jsonl")
        next(documents)
        time.sleep(4.2)
        assert sum(1 for _ in documents) == 999


def test_memory_is_bounded(tmp_path):
    path = tmp_path / "a.json"
    path.write_text("[" + '{"a":0},' * 3_000_000 + "{}]")
    with (
        ReaderProcess(Limits(memory_bytes=400 << 20)) as process,
        pytest.raises(UnreadableFile, match="400 MB of memory"),
    ):
        list(process.read(path, "a.json"))


def test_closing_ends_the_child_and_leaves_no_thread(folder):
    before = threading.active_count()
    with ReaderProcess() as process:
        assert process.pid is None
        list(process.read(folder / "good.txt", "good.txt"))
        pid = process.pid
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert threading.active_count() == before


def test_a_child_ends_with_its_parent(folder):
    code = (
        "import os, pathlib; from indexer.readers.process import ReaderProcess; process = ReaderProcess();"
        f"list(process.read(pathlib.Path({str(folder / 'good.txt')!r}), 'good.txt'));"
        "print(process.pid, flush=True); os.kill(os.getpid(), 9)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and _runs(int(result.stdout)):
        time.sleep(0.05)
    assert not _runs(int(result.stdout))


def _runs(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rpartition(")")[2].split()[0] != "Z"


def test_importing_it_is_cheap():
    heavy = ("multiprocessing", "pypdfium2", "selectolax", "numpy", "pyarrow", "zipfile")
    code = f"import sys, indexer.readers.process; print([name for name in {heavy} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
