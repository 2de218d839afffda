"""Passages and sentences: pytest tests/indexer/test_chunking.py."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import indexer.chunking as chunking
from indexer.builds.sink import chunk_at
from indexer.chunking import Chunker, passage_for_embedding, sentence_spans
from indexer.records import Chunk, ChunkPlace, Document, Section


class Words:
    """A word or any other visible character is a token, wherever it stands."""

    pattern = re.compile(r"[A-Za-z0-9]+|[^\sA-Za-z0-9]")

    def token_spans(self, text):
        return np.array([match.span() for match in self.pattern.finditer(text)], dtype=np.int64).reshape(-1, 2)


class ByteLevel(Words):
    """Like a byte-level BPE: words own the space before them, without one they are two tokens; 茶 is three tokens."""

    pattern = re.compile(r" ?[A-Za-z0-9]+|\s+|.")

    def token_spans(self, text):
        spans = []
        for match in self.pattern.finditer(text):
            start, end = match.span()
            if match[0].isalnum() and match[0].isascii() and end - start > 1:
                spans += [(start, start + 1), (start + 1, end)]
            else:
                spans += [(start, end)] * (3 if match[0] == "茶" else 1)
        return np.array(spans, dtype=np.int64).reshape(-1, 2)


PIECES = [
    *("Tea ", "is ", "hot. ", "Dr. ", "v3.11 ", "(so!) ", "No. 5 ", "word", "a, b ", "?"),
    *("\n", "\n\n", "# Head\n", "- item\n", "  "),
    *("茶", "绿茶很好。", "“走吧！”", "……", "；", "长江是亚洲最长的河流，", "Python爬虫", "🎉", "e\u0301", "\u200b"),
]
TEXTS = st.lists(st.sampled_from(PIECES), max_size=25).map("".join)
HEADINGS = st.sampled_from([(), ("A",), ("A", "B"), ("A", "C"), ("A", "C", "D"), ("E",)])
PARTS = st.lists(
    st.tuples(TEXTS, HEADINGS, st.sampled_from([None, 1, 2]), st.sampled_from(["", "\n\n", " "])), max_size=8
)
SIZES = st.integers(1, 40).flatmap(lambda size: st.tuples(st.just(size), st.integers(0, size - 1)))


def document(*parts, title="Guide") -> Document:
    """Sections of (text, headings, page, white space after it)."""
    text, sections = "", []
    for body, headings, page, gap in parts:
        sections.append(Section(len(text), len(text) + len(body), headings, page))
        text += body + gap
    return Document("guide.md", title, text, tuple(sections), "markdown")


def texts(chunker, *parts) -> list[str]:
    return [chunk.text for chunk in chunker.chunks(document(*parts))]


def sentences(text) -> list[str]:
    return [text[start:end] for start, end in sentence_spans(text)]


def touched(doc, chunk) -> list[Section]:
    """The sections of which a chunk holds visible text."""
    return [part for part in doc.sections if doc.text[max(part.start, chunk.start) : min(part.end, chunk.end)].strip()]


@pytest.mark.parametrize(
    "expected",
    [
        ["Dr. Smith came at 3.5 p.m. yesterday.", "He left, e.g. by car, on Nov. 5.", "Done."],
        ["It was No. 5 of v3.11.2.", "No.", "I stayed."],
        ["The U.S. Army came.", "He was in the U.S.", "The law changed.", "J. R. R. Tolkien wrote it."],
        ["Really?", "Yes!", '"Go away."', "Then (see Fig. 2.)", "Done.[3]", "Wait... what?"],
        ["1. First things.", "Second things."],
        ["Apples, pears etc. are good.", "It grew by 5.", "7 people came."],
    ],
)
def test_english_sentences(expected):
    assert sentences(" ".join(expected)) == expected


@pytest.mark.parametrize(
    "expected",
    [
        ["他说：“你好！”", "然后走了。", "真的吗？！", "是的……", "好吧；", "走。"],
        ['他说:"走吧。"', '"你好。"', "然后（完。）", "圆周率是３．１４。", "版本3.11发布。"],
        ["你好吗?", "我很好.", "你呢?[1]", "下一个。", "“走吧！”，他说。"],
        ["**粗体。**", "下一句。", "最后一句"],
    ],
)
def test_chinese_sentences(expected):
    assert sentences("".join(expected)) == expected


def test_lines_and_list_items_end_sentences():
    assert sentences("Title\n\n1. one\n2. two\n- 三\n • four\r\nfive\n") == [
        "Title", "1. one", "2. two", "- 三", "• four", "five"
    ]  # fmt: skip


@given(st.one_of(TEXTS, st.text(max_size=80), st.text(alphabet=".!?。…” \n\"'aA中1)", max_size=40)))
def test_every_visible_character_is_in_one_sentence(text):
    place = 0
    for start, end in sentence_spans(text):
        assert place <= start < end
        assert not text[place:start].strip()
        assert text[start:end] == text[start:end].strip()
        place = end
    assert not text[place:].strip()


def test_chunks_end_with_sentences_and_repeat_whole_ones():
    body = "One two three. Four five. Six seven eight. Nine ten eleven twelve."
    assert texts(Chunker(Words(), 8, 0), (body, (), None, "")) == [
        "One two three. Four five.",
        "Six seven eight.",
        "Nine ten eleven twelve.",
    ]
    assert texts(Chunker(Words(), 8, 4), (body, (), None, "")) == [
        "One two three. Four five.",
        "Four five. Six seven eight.",
        "Nine ten eleven twelve.",  # with "Six seven eight." it would be nine tokens
    ]


def test_chinese_is_cut_at_its_sentences():
    body = "绿茶很好。红茶更好！“走吧。”他说；然后走了。"
    assert texts(Chunker(Words(), 11, 5), (body, (), None, "")) == [
        "绿茶很好。红茶更好！",
        "红茶更好！“走吧。”",
        "“走吧。”他说；",
        "他说；然后走了。",
    ]


def test_a_long_sentence_is_cut_between_tokens_after_a_comma_or_space():
    assert texts(Chunker(Words(), 6, 0), ("长江是亚洲最长的河流，黄河第二", (), None, "")) == [
        "长江是亚洲最",
        "长的河流，",
        "黄河第二",
    ]
    assert texts(Chunker(Words(), 3, 0), ("snake_case_is long-winded", (), None, "")) == [
        "snake_case",
        "_is",
        "long-winded",
    ]


def test_long_sections_stay_apart_and_small_neighbours_join():
    long = "One two three four five. Six seven eight nine ten."
    parts = [
        ("# A", ("A",), None, "\n\n"),
        ("## B\n" + long, ("A", "B"), None, "\n\n"),
        ("## C\n" + long, ("A", "C"), None, "\n\n"),
        ("## D", ("A", "D"), None, "\n\n"),
        ("### E\n" + long, ("A", "D", "E"), None, "\n\n"),
        ("F f", ("F",), None, "\n\n"),
        ("G g", ("G",), None, "\n\n"),
    ]
    assert texts(Chunker(Words(), 20, 0), *parts) == [
        f"# A\n\n## B\n{long}",
        f"## C\n{long}",
        f"## D\n\n### E\n{long}",
        "F f\n\nG g",
    ]


def test_small_sections_do_not_cross_pages_or_leave_their_parent():
    parts = [
        ("one", ("A", "B"), 1, "\n"),
        ("two", ("A", "C"), 1, "\n"),
        ("three", ("E", "F"), 1, "\n"),
        ("four", ("E", "F"), 2, ""),
    ]
    chunks = Chunker(Words()).chunks(document(*parts))
    assert [(chunk.text, chunk.headings, chunk.page) for chunk in chunks] == [
        ("one\ntwo", ("A", "B"), 1),
        ("three", ("E", "F"), 1),
        ("four", ("E", "F"), 2),
    ]


@given(PARTS, SIZES, st.sampled_from([Words(), ByteLevel()]))
def test_chunks_are_exact_within_the_limit_and_cover_every_section(parts, sizes, tokenizer):
    doc = document(*parts)
    chunks = Chunker(tokenizer, *sizes).chunks(doc)
    covered = bytearray(len(doc.text))
    for chunk in chunks:
        assert chunk.text == doc.text[chunk.start : chunk.end] == chunk.text.strip() != ""
        assert len(tokenizer.token_spans(chunk.text)) <= sizes[0] or len(chunk.text) == 1
        begins = touched(doc, chunk)[0]
        assert begins.start <= chunk.start < begins.end
        assert (chunk.headings, chunk.page) == (begins.headings, begins.page)
        assert chunk_at(doc, ChunkPlace("id", chunk.start, chunk.end)) == chunk, "the catalog keeps places only"
        covered[chunk.start : chunk.end] = b"\1" * len(chunk.text)
    for section in doc.sections:
        assert all(covered[place] or doc.text[place].isspace() for place in range(section.start, section.end))
    assert all(a.start < b.start and a.end < b.end for a, b in zip(chunks, chunks[1:], strict=False))


@given(PARTS, SIZES)
def test_chunks_respect_sections_pages_and_headings(parts, sizes):
    doc = document(*parts)
    for chunk in Chunker(Words(), *sizes).chunks(doc):
        inside = touched(doc, chunk)
        first = inside[0]
        assert {section.page for section in inside} == {chunk.page}
        for section in inside:
            under = section.headings[: len(first.headings)] == first.headings
            assert under or section.headings[:-1] == first.headings[:-1]
        counts = [len(Words().token_spans(doc.text[section.start : section.end])) for section in inside]
        assert len(inside) == 1 or sum(count > sizes[0] // 4 for count in counts) <= 1


@given(PARTS, SIZES)
def test_overlaps_are_whole_sentences_of_one_section(parts, sizes):
    doc = document(*parts)
    chunks = Chunker(Words(), *sizes).chunks(doc)
    for before, after in zip(chunks, chunks[1:], strict=False):
        repeated = doc.text[after.start : before.end].strip()
        if not repeated:
            continue
        assert len(Words().token_spans(repeated)) <= sizes[1]
        [section] = [part for part in doc.sections if part.start <= after.start < part.end]
        assert before.end < section.end
        spans = sentence_spans(doc.text[section.start : section.end])
        assert after.start - section.start in {start for start, _ in spans}
        assert before.end - section.start in {end for _, end in spans}


@given(PARTS, SIZES)
def test_chunks_begin_and_end_with_tokens(parts, sizes):
    # A line break between sections, lest a word reach from one into the next.
    doc = document(*[(*part[:3], "\n") for part in parts])
    starts, ends = Words().token_spans(doc.text).T.tolist()
    for chunk in Chunker(Words(), *sizes).chunks(doc):
        assert chunk.start in starts
        assert chunk.end in ends


def test_slices_of_the_text_change_nothing(monkeypatch):
    doc = document(
        *[(f"Word{number} is here. 绿茶{number}很好。" * 9, ("A", str(number)), None, "\n") for number in range(20)]
    )
    whole = Chunker(Words(), 30, 8).chunks(doc)
    monkeypatch.setattr(chunking, "_SLICE_CHARACTERS", 50)
    assert Chunker(Words(), 30, 8).chunks(doc) == whole


@pytest.mark.parametrize("body", ["Tea is hot. 绿茶很好。\n", "茶", "a", "......", "”)", "。，", "_ "], ids=repr)
def test_two_megabytes_in_reasonable_time(body):
    text = body * (1_000_000 // len(body.encode()))
    doc = document((text, (), None, "\n"), (text, ("A",), None, ""))
    chunks = Chunker(Words()).chunks(doc)
    assert chunks[-1].end == len(doc.text.rstrip())


@pytest.mark.parametrize("parts", [[], [("", (), None, "")], [(" \n ", (), None, "\n")]])
def test_blank_documents_have_no_chunks(parts):
    assert Chunker(Words()).chunks(document(*parts)) == []


@pytest.mark.parametrize("sizes", [(0, 0), (8, 8), (8, -1)])
def test_impossible_sizes_are_refused(sizes):
    with pytest.raises(ValueError, match="cannot overlap"):
        Chunker(Words(), *sizes)


def test_the_version_names_the_settings():
    assert Chunker(Words()).version == Chunker(ByteLevel()).version
    assert len({Chunker(Words(), *sizes).version for sizes in [(256, 32), (256, 16), (128, 32)]}) == 3


@pytest.mark.parametrize(
    ("title", "headings", "text", "expected"),
    [
        ("Guide", ("Setup", "Windows"), "Run it.", "Guide\nSetup > Windows\nRun it."),
        ("Guide", (), "Run it.", "Guide\nRun it."),
        ("Guide", ("Guide", "Setup"), "Run it.", "Guide\nSetup\nRun it."),
        ("Guide", ("Setup", "Windows"), "## Windows\n\nRun it.", "Guide\nSetup\n## Windows\n\nRun it."),
        ("Guide", ("Guide",), "# **Guide**\n\nRun it.", "# **Guide**\n\nRun it."),
        ("绿茶", ("冲泡",), "水温八十度。", "绿茶\n冲泡\n水温八十度。"),
        ("???", ("!!!",), "a\n\nb", "???\n!!!\na\n\nb"),
        ("long " * 100, (), "Run it.", ("long " * 40)[:199] + "…\nRun it."),
    ],
)
def test_the_encoder_sees_title_headings_and_text(title, headings, text, expected):
    doc = document((text, headings, None, ""), title=title)
    assert passage_for_embedding(doc, Chunk(0, len(text), text, headings)) == expected
