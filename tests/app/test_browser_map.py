"""What an analyst does on the map page, in a real browser, on the real samples with the real model."""

from urllib.parse import parse_qs, urlsplit

import pytest
from browser import open_window

pytestmark = pytest.mark.browser


def test_an_analyst_makes_a_map_draws_a_box_renames_and_searches_inside(browser, samples_server):
    with open_window(browser, samples_server.url) as visitor:
        page = visitor.page
        visitor.open("/map?corpus=samples").page.get_by_text("See what a corpus holds").wait_for()
        page.get_by_role("textbox", name="Name").fill("topics")
        visitor.click("Make the map")
        chart = page.locator(".js-plotly-plot").first
        chart.wait_for(timeout=180_000)  # a process is started, the index read
        visitor.settle()
        assert "run" in visitor.params()
        names = page.locator(".kalm-clusters a").all_inner_texts()
        assert len(names) == len(set(names)) == 10
        assert chart.locator("canvas").count() > 0

        # A box around everything, by mouse, with the tool for boxes.
        page.locator('.modebar-btn[data-val="select"]').first.click(force=True)
        area = chart.bounding_box()
        page.mouse.move(area["x"] + 4, area["y"] + 40)
        page.mouse.down()
        page.mouse.move(area["x"] + area["width"] / 2, area["y"] + area["height"] / 2, steps=4)
        page.mouse.move(area["x"] + area["width"] - 4, area["y"] + area["height"] - 4, steps=4)
        page.mouse.up()
        page.get_by_text("120 items selected").wait_for()
        assert page.locator(".kalm-items tbody tr").count() == 50

        page.locator(".kalm-clusters a").first.click()
        page.get_by_text("the most typical").wait_for()
        visitor.settle(cluster="1").page.get_by_role("textbox", name="Name of this cluster").fill("My topic")
        visitor.click("Rename")
        page.get_by_role("heading", name="1 My topic").wait_for()
        address = page.get_by_role("link", name="Search inside this cluster").get_attribute("href")
        assert parse_qs(urlsplit(address).query)["label"] == ["topics:My topic"]
        page.get_by_role("link", name="Search inside this cluster").click()
        page.locator(".kalm-card").first.wait_for()

    with open_window(browser, samples_server.url, viewport={"width": 360, "height": 800}, locale="zh-CN") as phone:
        phone.page.goto(f"{samples_server.url}/map?corpus=samples")
        phone.page.get_by_text("My topic").first.wait_for()
        phone.settle()
        assert phone.overflow() <= 0
