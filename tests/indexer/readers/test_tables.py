"""python -m pytest tests/indexer/readers/test_tables.py."""

import csv
import io
import itertools
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indexer.readers import UnreadableFile, read
from indexer.readers.decoding import clean


def test_questions_and_answers(read_content):
    text = 'source,question,answer\nCDC,What is it?,"A bug, mostly"\nCDC,Who?,\n,Why?,Because.\n'
    first, second = read_content("faq.csv", text)
    assert (first.key, first.title, first.text) == ("row-1", "What is it?", "A bug, mostly")
    assert dict(first.metadata) == {"source": "CDC"}
    assert (second.key, second.text, dict(second.metadata)) == ("row-3", "Because.", {})


@pytest.mark.parametrize(
    ("header", "text", "title", "key"),
    [
        ("id,title,text,other", "c", "b", "a"),
        ("ID, Title ,Body,other", "c", "b", "a"),
        ("编号,标题,正文,来源", "c", "b", "a"),
        ("slug,name,description,other", "c", "b", "a"),
        ("w,x,y,z", "dddddd", "dddddd", "row-1"),
        ("question,x,y,z", "dddddd", "a", "row-1"),
        ("content,text,y,z", "b", "b", "row-1"),
        ("title,x,,", "dddddd", "a", "row-1"),
    ],
)
def test_columns_are_found_by_name_else_by_length(read_content, header, text, title, key):
    (document,) = read_content("table.csv", f"{header}\na,b,c,dddddd\n")
    assert (document.text, document.title, document.key) == (text, title, key)


def test_the_title_is_else_the_beginning_of_the_text(read_content):
    (document,) = read_content("table.csv", "text\n" + "many words " * 20)
    assert document.title.endswith("many words…")
    assert len(document.title) <= 81


def test_a_row_with_a_title_alone_is_its_title(read_content):
    documents = read_content("table.csv", "name,description\nWidget,\n,\nGadget,It whirrs\n")
    assert [(document.key, document.text) for document in documents] == [("row-1", "Widget"), ("row-2", "It whirrs")]


def test_ids_given_twice_or_not_at_all_stay_apart(read_content):
    documents = read_content("table.csv", "id,text\nx,one\nx,two\n,three\nrow-3,four\n")
    assert [document.key for document in documents] == ["x", "x-row-2", "row-3", "row-3-row-4"]
    assert len({document.id("corpus") for document in documents}) == 4


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_delimiters(read_content, delimiter):
    others = " ".join({",", ";", "\t", "|"} - {delimiter})
    rows = [("title", "text"), ("One", f"First {others} text"), ("Two", "Second text")]
    documents = read_content("table.csv", "\n".join(delimiter.join(row) for row in rows))
    assert [document.title for document in documents] == ["One", "Two"]
    assert documents[0].text == f"First {others} text"


def test_excel_names_its_delimiter(read_content):
    (document,) = read_content("table.csv", "\ufeffsep=;\r\ntitle;text\r\nA;b,c\r\n")
    assert (document.title, document.text) == ("A", "b,c")


def test_text_with_unquoted_delimiters_is_kept(read_content):
    (document,) = read_content("table.csv", "title,text\nA,one, two, three,,\n")
    assert document.text == "one, two, three"
    (document,) = read_content("table.csv", "text\none, two\n")
    assert document.text == "one, two"


def test_columns_without_a_name_or_with_one_given_twice(read_content):
    (document,) = read_content("table.csv", "text,,x,x\nT,a,b,c\n")
    assert dict(document.metadata) == {"column-2": "a", "x": "b", "x-4": "c"}


def test_fields_may_be_long(read_content):
    (document,) = read_content("table.csv", 'text\n"' + "long " * 100_000 + '"\n')
    assert len(document.text) == 499_999


@pytest.mark.parametrize("encoding", ["gb18030", "big5", "utf-8-sig", "utf-16", "utf-16-le"])
def test_encodings(read_content, encoding):
    text = "標題,正文\r\n天氣,今天的天氣很好，我們去公園。\r\n"
    (document,) = read_content("table.csv", text.encode(encoding))
    assert (document.title, document.text) == ("天氣", "今天的天氣很好，我們去公園。")
    assert document.language == "zh"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        (" \n \n", "empty"),
        ("title,text\n", "no rows"),
        ("title,text\n,\n,\n", "no rows"),
        ("\0\1\2\3" * 50, "binary"),
        ('title,text\nA,one\nB,"two\nC,three\nD,four\n', "opened in the row at line 3 is never closed"),
        ('title,"text\nA,one\n', "opened in the row at line 1 is never closed"),
    ],
)
def test_bad_tables_are_named(read_content, text, reason):
    with pytest.raises(UnreadableFile, match=reason):
        read_content("table.csv", text)


def test_rows_are_read_as_they_are_asked_for(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("text\n" + "good\n" * 1000 + '"never closed\nmore\n')
    documents = read(path, "table.csv")
    assert len(list(itertools.islice(documents, 1000))) == 1000
    with pytest.raises(UnreadableFile, match="line 1002"):
        next(documents)


FIELD = st.text(st.characters(exclude_categories=("Cs",)) | st.sampled_from(",;\t|\"\n\r' "), max_size=30).map(
    "w{}".format
)


@settings(deadline=None)
@given(st.lists(st.tuples(FIELD, FIELD), min_size=1, max_size=8), st.sampled_from([",", ";", "\t", "|"]))
def test_what_csv_writes_is_read_back(read_content, rows, delimiter):
    rows = [(clean(title), clean(text)) for title, text in rows]
    file = io.StringIO()
    writer = csv.writer(file, delimiter=delimiter, quoting=csv.QUOTE_ALL)
    writer.writerows([("title", "text"), *rows])
    documents = read_content("table.csv", file.getvalue())
    assert [(document.title, document.text) for document in documents] == [
        (" ".join(title.split()), text.strip()) for title, text in rows
    ]


def test_json_lines(read_content):
    rows = [
        {"id": 7, "title": "T", "text": "Body\r\nmore", "tags": ["a"], "n": 1.5, "ok": True, "none": None},
        {"text": "Other \ud800\0"},
    ]
    text = "\n\n".join(json.dumps(row) for row in rows)
    first, second = read_content("rows.jsonl", text)
    assert (first.key, first.title, first.text) == ("7", "T", "Body\nmore")
    assert dict(first.metadata) == {"n": "1.5", "ok": "true"}
    assert (second.key, second.title, second.text) == ("row-2", "Other", "Other")
    assert first.file_type == "jsonl"


@pytest.mark.parametrize("encoding", ["gb18030", "utf-8-sig", "utf-16"])
def test_json_lines_in_other_encodings(read_content, encoding):
    text = json.dumps({"标题": "天气", "正文": "今天天气很好，我们去公园玩。"}, ensure_ascii=False)
    (document,) = read_content("rows.jsonl", f"{text}\r\n".encode(encoding))
    assert (document.title, document.text) == ("天气", "今天天气很好，我们去公园玩。")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        ("\n\n", "no rows"),
        ('{"text": "a"}\n{"text": "b"\n', "Line 2 is not valid JSON"),
        ('{"text": "a"}\n\n[1, 2]\n', "Line 3 is not a JSON object"),
        ('{"a": ' + "[" * 100_000, "Line 1 is not valid JSON"),
        ('{"a": ' + "9" * 10_000 + "}", "Line 1 is not valid JSON"),
        ('{"a": [1], "b": null}', "no column with text"),
    ],
)
def test_bad_json_lines_are_named(read_content, text, reason):
    with pytest.raises(UnreadableFile, match=reason):
        read_content("rows.jsonl", text)
