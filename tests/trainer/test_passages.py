"""Passages and the questions for them: pytest tests/trainer/test_passages.py."""

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.columns import InvalidData
from trainer.passages import PassageSettings, about_tokens, passage_table, sentences

BEES = (
    "Bees make honey from the nectar of many flowers near the hive. "
    "They dry it with their wings until little water is left in it. "
    "Wasps build nests of paper that they chew from wood. "
    "A queen lays some two thousand eggs on a day in early summer. "
)
RIVERS = "长江是亚洲最长的河流，全长六千三百多公里。黄河流经九个省区，最后注入渤海。珠江由西江、北江和东江汇合而成。"


def crops(*texts, **settings):
    return passage_table(pa.table({"positive": list(texts)}), PassageSettings(**settings)).to_pylist()


@given(st.text(alphabet="ab .!?。；\n长江", max_size=200))
def test_sentences_joined_are_the_text(text):
    assert "".join(sentences(text)) == text


@pytest.mark.parametrize("text", [BEES * 3, RIVERS * 5])
def test_a_crop_is_of_its_text_and_asks_for_a_passage_of_it(text):
    rows = crops(text, tokens=60, per_passage=4)
    assert len(rows) >= 8
    for row in rows:
        assert row["query"] in text
        assert 0 < about_tokens(row["positive"]) <= 60
        for sentence in sentences(row["positive"]):
            assert sentence in text


def test_every_other_crop_is_no_longer_in_its_passage():
    rows = crops(BEES, tokens=100, per_passage=400)
    kept = sum(row["query"] in row["positive"] for row in rows) / len(rows)
    assert 0.4 < kept < 0.6


def test_the_other_passages_of_a_text_are_the_negatives_nearest_first():
    numbered = "".join(f"Number {number} is what this long sentence of the text is all about. " for number in range(30))
    rows = crops(numbered, tokens=40)
    for before, row in zip(rows, rows[1:], strict=False):
        assert len(row["negatives"]) == 4
        assert all(negative != row["positive"] for negative in row["negatives"])
        assert before["query"] in row["negatives"][0] + before["positive"] + row["negatives"][1]


def test_texts_share_no_negatives():
    rows = crops(BEES, RIVERS * 3, tokens=60)
    assert {row["query"] in BEES for row in rows} == {True, False}
    for row in rows:
        assert all((negative in BEES) == (row["query"] in BEES) for negative in row["negatives"])


def test_rows_that_follow_one_another_are_joined_and_keep_their_queries():
    answers = [f"The {name} of the valley is described in this sentence alone." for name in "abcdefghij"]
    table = pa.table({"query": [f"which {name}?" for name in "abcdefghij"], "positive": answers})
    rows = passage_table(table, PassageSettings(tokens=50, joined=True)).to_pylist()
    assert [row["query"] for row in rows][:9] == table["query"].to_pylist()[:9]
    for row in rows:
        name = row["query"][6]
        assert f"The {name} of" in row["positive"]
        assert row["positive"].count("sentence") > 1
        assert row["negatives"]
        assert not any(f"The {name} of" in negative for negative in row["negatives"])


def test_the_same_seed_gives_the_same_rows_and_the_licence_stays():
    table = pa.table({"positive": [BEES * 4]}).replace_schema_metadata({"licence": "CC0"})
    first, again, other = (passage_table(table, PassageSettings(seed=seed)) for seed in (1, 1, 2))
    assert first.equals(again, check_metadata=True)
    assert not first.equals(other)
    assert first.schema.metadata == {b"licence": b"CC0"}


@pytest.mark.parametrize(
    ("columns", "settings", "reason"),
    [
        ({"text": [BEES]}, PassageSettings(), "no column 'positive'"),
        ({"positive": [BEES]}, PassageSettings(joined=True), "no column 'query'"),
        ({"positive": ["short", "", None]}, PassageSettings(), "long enough"),
        ({"positive": [[BEES]]}, PassageSettings(), "columns of text"),
    ],
)
def test_tables_without_passages_are_refused(columns, settings, reason):
    with pytest.raises(InvalidData, match=reason):
        passage_table(pa.table(columns), settings)
