"""The words of a corpus, and mistyped ones put right."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.services.terms import collect
from indexer.catalog.documents import Beginning

DOCUMENTS = [
    Beginning(
        "", "How Honeybees Make Honey", "Honeybees gather nectar. Honeybees dance. Other honeybees watch. Honey keeps."
    ),
    Beginning(
        "",
        "Honeybees in Winter",
        "A winter cluster of honeybees eats honey. In winter, honeybees wait for winter to end.",
    ),
    Beginning("", "NASA and the Moon", "NASA flew to the moon in winter. NASA landed; NASA left. Nectar is not there."),
    Beginning("", "Why NASA Flies", "NASA flies, and the moon waits."),
    Beginning("", "蜜蜂怎样酿蜜", "蜜蜂采集花蜜，蜜蜂再把花蜜酿成蜂蜜。蜜蜂很忙。"),
    Beginning("", "蜜蜂过冬", "冬天的蜜蜂聚成一团。"),
]


@pytest.fixture(scope="module")
def terms():
    return collect(DOCUMENTS)


def test_words_that_documents_are_about_are_offered_as_they_are_written(terms):
    assert terms.frequent == ("NASA", "honeybees", "winter", "蜜蜂")
    assert terms.beginning_with("HON", 5) == ["honeybees"]
    assert terms.beginning_with("蜜", 5) == ["蜜蜂"]
    assert terms.beginning_with("", 2) == list(terms.frequent[:2])
    assert terms.beginning_with("zebra", 5) == []


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("honeybes", "honeybees"),  # missing
        ("honeybeees", "honeybees"),  # too many
        ("honeybeez", "honeybees"),  # wrong
        ("hnoeybees", "honeybees"),  # in the wrong order
        ("Wintre storms", "Winter storms"),
        ("where do honeybes find necttar?", "where do honeybees find nectar?"),
    ],
)
def test_one_slip_is_put_right(terms, typed, meant):
    assert terms.correction(typed) == meant


@pytest.mark.parametrize("typed", ["honeybees", "moan", "hnyebes", "蜜蜂怎样", "", "gather", "x" * 50])
def test_what_is_known_short_or_like_nothing_is_left_alone(terms, typed):
    assert terms.correction(typed) is None


def test_a_word_that_was_found_is_right(terms):
    assert terms.correction("winder", ["Use the winder of the clock."]) is None
    assert terms.correction("winder", ["Snow."]) == "winter"


def test_an_empty_corpus_has_no_words():
    assert collect(()).frequent == ()
    assert collect(()).correction("honeybes") is None


@given(st.text(max_size=60))
def test_a_correction_is_another_question_of_known_words(typed):
    terms = collect(DOCUMENTS)
    meant = terms.correction(typed)
    assert meant is None or meant != typed
    assert all(isinstance(word, str) for word in terms.beginning_with(typed, 3))
