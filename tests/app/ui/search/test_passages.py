import html
import re

from hypothesis import given
from hypothesis import strategies as st

from app.ui.search.passages import SNIPPET_CHARS, emphasised, merge_spans, snippet_window

TAGS = re.compile(r"</?(?:mark|span)[^>]*>")
spans = st.lists(st.tuples(st.integers(-5, 1300), st.integers(-5, 1300)), max_size=12)
sentences = st.none() | st.tuples(st.integers(-5, 1300), st.integers(-5, 1300))
passages = st.text(st.sampled_from("ab <>&\"'\n黑洞。"), max_size=1200)


def clipped(spans, length):
    return {at for start, end in spans for at in range(max(0, start), min(end, length))}


@given(passages, spans, sentences)
def test_taking_the_tags_away_leaves_the_text(text, highlights, best):
    shown = emphasised(text, (0, len(text)), highlights, best)
    assert html.unescape(TAGS.sub("", shown)) == text


@given(passages, spans, sentences)
def test_exactly_the_highlighted_characters_are_marked_and_tags_nest(text, highlights, best):
    marked, softly, at, open_tags = set(), set(), 0, []
    for piece in re.findall(r"</?\w+[^>]*>|&[^;]+;|.", emphasised(text, (0, len(text)), highlights, best), re.DOTALL):
        if piece.startswith("</"):
            assert open_tags.pop() == piece[2:-1]
        elif piece.startswith("<"):
            open_tags.append(piece[1:-1].split()[0])
        else:
            marked |= {at} if "mark" in open_tags else set()
            softly |= {at} if "span" in open_tags else set()
            at += 1
    assert open_tags == []
    assert marked == clipped(highlights, len(text))
    assert softly == clipped([best] if best else [], len(text))


@given(passages, spans, sentences)
def test_the_window_is_inside_the_text_and_of_bounded_size(text, highlights, best):
    start, end = snippet_window(text, highlights, best)
    assert 0 <= start <= end <= len(text)
    assert end - start <= SNIPPET_CHARS * 1.25
    if text:
        assert start < end


@given(passages, spans, sentences)
def test_the_window_shows_the_best_sentence_or_its_beginning(text, highlights, best):
    start, end = snippet_window(text, highlights, best)
    for a, b in merge_spans([best] if best else [], len(text)):
        assert start <= a < end
        assert b <= end or end - start >= 200


@given(passages, spans)
def test_the_window_shows_a_highlight_if_there_is_one(text, highlights):
    start, end = snippet_window(text, highlights, None)
    merged = merge_spans(highlights, len(text))
    assert not merged or any(start < b and a < end for a, b in merged)


@given(spans, st.integers(0, 1300))
def test_merged_spans_cover_the_same_characters_apart(spans, length):
    merged = merge_spans(spans, length)
    assert clipped(merged, length) == clipped(spans, length)
    assert all(before[1] < after[0] for before, after in zip(merged, merged[1:], strict=False))


def test_a_long_passage_is_cut_around_the_most_matches_at_words():
    text = "needle " + "hay " * 200 + "needle needle needle " + "hay " * 200
    highlights = [(m.start(), m.end()) for m in re.finditer("needle", text)]
    start, end = snippet_window(text, highlights, None)
    assert text[start:end].count("needle") == 3
    assert text[start - 1] == " " == text[end]
    shown = emphasised(text, (start, end), highlights, None)
    assert shown.startswith("… ")
    assert shown.endswith(" …")


def test_the_window_stays_still_when_the_best_sentence_is_already_in_it():
    text = "word " * 400
    window = snippet_window(text, [(900, 904)], None)
    assert snippet_window(text, [(900, 904)], (880, 960)) == window
    assert snippet_window(text, [(900, 904)], (1500, 1600)) != window


def test_a_passage_just_over_the_limit_is_shown_whole():
    text = "x" * (SNIPPET_CHARS + 60)
    assert snippet_window(text, [], None) == (0, len(text))


def test_chinese_is_cut_shorter_because_it_is_wider():
    start, end = snippet_window("黑洞" * 600, [(600, 602)], None)
    assert start < 600 < end
    assert end - start < 300
