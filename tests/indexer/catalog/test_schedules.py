"""The table of what workers do by themselves, on both databases."""

from pathlib import Path

import pytest

from indexer.catalog.corpora import Catalog
from indexer.catalog.schedule_tables import Schedule, ScheduleTable


@pytest.fixture
def catalog(any_catalog_url):
    opened = Catalog(any_catalog_url)
    opened.add_corpus("books", Path("/books"))
    yield opened
    opened.close()


def test_watch_and_times_are_one_row_that_goes_with_the_last_of_them(catalog):
    table = ScheduleTable(catalog.database)
    assert table.all() == []
    table.watch("books", quiet_seconds=2.0, poll_seconds=None)
    table.schedule("books", cron="0 3 * * *", timezone="UTC", due=1_800_000_000.25)
    table.note("books", "It is not there.")
    whole = Schedule("books", True, 2.0, None, "0 3 * * *", "UTC", 1_800_000_000.25, "It is not there.")
    assert table.all() == [whole]
    table.watch("books", quiet_seconds=0.5, poll_seconds=60.0)
    assert table.all() == [Schedule("books", True, 0.5, 60.0, "0 3 * * *", "UTC", 1_800_000_000.25, "")]
    table.unwatch("books")
    assert [(row.watched, row.cron) for row in table.all()] == [(False, "0 3 * * *")]
    table.unschedule("books")
    assert table.all() == []
    table.unwatch("books")
    assert table.all() == []


def test_a_schedule_is_advanced_by_one_worker_only(catalog):
    table = ScheduleTable(catalog.database)
    table.schedule("books", cron="0 3 * * *", timezone="UTC", due=100.0)
    table.advance("books", before=100.0, due=200.0)
    table.advance("books", before=100.0, due=300.0)
    assert [row.due for row in table.all()] == [200.0]


def test_a_schedule_goes_with_its_corpus(catalog):
    table = ScheduleTable(catalog.database)
    table.watch("books", quiet_seconds=2.0, poll_seconds=None)
    catalog.remove_corpus("books")
    assert table.all() == []
    table.note("books", "It is not there.")
    catalog.add_corpus("books", Path("/books"))
    assert table.all() == []
