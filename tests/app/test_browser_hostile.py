"""Hostile strings in a real browser: as documents that are found and opened, and typed. Nothing of them is obeyed.

Some of them; ``KALM_TEST_HOSTILE=300`` shows and types them all.
"""

import os

import pytest
from browser import open_window
from hostile import CANARY, hostile_strings, sendable

from app.ui.i18n import Translator
from app.ui.search.state import clean_query

pytestmark = pytest.mark.browser

HOSTILE = int(os.environ.get("KALM_TEST_HOSTILE", "20"))
IN_FULL = HOSTILE >= 300
STRINGS = sendable(hostile_strings(HOSTILE))
UNFORESEEN = Translator("en")("error.unexpected")


@pytest.fixture(scope="module")
def hostile_server(tmp_path_factory, tiny_model, module_cli, serve, write):
    """A server whose documents are the strings: a page's results are ten of them."""
    documents = {f"{number}.md": f"# {text}\n\nHoney {text}" for number, text in enumerate(STRINGS)}
    folder = write(
        tmp_path_factory.mktemp("hostile"), **{name: text.replace("\0", "") for name, text in documents.items()}
    )
    module_cli("corpus", "add", "strings", folder)
    assert module_cli("index", "build", "strings").code == 0
    with serve(module_cli.data, KALM_MODEL=tiny_model) as server:
        yield server


@pytest.fixture
def visitor(browser, hostile_server):
    """A window in which nothing may be executed, asked of others, or complained of."""
    with open_window(browser, hostile_server.url) as visitor:
        dialogs = []
        visitor.page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
        visitor.page.on("popup", lambda popup: dialogs.append(popup.url))
        yield visitor
        calm(visitor)
        assert dialogs == []


def calm(visitor):
    """Nothing ran, and nothing on the page says that something failed unforeseen."""
    assert visitor.page.evaluate(f"typeof window.{CANARY}") == "undefined"
    said = visitor.page.locator("body").inner_text()
    assert UNFORESEEN not in said
    assert "Traceback" not in said
    assert visitor.page.locator("[data-testid=stException]").count() == 0


def test_documents_made_of_them_are_found_and_opened(visitor):
    shown = 0
    for page in range(1, len(STRINGS) // 10 + 1):
        visitor.open(f"/?q=honey&corpus=strings&mode=keyword&page={page}").settle()
        calm(visitor)
        shown += len(visitor.titles())
    assert shown >= 10
    addresses = visitor.page.locator("a.kalm-open").evaluate_all("links => links.map(link => link.href)")
    for address in addresses[: None if IN_FULL else 3]:
        visitor.page.goto(address)
        visitor.page.get_by_role("link", name="Back to the results").wait_for()
        calm(visitor)


def test_they_are_typed(visitor):
    visitor.open("/?corpus=strings").settle()
    typed = dict.fromkeys(map(clean_query, STRINGS if IN_FULL else STRINGS[4::3]))
    for text in filter(None, typed):
        visitor.ask(text)
        visitor.settle(q=text)
        calm(visitor)
