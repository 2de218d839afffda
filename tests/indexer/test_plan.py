"""A plan is a pure comparison; finding files stays inside the folder."""

import errno
import multiprocessing
import os
import re
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer.plan import may_have_moved, plan
from indexer.records import Corpus, FileState
from indexer.sources.files import FoundFile
from indexer.sources.folders import FolderUnreadable, find_files


def state(size=1, mtime=1, error=""):
    return FileState(size, mtime, "digest", error)


def found(size=1, mtime=1):
    return FoundFile(Path("x"), size, mtime)


def test_every_kind_of_change_in_one_plan():
    known = {"same": state(), "grown": state(), "touched": state(), "gone": state(), "broken": state(error="why")}
    now = {"same": found(), "grown": found(size=2), "touched": found(mtime=2), "new": found(size=5), "broken": found()}
    result = plan(known, now)
    assert (result.add, result.update, result.move) == (("new",), ("grown", "touched"), ())
    assert result.look == ("grown", "new", "touched")
    assert result.gone == ("gone",)
    assert result.unchanged == ("broken", "same")
    assert result.failed_before == ("broken",)
    assert result.size_bytes == 2 + 5 + 1
    assert not result.is_empty


FILES = st.dictionaries(st.sampled_from("abcdef"), st.tuples(st.integers(0, 2), st.integers(0, 2)))


@given(known=FILES, now=FILES)
def test_a_plan_partitions_the_files(known, now):
    result = plan({uri: state(*at) for uri, at in known.items()}, {uri: found(*at) for uri, at in now.items()})
    assert sorted([*result.look, *result.unchanged]) == sorted(now)
    assert set(result.gone) == known.keys() - now.keys()
    assert all(known[uri] == now[uri] for uri in result.unchanged)
    assert all(known.get(uri) != now[uri] for uri in result.look)
    assert result.is_empty == (known == now)


DIGESTS = st.dictionaries(st.sampled_from("abcdef"), st.sampled_from(["", "x", "y"]))


@given(known=DIGESTS, now=DIGESTS)
def test_a_move_is_a_new_file_with_the_content_of_one_that_is_gone(known, now):
    before = {uri: FileState(1, 1, digest) for uri, digest in known.items()}
    result = plan(before, {uri: found() for uri in now}, now)
    gone, new = known.keys() - now.keys(), now.keys() - known.keys()
    assert {move.before for move in result.move} <= gone
    assert sorted([*result.add, *(move.now for move in result.move)]) == sorted(new)
    assert sorted([*result.delete, *(move.before for move in result.move)]) == sorted(gone) == list(result.gone)
    assert all(known[move.before] == now[move.now] != "" for move in result.move)
    left = {known[uri] for uri in result.delete} & {now[uri] for uri in result.add}
    assert left <= {""}, "a pair was missed"


def test_only_files_of_the_size_of_a_vanished_one_may_have_moved():
    known = {"gone": state(size=5), "same": state(size=7)}
    now = {"same": found(size=7), "five": found(size=5), "seven": found(size=7)}
    assert may_have_moved(known, now) == ["five"]


def names(root, include=()):
    return sorted(find_files(Corpus("books", root, include, None)))


@pytest.fixture
def root(tmp_path):
    for name in ("a.md", "deep/b.txt", ".hidden.md", ".git/c.md", "image.png", "deep/d.pdf"):
        path = tmp_path / "root" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("text")
    return tmp_path / "root"


def test_only_readable_files_that_are_not_hidden(root):
    assert names(root) == ["a.md", "deep/b.txt", "deep/d.pdf"]
    assert names(root, ("deep/*",)) == ["deep/b.txt", "deep/d.pdf"]
    assert names(root, ("*.md", "*.pdf")) == ["a.md", "deep/d.pdf"]


def test_links_are_not_followed(root, tmp_path):
    outside = tmp_path / "secret.md"
    outside.write_text("secret")
    (root / "link.md").symlink_to(outside)
    (root / "loop").symlink_to(root)
    assert names(root) == ["a.md", "deep/b.txt", "deep/d.pdf"]


def test_a_pipe_is_not_waited_for(root):
    os.mkfifo(root / "endless.txt")
    assert names(root) == ["a.md", "deep/b.txt", "deep/d.pdf"]


def test_a_single_file_is_a_corpus(root):
    assert names(root / "a.md") == ["a.md"]


