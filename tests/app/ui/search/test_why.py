"""Why a result is where it is: pytest tests/app/ui/search/test_why.py."""

import re

import pytest

from app.ui.i18n import Translator
from app.ui.search.why import why
from indexer.retrieval.background import Calibration
from indexer.retrieval.fusion import Evidence, Standing
from indexer.search import Mode

EN, ZH = Translator("en"), Translator("zh")


def words(source):
    return " ".join(re.sub(r"<[^>]+>", " ", source).split())


def test_both_legs_add_up_to_the_score(make_result):
    found = make_result(score=10.3, dense=Standing(0.6213, 3), lexical=Standing(8.24, 1), evidence=Evidence(2.06, 8.24))
    shown = words(why(found, Mode.HYBRID, EN))
    assert "By meaning cosine 0.621 rank 3 + 2.1" in shown
    assert "By words BM25 8.2 rank 1 + 8.2" in shown
    assert "Fused score 10.3" in shown
    assert "Matching words: black hole." in shown


def test_a_leg_that_did_not_find_it_says_so(make_result):
    shown = words(why(make_result(dense=Standing(0.5, 1), highlights=()), Mode.SEMANTIC, EN))
    assert "By words did not find it" in shown
    assert "No word of the question is in it; the meaning found it." in shown
    assert "Fused score" not in shown


@pytest.mark.parametrize(
    ("place", "said"),
    [
        (
            Calibration(0.9996, 3.14, 1024),
            "than 99.9% of 1,024 random passages of this corpus, 3.1 standard deviations",
        ),
        (Calibration(1.0, 5.0, 200), "Nearer to the question than 100% of 200"),
        (
            Calibration(0.25, -0.7, 200),
            "than only 25% of 200 random passages of this corpus, 0.7 standard deviations b",
        ),
    ],
)
def test_a_cosine_is_compared_with_those_of_chance(make_result, place, said):
    assert said in words(why(make_result(dense=Standing(0.6, 1), calibration=place), Mode.SEMANTIC, EN))


def test_chinese_is_said_in_chinese(make_result):
    found = make_result(
        text="恒星坍缩后形成黑洞。",
        highlights=((0, 2), (7, 9)),
        dense=Standing(0.6, 1),
        calibration=Calibration(0.999, 3.0, 1024),
    )
    shown = words(why(found, Mode.SEMANTIC, ZH))
    assert "命中的词：恒星、黑洞" in shown
    assert "随机抽取的 1,024 个段落里的 99.9% 更接近问题" in shown


def test_each_word_is_named_once_and_not_too_many(make_result):
    text = "Bee bee " + " ".join(f"w{n}" for n in range(20))
    spans = tuple((match.start(), match.end()) for match in re.finditer(r"\S+", text))
    shown = words(why(make_result(text=text, highlights=spans, title_highlights=()), Mode.KEYWORD, EN))
    assert "Matching words: Bee, w0, w1" in shown
    assert shown.endswith("w10….")


def test_words_of_documents_stay_text(make_result, nasty):
    source = why(make_result(text=nasty, highlights=((0, len(nasty)),)), Mode.HYBRID, EN)
    assert "<script>" not in source
    assert "&lt;script&gt;" in source
