"""Uploads: names made safe, bounds kept, and nothing left of what was cut off."""

import io
import signal
import subprocess
import sys
from pathlib import PurePosixPath

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.services.uploads import UploadRefused, Uploads, numbered, safe_path


class Sent(io.BytesIO):
    """A file as a browser sends it."""

    def __init__(self, name, content=b"text", size=None):
        super().__init__(content)
        self.name, self.size = name, len(content) if size is None else size


class CutOff(Sent):
    """One that stops in the middle."""

    def read(self, size=-1, /):
        raise OSError(28, "No space left on device")


@pytest.fixture
def uploads(tmp_path):
    return Uploads(tmp_path / "uploads", max_files=5, max_bytes=1000)


def kept(uploads, corpus="notes"):
    folder = uploads.folder_of(corpus)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@given(st.text(alphabet=st.characters(), max_size=400))
@example("../../etc/passwd")
@example("..\\..\\windows\\system32")
@example("C:\\boot.ini")
@example("con.txt")
@example("LPT1 .md")
@example("a" * 400 + ".md")
@example("/".join("abcdefghijklmnopqrstuvwxyz") + ".md")
@example("a\0b\u202e\ud800.md ")
def test_any_name_becomes_a_path_that_every_system_can_hold(name):
    path = safe_path(name)
    parts = path.split("/") if path else []
    assert not path.startswith("/")
    assert len(parts) <= 16
    for part in parts:
        assert part not in ("", ".", "..")
        assert len(part.encode()) <= 150
        assert part == part.strip(" ").rstrip(". ")
        assert not set(part) & set('<>:"|?*\\')
        assert part.isprintable()
        assert part.split(".")[0].strip().upper() not in ("CON", "NUL", "AUX", "PRN", "COM1", "LPT1")
    assert safe_path(path) == path
    assert numbered(path or "x", 2) != path


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("folder/sub/a.md", "folder/sub/a.md"),
        ("../../etc/passwd.txt", "etc/passwd.txt"),
        ("/etc/a.txt", "etc/a.txt"),
        ("C:\\docs\\a?.txt", "C_/docs/a_.txt"),
        ("nul.txt", "_nul.txt"),
        ("资料/黑洞.md", "资料/黑洞.md"),
        ("a\0b.md", "ab.md"),
        ("..", ""),
    ],
)
def test_names_stay_near_to_what_they_were(name, path):
    assert safe_path(name) == path


def test_names_that_become_one_are_numbered(uploads):
    uploads.receive("notes", [Sent("a.md", b"1"), Sent("./a.md", b"2"), Sent("A.md", b"3")])
    assert kept(uploads) == {"a.md": b"1", "a (2).md": b"2", "A (3).md": b"3"}
    assert PurePosixPath(numbered("x/b.tar.gz", 3)) == PurePosixPath("x/b.tar (3).gz")


def test_hidden_files_and_what_no_reader_reads_are_left_out(uploads):
    received = uploads.receive(
        "notes", [Sent("a.md"), Sent(".git/config.md"), Sent("f/.DS_Store"), Sent("b.exe"), Sent("all.zip")]
    )
    assert (received.files, received.skipped) == (2, (".git/config.md", "f/.DS_Store", "b.exe"))
    assert kept(uploads).keys() == {"a.md", "all.zip"}


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ([Sent(f"{n}.md") for n in range(6)], "an upload may have 5"),
        ([Sent("a.md", b"x" * 1001)], "an upload may have 0"),
        ([Sent("a.md"), Sent("b.md", b"x" * 2000, size=1)], "an upload may have 0"),
        ([Sent("b.exe")], "None of these files can be indexed"),
        ([], "None of these files can be indexed"),
        ([Sent("a.md"), CutOff("b.md")], "No space left on device"),
        ([Sent("a.md"), Sent("a.md/b.md")], "could not be kept"),
    ],
)
def test_what_is_refused_leaves_nothing(uploads, tmp_path, files, reason):
    for file in files:
        file.seek(0)
    with pytest.raises(UploadRefused, match=reason):
        uploads.receive("notes", files)
    assert [path.name for path in tmp_path.rglob("*") if path.name not in ("uploads", ".lock")] == []


def test_a_failure_half_way_brings_back_what_was_replaced(uploads):
    uploads.receive("notes", [Sent("a.md", b"old"), Sent("c.md", b"c")])
    with pytest.raises(UploadRefused):
        uploads.receive("notes", [Sent("a.md", b"new"), Sent("c.md/d.md", b"d")], replace=True)
    assert kept(uploads) == {"a.md": b"old", "c.md": b"c"}


_KILLED = """
import os, signal, sys
from pathlib import Path
from app.services.uploads import Uploads

class Endless:
    name, size, chunks = "b.md", 10, 0
    def read(self, size):
        self.chunks += 1
        if self.chunks > 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return b"x"

Uploads(Path(sys.argv[1]), max_files=5, max_bytes=1000).receive("notes", [Endless()])
"""


def test_an_upload_that_is_killed_is_not_seen_and_swept_away_by_the_next(uploads, tmp_path):
    died = subprocess.run([sys.executable, "-c", _KILLED, str(tmp_path / "uploads")], check=False)
    assert died.returncode == -signal.SIGKILL
    assert not uploads.folder_of("notes").exists()
    assert len(uploads.leftovers()) == 1
    uploads.receive("notes", [Sent("a.md")])
    assert uploads.leftovers() == []
    assert kept(uploads).keys() == {"a.md"}
