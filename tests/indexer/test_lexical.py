"""Words meet their texts: pytest tests/indexer/test_lexical.py."""

import os
import subprocess
import sys
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer.lexical import LexicalEncoder, SparseVector

ENCODER = LexicalEncoder()
CHINESE = "长江是亚洲最长的河流，蜜蜂用花蜜酿造蜂蜜。北京大学位于海淀区"
# Spelled so that folding, composing and cutting all have work.
PIECES = st.sampled_from(
    ["tea", "the ", " ", "绿茶", "茶", "，", "是", "snake_case", "GPT-4", "C++", "ﬁ", "㎏", "e\u0301", "ｶﾞ", "한국", "…"]
)
TEXTS = st.one_of(st.text(max_size=60), st.lists(PIECES, max_size=12).map("".join))
WORDS = st.text(alphabet="abcdeXYZ019йщé", min_size=1, max_size=8)


def score(query: str, text: str) -> float:
    """The dot product of the two vectors, without document frequencies."""
    document = ENCODER.encode_document(text)
    weights = dict(zip(document.indices, document.values, strict=True))
    asked = ENCODER.encode_query(query)
    return sum(value * weights.get(index, 0.0) for index, value in zip(asked.indices, asked.values, strict=True))


def shown(query: str, text: str) -> list[str]:
    return [text[start:end] for start, end in ENCODER.highlight(query, text)]


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("running dogs", "The dog runs."),
        ("STRASSE", "straße"),
        ("cafe", "Café"),
        ("café", "cafe\u0301"),
        ("Привет", "привет, мир"),
        ("dog", "the dog's bone"),
        ("Ｐｙｔｈｏｎ", "Python"),
        ("１２３", "123"),
        ("python", "用Python写爬虫"),
        ("爬虫", "用Python写爬虫"),
        ("檢索系統", "检索系统"),
        ("检索系统", "檢索系統"),
        ("茶", "绿茶"),
        ("什么是茶", "绿茶"),
        ("北大", "北京大学"),
        ("ガンダム", "ｶﾞﾝﾀﾞﾑ"),
        ("べる", "りんごを食べる"),
        ("국어", "한국어"),
        ("3.11", "Python 3.11"),
        ("11", "Python 3.11"),
        ("3.11", "Python 3.11.4"),
        ("1000", "1,000 people"),
        ("user_id", "the userId"),
        ("user id", "user_id"),
        ("id", "userId"),
        ("userid", "userId"),
        ("parser", "XMLParser"),
        ("GPU", "two GPUs"),
        ("gpt 4", "GPT4"),
        ("GPT4", "GPT-4"),
        ("email", "e-mail"),
        ("US", "the U.S. Army"),
        ("obrien", "O'Brien"),
        ("O’Brien", "O'Brien"),
        ("C++", "C++17"),
        ("C", "C++"),
        (".NET", "on .NET 8"),
        ("net", ".NET"),
        ("example", "jane.doe@example.org"),
        ("jane.doe@example.org", "write to jane.doe@example.org."),
        ("to be or not to be", "To be, or not to be: that is the question"),
        ("什么", "他说什么"),
        ("如何", "如何是好"),
        ("目的", "旅行的目的地"),
    ],
)
def test_a_query_finds_its_text_and_shows_where(query, text):
    assert score(query, text) > 0
    assert shown(query, text) or query == "北大"


@pytest.mark.parametrize(
    ("query", "better", "worse"),
    [
        ("C++", "C++ compilers", "C compilers"),
        ("C#", "a C# program", "a C++ program"),
        ("3.11", "Python 3.11", "Python 3.12 of 11 May"),
        ("user_id", "the user_id column", "the user has an id"),
        ("蜂蜜", "蜂蜜很甜", "蜜蜂很忙"),
        ("the tea", "tea", "the the the"),
        ("什么是黑洞", "黑洞是一种天体", "什么是什么"),
        ("怎样酿酒", "酿酒要粮食", "这样酿成蜂蜜"),
        ("tea", "tea", "tea and " + "coffee " * 300),
        ("tea", "tea tea", "tea tee"),
    ],
)
def test_the_closer_text_scores_higher(query, better, worse):
    assert score(query, better) > score(query, worse)


@pytest.mark.parametrize(("query", "text"), [("tee", "tea"), ("茶", "咖啡"), ("the cat", "the dog"), ("ab", "a b")])
def test_what_is_not_there_is_not_found(query, text):
    assert score(query, text) == 0
    assert ENCODER.highlight(query, text) == ()


