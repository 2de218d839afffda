"""Saved and recent searches, suggestions and judgments on the search page."""

import re
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import pytest
from streamlit.testing.v1 import AppTest

from app.services.notes import Suggestions
from app.ui.search.notebook import kept_state
from app.ui.search.state import PageState
from embedder.errors import AppError
from indexer.catalog.note_tables import NoteRefused, PastQuery, SavedSearch

NOW = datetime(2026, 3, 5, tzinfo=UTC)
ID = "00000000-0000-0000-0000-000000000001"
STATE = {"q": ["stars"], "corpus": ["samples"]}


@dataclass
class FakeNotes:
    """Keeps what it is told, and remembers what it was asked."""

    recent: list[PastQuery] = field(default_factory=list)
    frequent: tuple[str, ...] = ()
    meant: str | None = None
    kept: list[SavedSearch] = field(default_factory=list)
    new: frozenset[str] = frozenset()
    grades: dict[tuple[str, str], int] = field(default_factory=dict)
    recorded: list[tuple[str, dict]] = field(default_factory=list)
    error: AppError | None = None

    def record(self, person, request, state):
        if self.error:
            raise self.error
        self.recorded.append((request.query, state))

    def forget_history(self, person, corpus):
        self.recent = []

    def suggestions(self, person, corpus, prefix=""):
        return Suggestions(tuple(self.recent), self.frequent)

    def did_you_mean(self, corpus, query, results):
        return self.meant if query != self.meant else None

    def save(self, person, name, request, state):
        if self.error:
            raise self.error
        saved = SavedSearch(len(self.kept) + 1, request.corpus, name, state, {})
        self.kept.append(saved)
        return saved

    def saved(self, person):
        return list(self.kept)

    def look(self, person, corpus, state):
        return self.new

    def forget_saved(self, person, id):
        if not any(each.id == id for each in self.kept):
            raise NoteRefused("This saved search is no longer there; load the page again.")
        self.kept = [each for each in self.kept if each.id != id]

    def judge(self, person, corpus, query, result, grade):
        if self.error:
            raise self.error
        self.grades.pop((query, result.chunk_id), None)
        if grade is not None:
            self.grades[query, result.chunk_id] = grade

    def judged(self, person, corpus, query):
        return {passage: grade for (asked, passage), grade in self.grades.items() if asked == query}


@pytest.fixture
def notes():
    return FakeNotes()


@pytest.fixture
def open_noted(backend, notes):
    """Load the page with notes, at a URL."""

    def page(backend, notes):  # runs on its own, without this module's names
        from app.ui.search.page import render

        render(backend, notes)

    def load(**params):
        test = AppTest.from_function(page, args=(backend, notes), default_timeout=60)
        test.context = {"locale": "en-US"}
        test.query_params.update(params)
        return test.run()

    return load


def words(page):
    assert not page.exception
    return re.sub(r"<[^>]+>", " ", "\n".join(element.value for element in page.main.get("html")))


def keys(page):
    return {button.key for button in page.button}


def url(page):
    return {name: value if isinstance(value, str) else value[-1] for name, value in page.query_params.items()}


def past(query):
    return PastQuery("samples", query, {"q": [query], "corpus": ["samples"], "mode": ["keyword"]}, NOW)


def test_before_a_question_there_is_what_was_asked_and_what_is_frequent(open_noted, notes, nasty):
    notes.recent, notes.frequent = [past("moons"), past(nasty)], ("planets", "C++ _x_")
    page = open_noted(lang="en")
    assert page.button(key="frequent_1").label == r"C\+\+ \_x\_"
    page.button(key="frequent_0").click().run()
    assert url(page) == {"q": "planets", "corpus": "samples", "lang": "en"}
    page = open_noted(lang="en")
    page.button(key="recent_chip_0").click().run()
    assert url(page) == {"q": "moons", "corpus": "samples", "mode": "keyword", "lang": "en"}
    assert notes.recorded[-1] == ("moons", {"q": ["moons"], "corpus": ["samples"], "mode": ["keyword"]})


def test_a_question_is_recorded_once_however_often_the_page_is_drawn(open_noted, notes):
    page = open_noted(q="stars", page="2")
    page.button(key="previous").click().run()
    page.run()
    assert notes.recorded == [("stars", STATE)]


def test_a_history_that_fails_costs_no_results(open_noted, notes):
    notes.error = NoteRefused("The catalog does not answer.")
    page = open_noted(q="stars")
    assert "Title 1" in words(page)


def test_a_mistyped_question_is_put_right_in_one_click(open_noted, notes):
    notes.meant = "stars"
    page = open_noted(q="strars")
    assert "Did you mean:" in words(page)
    page.button(key="meant").click().run()
    assert url(page)["q"] == "stars"
    assert "meant" not in keys(page)


