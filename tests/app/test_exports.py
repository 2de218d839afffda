"""Results as files: pytest tests/app/test_exports.py."""

import csv
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.services.exports import Format, as_csv, as_jsonl, as_markdown, citation, exported
from indexer.retrieval.fusion import Standing
from indexer.search import SearchResult

_TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


def result(**changes):
    values = {
        "chunk_id": "c",
        "document_id": "d",
        "score": 1.5,
        "title": "蜜蜂",
        "text": "蜜蜂用花蜜酿造蜂蜜。",
        "highlights": ((0, 2),),
        "uri": "zh/bees.md",
        "key": "",
        "file_type": "markdown",
        "language": "zh",
        "headings": ("蜜蜂", "蜂王"),
        "page": 3,
        "start": 0,
        "end": 10,
        "dense": Standing(0.6, 1),
    }
    return SearchResult(**(values | changes))


def rows(text):
    assert text.startswith("\ufeff")
    return list(csv.DictReader(io.StringIO(text[1:], newline="")))


def test_a_table_keeps_every_field_in_its_cell():
    (row,) = rows(as_csv([result(text='a "quoted", long\ntext')], first=11))
    assert (row["rank"], row["score"], row["title"], row["page"]) == ("11", "1.5", "蜜蜂", "3")
    assert row["text"] == 'a "quoted", long\ntext'
    assert row["headings"] == "蜜蜂 > 蜂王"


@pytest.mark.parametrize("lead", ["=", "+", "-", "@", "\t", "\r", "\n", "＝", " =", "＠"])
def test_no_cell_is_a_formula(lead):
    attack = f"{lead}HYPERLINK(A1)"
    (row,) = rows(as_csv([result(title=attack, text=attack, uri=attack, key=attack, author=attack)]))
    assert {row[name] for name in ("title", "text", "uri", "key", "author")} == {f"'{attack}"}


@given(_TEXTS)
def test_whatever_a_document_says_no_cell_begins_a_formula(text):
    (row,) = rows(as_csv([result(title=text, text=text)]))
    assert not row["text"].lstrip(" ").startswith(("=", "+", "-", "@", "\t", "\r"))
    assert row["text"].removeprefix("'").replace("\r\n", "\n") == text.removeprefix("'").replace("\0", "").replace(
        "\r\n", "\n"
    )


@given(st.lists(_TEXTS, max_size=4))
def test_every_line_is_an_object_with_all_that_a_result_holds(texts):
    lines = as_jsonl([result(text=text) for text in texts]).split("\n")
    objects = [json.loads(line) for line in lines[:-1]]
    assert lines[-1] == ""
    assert [one["text"] for one in objects] == texts
    assert all(one["dense"] == {"score": 0.6, "rank": 1} for one in objects)
    assert [one["rank"] for one in objects] == list(range(1, len(texts) + 1))


def test_markdown_quotes_the_passage_and_cites_its_place():
    text = as_markdown([result(author="李白", date="2024-05-01")])
    assert text.startswith("## 1\\. 蜜蜂\n\n> 蜜蜂用花蜜酿造蜂蜜。\n\n")
    assert citation(result(author="李白", date="2024-05-01")) == "李白 · 蜜蜂 · 2024-05-01 · zh/bees.md · p. 3"
    assert citation(result(page=None, key="row-2")) == "蜜蜂 · zh/bees.md · row-2"


def test_markdown_of_documents_stays_text():
    text = as_markdown([result(title="# [a](http://b)", text="# big\n<script>\n![x](y)\n> deep")])
    for escaped in ("\\# \\[a\\]\\(http\\://b\\)", "> \\# big", "> \\<script\\>", "> \\!\\[x\\]\\(y\\)", "> \\> deep"):
        assert escaped in text


def test_every_format_can_be_written():
    for form in Format:
        assert "蜜蜂" in exported([result()], form)
    assert rows(exported([], Format.CSV)) == []
