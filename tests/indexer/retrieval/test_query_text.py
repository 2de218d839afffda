"""What is typed becomes words, phrases and filters: pytest tests/indexer/retrieval/test_query_text.py."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer.dates import parse_day
from indexer.retrieval.query_text import ParsedQuery, parse_query

# Spelled so that operators begin, end and break off in every way.
PIECES = st.sampled_from(
    [
        '"',
        "\u201c",
        "\u201d",
        "「",
        "」",
        "-",
        " ",
        "type:",
        "lang:zh",
        "title:",
        "after:2024",
        ":",
        "，",
        "tea",
        "绿茶",
        "5",
    ]
)
QUERIES = st.one_of(st.text(max_size=40), st.lists(PIECES, max_size=12).map("".join))
WORDS = st.text(alphabet="abcdefg茶绿é", min_size=1, max_size=6)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ('the "black hole" there', ParsedQuery("the black hole there", phrases=("black hole",))),
        ("什么是“黑洞”？", ParsedQuery("什么是 黑洞 ？", phrases=("黑洞",))),
        ('什么是"黑洞"', ParsedQuery("什么是 黑洞", phrases=("黑洞",))),
        ("「檢索」系統 『詞』", ParsedQuery("檢索 系統 詞", phrases=("檢索", "詞"))),
        ("tea -green", ParsedQuery("tea", excluded=("green",))),
        ('tea -"green tea", hot', ParsedQuery("tea , hot", excluded=("green tea",))),
        ("tea -green, hot", ParsedQuery("tea hot", excluded=("green",))),
        ("茶 -“绿茶”", ParsedQuery("茶", excluded=("绿茶",))),
        ("tea type:PDF,docx type:txt", ParsedQuery("tea", file_types=frozenset({"pdf", "docx", "txt"}))),
        ("茶 lang：zh", ParsedQuery("茶", languages=frozenset({"zh"}))),
        ('tea title:"green tea" Title:leaf', ParsedQuery("tea", titles=("green tea", "leaf"))),
        ("诗 author:李白", ParsedQuery("诗", authors=("李白",))),
        ("tea after:2024-01-31", ParsedQuery("tea", after=date(2024, 1, 31))),
        ("after:2023 tea after:2024-05", ParsedQuery("tea", after=date(2024, 5, 1))),
        ("tea before:2025 before:2026", ParsedQuery("tea", before=date(2025, 1, 1))),
        ("type:pdf", ParsedQuery("", file_types=frozenset({"pdf"}))),
    ],
)  # fmt: skip
def test_operators(query, expected):
    assert parse_query(query) == expected


@pytest.mark.parametrize(
    "query",
    [
        'a "phrase that never ends',
        'end"',
        '5" pipes and 3" pipes',
        "http://example.org/a-b",
        "12:30",
        "C++::x std::vector",
        "kind:pdf",
        "type:",
        "type:, lang:",
        "lang:chinese",
        "after:soon before:2024-02-31 after:20240131",
        "-40 degrees",
        "--help",
        "e-mail - and - dashes -",
        '"" “” "!?"',
        "  two  spaces\n",
        "",
    ],
)
def test_everything_else_is_text_as_it_stands(query):
    assert parse_query(query) == ParsedQuery(query)


@pytest.mark.parametrize(
    ("query", "text", "allowed"),
    [
        ('"black hole"', "A BLACK\n  Hole eats", True),
        ('"black hole"', "black holes", False),
        ('"black hole"', "a hole, black", False),
        ('"C++"', "the C++17 standard", True),
        ("“黑洞”", "什么是黑洞呢", True),
        ("「檢索系統」", "一个检索系统", True),
        ('"ＡＢＣ"', "abc", True),
        ('"STRASSE"', "straße", True),
        ("x -cat", "a Cat.", False),
        ("x -cat", "concatenate", True),
        ("x -绿茶", "喝綠茶", False),
        ('"in the title"', "elsewhere", True),
        ("x -title", "elsewhere", False),
        ("x title:title", "elsewhere", True),
        ("x title:tit", "elsewhere", False),
        ("x author:li", "elsewhere", True),
        ("x author:bai", "elsewhere", True),
        ("x author:du", "elsewhere", False),
    ],
)
def test_conditions_hold_exactly(query, text, allowed):
    assert parse_query(query).allows(text, "In the title", "Li Bai") is allowed


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("2024", date(2024, 1, 1)),
        ("2024-05", date(2024, 5, 1)),
        ("2024-5-7", date(2024, 5, 7)),
        ("2024-05-07T23:10:00+08:00", date(2024, 5, 7)),
        ("2024-05-07 10:00", date(2024, 5, 7)),
        ("0000-01-01", None),
        ("May 2024", None),
        ("202405", None),
        ("", None),
    ],
)
def test_days(text, day):
    assert parse_day(text) == day


@given(QUERIES)
def test_nothing_typed_is_an_error_and_no_word_is_lost(query):
    parsed = parse_query(query)
    parsed.allows(query, query, query)
    kept = [parsed.text, *parsed.excluded, *parsed.titles, *parsed.authors, *parsed.file_types, *parsed.languages]
    days = [day.isoformat() for day in (parsed.after, parsed.before) if day]
    for word in ("tea", "绿茶"):
        assert query.count(word) == 0 or any(word in part.lower() for part in [*kept, *days])
    assert all(phrase in parsed.text for phrase in parsed.phrases)


@given(st.lists(WORDS, min_size=1, max_size=6), st.data())
def test_a_phrase_of_the_text_is_found_and_leaving_it_out_leaves_the_text_out(words, data):
    start = data.draw(st.integers(0, len(words) - 1))
    phrase = " ".join(words[start : data.draw(st.integers(start + 1, len(words)))])
    text = "  ".join(words).upper()
    assert parse_query(f'"{phrase}"').allows(text, "", "")
    assert not parse_query(f'x -"{phrase}"').allows(text, "", "")


@given(st.lists(WORDS, min_size=1, max_size=6))
def test_plain_words_stay_plain(words):
    query = " ".join(words)
    assert parse_query(query) == ParsedQuery(query)
