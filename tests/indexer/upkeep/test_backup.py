"""A backup comes back whole on an empty folder, or says why it does not."""

import gzip
import json
import os
import shutil
import tarfile
import threading

import pytest

from indexer.catalog.corpora import Catalog
from indexer.catalog.task_tables import TaskState, TaskTable
from indexer.lexical import LexicalEncoder
from indexer.locks import locked
from indexer.search import Searcher, SearchRequest
from indexer.stores.edge import EdgeEngine
from indexer.upkeep import backup
from indexer.upkeep.backup import BackupRefused, make_backup, restore_backup


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


KEPT = {
    "accounts.json",
    "uploads/notes/a.txt",
    "uploads/notes/b/a.txt",
    "classifiers/topics/1/classifier.json",
    "classifying/0123456789abcdef/examples.json",
    "maps/books/run/run.json",
}
LEFT_OUT = {
    "uploads/.lock",
    "uploads/.incoming-1/new/a.txt",
    "uploads/.removed-1/a.txt",
    "classifiers/topics/.part-1/classifier.json",
    "maps/books/.part-run/run.json",
    "maps/books/run/.run.json.new",
    "indexes/books/readers/1/page_0.dat",
    "vectors.sqlite",
    "downloads/a.txt",
    "locks/accounts",
    "logs/worker.log",
    "tasks/1.log",
    "backups/kalm.tar.gz",
}


@pytest.fixture
def used(bench):
    """A data folder with what people entered, and what is beside it."""
    for name in KEPT | LEFT_OUT:
        path = bench.data / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    (bench.data / "accounts.json").chmod(0o600)
    (bench.data / "uploads/notes/b/a.txt").unlink()
    os.link(bench.data / "uploads/notes/a.txt", bench.data / "uploads/notes/b/a.txt")
    bench.catalog.add_corpus("notes", bench.data.resolve() / "uploads" / "notes")
    return bench


def files_in(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def restored_from(target):
    folder = target.parent / "restored"
    restore_backup(target, folder)
    return folder


def test_what_people_entered_comes_back_and_nothing_else(used, tmp_path):
    make(used, tmp_path / "kalm.tar.gz")
    folder = restored_from(tmp_path / "kalm.tar.gz")
    assert files_in(folder) == KEPT | {"catalog.sqlite"}
    assert (folder / "uploads/notes/b/a.txt").read_text() == "uploads/notes/a.txt"
    assert not (used.data / ".packed").exists()


def test_what_passwords_hash_to_is_for_the_owner_alone(used, tmp_path):
    make(used, tmp_path / "kalm.tar.gz")
    folder = restored_from(tmp_path / "kalm.tar.gz")
    assert [path.stat().st_mode & 0o777 for path in (tmp_path / "kalm.tar.gz", folder / "accounts.json")] == [0o600] * 2


def test_uploaded_corpora_stand_for_the_new_place_and_others_for_theirs(used, tmp_path):
    make(used, tmp_path / "kalm.tar.gz")
    folder = restored_from(tmp_path / "kalm.tar.gz")
    catalog = Catalog(f"sqlite:///{folder}/catalog.sqlite")
    assert {corpus.name: corpus.root for corpus in catalog.corpora()} == {
        "books": used.root,
        "notes": folder.resolve() / "uploads" / "notes",
    }
    catalog.close()


def test_no_task_goes_on_in_a_restored_catalog(used, tmp_path):
    TaskTable(used.catalog.database).add("1", "backup", "Mei", "admin", {}, most_waiting=9)
    make(used, tmp_path / "kalm.tar.gz")
    catalog = Catalog(f"sqlite:///{restored_from(tmp_path / 'kalm.tar.gz')}/catalog.sqlite")
    assert TaskTable(catalog.database).one("1").state is TaskState.FAILED
    catalog.close()


def test_what_goes_while_it_is_packed_is_packed_as_it_was(used, tmp_path, monkeypatch):
    honest = backup._write

    def write(*arguments):
        for name in ("uploads", "maps", "classifiers"):
            shutil.rmtree(used.data / name)
        (used.data / "accounts.new").write_text("later")
        (used.data / "accounts.new").replace(used.data / "accounts.json")
        return honest(*arguments)

    monkeypatch.setattr(backup, "_write", write)
    make(used, tmp_path / "kalm.tar.gz")
    folder = restored_from(tmp_path / "kalm.tar.gz")
    assert files_in(folder) == KEPT | {"catalog.sqlite"}
    assert (folder / "accounts.json").read_text() == "accounts.json"


def test_an_upload_is_packed_whole(used, tmp_path):
    packing = threading.Thread(target=make, args=(used, tmp_path / "kalm.tar.gz"))
    with locked(used.data / "uploads" / ".lock"):
        packing.start()
        packing.join(1)
        (used.data / "uploads/notes/late.txt").touch()
        assert packing.is_alive()
    packing.join()
    assert "uploads/notes/late.txt" in files_in(restored_from(tmp_path / "kalm.tar.gz"))


def test_an_archive_from_before_uploads_were_packed_is_restored(used, tmp_path, monkeypatch):
    monkeypatch.setattr(backup, "KEPT", ())
    make(used, tmp_path / "new.tar.gz")
    monkeypatch.undo()
    with tarfile.open(tmp_path / "new.tar.gz") as archive:
        archive.extractall(tmp_path / "old", filter="data")
    entry = json.loads((tmp_path / "old" / "backup.json").read_text())
    (tmp_path / "old" / "backup.json").write_text(
        json.dumps({name: entry[name] for name in ("corpora", "files")} | {"format": 1})
    )
    with tarfile.open(tmp_path / "kalm.tar.gz", "w:gz") as archive:
        for name in ("catalog.sqlite", "backup.json"):
            archive.add(tmp_path / "old" / name, name)
    folder = restored_from(tmp_path / "kalm.tar.gz")
    assert files_in(folder) == {"catalog.sqlite"}
    catalog = Catalog(f"sqlite:///{folder}/catalog.sqlite")
    assert [corpus.name for corpus in catalog.corpora()] == ["books", "notes"]
    catalog.close()


@pytest.mark.parametrize("name", ["catalog.sqlite-wal", "catalog.sqlite-shm", "accounts.json", "uploads", "maps"])
def test_what_would_be_mixed_with_a_restored_installation_is_named(used, tmp_path, name):
    make(used, tmp_path / "kalm.tar.gz")
    (tmp_path / "restored").mkdir()
    (tmp_path / "restored" / name).touch()
    with pytest.raises(BackupRefused, match=rf"\({name}\); restore into an empty folder .*, or move those away"):
        restored_from(tmp_path / "kalm.tar.gz")
    assert files_in(tmp_path / "restored") == {name}


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
        monkeypatch.setattr(backup, "_FORMAT", backup._FORMAT + 1)
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