def test_a_result_is_judged_changed_and_taken_back(open_noted, notes):
    page = open_noted(q="stars")
    pills = page.button_group(key="judge_1")
    assert pills.label == "Does this answer the question? Title 1"
    assert [option.content for option in pills.proto.options] == ["Relevant", "Not relevant"]
    pills.set_value("yes").run()
    assert notes.grades == {("stars", "1"): 1}
    assert open_noted(q="stars").button_group(key="judge_1").value == "yes"  # another visit still knows it
    page.button_group(key="judge_1").set_value("no").run()
    assert notes.grades == {("stars", "1"): 0}
    page.button_group(key="judge_1").set_value(None).run()
    assert notes.grades == {}


def test_a_judgment_belongs_to_its_question(open_noted, notes):
    notes.grades = {("stars", "1"): 1, ("moons", "1"): 0}
    page = open_noted(q="stars")
    assert page.button_group(key="judge_1").value == "yes"
    page.text_input(key="query").set_value("moons").run()
    assert page.button_group(key="judge_1").value == "no"


@pytest.mark.parametrize("params", [{"like": ID}, {"like": ID, "q": "type:pdf"}])
def test_likeness_is_no_question_to_judge_an_answer_by(open_noted, params):
    page = open_noted(**params)
    assert "Title 1" in words(page)
    assert not [group for group in page.button_group if group.key.startswith("judge_")]
    assert "save_search" in keys(page)  # its address says all of it


def test_a_search_by_a_text_is_neither_judged_nor_saved(open_noted):
    page = open_noted()
    page.text_area(key="pasted").set_value("Stars collapse.").run()
    page.button(key="search_by_text").click().run()
    assert "Title 1" in words(page)
    assert not [group for group in page.button_group if group.key.startswith("judge_")]
    assert "save_search" not in keys(page)
    assert "cannot be saved" in words(page)
    page.text_input(key="query").set_value("stars").run()
    assert page.button_group(key="judge_1").value is None
    assert "save_search" in keys(page)


def test_what_cannot_be_done_is_said_and_not_shown_as_done(open_noted, notes):
    page = open_noted(q="stars")
    notes.error = NoteRefused("The catalog <b>does not</b> answer.")
    page.button_group(key="judge_1").set_value("yes").run()
    assert "The catalog &lt;b&gt;does not&lt;/b&gt; answer." in words(page)
    assert page.button_group(key="judge_1").value is None
    assert "does not" not in words(page.run())


def test_a_search_is_saved_found_again_and_removed(open_noted, notes):
    page = open_noted(q="stars", page="2", lang="en")
    page.text_input(key="save_name").set_value("My *stars*").run()
    page.button(key="save_search").click().run()
    assert [(each.name, each.state) for each in notes.kept] == [("My *stars*", STATE)]
    assert "This search is saved as “My *stars*”." in words(page)
    assert "save_search" not in keys(page)

    page = open_noted(lang="en")
    assert page.button(key="saved_1").label == r"My \*stars\*"
    page.button(key="saved_1").click().run()
    assert url(page) == {"q": "stars", "corpus": "samples", "lang": "en"}
    page.button(key="forget_1").click().run()
    assert notes.kept == []
    assert "save_search" in keys(page)


def test_the_name_offered_is_that_of_the_question_shown(open_noted, notes):
    page = open_noted(q="stars")
    assert page.text_input(key="save_name").placeholder == "stars"
    page.text_input(key="query").set_value("moons").run()
    assert page.text_input(key="save_name").placeholder == "moons"
    page.button(key="save_search").click().run()
    assert [search.name for search in notes.kept] == ["moons"]


def test_removing_what_another_window_removed_is_explained(open_noted, notes):
    notes.kept = [SavedSearch(1, "samples", "Stars", STATE, {})]
    page = open_noted()
    notes.kept, gone = [], notes.kept
    page.button(key="forget_1").click().run()
    assert "no longer there" in words(page)
    assert gone


def test_new_matches_are_counted_and_marked(open_noted, notes):
    notes.kept = [
        SavedSearch(1, "samples", "Stars", STATE, {}, fresh=("2",), unread=True),
        SavedSearch(2, "papers", "Seen", {}, {}, fresh=("3",)),
    ]
    notes.new = frozenset({"2"})
    page = open_noted(q="stars")
    assert page.button(key="saved_1").label == "Stars · **1 new**"
    assert page.button(key="saved_2").label == r"Seen · papers"
    assert len(re.findall(r"\bNew\b", words(page))) == 1


def test_a_document_is_opened_with_the_way_back_to_these_results(open_noted):
    page = open_noted(q="stars", page="2", mode="keyword", lang="zh")
    links = "".join(element.value for element in page.main.get("html"))
    assert "&amp;q=stars&amp;lang=zh&amp;back=mode%3Dkeyword%26page%3D2" in links


def test_recent_searches_are_forgotten_in_one_click(open_noted, notes):
    notes.recent = [past("moons")]
    page = open_noted(q="stars")
    assert page.button(key="recent_0").label == "moons"
    page.button(key="forget_recent").click().run()
    assert "forget_recent" not in keys(page)


def test_an_address_is_kept_without_its_page_and_language():
    state = PageState("stars", "samples", page=3, interface="zh", languages=frozenset({"", "en"}))
    assert kept_state(state) == STATE | {"doc_lang": ["en", "und"]}
    assert kept_state(replace(state, page=1, interface="")) == kept_state(state)
