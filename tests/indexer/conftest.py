"""A small corpus to build and to search, the engines, and a child that reads files."""

from collections.abc import Iterator

import pytest
import store_cases
from build_cases import Bench, opened_bench

from indexer.readers.process import ReaderProcess
from indexer.retrieval.generations import LiveGenerations

engine, http_engine = store_cases.engine, store_cases.http_engine
place, server_place = store_cases.place, store_cases.server_place


@pytest.fixture(scope="session")
def reader() -> Iterator[ReaderProcess]:
    """One child for all tests: it takes a second until it has loaded what the readers need."""
    with ReaderProcess() as process:
        yield process


@pytest.fixture
def bench(tmp_path, reader, catalog_url) -> Iterator[Bench]:
    with opened_bench(tmp_path, reader, catalog_url) as made:
        yield made


@pytest.fixture(scope="module")
def module_bench(tmp_path_factory, reader) -> Iterator[Bench]:
    """One for all tests of a module, which leave it as it is."""
    folder = tmp_path_factory.mktemp("module")
    with opened_bench(folder, reader, f"sqlite:///{folder}/catalog.sqlite") as made:
        yield made


@pytest.fixture
def live_generations(bench) -> LiveGenerations:
    return LiveGenerations(bench.catalog, bench.engine)
