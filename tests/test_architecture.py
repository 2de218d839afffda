"""The house as tests: what may be imported where, and how long a file may be."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = [
    path for package in ("app", "embedder", "indexer", "trainer") for path in sorted((ROOT / package).rglob("*.py"))
]

FENCES = {
    "streamlit": ("app/ui/", "app/asgi.py"),
    "qdrant_edge": ("indexer/stores/edge.py", "indexer/stores/edge_points.py"),
    "qdrant_client": (
        "indexer/stores/server.py",
        "indexer/stores/server_points.py",
        "indexer/stores/server_requests.py",
        "app/benchmarks/vector_engines.py",
    ),
    "sqlalchemy": ("indexer/catalog/",),
    "alembic": ("indexer/catalog/tables.py", "indexer/catalog/migrations/"),
    "torch": ("embedder/", "trainer/", "app/benchmarks/"),
    "transformers": ("embedder/", "trainer/", "app/benchmarks/"),
    "sentence_transformers": ("trainer/foreign.py", "app/benchmarks/"),
    "accelerate": ("trainer/distributed.py",),
    "datasets": ("trainer/tables.py", "trainer/data.py", "app/benchmarks/peers.py", "app/evaluation/"),
    "mteb": ("app/evaluation/",),
    "peft": ("trainer/student.py",),
    "matplotlib": ("trainer/plots.py", "app/benchmarks/curves.py"),
    "langchain_core": ("embedder/langchain", "indexer/langchain", "app/benchmarks/langchain_peer.py"),
    "langchain": ("app/chat.py",),
    "mcp": ("app/agents.py",),
    "langchain_qdrant": ("indexer/langchain/sparse.py",),
    "fastapi": ("app/rest/",),
    "prometheus_client": ("app/rest/",),
    "uvicorn": ("app/cli/serve.py",),
    "watchfiles": ("indexer/sources/watching.py",),
    "cronsim": ("indexer/upkeep/cron.py",),
    "fsspec": ("indexer/sources/remote.py",),
    "ray": ("indexer/builds/cluster.py", "indexer/builds/cluster_stages.py"),
}


def imported(path):
    """Top-level packages that a file imports, wherever in the file."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.split(".")[0]


@pytest.mark.parametrize("package", FENCES)
def test_a_third_party_is_used_only_behind_its_fence(package):
    users = [path.relative_to(ROOT).as_posix() for path in SOURCES if package in imported(path)]
    assert users, f"nobody uses {package} any more: take its fence down"
    assert [user for user in users if not user.startswith(FENCES[package])] == []


def test_no_file_is_longer_than_400_lines():
    tests = (ROOT / "tests").rglob("*.py")
    assert [path.name for path in (*SOURCES, *tests) if len(path.read_text(encoding="utf-8").splitlines()) > 400] == []


def test_only_the_settings_read_the_environment():
    readers = [path for path in SOURCES if re.search(r"os\.(environ|getenv)", path.read_text(encoding="utf-8"))]
    assert readers == []


@pytest.mark.parametrize("package", ["embedder", "indexer", "indexer.search", "indexer.pipeline", "app.bootstrap"])
def test_importing_what_needs_no_model_loads_no_torch(package):
    code = f"import sys, {package}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
