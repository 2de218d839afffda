"""Every block of docs/langchain.md runs, in its order, with the model that ships."""

import contextlib
import io
import os
import re
from pathlib import Path
from unittest import mock

import pytest
from qdrant_server import LOCAL_MODE_WARNS, QdrantServer

DOCS = Path(__file__).parents[2] / "docs" / "langchain.md"
BLOCKS = re.findall(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), flags=re.DOTALL)

pytestmark = LOCAL_MODE_WARNS


@pytest.fixture
def handbook(cli, write):
    """A data folder with the corpus of the guide, built."""
    bees = "# Bees\n\nBees make honey from the nectar of flowers, and live on it in the winter.\n"
    root = write(cli.folder / "handbook", **{"bees.md": bees, "tea.txt": "茶要趁热喝，放凉了就不香了。\n"})
    for words in (("corpus", "add", "handbook", root), ("index", "build", "handbook")):
        assert cli(*words).code == 0
    return cli.data


def test_the_guide_runs(handbook, tmp_path, monkeypatch):
    from app.bootstrap import close_services, services

    monkeypatch.chdir(tmp_path)
    services.cache_clear()
    with QdrantServer() as server, mock.patch.dict(os.environ, {"KALM_DATA_DIR": str(handbook)}):
        names, printed = {}, io.StringIO()
        for block in BLOCKS:
            with contextlib.redirect_stdout(printed):
                exec(compile(block.replace("http://localhost:6333", server.url), DOCS.name, "exec"), names)
        for opened in ("store", "on_server", "handbook", "manual"):
            names[opened].close()
        close_services()
    services.cache_clear()
    lines = printed.getvalue().splitlines()
    assert lines[:3] == ["Bees make honey from nectar.", "Yeast makes bread rise.", "蜜蜂用花蜜酿造蜂蜜。"]
    assert "wasps" in lines
    assert "bees.md" in lines
    assert any(line.startswith("{'num_added': 1,") for line in lines)
    assert lines[-3:] == ["蜜蜂用花蜜酿造蜂蜜。", "蜜蜂用花蜜酿造蜂蜜。", "1"]


def test_the_guide_names_everything_that_there_is():
    import indexer.langchain

    text = DOCS.read_text(encoding="utf-8")
    assert [name for name in indexer.langchain.__all__ if f"`{name}" not in text and f"{name}(" not in text] == []
