"""Hostile strings in the address and in the fields of every page, over documents that are made of them.

Some of them, each on one page; ``KALM_TEST_HOSTILE=300`` tries every string on every page.
"""

import json
import os
from html.parser import HTMLParser
from types import SimpleNamespace

import pytest
from hostile import hostile_strings, sendable
from streamlit.testing.v1 import AppTest

from app.services.access import OWNER
from app.services.answering import Answering
from app.services.tasks import Tasks
from app.ui.classify.contract import Backend
from app.ui.i18n import Translator
from indexer.catalog.task_tables import TaskTable
from indexer.search import Mode, SearchRequest

HOSTILE = int(os.environ.get("KALM_TEST_HOSTILE", "12"))
IN_FULL = HOSTILE >= 300
STRINGS = sendable(hostile_strings(max(HOSTILE, 60)))
PARAMETERS = {
    "search": "q corpus mode page type doc_lang folder author label after like balance lang",
    "document": "corpus doc passage page from q lang",
    "map": "corpus run cluster against task lang",
    "classify": "step way work task table classifier threshold pair label lang",
    "ask": "q corpus lang",
    "admin": "section corpus words lang",
}
PRESSED = {"save_search", "search_by_text", "upload__add", "remove", "make", "save_described", "learn", "show_plan"}
"""Buttons that take what stands in the fields."""

PLACES = {"classify": {"way": "describe"}, "admin": {"section": "audit"}, "search": {"corpus": "strings"}}
"""Where on a page there are fields."""

TURNS = [
    (page, text)
    for number, text in enumerate(STRINGS[:HOSTILE])
    for page in (PARAMETERS if IN_FULL else [list(PARAMETERS)[number % len(PARAMETERS)]])
]
UNFORESEEN = Translator("en")("error.unexpected")


@pytest.fixture(scope="module")
def pages(module_made, tmp_path_factory):
    """What the pages talk to, over a corpus that holds the strings as titles, texts and authors."""
    made, folder = module_made, tmp_path_factory.mktemp("hostile")
    made.__dict__["tasks"] = Tasks(TaskTable(made.catalog.database), made.task_folder, command=("true",))
    rows = [{"title": text, "text": f"Honey {text}", "author": text[:90]} for text in STRINGS]
    (folder / "strings.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    made.admin.add_folder(OWNER, "strings", str(folder))
    made.admin.build(OWNER, "strings")
    made.indexing.work(wait=True, on_error=lambda run, error: pytest.fail(str(error)))
    echo = SimpleNamespace(stream=lambda instruction, question: iter([instruction[-500:], question, " [1]"]))
    return {
        "search": (made.search, made.notes),
        "document": (made.documents,),
        "map": (made.maps,),
        "classify": (Backend(made.classify, made.tasks, made.search.corpora),),
        "ask": (Answering(made.search, lambda: echo),),
        "admin": (made.admin, made.upkeep, made.errands, lambda: OWNER),
    }


@pytest.fixture
def open_at(pages):
    """Load a page as a browser would, with parameters in the address."""

    def page(name, arguments):  # runs on its own, without this module's names
        from importlib import import_module

        import_module(f"app.ui.{name}.page").render(*arguments)

    def load(name, **params):
        test = AppTest.from_function(page, args=(name, pages[name]), default_timeout=60)
        test.context = {"locale": "en-US"}
        test.query_params.update(params)
        return test.run()

    return load


class Tags(HTMLParser):
    """The elements of some HTML, and what they ask a browser to do."""

    def __init__(self):
        super().__init__()
        self.found = set()

    def handle_starttag(self, tag, attributes):
        self.found.add(tag)
        for name, value in attributes:
            assert not name.startswith("on"), (tag, name, value)
            if name in ("href", "src"):
                assert not (value or "").strip().lower().startswith(("javascript:", "data:", "//", "http")), value


QUIET = set(
    "a article bdi br caption code dd details div dl dt em figure header h1 h2 h3 hr li mark meter ol p pre section "
    "small span strong summary style table tbody td th thead tr ul".split()
)


def check(test):
    """Nothing failed that nobody foresaw, and what is shown has no element that could act."""
    assert not test.exception
    for element in test.get("html"):
        tags = Tags()
        tags.feed(element.value)
        assert tags.found - QUIET <= ({"script"} if element.value.startswith("<script>") else set())
        assert UNFORESEEN not in element.value
        assert "Traceback" not in element.value


@pytest.mark.parametrize("turn", range(len(TURNS)), ids=lambda turn: f"{TURNS[turn][0]}-{turn}")
def test_in_the_address_and_in_every_field(open_at, turn):
    name, text = TURNS[turn]
    check(open_at(name, **dict.fromkeys(PARAMETERS[name].split(), text)))
    test = open_at(name, **PLACES.get(name, {}))
    check(test)
    for field in [*test.text_input, *test.text_area]:
        field.set_value(text[: field.proto.max_chars or 1_000])
    check(test.run())
    for button in test.button:
        if button.key in PRESSED and not button.disabled:
            check(button.click().run())
            break


def test_results_and_their_documents_show_them_as_text(open_at, pages):
    test = open_at("search", q="honey", corpus="strings", mode="keyword")
    check(test)
    shown = "".join(element.value for element in test.get("html"))
    assert shown.count('<article class="kalm-card"') == 10
    search, _ = pages["search"]
    for result in search.first(SearchRequest("strings", "honey", Mode.KEYWORD), 12):
        check(open_at("document", corpus="strings", doc=result.document_id, passage=result.chunk_id))
