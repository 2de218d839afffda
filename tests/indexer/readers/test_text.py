"""python -m pytest tests/indexer/readers/test_text.py."""

import pytest


def one(documents):
    (document,) = documents
    return document


def headings(document):
    return [section.headings for section in document.sections]


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("\n  A Short Line\n\nText.", "A Short Line"),
        ("# 中华人民共和国刑法\n\n第一条", "中华人民共和国刑法"),
        ("=====\nRST\n=====\n\nText.", "RST"),
        ("PEP: 647\nTitle: Type Guards\nStatus: Final\n\nText.", "Type Guards"),
        ("标题：春晓\n\n春眠不觉晓", "春晓"),
        ("---\ntitle: 'From Above'\n---\nText.", "From Above"),
        ("word " * 40, "notes"),
        ("春眠不觉晓" * 20, "notes"),
        ("----\n....\n", "notes"),
    ],
)
def test_titles(read_content, text, title):
    assert one(read_content("notes.txt", text)).title == title


def test_paragraphs_stay_and_wrapped_lines_are_joined(read_content):
    lines = [
        "Title",
        "",
        "This line is part of a paragraph that was wrapped at some",
        "fixed width.",
        "",
        "",
        "",
        "short",
    ]
    document = one(read_content("notes.txt", "\r\n".join([*lines, "lines", ""])))
    assert document.text == (
        "Title\n\nThis line is part of a paragraph that was wrapped at some fixed width.\n\nshort\nlines"
    )
    assert headings(document) == [()]
    assert document.file_type == "text"


def test_headings_with_hashes_between_empty_lines(read_content):
    text = "# 刑法\n\n序言\n\n## 第一编\n\n### 第一章\n\n第一条\n\n# 不是标题\n紧接着的行"
    document = one(read_content("law.txt", text))
    assert headings(document) == [("刑法",), ("刑法", "第一编", "第一章")]
    assert document.text.endswith("# 不是标题\n紧接着的行")


def test_underlined_headings_nest_by_first_use(read_content):
    text = "Title\n=====\n\na\n\nPart\n----\n\nb\n\nDetail\n~~~~~~\n\nc\n\n中文\n----\n\nd"
    document = one(read_content("notes.txt", text))
    assert headings(document) == [("Title",), ("Title", "Part"), ("Title", "Part", "Detail"), ("Title", "中文")]


@pytest.mark.parametrize("divider", ["-" * 70, "* * *"])
def test_dividers_are_no_underlines(read_content, divider):
    assert headings(one(read_content("notes.txt", f"Title\n\nShort\n{divider}\n\ntext"))) == [()]


@pytest.mark.parametrize("encoding", ["gb18030", "utf-16", "utf-16-le", "utf-8-sig"])
def test_encodings(read_content, encoding):
    document = one(read_content("春晓.txt", "春眠不觉晓，\n处处闻啼鸟。".encode(encoding)))
    assert document.text == "春眠不觉晓，\n处处闻啼鸟。"
    assert document.language == "zh"


def test_traditional_characters_in_big5(read_content):
    text = "今天天氣很好，我們去公園玩。\n學習語言需要時間。"
    assert one(read_content("big5.txt", text.encode("big5"))).text == text
