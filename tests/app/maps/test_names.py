"""Names of clusters read as words, in both languages."""

import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.services.maps.clusters import Clustering
from app.services.maps.items import Item
from app.services.maps.labelling import name_clusters
from app.services.maps.words import Lexicon, is_chinese, overlap

_SAMPLES = Path(__file__).parents[3] / "samples"


def item(number, title, text, language="en"):
    return Item(str(number), str(number), title, "", language, text)


def named(groups):
    """Names of clusters that are given as lists of texts."""
    items = [
        item(f"{number}-{place}", "", text) for number, group in enumerate(groups) for place, text in enumerate(group)
    ]
    labels = np.repeat(np.arange(len(groups)), [len(group) for group in groups])
    return name_clusters(items, Clustering(labels, np.ones(len(items), np.float32)), labels)


def test_chinese_words_are_found_without_a_dictionary():
    draws = random.Random(0)
    words = ["黑洞", "望远镜", "银河系", "蜜蜂", "花粉", "图书馆"]
    texts = [
        "，".join(
            draws.choice("甲乙丙丁戊己庚辛") + draws.choice(words) + draws.choice("子丑寅卯辰巳午未") for _ in range(40)
        )
        for _ in range(20)
    ]
    lexicon = Lexicon(texts)
    assert all(word in lexicon for word in words)
    assert "望远" not in lexicon
    assert "河系" not in lexicon
    assert list(lexicon.words("望远镜黑洞")) == ["望远镜", "黑洞"]


def test_the_samples_have_readable_words():
    texts = [path.read_text(encoding="utf-8") for path in sorted((_SAMPLES / "zh").rglob("*.md"))]
    lexicon = Lexicon(texts)
    words = {word for text in texts for word in lexicon.words(text) if is_chinese(word)}
    assert len(words) > 30
    assert all(2 <= len(word) <= 4 for word in words)
    assert not any(word[0] in "的了和是在" or word[-1] in "的了和是在" for word in words)


def test_clusters_are_named_by_what_sets_them_apart():
    stars = [f"The telescope shows a distant galaxy number {n} and its stars." for n in range(6)]
    bees = [f"The honey of the bees is in hive number {n} of the garden." for n in range(6)]
    first, second = named([stars, bees])
    assert set(first.english).isdisjoint({"the", "and", "its"})
    assert any(word in " ".join(first.english) for word in ("telescope", "galaxy", "stars"))
    assert any(word in " ".join(second.english) for word in ("honey", "bees", "hive", "garden"))
    assert first.name != second.name


def test_a_cluster_of_both_languages_has_words_of_both_in_its_name():
    english = [f"A telescope for the night sky, chapter {n}." for n in range(5)]
    chinese = [f"第{n}章，天文台的望远镜，看望远镜；用望远镜。" for n in range(5)]
    other = [f"The honey of the bees {n}" for n in range(5)]
    both, _ = named([english + chinese, other])
    assert "望远镜" in both.name
    assert any(not is_chinese(word) for word in both.name.split(" · "))


@given(st.lists(st.lists(st.text(max_size=30), min_size=1, max_size=4), min_size=1, max_size=6))
@settings(deadline=None)
def test_every_cluster_has_a_name_of_its_own(groups):
    names = [naming.name for naming in named(groups)]
    assert all(names)
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("first", "second", "is_overlap"),
    [
        ("hole", "black hole", True),
        ("star", "stars", True),
        ("star", "bee", False),
        ("黑洞", "大黑洞", True),
        ("黑洞", "洞穴", False),
    ],
)
def test_words_that_say_the_same(first, second, is_overlap):
    assert overlap(first, second) is overlap(second, first) is is_overlap
