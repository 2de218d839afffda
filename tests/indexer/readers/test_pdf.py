"""python -m pytest tests/indexer/readers/test_pdf.py."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from indexer.readers import UnreadableFile

PARAGRAPH = [
    (20.0, 740.0, "Granite Stones"),
    (10.0, 700.0, "Curling is a game of aim and strategy in which two teams slide heavy gran-"),
    (10.0, 688.0, "ite stones along the ice towards a target. It comes from Scotland, where"),
    (10.0, 676.0, "people play it in winter."),
    (10.0, 652.0, "The sheet of ice is about 45 metres long."),
]
CHINESE = [
    (10.0, 700.0, "马拉松是一项长跑比赛，全程四十二公里多，起源于古代希腊的传说，选手们要跑过整"),
    (10.0, 688.0, "座城市才能到达终点，许多人为此训练多年。"),
]


def test_a_page_is_a_section_and_its_lines_are_paragraphs(read_content, build_pdf):
    (document,) = read_content("curling.pdf", build_pdf([PARAGRAPH, CHINESE], title="Curling"))
    assert document.title == "Curling"
    assert document.file_type == "pdf"
    assert [section.page for section in document.sections] == [1, 2]
    first, second = (document.text[section.start : section.end] for section in document.sections)
    assert first.split("\n\n") == [
        "Granite Stones",
        "Curling is a game of aim and strategy in which two teams slide heavy granite stones along the ice towards a"
        " target. It comes from Scotland, where people play it in winter.",
        "The sheet of ice is about 45 metres long.",
    ]
    assert second == "".join(text for _, _, text in CHINESE)


@pytest.mark.parametrize("title", ["", "Microsoft Word - Untitled", "report-final.docx", "notes.pdf", "无标题"])
def test_a_title_made_up_by_a_program_gives_way_to_the_first_line(read_content, build_pdf, title):
    (document,) = read_content("notes.pdf", build_pdf([PARAGRAPH], title=title))
    assert document.title == "Granite Stones"


def test_the_stem_is_the_title_where_the_first_line_is_too_long(read_content, build_pdf):
    (document,) = read_content("long-words.pdf", build_pdf([[(4.0, 700.0, "word " * 40)]]))
    assert document.title == "long-words"


def test_a_compound_keeps_its_hyphen_at_a_line_end(read_content, build_pdf):
    lines = [
        (10.0, 700.0, "This well-known word stands in the middle of a line once, and here it is well-"),
        (10.0, 688.0, "known again."),
    ]
    (document,) = read_content("hyphens.pdf", build_pdf([lines]))
    assert "here it is well-known again" in document.text


def test_page_numbers_and_running_heads_go(read_content, build_pdf):
    pages = [
        [
            (8.0, 780.0, f"Annual Report of the Society {n}"),
            (10.0, 700.0, f"Page {'abcd'[n]} says this."),
            (8.0, 30.0, f"- {n + 1} -"),
        ]
        for n in range(4)
    ]
    (document,) = read_content("report.pdf", build_pdf(pages))
    assert document.text == "Page a says this.\n\nPage b says this.\n\nPage c says this.\n\nPage d says this."


def test_bookmarks_are_the_headings_of_pages(read_content, build_pdf):
    pages = [[(10.0, 700.0, f"Chapter {name}"), (10.0, 600.0, "text")] for name in ("One", "Two")]
    (document,) = read_content("book.pdf", build_pdf(pages, bookmarks=["Chapter One", "Chapter Two"]))
    assert [section.headings for section in document.sections] == [("Chapter One",), ("Chapter Two",)]


def test_pages_without_text_are_left_out(read_content, build_pdf):
    (document,) = read_content("mixed.pdf", build_pdf([[], PARAGRAPH, []]))
    assert [section.page for section in document.sections] == [2]


def test_joined_letters_and_radicals_are_plain(read_content, build_pdf):
    (document,) = read_content("signs.pdf", build_pdf([[(10.0, 700.0, "\ufb01nal o\ufb03ce \u2f08\u2f00")]]))
    assert document.text == "final office 人一"


def test_a_password_is_named(read_content, build_pdf):
    with pytest.raises(UnreadableFile, match="protected by a password"):
        read_content("secret.pdf", build_pdf([PARAGRAPH], encrypted=True))


def test_a_scan_is_named(read_content, build_pdf):
    with pytest.raises(UnreadableFile, match="no text, only pictures"):
        read_content("scan.pdf", build_pdf([[], []]))


def test_glyphs_without_letters_are_named(read_content, build_pdf):
    with pytest.raises(UnreadableFile, match="which letters its glyphs are"):
        read_content("glyphs.pdf", build_pdf([[(10.0, 700.0, "\ue001\ue002\ue003\ue004")]]))


@pytest.mark.parametrize("share", [0.02, 0.2])
def test_a_truncated_pdf_is_named(read_content, build_pdf, share):
    data = build_pdf([PARAGRAPH])
    with pytest.raises(UnreadableFile, match="damaged or was cut off"):
        read_content("cut.pdf", data[: int(share * len(data))])


def test_every_truncation_reads_or_is_refused(read_content, build_pdf):
    data = build_pdf([PARAGRAPH, CHINESE], title="Curling", bookmarks=["One", "Two"])
    for length in range(0, len(data), 97):
        try:
            read_content("cut.pdf", data[:length])
        except UnreadableFile:
            continue


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "empty"), (b" \n", "empty"), (b"Just text.", "not a PDF"), (b"PK\x03\x04", "not a PDF")],
)
def test_what_is_no_pdf_is_named(read_content, content, reason):
    with pytest.raises(UnreadableFile, match=reason):
        read_content("file.pdf", content)


def test_several_threads_may_read(read_content, build_pdf):
    data = build_pdf([PARAGRAPH, CHINESE] * 5, title="Curling")
    with ThreadPoolExecutor(8) as pool:
        texts = list(pool.map(lambda _: read_content("curling.pdf", data)[0].text, range(32)))
    assert len(set(texts)) == 1
