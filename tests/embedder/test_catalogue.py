"""From a name to a folder, and to one sentence where there is none."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from embedder.catalogue import BUNDLED, DEFAULT, PUBLISHED, UnknownModel, UnreachableModel, locate, source_of

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def hub(tmp_path, monkeypatch) -> Path:
    """An empty store of downloads: what this machine has fetched before does not matter."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def test_the_default_comes_with_the_package():
    for name in (None, "", DEFAULT):
        location = locate(name)
        assert (location.name, location.source, location.published) == (DEFAULT, DEFAULT, None)
        assert location.bundled == BUNDLED[DEFAULT]
        assert (location.folder / "config.json").is_file()


def test_a_folder_is_found_by_its_path(tmp_path, monkeypatch):
    folder = (tmp_path / "models" / "mine").resolve()
    folder.mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    for name in ("models/mine", "./models/mine", str(tmp_path / "models" / "mine")):
        location = locate(name)
        assert (location.name, location.folder, location.bundled) == ("mine", folder, None)
        assert location.source == source_of(name) == str(folder)  # opens it from any other folder too


def test_a_folder_is_found_in_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "mine").mkdir()
    assert locate("~/mine").folder == (tmp_path / "mine").resolve()


@pytest.mark.parametrize("name", ["nosuch", "./nosuch", "/no/such", "a/b/c", "~/nosuch", "~nobody-of-that-name/x"])
def test_an_unknown_name_is_told_what_there_is(refused, name):
    with refused(UnknownModel, repr(name), DEFAULT, "folder", *PUBLISHED):
        locate(name)


@pytest.mark.parametrize("name", ["someone/some-model", *PUBLISHED])
def test_a_hub_name_offline_is_told_what_works_offline(refused, name):
    repository = PUBLISHED[name].repository if name in PUBLISHED else name
    with refused(UnreachableModel, repository, "offline", DEFAULT, "folder"):
        locate(name)


@pytest.mark.parametrize("name", ["someone/some-model", *PUBLISHED])
def test_what_was_fetched_before_is_found_offline(hub, name):
    published = PUBLISHED.get(name)
    repository, revision = (published.repository, published.revision) if published else (name, "0" * 40)
    store = hub / f"models--{repository.replace('/', '--')}"
    snapshot = store / "snapshots" / revision
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text("{}")
    if not published:  # a bare hub id means its main branch; a published name never does
        (store / "refs").mkdir()
        (store / "refs" / "main").write_text(revision)
    location = locate(name)
    assert (location.name, location.folder, location.published) == (name, snapshot, published)


def test_what_a_model_is_loaded_by_again_is_said_without_looking_for_its_weights():
    for name in (*PUBLISHED, "someone/some-model", "nosuch"):
        assert source_of(name) == name


def test_published_checkpoints_are_pinned_to_a_commit():
    assert set(PUBLISHED) == {"kalm-v2", "kalm-v2.5"}
    for published in PUBLISHED.values():
        assert re.fullmatch("[0-9a-f]{40}", published.revision)
        assert published.dims == (896, 512, 256, 128, 64)
    assert len(PUBLISHED["kalm-v2.5"].reference.head) == 10


def test_the_package_and_its_light_parts_load_no_torch():
    script = (
        "import sys\n"
        "from embedder import AppError, VectorCache, cache, catalogue, errors, prompts, protocol\n"
        "heavy = {'torch', 'transformers', 'tokenizers', 'huggingface_hub'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", script], check=True, cwd=ROOT)


def test_the_public_names():
    import embedder

    assert embedder.__all__ == ["AppError", "Embedder", "VectorCache"]
    assert all(getattr(embedder, name).__name__ == name for name in embedder.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Nonsense'"):
        _ = embedder.Nonsense
