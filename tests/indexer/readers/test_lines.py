"""python -m pytest tests/indexer/readers/test_lines.py."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indexer.readers.lines import display_width, join_lines, unwrap


@pytest.mark.parametrize(
    ("lines", "joined"),
    [
        (["two", "words"], "two words"),
        (["发布完整拷", "    贝。"], "发布完整拷贝。"),
        (["使用", "Debian"], "使用 Debian"),
        (["基础，", "Debian"], "基础，Debian"),
        (["二小时58分", "50秒"], "二小时58分50秒"),
        (["GNU/", "Linux"], "GNU/Linux"),
        (["either /", "or"], "either / or"),
        (["well-", "known"], "well-known"),
        (["one -", "two"], "one - two"),
        (["한국어", "문장"], "한국어 문장"),
        (["", "  ", "a"], "a"),
        ([], ""),
    ],
)
def test_lines_meet_as_their_script_asks(lines, joined):
    assert join_lines(lines) == joined


def test_divided_words_are_made_whole():
    lines = ["the infor-", "mation of well-", "known Anglo-", "Saxons"]
    assert (
        join_lines(lines, divided=True, compounds=frozenset({"well-known"}))
        == "the information of well-known Anglo-Saxons"
    )


def test_wide_characters_count_twice():
    assert display_width("ab中文，") == 8


PROSE = """\
This line is part of a paragraph that was wrapped at some
fixed width by an editor, so that its lines belong together
as one."""
VERSE = """\
The woods are lovely, dark and deep,
But I have promises to keep,
And miles to go before I sleep."""
CODE = """\
    if not parts_of_the_configuration[name].values():  # (0)
        return {}, dict(a=1, b=[2, 3], c={4: 5})
    else: ..."""
TABLE = """\
name of the column here     a second column that is wide
value                       another value there"""
CHINESE = """\
    在遵守上述完整拷贝版本有关版权声明的前提下，允许拷贝和发布基于本
    文档完整拷贝的修改版本。"""
ITEMS = """\
  * the first of the items is long enough to be wrapped once
    at the width
  * the second"""


@pytest.mark.parametrize("block", [VERSE, CODE, TABLE, "one\ntwo", "single"])
def test_what_is_no_wrapped_paragraph_keeps_its_lines(block):
    assert unwrap(block) == block


def test_wrapped_paragraphs_are_joined():
    assert "\n" not in unwrap(PROSE)
    assert (
        unwrap(CHINESE)
        == "    在遵守上述完整拷贝版本有关版权声明的前提下，允许拷贝和发布基于本文档完整拷贝的修改版本。"
    )
    assert unwrap(ITEMS).split("\n") == [
        "  * the first of the items is long enough to be wrapped once at the width",
        "  * the second",
    ]
    assert unwrap(f"{PROSE}\n\n{VERSE}").endswith(f"together as one.\n\n{VERSE}")


@settings(deadline=None)
@given(st.text("ab -/.中，1\n", max_size=300))
def test_unwrapping_loses_no_letter(text):
    assert "".join(unwrap(text).split()) == "".join(text.split())
