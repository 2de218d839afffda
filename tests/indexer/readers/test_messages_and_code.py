"""python -m pytest tests/indexer/readers/test_messages_and_code.py."""

import contextlib
import datetime
import json

import pytest
from reader_cases import CHINESE, ENGLISH, make_mbox, make_message, make_parquet

from indexer.readers import UnreadableFile


def one(documents):
    (document,) = documents
    return document


def test_a_message(read_content):
    data = make_message(html="<p>not this</p>", attachment="Plan für Tee.pdf").as_bytes()
    document = one(read_content("a.eml", data))
    assert (document.file_type, document.key, document.title, document.text) == ("email", "", "会议：Tea", ENGLISH)
    assert dict(document.metadata) == {
        "author": "Ana Li <ana@example.org>",
        "date": "2024-05-06T10:00:00+02:00",
        "to": "Bo <bo@example.org>",
        "attachments": "Plan für Tee.pdf",
    }


def test_a_message_of_html_alone(read_content):
    data = make_message(text=" ", html=f"<h1>Tea</h1><p>{ENGLISH}</p>").as_bytes()
    assert one(read_content("a.eml", data)).text == f"Tea\n\n{ENGLISH}"


@pytest.mark.parametrize("charset", ["gb2312", "gb18030", "big5", "no-such-charset"])
def test_a_message_in_a_chinese_charset_wrongly_named_or_not(read_content, charset):
    text = "今天天氣很好，我們去公園玩。" if charset == "big5" else CHINESE
    body = text.encode("big5" if charset == "big5" else "gb18030")
    data = f"Subject: x\nContent-Type: text/plain; charset={charset}\n\n".encode() + body
    assert one(read_content("a.eml", data)).text == text


def test_a_message_without_text_is_its_subject(read_content):
    assert one(read_content("a.eml", b"Subject: =?utf-8?b?6Iy2?=\n\n")).text == "茶"


@pytest.mark.parametrize(
    "header",
    [
        "Subject: =?utf-8?b?####?=",
        "Date: yesterday",
        "From: =?x?q?a?=",
        "Content-Type: ;;;",
        "Subject: =?big5?b?/////w==?=",
    ],
)
def test_broken_headers_do_no_harm(read_content, header):
    document = one(read_content("a.eml", f"From: a@b\n{header}\n\n{ENGLISH}".encode()))
    assert document.text == ENGLISH


@pytest.mark.parametrize("data", [b"Just a line of text.\n", b"X-Header: 1\n\ntext"])
def test_what_is_no_message_is_named(read_content, data):
    with pytest.raises(UnreadableFile, match="not an e-mail"):
        read_content("a.eml", data)


def test_parts_nested_without_end_are_refused_or_read(read_content):
    data = b"Subject: x\n" + b'Content-Type: multipart/mixed; boundary="a"\n\n--a\n' * 5000 + b"\ntext"
    with contextlib.suppress(UnreadableFile):
        assert one(read_content("a.eml", data)).title == "x"


def test_a_mailbox(read_content):
    messages = [
        make_message("One", f"{ENGLISH}\n\nFrom here it goes on."),
        make_message("Two", "Second.", id="2@example.org"),
        make_message("Twice", "Third.", id="2@example.org"),
    ]
    first, second, third = read_content("a.mbox", make_mbox(messages))
    assert (first.key, first.title, first.text) == ("1@example.org", "One", f"{ENGLISH}\n\nFrom here it goes on.")
    assert [second.key, third.key] == ["2@example.org", "2@example.org-message-3"]
    assert first.file_type == "mbox"


def test_what_is_no_mailbox_is_named(read_content):
    with pytest.raises(UnreadableFile, match="holds no messages"):
        read_content("a.mbox", b"text\n")
    with pytest.raises(UnreadableFile, match="No message"):
        read_content("a.mbox", b"From me\n\n\nFrom me\n")


def test_python_is_cut_at_its_definitions(read_content):
    brew = '# why\n@cache\ndef brew():\n\n    return "tea"'
    code = f'"""Tea."""\nimport os\n\n\n{brew}\n\n\nclass Pot:\n    x = 1\n\nX = Pot()\n'
    document = one(read_content("src/tea.py", code))
    assert (document.file_type, document.title) == ("code", "tea.py")
    assert dict(document.metadata) == {"programming_language": "python"}
    assert [(section.headings, document.text[section.start : section.end]) for section in document.sections] == [
        ((), '"""Tea."""\nimport os'),
        (("brew",), brew),
        (("Pot",), "class Pot:\n    x = 1"),
        ((), "X = Pot()"),
    ]


@pytest.mark.parametrize("code", ["def f(:\n  pass", "x = " + "(" * 5000, "x = " + "-" * 100_000 + "1", r"'\d'", "a;b"])
def test_python_that_does_not_parse_is_read_all_the_same(read_content, code):
    assert one(read_content("a.py", code)).text == code


def test_other_code_is_cut_at_empty_lines(read_content):
    block = "function {}() {{\n" + "  call();\n\n" * 50 + "}}"
    code = "\n\n".join(block.format(name) for name in "abc")
    document = one(read_content("a.js", code))
    assert [document.text[section.start :][:12] for section in document.sections] == [f"function {n}()" for n in "abc"]
    assert document.metadata["programming_language"] == "javascript"


def test_an_array_of_objects_is_rows(read_content):
    rows = [{"id": 7, "title": "T", "text": "Body"}, {"text": "Other"}]
    first, second = read_content("a.json", json.dumps(rows))
    assert (first.key, first.title, first.text, first.file_type) == ("7", "T", "Body", "json")
    assert (second.key, second.text) == ("row-2", "Other")


def test_other_json_is_one_document(read_content):
    value = {
        "name": "Tea",
        "n": 3,
        "none": None,
        "makers": ["Ana", {"name": "Bo", "old": True}],
        "deep": {"a": {"b": "茶"}},
    }
    document = one(read_content("a.json", json.dumps(value)))
    assert document.title == "Tea"
    assert document.text == "name: Tea\nn: 3\n\nmakers\n\n- Ana\n-\n  name: Bo\n  old: true\n\ndeep\n\na:\n  b: 茶"
    assert [section.headings for section in document.sections] == [(), ("makers",), ("deep",)]


@pytest.mark.parametrize(
    "text", ["{", "[" * 100_000, '{"a": ' + "9" * 10_000 + "}", '{"a":' * 50_000 + "1" + "}" * 50_000]
)
def test_bad_json_is_named(read_content, text):
    with pytest.raises(UnreadableFile, match="not valid JSON"):
        read_content("a.json", text)


def test_json_without_text_is_named(read_content):
    with pytest.raises(UnreadableFile, match="no text|no column"):
        read_content("a.json", '{"a": [null, {}]}')


def test_parquet(read_content):
    day = datetime.date(2024, 5, 6)
    rows = [{"id": n, "title": f"T{n}", "text": f"{ENGLISH} {n}", "day": day, "tags": ["x"]} for n in range(600)]
    documents = read_content("a.parquet", make_parquet(rows))
    assert [document.key for document in documents] == [str(n) for n in range(600)]
    assert (documents[7].title, documents[7].text) == ("T7", f"{ENGLISH} 7")
    assert dict(documents[7].metadata) == {"day": "2024-05-06"}


def test_a_damaged_parquet_file_is_named(read_content):
    with pytest.raises(UnreadableFile, match="damaged"):
        read_content("a.parquet", make_parquet([{"text": "x"}])[:-9])
