"""CSV files as people have them, and as they get them back."""

import csv
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.services.classify import tables
from app.services.classify.tables import (
    Example,
    Problem,
    TableRefused,
    Trouble,
    defused,
    guess_columns,
    labelled,
    read_table,
    write_csv,
)

CHINESE = "文本,类别\n蜜蜂酿造蜂蜜，储存在蜂巢里过冬。,自然\n央行宣布下调存款准备金率。,经济\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030", "utf-16", "utf-16-le"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_encoding_and_delimiter_are_found_out(encoding, delimiter):
    table = read_table(CHINESE.replace(",", delimiter).encode(encoding))
    assert table.columns == ("文本", "类别")
    assert table.rows[1] == ("央行宣布下调存款准备金率。", "经济")
    assert table.delimiter == delimiter
    assert guess_columns(table)[0] == "文本"


def test_rows_are_counted_as_a_spreadsheet_does():
    data = 'text,label\n"two\nlines",a\n\n,b\nno label,\none,two,three\ntwo,b\n"two\nlines",b\n'
    table = read_table(data.encode())
    found = labelled(table, "text", "label")
    assert found.examples == (Example("two\nlines", "a"), Example("two", "b"), Example("two\nlines", "b"))
    assert found.unlabelled == ("no label",)
    assert found.problems == (
        Problem(4, Trouble.NO_TEXT),
        Problem(5, Trouble.NO_LABEL),
        Problem(6, Trouble.CELLS),
        Problem(8, Trouble.TWO_LABELS, 2),
    )


def test_what_excel_puts_first_is_a_hint_and_counts_as_a_row():
    table = read_table(b"sep=;\r\ntext;label\r\na, b;x\r\n;y\r\n")
    assert (table.delimiter, table.columns) == (";", ("text", "label"))
    assert labelled(table, "text", "label").problems == (Problem(4, Trouble.NO_TEXT),)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "The file is empty"),
        (b"\n \n", "The file is empty"),
        (b"text,label\n", "no rows below its header"),
        (b"%PDF-1.7 ...", "is not text"),
        (b"PK\x03\x04....", "is not text"),
        (b'text,label\na,b\n"never closed,c\nd,e\n', "opened in row 3 is never closed"),
        (b"text,label\n" + b"x" * 200_001 + b",a\n", "more than 100,000 characters"),
    ],
)
def test_a_useless_table_is_refused_in_one_sentence(data, sentence):
    with pytest.raises(TableRefused, match=sentence) as refused:
        read_table(data)
    assert str(refused.value).endswith(".")
    assert "\n" not in str(refused.value)


def test_limits(monkeypatch):
    monkeypatch.setattr(tables, "MAX_ROWS", 2)
    with pytest.raises(TableRefused, match="more than 2 rows"):
        read_table(b"text\na\nb\nc\n")
    monkeypatch.setattr(tables, "MAX_MEGABYTES", 1)
    with pytest.raises(TableRefused, match="has 2 MB and the limit is 1 MB"):
        read_table(b"a" * 2_000_000)


@pytest.mark.parametrize(
    ("text", "label", "sentence"),
    [("a", "a", "both the column a"), ("z", "b", "no column z; it has a, b"), ("a", "b", "No row has both")],
)
def test_columns_that_do_not_serve(text, label, sentence):
    with pytest.raises(TableRefused, match=sentence):
        labelled(read_table(b"a,b\nx,\n,y\n"), text, label)


def test_columns_are_guessed_by_name_and_by_what_is_in_them():
    rows = "".join(f"{n},a long text about number {n},{'odd' if n % 2 else 'even'}\n" for n in range(10))
    assert guess_columns(read_table(f"id,Text,LABEL\n{rows}".encode())) == ("Text", "LABEL")
    assert guess_columns(read_table(f"id,words,kind\n{rows}".encode())) == ("words", "kind")
    assert guess_columns(read_table(b"words\none\ntwo\n")) == ("words", None)


@pytest.mark.parametrize("cell", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", " =1", "＝1", "=cmd|'/c calc'!A0"])
def test_formulas_are_defused(cell):
    assert defused(cell) == "'" + cell


CELLS = st.text(st.characters(codec="utf-8"), max_size=20)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=8))
def test_what_is_written_is_read_back_and_nothing_in_it_is_computed(rows):
    data = write_csv(["text", "label"], rows)
    back = list(csv.reader(io.StringIO(data.decode("utf-8-sig"), newline="")))
    assert back[1:] == [[defused(cell) for cell in row] for row in rows]
    assert not any(cell.lstrip()[:1] in "=+-@" and cell.strip() for row in back for cell in row)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200) | st.text(max_size=80).map(lambda text: text.encode("utf-8", "replace")))
def test_whatever_is_taken_it_is_a_table_or_one_sentence(data):
    try:
        table = read_table(data)
    except TableRefused as refused:
        sentence = str(refused)
    else:
        check(table)
        return
    assert "\n" not in sentence


def check(table):
    assert len(set(table.columns)) == len(table.columns)
    assert all(table.columns)
    assert all(len(row) == len(table.columns) and any(row) for row in table.rows)
    assert list(table.numbers) == sorted(set(table.numbers))
    text, label = guess_columns(table)
    assert text in table.columns
    assert label is None or label in table.columns
