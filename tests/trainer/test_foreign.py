"""Teachers that are any Python object."""

import sys
from types import ModuleType

import numpy as np
import pytest

from trainer.config import TeacherConfig
from trainer.foreign import CallableTeacher, NoTeacher
from trainer.teachers import Teachers


class Letters:
    """Counts letters, which is enough to be a teacher."""

    dim = 26

    def encode(self, texts):
        assert isinstance(texts, list)
        counts = np.ones((len(texts), self.dim))
        for row, text in enumerate(texts):
            for letter in text.lower():
                if "a" <= letter <= "z":
                    counts[row, ord(letter) - ord("a")] += 10
        return counts


@pytest.fixture(autouse=True)
def module(monkeypatch):
    made = ModuleType("letters_for_tests")
    made.Letters = Letters
    made.ready = Letters()
    made.nothing = object()
    made.Broken = type("Broken", (), {"encode": lambda self, texts: 1 / 0})
    monkeypatch.setitem(sys.modules, "letters_for_tests", made)
    return made


@pytest.mark.parametrize("name", ["Letters", "ready"])
def test_a_class_or_an_object_teaches(name):
    teacher = CallableTeacher(f"letters_for_tests:{name}")
    vectors = teacher.encode_documents(["abc", "ABC", "xyz", ""])
    assert vectors.shape == (4, 26)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    np.testing.assert_array_equal(vectors[0], vectors[1])
    assert vectors[0] @ vectors[2] < 0.5
    assert (teacher.dim, teacher.dims) == (26, (26,))


def test_queries_are_prompted_as_it_is_told():
    bare, prompted = (CallableTeacher("letters_for_tests:Letters", prompt) for prompt in ("", "zzz{instruction} "))
    np.testing.assert_array_equal(bare.encode_queries(["abc"]), bare.encode_documents(["abc"]))
    assert not np.allclose(prompted.encode_queries(["abc"]), bare.encode_queries(["abc"]))
    np.testing.assert_array_equal(prompted.encode_documents(["abc"]), bare.encode_documents(["abc"]))


def test_long_lists_are_asked_in_pieces_and_keep_their_order(monkeypatch):
    teacher = CallableTeacher("letters_for_tests:Letters")
    whole = teacher.encode_documents([chr(97 + i % 26) for i in range(60)])
    monkeypatch.setattr("trainer.foreign._WINDOW_TEXTS", 7)
    np.testing.assert_array_equal(teacher.encode_documents([chr(97 + i % 26) for i in range(60)]), whole)


def test_its_fingerprint_is_of_what_it_says(monkeypatch):
    first = CallableTeacher("letters_for_tests:Letters").fingerprint
    assert CallableTeacher("letters_for_tests:Letters").fingerprint == first
    monkeypatch.setattr(Letters, "encode", lambda self, texts: np.ones((len(texts), 26)))
    assert CallableTeacher("letters_for_tests:Letters").fingerprint != first


def test_a_config_opens_it(tmp_path):
    config = TeacherConfig(model="letters_for_tests:Letters", engine="callable", languages=("en",))
    teachers = Teachers.open([config], tmp_path / "teachers.sqlite", "cpu")
    assert teachers.teacher_of(frozenset({"en"})) == 0


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("letters_for_tests", "There is no teacher letters_for_tests; write it as module:name"),
        ("letters_for_tests:None_such", "There is no teacher letters_for_tests:None_such"),
        ("no_such_module_here:x", "There is no teacher no_such_module_here:x"),
        (":x", "There is no teacher :x"),
        ("letters_for_tests:nothing", "letters_for_tests:nothing has no method encode"),
        ("letters_for_tests:Broken", "letters_for_tests:Broken does not encode texts: division by zero"),
    ],
)
def test_what_cannot_teach_is_named(path, said):
    with pytest.raises(NoTeacher, match=said):
        CallableTeacher(path)