def test_names_that_are_not_utf8_stay_apart_and_are_shown_as_well_as_can_be(root):
    for folder in ("x", "x/资料"):
        os.mkdir(bytes(root) + b"/" + folder.encode("gbk"))
    for name in ("x/资料.txt".encode("gbk"), "x/资料/报告.tar.gz".encode("gbk"), b"x/\xff.txt", b"x/\xfe.txt"):
        Path(os.fsdecode(bytes(root) + b"/" + name)).write_text("text")
    found = [uri for uri in names(root) if "~" in uri]
    spelled = {re.sub(r"~[0-9a-f]{10}(?=[./])", "", uri) for uri in found}
    assert spelled == {"x/资料.txt", "x/资料/报告.tar.gz", "x/\N{REPLACEMENT CHARACTER}.txt"}
    assert len(found) == len(set(found)) == 4
    assert found == [uri for uri in names(root) if "~" in uri]


def test_a_folder_that_cannot_be_looked_through_to_its_end_is_no_folder_without_files(tmp_path, monkeypatch):
    (tmp_path / "sub").mkdir()
    (tmp_path / "a.md").write_text("a")
    (tmp_path / "sub" / "b.md").write_text("b")
    corpus, listed = Corpus("books", tmp_path, (), None), os.scandir

    def failing(error):
        def scandir(path):
            if str(path).endswith("sub"):
                raise error
            return listed(path)

        monkeypatch.setattr(os, "scandir", scandir)

    failing(OSError(errno.EIO, "Input/output error"))
    with pytest.raises(FolderUnreadable, match=r"cannot be looked through \(Input/output error\); see to its disk"):
        find_files(corpus)
    failing(FileNotFoundError(errno.ENOENT, "No such file", str(tmp_path / "sub")))
    assert set(find_files(corpus)) == {"a.md"}
    for error in (FileNotFoundError, PermissionError):
        failing(error(errno.EACCES, "Permission denied", str(tmp_path)))
        with pytest.raises(FolderUnreadable, match="network or permissions"):
            find_files(corpus)


def as_nobody(ask):
    """What a question is answered by somebody without rights, in a child that gives up its own."""

    def answer(pipe):
        os.setgid(65534)
        os.setuid(65534)
        pipe.send(ask())

    ours, theirs = multiprocessing.Pipe()
    child = multiprocessing.get_context("fork").Process(target=answer, args=(theirs,))
    child.start()
    child.join()
    return ours.recv()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")
def test_what_the_index_has_of_a_folder_that_may_not_be_opened_stays():
    with TemporaryDirectory() as place:
        root = Path(place)
        os.chmod(place, 0o755)
        for uri in ("a.md", "shut/b.md", "shut/deep/c.md", "listed/d.md", "listed/deep/e.md", "shutter.md"):
            (root / uri).parent.mkdir(parents=True, exist_ok=True)
            (root / uri).write_text(uri)
        known = {uri: state(file.size, file.mtime_ns) for uri, file in find_files(Corpus("x", root, (), None)).items()}
        (root / "a.md").unlink()
        (root / "shutter.md").unlink()
        for folder, mode in (("shut", 0o000), ("listed", 0o444)):
            os.chmod(root / folder, mode)
        found = as_nobody(lambda: find_files(Corpus("x", root, (), None)))
        narrow = as_nobody(lambda: find_files(Corpus("x", root, ("shut/deep/*.md", "other/*"), None)))
    assert {uri: file.is_folder for uri, file in found.items()} == {"shut": True, "listed": True}
    assert set(narrow) == {"shut"}
    todo = plan(known, found)
    assert (todo.add, todo.gone) == (("listed", "shut"), ("a.md", "shutter.md"))
    assert todo.unchanged == ("listed/d.md", "listed/deep/e.md", "shut/b.md", "shut/deep/c.md")
    assert may_have_moved(known, found | {"new.md": FoundFile(Path("x"), known["shut/b.md"].size, 1)}) == []


def test_a_file_that_goes_while_its_folder_is_looked_through_is_passed_over(tmp_path, monkeypatch):
    (tmp_path / "a.md").write_text("a")
    (tmp_path / "b.md").write_text("b")
    lstat = Path.lstat

    def late(path):
        (tmp_path / "b.md").unlink(missing_ok=True)
        return lstat(path)

    monkeypatch.setattr(Path, "lstat", late)
    assert set(find_files(Corpus("books", tmp_path, (), None))) == {"a.md"}