def test_every_chinese_substring_of_two_characters_or_more_is_found():
    for run in CHINESE.replace("。", "，").split("，"):
        for start in range(len(run)):
            for end in range(start + 2, len(run) + 1):
                assert score(run[start:end], CHINESE) > 0, run[start:end]


@pytest.mark.parametrize(
    ("query", "text", "expected"),
    [
        ("什么是黑洞？", "它是黑洞，黑夜里的山洞。", ["黑洞"]),
        ("蜜蜂怎样酿蜜", "酱油是怎样酿出来的？蜜蜂会酿蜜。", ["蜜蜂", "酿蜜"]),
        ("米多少钱一斤", "多少钱一斤？不少钱一斤。", ["钱一斤", "钱一斤"]),
        ("the teas of China", "Teas of the world: tea", ["Teas", "tea"]),
        ("of the", "one of the teas", ["of", "the"]),
        ("檢索系統", "一个检索系统", ["检索系统"]),
        ("case", "snake_case, camelCase", ["case", "Case"]),
        ("kg", "3㎏ ﬁne", ["㎏"]),
        ("fine", "3㎏ ﬁne", ["ﬁne"]),
        ("café", "un cafe\u0301!", ["cafe\u0301"]),
        ("写爬虫", "用Python写爬虫", ["写爬虫"]),
        ("Python 爬虫", "用Python爬虫", ["Python爬虫"]),
    ],
)
def test_highlights_are_the_words_as_they_stand_in_the_text(query, text, expected):
    assert shown(query, text) == expected


@pytest.mark.parametrize("text", ["", "   ", "🎉👩‍🚀", "\ud800", "。！？", "\x00", "____", "..."])
def test_a_text_without_words_has_an_empty_vector(text):
    assert ENCODER.encode_document(text) == ENCODER.encode_query(text) == SparseVector((), ())
    assert ENCODER.highlight(text, text) == ()


def test_strange_characters_do_not_hide_their_neighbours():
    text = "tea\ud83c🎉绿茶\udfff\u200b"
    assert shown("tea 绿茶", text) == ["tea", "绿茶"]
    assert score("tea", text) > 0


def test_a_single_character_weighs_less_than_the_pair_it_is_part_of():
    vector = dict(zip(*(lambda v: (v.indices, v.values))(ENCODER.encode_query("绿茶")), strict=True))
    single = ENCODER.encode_query("茶").indices[0]
    assert vector[single] < max(vector.values()) / 2


def test_very_long_words_are_taken_whole():
    word = "Qx7" * 50_000
    assert score(word, f"blob {word}") > 0


@given(TEXTS)
def test_vectors_are_well_formed(text):
    for vector in (ENCODER.encode_document(text), ENCODER.encode_query(text)):
        assert list(vector.indices) == sorted(set(vector.indices))
        assert all(0 <= index < 1 << 32 for index in vector.indices)
        assert len(vector.values) == len(vector.indices)
        assert all(value > 0 for value in vector.values)
    assert set(ENCODER.encode_query(text).indices) <= set(ENCODER.encode_document(text).indices)


@given(TEXTS, TEXTS)
def test_highlights_are_ordered_apart_and_inside(query, text):
    before = -1
    for start, end in ENCODER.highlight(query, text):
        assert before < start < end <= len(text)
        before = end


@given(TEXTS)
def test_a_text_asked_as_a_query_is_highlighted_where_it_has_words(text):
    assert bool(ENCODER.highlight(text, text)) == bool(ENCODER.encode_query(text).indices)


@given(st.lists(WORDS, min_size=1, max_size=8), st.data())
def test_a_whole_word_of_the_text_always_meets_it(words, data):
    word = data.draw(st.sampled_from(words))
    text = " ".join(words)
    assert set(ENCODER.encode_query(word).indices) & set(ENCODER.encode_document(text).indices)
    assert any(unicodedata.normalize("NFC", word) in text[start:end] for start, end in ENCODER.highlight(word, text))


def test_threads_and_processes_agree():
    texts = [f"{CHINESE} running {number} dogs' userId_{number} generously" for number in range(200)]
    alone = [ENCODER.encode_document(text) for text in texts]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(LexicalEncoder().encode_document, texts * 3)) == alone * 3
    root = Path(__file__).parents[2]
    program = (
        "from indexer.lexical import LexicalEncoder as E;"
        f"print(E().encode_document({texts[7]!r}), E().encode_query({texts[7]!r}))"
    )
    seen = {
        subprocess.check_output(
            [sys.executable, "-c", program], env=os.environ | {"PYTHONHASHSEED": seed}, cwd=root, text=True
        )
        for seed in ("1", "2")
    }
    assert seen == {f"{alone[7]} {ENCODER.encode_query(texts[7])}\n"}
