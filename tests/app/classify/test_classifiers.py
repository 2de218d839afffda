"""Classifiers on disk: whole or not there, and nothing else than what was saved."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from app.services.classify.classifiers import (
    Classifier,
    ClassifierDamaged,
    ClassifierRefused,
    ClassifierStore,
    Label,
    NoClassifier,
    Source,
)
from app.services.classify.heads import Head
from app.services.classify.training import Method

ROOT = Path(__file__).parents[3]


def classifier(name="topics", seed=0):
    random = np.random.default_rng(seed)
    head = Head(random.normal(size=(2, 4)).astype(np.float32), random.normal(size=2).astype(np.float32))
    labels = (Label("bees", "insects"), Label("黑洞"))
    return Classifier(name, labels, head, Method.LOGISTIC, Source("tiny", "f" * 8, 4, "Sort"), 0.25, 12, 0.5, 0.4)


def test_what_is_loaded_is_what_was_saved(tmp_path):
    kept = ClassifierStore(tmp_path).save(classifier())
    loaded = ClassifierStore(tmp_path).load("topics")
    for name in ("name", "labels", "method", "source", "threshold", "examples", "accuracy", "version", "created"):
        assert getattr(loaded, name) == getattr(kept, name)
    vectors = np.eye(4, dtype=np.float32)
    assert (loaded.head.probabilities(vectors) == kept.head.probabilities(vectors)).all()
    assert {path.suffix for path in tmp_path.rglob("*") if path.is_file()} == {".json", ".safetensors"}


def test_one_that_is_removed_is_gone_before_its_files_are(tmp_path, monkeypatch):
    store = ClassifierStore(tmp_path)
    store.save(classifier())
    monkeypatch.setattr(shutil, "rmtree", lambda *_, **__: None)
    store.remove("topics")
    assert store.all() == []


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\\b", "a b", "\0", "-a", "_a", "a" * 65, "../../x", "a\n"])
def test_a_name_never_leaves_the_folder(tmp_path, name):
    store = ClassifierStore(tmp_path / "classifiers")
    with pytest.raises(ClassifierRefused, match="cannot be the name of a classifier"):
        store.save(classifier(name))
    for ask in (store.load, store.remove):
        with pytest.raises(NoClassifier, match="none has been saved yet"):
            ask(name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("damage", ["cut", "json", "shape", "missing", "list", "later"])
def test_a_damaged_one_is_refused_in_one_sentence(tmp_path, damage):
    store = ClassifierStore(tmp_path)
    store.save(classifier())
    numbers, facts = tmp_path / "topics" / "1" / "head.safetensors", tmp_path / "topics" / "1" / "classifier.json"
    known = json.loads(facts.read_text())
    if damage == "cut":
        numbers.write_bytes(numbers.read_bytes()[:-5])
    elif damage == "missing":
        numbers.unlink()
    else:
        changed = {
            "json": "{",
            "list": "[]",
            "shape": json.dumps(known | {"dim": 8}),
            "later": json.dumps(known | {"format": 2}),
        }
        facts.write_text(changed[damage])
    with pytest.raises(ClassifierDamaged, match="train it again.$"):
        store.load("topics")


KILLED = """
import os, signal, sys
sys.path.insert(0, {root!r} + "/tests/app/classify")
from pathlib import Path
from test_classifiers import classifier
from app.services.classify import classifiers
where, real = {where!r}, getattr({module}, {name!r})
def die(*arguments, **named):
    if where == "after":
        real(*arguments, **named)
    os.kill(os.getpid(), signal.SIGKILL)
{module}.{name} = die
classifiers.ClassifierStore(Path({folder!r})).save(classifier(seed=1))
"""


@pytest.mark.parametrize(("where", "version"), [("before", 1), ("after", 2)])
def test_killed_while_saving_there_is_the_old_one_or_the_new(tmp_path, where, version):
    store = ClassifierStore(tmp_path)
    store.save(classifier())
    code = KILLED.format(root=str(ROOT), where=where, module="os", name="replace", folder=str(tmp_path))
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == -9
    loaded = store.load("topics")
    assert loaded.version == version
    assert (loaded.head.weights == classifier(seed=version - 1).head.weights).all()
    assert store.save(classifier()).version == version + 1
