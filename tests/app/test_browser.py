"""What a newcomer does on the search page, in a real browser, on the real samples with the real model."""

import json
import re
from functools import partial

import pytest
from browser import open_window

pytestmark = pytest.mark.browser

QUESTION = "Why do leaves turn red in autumn?"
LEAVES = "Why Leaves Change Colour in Autumn"


@pytest.fixture
def visit(browser, samples_server):
    """Open a window on the samples."""
    return partial(open_window, browser, samples_server.url)


def test_a_newcomer_clicks_an_example_and_reads(visit):
    with visit() as visitor:
        visitor.open().page.get_by_text("Ask the way you would ask a person").wait_for()
        facts = visitor.page.locator(".kalm-facts").inner_text().split("\n")
        assert facts[facts.index("Documents") + 1] == "120"
        visitor.click(QUESTION)
        visitor.page.locator(".kalm-card").first.wait_for()
        visitor.settle(q=QUESTION, corpus="samples")
        assert len(visitor.titles()) == 10
        assert visitor.titles()[0] == LEAVES
        marked = visitor.page.locator(".kalm-card mark").all_inner_texts()
        assert {word.lower() for word in marked} >= {"leaves", "autumn", "red"}
        best = visitor.page.locator(".kalm-best")
        best.first.wait_for()
        assert best.count() >= 5
        about = visitor.page.locator(".kalm-meta").first.inner_text()
        assert about.startswith("Markdown\nEnglish\nFused score")
        assert re.fullmatch(r"Results 1–10 · [\d.,]+ m?s", visitor.page.get_by_role("status").inner_text())
        assert QUESTION in visitor.page.title()


def test_a_reader_narrows_turns_the_page_and_comes_back(visit):
    with visit() as visitor:
        visitor.open(f"/?q={QUESTION}&corpus=samples").settle()
        whole = visitor.titles()
        visitor.click("Keyword", role="radio")
        visitor.settle(mode="keyword")
        assert visitor.titles()[0] == LEAVES
        assert "BM25" in visitor.page.locator(".kalm-score").first.inner_text()

        types, languages = visitor.counts("File type"), visitor.counts("Language")
        assert types.keys() == {"Markdown", "HTML", "CSV", "JSONL", "PDF", "Text"}
        assert sum(types.values()) == sum(languages.values()) > 10
        visitor.click(re.compile("^Markdown"))
        visitor.settle(type="markdown")
        assert sum(visitor.counts("Language").values()) >= types["Markdown"]
        assert all(".md" in source for source in visitor.sources())
        visitor.click(re.compile("^English [0-9]"))
        visitor.settle(type="markdown", doc_lang="en")
        assert all(source.startswith("en/") for source in visitor.sources())

        visitor.click("Hybrid", role="radio")
        visitor.page.wait_for_url(lambda url: "mode" not in visitor.params(url))
        first = visitor.settle().titles()
        visitor.click("Next")
        second = visitor.settle(page="2").titles()
        assert second
        assert not set(first) & set(second)
        visitor.click("Previous")
        visitor.page.wait_for_url(lambda url: "page" not in visitor.params(url))
        assert visitor.settle().titles() == first

        visitor.page.go_back()
        visitor.page.get_by_text("Page 2").wait_for()  # the address changes before the page does
        assert visitor.settle(page="2").titles() == second

        visitor.click(re.compile("^Markdown"))
        visitor.page.wait_for_url(lambda url: "type" not in visitor.params(url))
        visitor.settle().click(re.compile("^English [0-9]"))
        visitor.page.wait_for_url(lambda url: visitor.params(url).keys() == {"q", "corpus"})
        assert visitor.settle().titles() == whole


