"""A rotation changes no cosine at full width and gathers what there is in the first values."""

import shutil

import numpy as np
import pytest

from embedder import Embedder
from trainer.recipes import Places, tiny
from trainer.rotation import Unturnable, principal_axes, prompted_texts, rotate_checkpoint

ROWS = 64


@pytest.fixture(scope="module")
def stage(articles):
    return tiny(Places(data=f"articles:{articles}")).stage("finetune")


@pytest.fixture(scope="module")
def rotated(stage, tiny_checkpoint, tmp_path_factory):
    """The folder of a rotated model, and what it keeps at each width."""
    folder = tmp_path_factory.mktemp("rotated") / "model"
    return folder, rotate_checkpoint(tiny_checkpoint("qwen2"), folder, stage, ROWS)


def test_axes_are_orthonormal_and_in_order():
    vectors = np.random.default_rng(3).normal(size=(200, 12)) * np.geomspace(3, 0.1, 12)
    axes, energies = principal_axes(vectors.T @ vectors)
    assert np.abs(axes @ axes.T - np.eye(12)).max() < 1e-6
    assert (np.diff(energies) <= 0).all()
    assert ((vectors @ axes.T) ** 2).sum(axis=0) == pytest.approx(energies, rel=1e-4)
    assert (axes[np.arange(12), np.abs(axes).argmax(axis=1)] > 0).all()


def test_whole_vectors_have_the_cosines_they_had(rotated, tiny_checkpoint, stage):
    folder, _ = rotated
    texts = list(prompted_texts(stage, ROWS))
    before, after = (
        Embedder.load(str(place), dtype="float32").encode_prompted(texts, "")
        for place in (tiny_checkpoint("qwen2"), folder)
    )
    assert np.abs(before @ before.T - after @ after.T).max() < 1e-5
    assert np.abs(before - after).max() > 0.01


def test_cut_vectors_keep_most_of_what_there_is(rotated, tiny_checkpoint, stage):
    folder, kept = rotated
    assert list(kept) == [32, 16, 8]
    assert kept[32] == pytest.approx(1)
    assert list(kept.values()) == sorted(kept.values(), reverse=True)
    texts = list(prompted_texts(stage, ROWS))
    for dim, share in kept.items():
        energies = [
            (Embedder.load(str(place), dtype="float32").encode_prompted(texts, "")[:, :dim] ** 2).sum() / len(texts)
            for place in (tiny_checkpoint("qwen2"), folder)
        ]
        assert energies[1] == pytest.approx(share, abs=1e-3)
        assert energies[1] >= energies[0] - 1e-6


def test_a_model_is_turned_once(rotated, stage, tmp_path):
    with pytest.raises(Unturnable, match="ends in a dense layer already"):
        rotate_checkpoint(rotated[0], tmp_path / "again", stage, ROWS)


def test_a_folder_without_modules_is_refused_before_any_work(stage, tiny_checkpoint, tmp_path):
    plain = shutil.copytree(tiny_checkpoint("qwen2"), tmp_path / "plain")
    (plain / "modules.json").unlink()
    with pytest.raises(Unturnable, match="a plain transformers folder"):
        rotate_checkpoint(plain, tmp_path / "rotated", stage, ROWS)
    assert not (tmp_path / "rotated").exists()
