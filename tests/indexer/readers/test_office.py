"""python -m pytest tests/indexer/readers/test_office.py."""

import datetime
import io

import pytest
from reader_cases import CHINESE, ENGLISH, make_docx, make_epub, make_pptx, make_xlsx, replaced

from indexer.readers import UnreadableFile

W = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'


def one(documents):
    (document,) = documents
    return document


def texts(document):
    return [document.text[section.start : section.end] for section in document.sections]


def test_a_word_document(read_content):
    document = one(read_content("tea.docx", make_docx()))
    assert (document.file_type, document.title) == ("docx", "On Tea")
    assert dict(document.metadata) == {"author": "Ana Li", "date": "2024-05-06"}
    assert [section.headings for section in document.sections] == [
        (),
        ("Green Tea",),
        ("Green Tea", "Grades"),
        ("绿茶",),
    ]
    assert texts(document) == [
        "Before any heading.",
        f"Green Tea\n\n{ENGLISH}",
        "Grades\n\nGrade | Price\nSencha | low",
        f"绿茶\n\n{CHINESE}\n\n- first\n- second",
    ]


def body(content):
    return replaced(make_docx(), "word/document.xml", f"<w:document {W}><w:body>{content}</w:body></w:document>")


def paragraph(content, settings=""):
    return f"<w:p><w:pPr>{settings}</w:pPr>{content}</w:p>"


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("<w:r><w:t>a</w:t><w:tab/><w:t>b</w:t><w:br/><w:t>c</w:t></w:r>", "a\tb\nc"),
        ("<w:r><w:t>kept</w:t></w:r><w:del><w:r><w:delText>gone</w:delText></w:r></w:del>", "kept"),
        ("<w:ins><w:r><w:t>new</w:t></w:r></w:ins><w:moveFrom><w:r><w:t>old</w:t></w:r></w:moveFrom>", "new"),
        ("<w:hyperlink><w:r><w:t>a link</w:t></w:r></w:hyperlink>", "a link"),
        ("<w:r><w:instrText>PAGE</w:instrText><w:t>3</w:t></w:r>", "3"),
        ("<w:r><w:t>well</w:t><w:noBreakHyphen/><w:t>known</w:t></w:r>", "well-known"),
        (
            "<w:ruby><w:rt><w:r><w:t>chá</w:t></w:r></w:rt><w:rubyBase><w:r><w:t>茶</w:t></w:r></w:rubyBase></w:ruby>",
            "茶",
        ),
    ],
)
def test_what_a_word_paragraph_says(read_content, content, text):
    assert one(read_content("a.docx", body(paragraph(content)))).text == text


def test_text_in_content_controls_boxes_and_nested_tables_is_read_once(read_content):
    word = "<w:r><w:t>{}</w:t></w:r>".format
    box = f"<w:r><w:t>around</w:t><w:txbxContent><w:p>{word('boxed')}</w:p></w:txbxContent></w:r>"
    inner = f"<w:tbl><w:tr><w:tc><w:p>{word('inner')}</w:p></w:tc></w:tr></w:tbl>"
    table = f"<w:tbl><w:tr><w:tc><w:p>{word('outer')}</w:p>{inner}</w:tc></w:tr></w:tbl>"
    control = f"<w:sdt><w:sdtContent><w:p>{word('controlled')}</w:p></w:sdtContent></w:sdt>"
    document = one(read_content("a.docx", body(f"{control}<w:p>{box}</w:p>{table}")))
    assert document.text == "controlled\n\naround\nboxed\n\nouter inner"


def test_headings_by_their_own_level_and_titles_by_their_style(read_content):
    heading = paragraph("<w:r><w:t>Level two</w:t></w:r>", '<w:outlineLvl w:val="1"/>')
    title = paragraph("<w:r><w:t>The Title</w:t></w:r>", '<w:pStyle w:val="Title"/>')
    document = one(read_content("a.docx", body(title + heading + paragraph("<w:r><w:t>text</w:t></w:r>"))))
    assert document.title == "The Title"
    assert [section.headings for section in document.sections] == [(), ("Level two",)]


