"""Documents that say nearly the same find each other: pytest tests/indexer/test_duplicates.py."""

import itertools
import random
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer.duplicates import THRESHOLD, bands, from_bytes, signature, similarity, to_bytes

SAMPLES = Path(__file__).parents[2] / "samples"
TEXTS = sorted([*SAMPLES.glob("en/*/*.md"), *SAMPLES.glob("zh/*/*.md")])
UNIT = re.compile(r"[\u4e00-\u9fff]|[^\W_]+")


def words(text):
    return UNIT.findall(text.lower())


def shared(first, second):
    """The true share of sequences of four words, counted."""
    one, other = ({tuple(text[n : n + 4]) for n in range(len(text) - 3)} for text in (words(first), words(second)))
    return len(one & other) / len(one | other)


def edited(text, share, seed):
    """The text with some of its words replaced by words of its own, its spacing and case changed."""
    pieces = re.findall(r"[\u4e00-\u9fff]|[^\W_]+|[\W_]+", text)
    places = [place for place, piece in enumerate(pieces) if UNIT.fullmatch(piece)]
    draw = random.Random(seed)
    for place in draw.sample(places, round(share * len(places))):
        pieces[place] = pieces[draw.choice(places)]
    return "".join(pieces).upper().replace("\n", "  ")


def meet(first, second):
    """Whether a catalog would show the two as one."""
    return bool(set(bands(first)) & set(bands(second))) and similarity(first, second) >= THRESHOLD


def test_near_duplicates_of_the_samples_are_found_and_different_documents_are_not():
    originals = [path.read_text(encoding="utf-8") for path in TEXTS]
    signatures = [signature(text) for text in originals]
    copies = [
        (edited(text, share, seed=f"{number} {share}"), number)
        for number, text in enumerate(originals)
        for share in (0.0, 0.01, 0.02, 0.1)
    ]
    found = [(meet(signature(copy), signatures[number]), shared(copy, originals[number])) for copy, number in copies]
    alike = [met for met, truth in found if truth >= THRESHOLD + 0.1]
    unlike = [met for met, truth in found if truth < THRESHOLD - 0.15]
    others = [meet(first, second) for first, second in itertools.combinations(signatures, 2)]
    assert min(len(alike), len(unlike)) > 40
    recall = sum(alike) / len(alike)
    met = sum(met for met, _ in found) + sum(others)
    right = sum(met for met, truth in found if truth >= THRESHOLD - 0.15)
    assert recall >= 0.97
    assert right / met >= 0.99
    assert not any(unlike)
    assert not any(others)


@pytest.mark.parametrize("path", TEXTS[::20], ids=lambda path: path.stem)
def test_the_estimate_is_close_to_the_truth(path):
    text = path.read_text(encoding="utf-8")
    for share in (0.01, 0.05, 0.2):
        copy = edited(text, share, seed=share)
        assert similarity(signature(text), signature(copy)) == pytest.approx(shared(text, copy), abs=0.2)


def test_case_width_script_and_punctuation_make_no_difference():
    same = [signature(text) for text in ("Bees make honey: 檢索系統!", "ＢＥＥＳ make\nhoney 检索系统")]
    assert similarity(*same) == 1.0
    assert bands(same[0]) == bands(same[1])


def test_a_signature_is_the_same_in_every_process_and_survives_storage():
    made = signature("Bees make honey from nectar.")
    assert made[:3].tolist() == [1763770875, 1742326547, 389921995]
    assert np.array_equal(from_bytes(to_bytes(made)), made)
    assert all(-(2**63) <= band < 2**63 for band in bands(made))
    assert len(bands(made)) == 20


@pytest.mark.parametrize("text", ["", " \n", "…!?", "🎉"])
def test_a_text_without_words_has_no_signature(text):
    assert signature(text) is None


@given(st.text(max_size=80), st.text(max_size=80))
def test_similarity_is_a_share_and_symmetric(first, second):
    one, other = signature(first), signature(second)
    if one is not None and other is not None:
        assert 0 <= similarity(one, other) == similarity(other, one) <= 1
        assert similarity(one, one) == 1
