"""What an analyst does on the map page, in a real browser, on the real samples with the real model."""

import re
from urllib.parse import parse_qs, urlsplit

import pytest
from browser import open_window

pytestmark = pytest.mark.browser

BOX = ((0.03, 0.06), (0.5, 0.5), (0.97, 0.97))
LEFT_HALF = ((0.02, 0.08), (0.25, 0.04), (0.48, 0.08), (0.48, 0.97), (0.02, 0.97))


def draw(page, tool, corners):
    """Draw a line on the map with one of its tools, as fast as a hand; corners are shares of its width and height."""
    chart = page.locator(".js-plotly-plot").first
    area = chart.bounding_box()
    points = [(area["x"] + area["width"] * x, area["y"] + area["height"] * y) for x, y in corners]
    page.mouse.move(*points[1])  # the tools appear
    page.locator(f'.modebar-btn[data-val="{tool}"]').first.click()
    page.mouse.move(*points[0])
    page.mouse.down()
    for point in points[1:]:
        page.mouse.move(*point, steps=12)
        page.wait_for_timeout(60)
    page.mouse.up()


def test_an_analyst_makes_a_map_draws_a_box_renames_and_searches_inside(browser, samples_server):
    tall = {"width": 1280, "height": 1300}  # the whole chart has to be within reach of the mouse
    with open_window(browser, samples_server.url, viewport=tall) as visitor:
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

        draw(page, "select", BOX)
        page.get_by_text(re.compile(r"^1[0-2]\d items selected")).wait_for()  # one or two may lie beyond its edge
        page.locator(".kalm-items tbody tr").nth(49).wait_for()
        assert visitor.settle().page.locator(".kalm-items tbody tr").count() == 50

        page.keyboard.press("Escape")
        draw(page, "lasso", LEFT_HALF)
        page.get_by_text(re.compile(r"^\d{2} items selected")).wait_for()

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
