"""What is PostgreSQL's own: one writer at a time, what readers see, wide numbers, connections that end."""

import multiprocessing
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import BigInteger, create_engine, inspect, text

from indexer.catalog.corpora import Catalog, CatalogError
from indexer.catalog.tables import Base, immediate, open_engine
from indexer.upkeep.backup import BackupRefused, make_backup

_WAIT_SECONDS = 60
CORPORA = text("SELECT count(*) FROM corpora")


@pytest.fixture
def url(postgres):
    return postgres.new_schema()


@pytest.fixture
def catalog(url):
    opened = Catalog(url)
    yield opened
    opened.close()


@contextmanager
def writing(url):
    """A transaction that writes, like those of the catalog, for the length of a block."""
    engine = open_engine(url)
    with engine.connect() as connection, immediate(connection):
        yield connection
    engine.dispose()


def _enter_corpus(url, name, failures):
    try:
        catalog = Catalog(url)
        catalog.add_corpus(name, Path("/books"))
        catalog.close()
    except Exception as error:
        failures.put(repr(error))


@contextmanager
def writers(url, *names):
    """Processes that each open the catalog and enter a corpus, in the end all well."""
    spawn = multiprocessing.get_context("spawn")
    failures = spawn.Queue()
    processes = [spawn.Process(target=_enter_corpus, args=(url, name, failures)) for name in names]
    for process in processes:
        process.start()
    yield processes
    for process in processes:
        process.join()
    assert failures.empty(), failures.get()


def wait_for_waiting(postgres, count):
    """Until this many processes wait for the right to write."""
    waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    deadline = time.monotonic() + _WAIT_SECONDS
    while (there := postgres.execute(waiting)[0][0]) != count:
        assert time.monotonic() < deadline, f"{there} wait, and not {count}"
        time.sleep(0.02)


def test_processes_write_one_after_the_other_and_readers_do_not_wait(catalog, postgres, url):
    catalog.add_corpus("first", Path("/books"))
    with writers(url, "second", "third"):
        with writing(url) as connection:
            wait_for_waiting(postgres, 2)
            assert [corpus.name for corpus in catalog.corpora()] == ["first"]
            connection.execute(text("UPDATE corpora SET live = 7"))
    assert [(corpus.name, corpus.live) for corpus in catalog.corpora()] == [
        ("first", 7),
        ("second", None),
        ("third", None),
    ]


def test_processes_that_find_an_empty_database_make_its_tables_once(postgres, url):
    with writers(url, "first", "second"), writing(url):
        wait_for_waiting(postgres, 2)
    engine = create_engine(url)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM alembic_version")).scalar() == 1
        assert connection.execute(CORPORA).scalar() == 2
    engine.dispose()


def test_a_reader_sees_one_state_whatever_is_written_meanwhile(catalog, url):
    engine = open_engine(url)
    with engine.begin() as reader:
        assert reader.execute(CORPORA).scalar() == 0
        catalog.add_corpus("books", Path("/books"))
        assert reader.execute(CORPORA).scalar() == 0
    with engine.begin() as reader:
        assert reader.execute(CORPORA).scalar() == 1
    engine.dispose()


def test_a_writer_sees_what_others_wrote_while_it_waited(catalog, postgres, url):
    seen = []

    def count():
        with writing(url) as connection:
            seen.append(connection.execute(CORPORA).scalar())

    waiter = threading.Thread(target=count)
    with writing(url) as connection:
        waiter.start()
        wait_for_waiting(postgres, 1)
        connection.execute(text("INSERT INTO corpora VALUES ('books', '/', '[]', NULL, 0, now())"))
    waiter.join()
    assert seen == [1]


def test_the_driver_is_told_how_wide_the_numbers_of_the_database_are(catalog, url):
    engine = create_engine(url)
    there = inspect(engine)
    wide = {
        (name, column["name"])
        for name in Base.metadata.tables
        for column in there.get_columns(name)
        if isinstance(column["type"], BigInteger)
    }
    engine.dispose()
    mapped = {
        (table.name, column.name)
        for table in Base.metadata.tables.values()
        for column in table.columns
        if isinstance(column.type, BigInteger)
    }
    assert ("files", "size") in wide
    assert mapped == wide


def test_a_backup_is_left_to_the_server(catalog, tmp_path):
    with pytest.raises(BackupRefused, match="back it up with pg_dump"):
        make_backup(catalog, tmp_path, tmp_path / "locks", tmp_path / "kalm.tar.gz")


def test_connections_that_the_server_has_closed_are_replaced(catalog, postgres):
    catalog.add_corpus("books", Path("/books"))
    mine = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND backend_type = "
    assert (True,) in postgres.execute(f"{mine} 'client backend'")
    assert [corpus.name for corpus in catalog.corpora()] == ["books"]


def test_a_database_that_goes_away_is_one_sentence(postgres):
    postgres.execute("CREATE DATABASE brief")
    catalog = Catalog(postgres.url("brief"))
    postgres.execute("DROP DATABASE brief WITH (FORCE)")
    sentence = r"^The catalog does not answer \(.*\); see to its database, then retry\.$"
    with pytest.raises(CatalogError, match=sentence):
        catalog.corpora()
    with pytest.raises(CatalogError, match=sentence):
        catalog.add_corpus("books", Path("/books"))
    catalog.close()


def test_a_database_that_is_not_there_is_one_sentence(postgres):
    with pytest.raises(CatalogError, match=r'^The catalog \'.*\' cannot be opened \(.*"none" does not exist\); check'):
        Catalog(postgres.url("none"))
