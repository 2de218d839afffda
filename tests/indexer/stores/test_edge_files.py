"""A copy of a shard is the shard: byte for byte, hole for hole, whoever copies."""

import errno
import os

import pytest

from indexer.stores.edge_files import copy_shard

MIB = 2**20


def pieces(path):
    """Where a file is written; the rest of it are holes."""
    with path.open("rb") as file:
        size, at, found = os.fstat(file.fileno()).st_size, 0, []
        while at < size:
            try:
                start = os.lseek(file.fileno(), at, os.SEEK_DATA)
            except OSError:  # a hole to the end
                break
            at = os.lseek(file.fileno(), start, os.SEEK_HOLE)
            found.append((start, at))
        return found


@pytest.mark.parametrize("refusal", [None, errno.EXDEV, errno.EOPNOTSUPP])
def test_a_copy_has_the_same_bytes_and_the_same_holes(tmp_path, monkeypatch, refusal):
    source = tmp_path / "source"
    (source / "segment").mkdir(parents=True)
    (source / "dense.dat").write_bytes(os.urandom(5 * MIB + 7))
    (source / "empty.dat").touch()
    with (source / "segment" / "sparse.dat").open("wb") as file:
        for start in (0, 3 * MIB, 12 * MIB):
            os.pwrite(file.fileno(), os.urandom(MIB), start)
        file.truncate(16 * MIB + 5)
    by_the_system, asked = os.copy_file_range, []

    def copy(*arguments):
        asked.append(arguments)
        if refusal:
            raise OSError(refusal, os.strerror(refusal))
        return by_the_system(*arguments)

    monkeypatch.setattr(os, "copy_file_range", copy)
    copy_shard(source, tmp_path / "copy", link=False)
    assert asked
    for name in ("dense.dat", "empty.dat", "segment/sparse.dat"):
        original, copied = source / name, tmp_path / "copy" / name
        assert copied.read_bytes() == original.read_bytes()
        assert pieces(copied) == pieces(original)


def test_a_disk_that_fails_is_told(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "dense.dat").write_bytes(b"honey")
    monkeypatch.setattr(os, "copy_file_range", fail)
    with pytest.raises(OSError, match="No space left"):
        copy_shard(tmp_path / "source", tmp_path / "copy", link=False)
