"""Shared fixtures: tiny random checkpoints, databases, the choice of what may be skipped, and who runs what when."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from postgres import Postgres, programs, running_postgres

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# Threads of the several processes that tests are run by, and start, would wait for each other more than they work.
os.environ.setdefault("OMP_NUM_THREADS", "1")

BROWSER = "tests/app/test_browser"
"""How the files begin whose tests drive a browser."""

LONGEST = (
    BROWSER,
    "tests/trainer/test_distributed.py",
    "tests/app/test_serve.py",
    "tests/app/test_bench_index.py",
    "tests/indexer/builds/test_cluster.py",
    "tests/app/test_guides.py",
    "tests/app/test_bench_speed.py",
    "tests/indexer/test_kills.py",
    "tests/indexer/upkeep/test_backup.py",
    "tests/app/test_bench_train.py",
    "tests/embedder/test_int8.py",
    "tests/app/test_hostile.py",
    "tests/trainer/test_loop.py",
    "tests/app/test_agents.py",
    "tests/app/test_bench_data.py",
    "tests/app/test_bench_vectors.py",
)
"""What takes longest, about in this order: begun last, it would be waited for by workers that have nothing to do."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put what takes longest first; the rest stays in its order."""

    def place(item: pytest.Item) -> int:
        return next((n for n, name in enumerate(LONGEST) if item.nodeid.startswith(name)), len(LONGEST))

    items.sort(key=place)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    """Have files begun in the order of their tests, and all that drive a browser run by one worker.

    They share a server with the samples, built by the real model. Two browsers at once would be waited for longer than
    their tests are ready to.
    """
    if config.getoption("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class Scheduling(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return BROWSER if nodeid.startswith(BROWSER) else super()._split_scope(nodeid)

    config.option.loadscopereorder = False  # it would begin with the files of most tests
    return Scheduling(config, log)


def skip_or_fail(reason: str) -> None:
    """Skip visibly on a person's machine; under CI a missing tool is a failure."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory) -> Callable[..., Path]:
    """Folder of a tiny random checkpoint in the sentence-transformers layout, by model type; made once each."""
    made: dict[tuple[str, tuple[int, ...]], Path] = {}

    def make(model_type: str = "qwen2", dims: tuple[int, ...] = (32, 16, 8)) -> Path:
        from tiny import tiny_backbone, tiny_tokenizer

        from embedder.checkpoint import save_checkpoint
        from embedder.prompts import instruction_for, wrap

        if (model_type, dims) not in made:
            folder = tmp_path_factory.mktemp("checkpoints") / f"tiny-{model_type}"
            prompts = {"query": wrap(instruction_for("Retrieval", "query")), "document": ""}
            save_checkpoint(
                folder, tiny_backbone(model_type), tiny_tokenizer(), dims=dims, max_tokens=128, prompts=prompts
            )
            made[model_type, dims] = folder
        return made[model_type, dims]

    return make


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A running PostgreSQL."""
    try:
        import psycopg  # noqa: F401 - only whether it is there
    except ImportError:
        skip_or_fail("psycopg is not installed")
    binaries = programs()
    if binaries is None:
        skip_or_fail("PostgreSQL is not installed")
    with running_postgres(binaries) as server:
        yield server


@pytest.fixture
def catalog_url(request, tmp_path) -> str:
    """Address of a new database for a catalog, of the kind that the test's parameter says, by default SQLite.

    A file whose tests are all to run on both overrides it by the next fixture.
    """
    return _new_database(getattr(request, "param", "sqlite"), request, tmp_path)


@pytest.fixture(params=["sqlite", "postgres"])
def any_catalog_url(request, tmp_path) -> str:
    """Address of a new database for a catalog, of each kind in turn."""
    return _new_database(request.param, request, tmp_path)


def _new_database(kind: str, request: pytest.FixtureRequest, folder: Path) -> str:
    if kind == "sqlite":
        return f"sqlite:///{folder}/data/catalog.sqlite"
    return request.getfixturevalue("postgres").new_schema()
