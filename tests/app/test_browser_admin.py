"""What an admin does in a real browser: upload two files, plan, build with a worker; a reader searches meanwhile."""

import os
import signal

import pytest
from browser import open_window

pytestmark = pytest.mark.browser

_PATIENCE = 240_000
"""Milliseconds for what has to load torch first."""

BEES = "# Bees\n\nBees dry nectar with their wings until it becomes honey.\n"
MOON = "# The Moon\n\nThe tides follow the Moon around the Earth.\n"


@pytest.fixture
def server(tmp_path, serve, tiny_model):
    with serve(tmp_path / "data", KALM_MODEL=tiny_model) as running:
        yield running


@pytest.fixture
def library(tmp_path, write):
    folder = tmp_path / "library"
    write(folder / "nature", **{"bees.md": BEES, "moon.md": MOON})
    return folder


def workers(data):
    return [int(path.stem.rsplit("-", 2)[1]) for path in (data / "locks" / "waiting").glob("*.lock")]


def test_files_are_uploaded_planned_built_and_found_while_another_tab_searches(browser, server, library, tmp_path):
    data = tmp_path / "data"
    try:
        with open_window(browser, server.url) as admin, open_window(browser, server.url) as reader:
            reader.open()
            admin.page.goto(f"{server.url}/admin")
            admin.page.get_by_role("textbox", name="Name").fill("nature")
            admin.page.locator("[data-testid=stFileUploaderDropzoneInput]").set_input_files(
                [library / "nature" / "bees.md", library / "nature" / "moon.md"]
            )
            admin.page.get_by_text("moon.md").wait_for()
            admin.page.get_by_role("button", name="Upload", exact=True).last.click()
            admin.page.get_by_text("2 files are uploaded.").wait_for()
            plan = admin.page.get_by_text("What a build of nature would do")
            plan.wait_for()
            admin.page.reload()
            plan.wait_for()
            admin.page.get_by_role("button", name="Build", exact=True).click()
            idle = admin.page.get_by_text("Builds wait, and no worker is running")
            idle.wait_for(timeout=_PATIENCE)  # the server loads its first model
            reader.open("/?corpus=nature")
            reader.page.get_by_text("“nature” has not been built yet").wait_for()

            admin.page.get_by_role("button", name="Start a worker").click()
            over = admin.page.get_by_role("heading", name="Finished builds")
            over.wait_for(timeout=_PATIENCE)
            admin.page.reload()
            over.wait_for()
            assert "✓ done" in admin.page.locator(".kalm-table").inner_text()
            assert admin.params()["section"] == "jobs"

            reader.open("/?corpus=nature&q=honey&mode=keyword").settle()
            assert reader.titles() == ["Bees"]
            assert admin.settle().overflow() <= 0
    finally:
        for pid in workers(data):
            os.kill(pid, signal.SIGTERM)
