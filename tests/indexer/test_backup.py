"""A backup comes back whole on an empty folder, or says why it does not."""

import gzip
import tarfile

import pytest

from indexer import backup
from indexer.backup import BackupRefused, make_backup, restore_backup
from indexer.catalog import Catalog
from indexer.edge_store import EdgeEngine
from indexer.lexical import LexicalEncoder
from indexer.locks import locked
from indexer.search import Searcher, SearchRequest


@pytest.fixture
def books(bench):
    for n in range(6):
        bench.write(f"{n}.txt", f"Article {n}\n\nBees make honey, and this is article number {n}.")
    bench.build()
    bench.write("later.txt", "Wax is made by bees too.")
    bench.build()
    return bench


def make(bench, target):
    return make_backup(bench.catalog, bench.data, bench.data / "locks", target)


def found(catalog, folder, encoder):
    searcher = Searcher(catalog, EdgeEngine(folder / "indexes"), LexicalEncoder(), lambda manifest: encoder)
    page = searcher.search(SearchRequest("books", "honey bees article", page_size=50))
    searcher.close()
    return [(result.uri, result.text, result.score) for result in page.results]


def test_everything_comes_back_and_goes_on(books, tmp_path):
    report = make(books, tmp_path / "kalm.tar.gz")
    assert report.corpora == ("books",)
    restored = restore_backup(tmp_path / "kalm.tar.gz", tmp_path / "restored")
    assert restored == report
    catalog = Catalog(f"sqlite:///{tmp_path}/restored/catalog.sqlite")
    assert found(catalog, tmp_path / "restored", books.encoder) == found(books.catalog, books.data, books.encoder)
    earlier = catalog.generations("books")[1].number
    assert EdgeEngine(tmp_path / "restored" / "indexes").open("books", earlier).count() == 6
    catalog.close()
    books.catalog, books.data = Catalog(f"sqlite:///{tmp_path}/restored/catalog.sqlite"), tmp_path / "restored"
    books.engine = EdgeEngine(tmp_path / "restored" / "indexes")
    books.write("last.txt", "Propolis is made by bees as well.")
    assert books.build().documents == 1
    assert "last.txt" in {uri for uri, *_ in found(books.catalog, books.data, books.encoder)}
    books.catalog.close()


def test_nothing_is_overwritten(books, tmp_path):
    target = tmp_path / "kalm.tar.gz"
    make(books, target)
    with pytest.raises(BackupRefused, match="there already"):
        make(books, target)
    with pytest.raises(BackupRefused, match="holds an installation"):
        restore_backup(target, books.data)


def test_a_build_that_is_being_finished_is_waited_for(books, tmp_path):
    with locked(books.data / "locks" / "books.lock"), pytest.raises(BackupRefused, match="try again in a moment"):
        make(books, tmp_path / "kalm.tar.gz")
    assert list(tmp_path.glob("kalm*")) == []


@pytest.mark.parametrize("harm", ["cut", "flipped", "scrambled", "missing", "foreign", "empty", "newer"])
def test_a_damaged_archive_changes_nothing(books, tmp_path, harm, monkeypatch):
    target = tmp_path / "kalm.tar.gz"
    if harm == "newer":
        monkeypatch.setattr(backup, "_FORMAT", 2)
    make(books, target)
    monkeypatch.undo()
    whole = target.read_bytes()
    if harm == "cut":
        target.write_bytes(whole[: len(whole) // 2])
    elif harm == "flipped":
        plain = bytearray(gzip.decompress(whole))
        at = plain.index(b"Bees make honey")
        plain[at] ^= 1
        target.write_bytes(gzip.compress(bytes(plain), 1))
    elif harm == "scrambled":
        middle = len(whole) // 2
        target.write_bytes(whole[:middle] + b"\xff" * 64 + whole[middle + 64 :])
    elif harm == "missing":
        kept = tmp_path / "kept"
        with tarfile.open(target) as archive:
            archive.extractall(kept, filter="data")
        (kept / "catalog.sqlite").unlink()
        with tarfile.open(target, "w:gz") as archive:
            archive.add(kept, ".")
    elif harm == "foreign":
        with tarfile.open(target, "w:gz") as archive:
            archive.add(__file__, "anything.py")
    elif harm == "empty":
        target.write_bytes(b"")
    with pytest.raises(BackupRefused, match="no backup that can be restored .* nothing was changed"):
        restore_backup(target, tmp_path / "restored")
    assert list((tmp_path / "restored").iterdir()) == []


def test_an_archive_that_reads_back_otherwise_does_not_count(books, tmp_path, monkeypatch):
    honest, calls = backup._digest_of, []

    def unsound(file):
        calls.append(1)
        return honest(file)[::-1] if isinstance(file, tarfile.ExFileObject) else honest(file)

    monkeypatch.setattr(backup, "_digest_of", unsound)
    with pytest.raises(BackupRefused, match="does not read back"):
        make(books, tmp_path / "kalm.tar.gz")
    assert list(tmp_path.glob("kalm*")) == []


def test_a_place_that_cannot_be_written_is_named(books, tmp_path):
    with pytest.raises(BackupRefused, match="cannot be written"):
        make(books, tmp_path / "absent" / "kalm.tar.gz")