def test_an_analyst_asks_why_and_for_more_like_it_and_saves_the_list(visit, tmp_path):
    with visit() as visitor:
        visitor.open(f"/?q={QUESTION}&corpus=samples").settle()
        why = visitor.page.locator(".kalm-why").first
        why.locator("summary").click()
        said = why.inner_text()
        assert "By meaning" in said
        assert "random passages of this corpus" in said
        assert "autumn" in said.partition("Matching words: ")[2].lower()

        first, address = visitor.titles()[0], visitor.page.url
        visitor.page.get_by_role("button", name="More like this").first.click()
        visitor.page.wait_for_url(lambda url: "like" in visitor.params(url))
        alike = re.compile(f"^Like: {re.escape(first[:12])}")
        visitor.page.get_by_role("button", name=alike).wait_for()
        assert first not in visitor.settle().titles()
        visitor.click(alike)
        visitor.page.wait_for_url(lambda url: "like" not in visitor.params(url))
        assert visitor.settle().titles()[0] == first
        assert visitor.params() == visitor.params(address)

        visitor.click("Export")
        with visitor.page.expect_download() as saved:
            visitor.page.get_by_role("button", name="Save", exact=True).click()
        saved.value.save_as(tmp_path / "saved.csv")
        assert saved.value.suggested_filename == "samples.csv"
        lines = (tmp_path / "saved.csv").read_text(encoding="utf-8-sig")
        assert lines.startswith("rank,score,title")
        assert first in lines


def test_a_reader_searches_by_a_whole_text(visit):
    with visit() as visitor:
        visitor.open()
        visitor.click("By text or file")
        visitor.page.get_by_role("textbox", name="Text").fill(
            "In autumn trees take back the green of their leaves, and red and yellow are left. " * 20
        )
        visitor.click("Search by this")
        visitor.page.locator(".kalm-card").first.wait_for()
        assert visitor.settle().titles()[0] == LEAVES
        visitor.click(re.compile("^By text: In autumn"))
        visitor.page.get_by_text("Ask the way you would ask a person").wait_for()


def test_a_chinese_reader_asks_and_passes_the_address_on(visit):
    with visit() as visitor:
        visitor.open().click("中文", role="radio")
        visitor.settle(lang="zh")
        visitor.ask("蜜蜂怎样酿蜜")
        visitor.settle(q="蜜蜂怎样酿蜜", lang="zh")
        titles, address = visitor.titles(), visitor.page.url
        assert titles[0] == "蜜蜂怎样酿蜜"
        assert "蜜蜂" in "".join(visitor.page.locator(".kalm-card").first.locator("mark").all_inner_texts())
        assert visitor.page.locator(".kalm-title").first.get_attribute("lang") == "zh-Hans"
        placeholder = visitor.page.get_by_role("searchbox").get_attribute("placeholder")
    with visit(locale="de-DE") as friend:
        friend.open(address).settle()
        assert friend.titles() == titles
        friend.page.get_by_role("radio", name="中文", checked=True).wait_for()
        friend.page.get_by_placeholder(placeholder).wait_for()
        friend.page.wait_for_function("document.querySelector('[type=search]').value == '蜜蜂怎样酿蜜'")


def test_a_browser_in_chinese_gets_chinese(visit):
    with visit(locale="zh-CN") as visitor:
        visitor.open().page.get_by_role("radio", name="关键词").wait_for()
        visitor.page.get_by_role("radio", name="中文", checked=True).wait_for()


def test_a_phone_shows_everything_in_its_width_by_day_and_by_night(visit):
    with visit(viewport={"width": 360, "height": 740}) as visitor:
        for scheme, background in (("light", "rgb(255, 255, 255)"), ("dark", "rgb(20, 24, 26)")):
            visitor.page.emulate_media(color_scheme=scheme)
            visitor.open().page.get_by_text("Ask the way").wait_for()
            assert visitor.settle().overflow() <= 0
            visitor.open(f"/?q={QUESTION}").page.locator(".kalm-best").first.wait_for()
            assert visitor.settle().overflow() <= 0
            visitor.page.locator("summary", has_text="Show the whole passage").first.click()
            assert visitor.overflow() <= 0
            shown = "getComputedStyle(document.querySelector('.stApp')).backgroundColor"
            assert visitor.page.evaluate(shown) == background


def test_the_command_line_finds_the_same_beside_the_server(visit, samples, kalm):
    question = "why was it so hard for sailors to know their position"
    with visit() as visitor:
        visitor.open(f"/?q={question}&mode=semantic").settle()
        titles = visitor.titles()
    found = kalm(samples, "search", "samples", question, "--mode", "semantic", "--json")
    assert found.err == ""
    assert [result["title"] for result in json.loads(found.out)] == titles
    # One is in English, the other tells in Chinese how the fleets of Zheng He found their way.
    assert set(titles[:2]) == {"John Harrison and the Problem of Longitude", "郑和七下西洋"}
