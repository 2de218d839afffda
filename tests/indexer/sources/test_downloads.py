"""The cache of fetched files: bounded, whole files only, and nothing in use goes away."""

import os
import time

import pytest

from indexer.sources.downloads import Downloads


@pytest.fixture
def downloads(tmp_path):
    return Downloads(tmp_path / "kept", max_bytes=100)


def get(downloads, key, content=b"x" * 40, size=None):
    """Ask for a file; returns whether it had to be fetched."""
    fetched = []

    def fetch(target):
        fetched.append(key)
        target.write_bytes(content)

    with downloads.file((key,), len(content) if size is None else size, fetch) as path:
        assert path.read_bytes() == content
    return bool(fetched)


def kept(tmp_path):
    return sorted(path.stat().st_size for path in (tmp_path / "kept").iterdir() if path.is_file())


def test_what_is_kept_is_not_fetched_again_until_it_has_to_make_room(downloads, tmp_path):
    assert get(downloads, "a")
    assert get(downloads, "b")
    assert not get(downloads, "a")  # used since, so b goes first
    assert get(downloads, "c")
    assert kept(tmp_path) == [40, 40]
    assert not get(downloads, "a")
    assert get(downloads, "b")


def test_what_is_too_large_cut_off_or_of_unknown_size_is_used_but_not_kept(downloads, tmp_path):
    assert get(downloads, "large", b"x" * 101)
    assert get(downloads, "cut off", size=41)
    assert get(downloads, "unknown", size=0)
    assert kept(tmp_path) == []
    assert list((tmp_path / "kept" / "in-use").iterdir()) == []


def test_a_file_in_use_stays_whatever_is_thrown_out(downloads, tmp_path):
    with downloads.file(("a",), 40, lambda target: target.write_bytes(b"a" * 40)) as path:
        for key in "bcde":
            get(downloads, key)
        assert path.read_bytes() == b"a" * 40
    assert get(downloads, "a")


def test_a_fetch_that_fails_leaves_nothing(downloads, tmp_path):
    def fetch(target):
        target.write_bytes(b"half")
        raise OSError("cut off")

    with pytest.raises(OSError, match="cut off"), downloads.file(("a",), 4, fetch):
        pytest.fail("there is no file to read")
    assert [path for path in (tmp_path / "kept").rglob("*") if path.is_file()] == []


def test_what_a_killed_worker_had_in_hand_goes_after_a_day(downloads, tmp_path):
    get(downloads, "a")
    left, fresh = tmp_path / "kept/in-use/left", tmp_path / "kept/in-use/fresh"
    left.write_bytes(b"x")
    fresh.write_bytes(b"x")
    os.utime(left, (time.time() - 100_000,) * 2)
    get(downloads, "b")
    assert not left.exists()
    assert fresh.exists()
