"""python -m pytest tests/indexer/readers/test_layout.py."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indexer.readers import UnreadableFile
from indexer.readers.layout import Part, file_stem, lay_out, make_document, one_line, tidy


def sections_of(parts):
    text, sections = lay_out(parts)
    return [(section.headings, text[section.start : section.end]) for section in sections]


def test_headings_open_their_sections():
    parts = [
        Part(0, "", "Before."),
        Part(1, "A", "One."),
        Part(2, "B", "Two."),
        Part(2, "C", "Three."),
        Part(1, "D", "Four."),
    ]
    assert sections_of(parts) == [
        ((), "Before."),
        (("A",), "A\n\nOne."),
        (("A", "B"), "B\n\nTwo."),
        (("A", "C"), "C\n\nThree."),
        (("D",), "D\n\nFour."),
    ]


def test_a_bare_heading_joins_the_deeper_one_below_it():
    assert sections_of([Part(1, "A", ""), Part(2, "B", ""), Part(3, "C", "Text.")]) == [
        (("A", "B", "C"), "A\n\nB\n\nC\n\nText.")
    ]


def test_a_bare_heading_without_deeper_ones_stands_alone():
    assert sections_of([Part(1, "A", " \n"), Part(1, "B", "Text.")]) == [(("A",), "A"), (("B",), "B\n\nText.")]


def test_skipped_levels_do_not_nest_siblings():
    headings = [path for path, _ in sections_of([Part(3, "A", "a"), Part(2, "B", "b"), Part(3, "C", "c")])]
    assert headings == [("A",), ("B",), ("B", "C")]


def test_a_document_without_text_is_refused():
    with pytest.raises(UnreadableFile, match="no text"):
        make_document("a.md", "markdown", "Title", [Part(0, "", " \n\t")])


@pytest.mark.parametrize(
    ("uri", "stem"),
    [("a/b/guide.en.md", "guide.en"), ("说明.txt", "说明"), ("\udcff.txt", "untitled"), ("", "untitled")],
)
def test_the_stem_is_never_empty(uri, stem):
    assert file_stem(uri) == stem


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (" a\n b ", "a b"),
        ("one two three", "one two…"),
        ("一二三四五六七八九十一二", "一二三四五六七八九十…"),
        ("short", "short"),
    ],
)
def test_one_line_cuts_between_words(text, line):
    assert one_line(text, 10) == line


def test_tidy_keeps_indentation():
    assert tidy("\n \n    code  \n\n\n\ntext\t\n\n") == "    code\n\ntext"


PARTS = st.lists(
    st.builds(Part, st.integers(0, 6), st.text(max_size=8), st.text("a \n\t\r\0\ud800中", max_size=12)), max_size=8
)


@settings(deadline=None)
@given(PARTS)
def test_sections_cover_the_text(parts):
    text, sections = lay_out(parts)
    covered = ""
    end = 0
    for section in sections:
        assert end <= section.start < section.end
        assert text[section.start : section.end].strip()
        covered += text[section.start : section.end]
        end = section.end
    assert "".join(covered.split()) == "".join(text.split())
