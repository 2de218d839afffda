"""Somebody with a CSV file of examples, in a real browser, with the real model."""

import csv
import io

import pytest
from browser import open_window

pytestmark = pytest.mark.browser

BEES = ["honey", "hive", "queen bee", "nectar", "drone bees", "bee wax", "pollen", "bumblebee", "beekeeper", "swarm"]
MONEY = ["bank loan", "interest rate", "inflation", "stock market", "tax", "budget", "wages", "trade", "debt", "prices"]
ROWS = [(f"What about {word}?", "bees") for word in BEES] + [(f"What about {word}?", "money") for word in MONEY]


def as_file(name, rows):
    out = io.StringIO(newline="")
    csv.writer(out).writerows(rows)
    return {"name": name, "mimeType": "text/csv", "buffer": out.getvalue().encode("gb18030")}


def test_a_file_of_examples_becomes_a_classifier_that_labels_another_file(browser, samples_server):
    with open_window(browser, samples_server.url) as visitor:
        page = visitor.page
        visitor.open().click("Classify", role="link")
        visitor.click("Upload examples", role="radio")
        page.locator("input[type=file]").set_input_files(as_file("mine.csv", [("text", "label"), *ROWS]))
        page.get_by_text("20 examples of 2 labels").wait_for()
        visitor.click("Learn from these")
        visitor.settle(step="train")
        page.get_by_text("Logistic regression").wait_for()
        page.locator(".js-plotly-plot").nth(1).wait_for()  # the matrix, below the curve
        assert visitor.overflow() <= 0
        with browser.new_context() as elsewhere:  # the address is enough to find it again
            again = elsewhere.new_page()
            again.goto(page.url, timeout=120_000)
            again.get_by_text("Logistic regression").wait_for(timeout=120_000)

        visitor.click("3 Use", role="radio")
        visitor.settle(step="use")
        page.get_by_role("textbox", name="Name").fill("topics")
        visitor.click("Save")
        visitor.settle(classifier="topics")
        page.locator("input[type=file]").set_input_files(
            as_file("new.csv", [("text",), ("蜜蜂和蜂蜜",), ("=What about the beehive?",)])
        )
        visitor.click("Label all rows")
        with page.expect_download() as begun:
            visitor.click("Download the labelled table")
        with open(begun.value.path(), encoding="utf-8-sig", newline="") as file:
            found = list(csv.reader(file))
        assert found[0] == ["text", "predicted_label", "predicted_score", "predicted_margin"]
        assert found[2][:2] == ["'=What about the beehive?", "bees"]
