"""One reader's journey in a real browser: ask, open the source at the place, judge, save, come back for what is new."""

import re

import pytest
from browser import open_window

pytestmark = pytest.mark.browser

BEES = "# Bees\n\nBees gather nectar.\n\n## Honey\n\nHoneycombs are built of wax, and honey ripens in honeycombs.\n"


def test_a_reader_opens_judges_saves_and_comes_back(browser, cli, serve, write, tiny_model):
    root = write(cli.folder / "shelf", **{"bees.md": BEES, "ants.txt": "Ants carry leaves.\n"})
    cli("corpus", "add", "shelf", "shelf")
    assert cli("index", "build", "shelf").code == 0
    with serve(cli.data, KALM_MODEL=tiny_model) as server, open_window(browser, server.url) as visitor:
        page = visitor.page
        visitor.open().ask("honeycombs")
        page.locator(".kalm-card").first.wait_for()
        visitor.settle(q="honeycombs", corpus="shelf").click("Keyword", role="radio")
        visitor.settle(mode="keyword")
        assert visitor.titles() == ["Bees"]

        page.get_by_role("link", name="Open at this place").first.click()
        page.locator(".kalm-place").first.wait_for()
        assert "honey ripens in honeycombs" in " ".join(page.locator(".kalm-place").all_inner_texts())
        assert page.locator(".kalm-place").first.is_visible()
        with page.expect_download() as download:
            visitor.click("Download the file")
        assert download.value.path().read_text() == BEES
        page.get_by_role("link", name="Back to the results").click()
        page.locator(".kalm-card").first.wait_for()

        visitor.settle(q="honeycombs").click("Keyword", role="radio")
        visitor.settle(mode="keyword")
        relevant = page.get_by_role("radio", name="Relevant", exact=True).or_(
            page.get_by_role("button", name="Relevant", exact=True)
        )
        relevant.first.click()
        visitor.settle()
        visitor.click("Saved and recent")
        visitor.click("Save this search")
        page.get_by_text("This search is saved as “honeycombs”.").wait_for()

        write(root, **{"wasps.txt": "Wasps build honeycombs of paper.\n"})
        assert cli("index", "build", "shelf").code == 0
        visitor.open()
        page.get_by_role("button", name=re.compile("1 with new results")).click()
        page.get_by_role("button", name=re.compile("honeycombs · 1 new")).click()
        visitor.settle(q="honeycombs", mode="keyword")
        assert len(visitor.titles()) == 2
        assert page.locator(".kalm-new").all_inner_texts() == ["New"]
        visitor.open().settle()
        page.get_by_role("button", name="Saved and recent", exact=False).wait_for()
        assert page.get_by_text("with new results").count() == 0
    exported = cli("judgments", "export", "shelf", "--format", "pairs", "--out", "pairs.jsonl")
    assert exported.out.startswith("1 questions with 1 judgments on 1 passages")
    assert '"query": "honeycombs"' in (cli.folder / "pairs.jsonl").read_text()
