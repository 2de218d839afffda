"""Shared fixtures: tiny random checkpoints, databases, and the choice of what may be skipped."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from postgres import Postgres, programs, running_postgres

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# Threads of the several processes that tests are run by, and start, would wait for each other more than they work.
os.environ.setdefault("OMP_NUM_THREADS", "1")


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