def test_a_presentation(read_content):
    document = one(read_content("tea.pptx", make_pptx()))
    assert (document.file_type, document.title, document.metadata["author"]) == ("pptx", "Green Tea", "Ana Li")
    assert [(section.page, section.headings) for section in document.sections] == [(1, ("Green Tea",)), (2, ())]
    assert texts(document) == [
        f"Green Tea\n\nLeaves\n{ENGLISH}\n\nSay this slowly.",
        f"{CHINESE}\n\nSencha | low",
    ]


def test_sheets_of_text_are_rows_and_all_others_are_sections(read_content):
    data = make_xlsx(
        FAQ=[["id", "question", "answer"], ["a", "What?", ENGLISH], ["b", "Why?", CHINESE]],
        Budget=[
            ["Budget of the year"],
            [],
            ["Item", "Sum", "Due"],
            ["Tea", 12.5, datetime.date(2024, 5, 6)],
            ["Cups", 3],
        ],
        Empty=[],
        Header=[["only", "names"]],
    )
    *rows, rest = read_content("book.xlsx", data)
    assert [(row.key, row.title, row.text) for row in rows] == [
        ("FAQ!a", "What?", ENGLISH),
        ("FAQ!b", "Why?", CHINESE),
    ]
    assert (rest.key, rest.title, rest.file_type, rest.metadata["author"]) == ("", "book", "xlsx", "Ana Li")
    assert texts(rest) == [
        "Budget\n\nBudget of the year\nItem: Tea; Sum: 12.5; Due: 2024-05-06\nItem: Cups; Sum: 3",
        "Header\n\nonly | names",
    ]
    assert [section.headings for section in rest.sections] == [("Budget",), ("Header",)]


def test_kinds_of_cells(read_content):
    moment, time = datetime.datetime(2024, 5, 6, 7, 8, 9), datetime.time(12, 30)
    row = [True, 1e20, 1 / 3, moment, time, "  spaced\nout ", "=1+1"]
    (document,) = read_content("a.xlsx", make_xlsx(S=[["a", "b", "c", "d", "e", "f", "g"], row]))
    assert document.text == (
        "S\n\na: true; b: 1e+20; c: 0.333333333333333; d: 2024-05-06 07:08:09; e: 12:30:00; f: spaced out"
    )


def test_cells_far_apart_take_no_room(read_content):
    import openpyxl

    workbook = openpyxl.Workbook()
    workbook.active["A1"], workbook.active["XFD1048576"] = "near", "far"
    file = io.BytesIO()
    workbook.save(file)
    assert one(read_content("a.xlsx", file.getvalue())).text == "Sheet\n\nnear\nfar"


def test_a_workbook_without_text_is_named(read_content):
    with pytest.raises(UnreadableFile, match="no text"):
        read_content("a.xlsx", make_xlsx(S=[]))
    with pytest.raises(UnreadableFile, match="no rows|no text|no column"):
        read_content("a.xlsx", make_xlsx(S=[["question", "answer"], ["Why?", None]]))


def test_a_book(read_content):
    document = one(read_content("tea.epub", make_epub()))
    assert (document.file_type, document.title) == ("epub", "The Book of Tea")
    assert dict(document.metadata) == {"author": "Okakura Kakuzō", "date": "1906-05-01", "language": "en"}
    assert texts(document) == [f"One\n\n{ENGLISH}", f"Two\n\n{CHINESE}"]


def test_a_book_that_is_locked_is_named(read_content):
    lock = '<encryption><CipherReference URI="OPS/text/one.xhtml"/></encryption>'
    with pytest.raises(UnreadableFile, match="protected against copying"):
        read_content("tea.epub", replaced(make_epub(), "META-INF/encryption.xml", lock))


def test_a_book_whose_spine_repeats_a_page_is_read_once(read_content):
    spine = '<itemref idref="a"/>' * 10_000
    item = '<item id="a" href="text/a.xhtml" media-type="text/html"/>'
    package = f"<package><manifest>{item}</manifest><spine>{spine}</spine></package>"
    document = one(read_content("a.epub", make_epub({"a.xhtml": f"<p>{ENGLISH}</p>"}, package)))
    assert (document.title, document.text) == ("a", ENGLISH)
