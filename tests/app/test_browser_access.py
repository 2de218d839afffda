"""Signing in, in a real browser: nobody sees anything before, and roles hold."""

from types import SimpleNamespace

import pytest
from browser import open_window

from app.services.access import Role
from app.services.accounts import Accounts

pytestmark = pytest.mark.browser

PASSWORD = "correct horse battery"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory, tiny_model, kalm, serve, write):
    """A server with one small corpus, an admin and a viewer."""
    folder = tmp_path_factory.mktemp("guarded")
    root, data = write(folder / "documents", **{"bees.md": "# Bees\n\nBees make honey.\n"}), folder / "data"
    assert kalm(data, "corpus", "add", "bees", root, KALM_MODEL=tiny_model).code == 0
    assert kalm(data, "index", "build", "bees", KALM_MODEL=tiny_model).code == 0
    accounts = Accounts(data / "accounts.json", folder / "lock")
    accounts.add("ann", Role.ADMIN, PASSWORD)
    accounts.add("vera", Role.VIEWER, PASSWORD)
    with serve(data, KALM_MODEL=tiny_model) as server:
        yield SimpleNamespace(url=server.url, accounts=accounts)


def fill(page, name, password=PASSWORD):
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()


def test_a_viewer_signs_in_searches_and_signs_out(browser, guarded):
    with open_window(browser, guarded.url) as visitor:
        page = visitor.page
        page.goto(f"{guarded.url}/?q=honey&corpus=bees&mode=keyword")
        page.get_by_role("heading", name="Sign in").wait_for()
        assert "make honey" not in page.content()
        fill(page, "vera")
        page.locator(".kalm-card").first.wait_for()
        assert visitor.titles() == ["Bees"]
        visitor.settle().click("Sign out", role="link")
        page.get_by_role("button", name="Sign out").click()
        page.get_by_role("heading", name="Sign in").wait_for()
        page.goto(guarded.url)
        page.get_by_role("heading", name="Sign in").wait_for()


def test_a_removed_account_is_out_while_its_page_is_open(browser, guarded):
    guarded.accounts.add("tom", Role.VIEWER, PASSWORD)
    with open_window(browser, guarded.url) as visitor:
        visitor.page.goto(guarded.url)
        fill(visitor.page, "tom")
        visitor.page.get_by_role("searchbox").wait_for()
        guarded.accounts.remove("tom")
        visitor.ask("honey")
        visitor.page.get_by_role("link", name="Sign in again").wait_for()
        assert visitor.titles() == []
