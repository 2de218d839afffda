"""Notes as the page and the command line use them."""

import json
from dataclasses import replace

import pytest
from shelf import Shelf, document

from app.services.access import OWNER, Forbidden, Person, Role
from app.services.golden import ExportRefused, verdicts
from app.services.notes import NoteService
from embedder.errors import AppError
from indexer.catalog.documents import Documents
from indexer.catalog.note_tables import NoteRefused, NoteTable
from indexer.search import SearchPage, SearchRequest, SearchResult

ANN, BOB = Person("ann", Role.VIEWER), Person("bob", Role.VIEWER)
STATE = {"q": ["honey"], "corpus": ["books"]}
REQUEST = SearchRequest("books", "honey", file_types=frozenset({"text", "pdf"}))


def result(name, text="Bees make honey."):
    return SearchResult(
        chunk_id=f"passage-{name}", document_id=name, score=1.0, title=f"Title of {name}", text=text, highlights=(),
        uri=f"{name}.txt", key="", file_type="text", language="en", headings=(), page=None, start=0, end=len(text),
    )  # fmt: skip


class Index:
    """Finds what it is told to, in order, and remembers what it was asked."""

    def __init__(self):
        self.found = ["a", "b"]
        self.asked = []
        self.error = None

    def search(self, request):
        self.asked.append(request)
        if self.error:
            raise self.error
        return SearchPage(tuple(map(result, self.found)), False, 0.0, 0.0)


@pytest.fixture
def shelf(tmp_path):
    made = Shelf(tmp_path)
    made.put(document("a.txt"), document("b.txt", "Wax is soft."))
    yield made
    made.catalog.close()


@pytest.fixture
def index():
    return Index()


@pytest.fixture
def notes(shelf, index):
    database = shelf.catalog.database
    return NoteService(shelf.catalog, NoteTable(database), Documents(database), index.search)


def test_what_was_asked_is_suggested_to_who_asked_it(notes):
    for query in ("Honey and wax", "honeycombs", "ants", "  "):
        notes.record(ANN, replace(REQUEST, query=query), STATE | {"q": [query]})
    notes.record(ANN, replace(REQUEST, query="x" * 2_000), STATE)
    found = notes.suggestions(ANN, "books", "hon")
    assert [past.query for past in found.recent] == ["honeycombs", "Honey and wax"]
    assert notes.suggestions(BOB, "books").recent == ()
    notes.forget_history(ANN, "books")
    assert notes.suggestions(ANN, "books").recent == ()


def test_hostile_questions_are_kept_as_one_line_of_text(notes):
    for query in ("\0", "a\0b\nc\ud800d", "'; DROP TABLE query_history; --", "<script>"):
        notes.record(ANN, replace(REQUEST, query=query), STATE)
    kept = [past.query for past in notes.suggestions(ANN, "books").recent]
    assert kept == ["<script>", "'; DROP TABLE query_history; --", "a b cd"]


def test_the_words_of_the_corpus_follow_its_index(notes, shelf):
    assert notes.suggestions(ANN, "books").frequent == ()
    assert notes.did_you_mean("books", "honeybes", []) is None
    text = "Honeybees fly. Honeybees sing. Honeybees sleep."
    shelf.put(document("c.txt", text, title="Honeybees"), document("d.txt", title="Of honeybees"))
    assert notes.suggestions(ANN, "books").frequent == ("honeybees",)
    assert notes.did_you_mean("books", "honeybes", []) == "honeybees"
    assert notes.did_you_mean("books", "honeybes", [result("a", "The honeybes of old spelling.")]) is None


def test_a_new_document_in_a_saved_search_is_marked_until_somebody_looked(notes, shelf, index):
    saved = notes.save(ANN, "  My honey ", REQUEST, STATE)
    assert (saved.name, saved.seen, saved.unread) == ("My honey", ("a", "b"), False)
    asked = len(index.asked)
    assert notes.saved(ANN) == [saved]
    assert len(index.asked) == asked  # nothing has changed, nothing is run

    index.found = ["c", "b", "a"]
    shelf.put(document("c.txt"))
    (marked,) = notes.saved(ANN)
    assert (marked.fresh, marked.unread) == (("c",), True)
    assert index.asked[-1] == replace(REQUEST, page=1, page_size=100)
    index.found = ["d", "c", "b", "a"]
    shelf.put(document("d.txt"))
    assert notes.saved(ANN)[0].fresh == ("d", "c")  # nobody looked between the two

    assert notes.look(ANN, "books", {"q": ["wax"]}) == frozenset()
    assert notes.look(BOB, "books", STATE) == frozenset()
    assert notes.saved(ANN)[0].unread
    assert notes.look(ANN, "books", STATE) == {"c", "d"}
    assert not notes.saved(ANN)[0].unread
    assert notes.look(ANN, "books", STATE) == {"c", "d"}  # loading the page again loses nothing

    index.found = ["b", "a", "c", "d"]
    shelf.put(document("b.txt", "Wax is very soft."))
    assert notes.look(ANN, "books", STATE) == frozenset()


def test_what_only_just_resembles_the_question_is_no_match(notes, shelf, index):
    notes.save(ANN, "honey", REQUEST, STATE)
    index.found = [*(f"known-{n}" for n in range(10)), "far below"]
    shelf.put(document("c.txt"))
    (marked,) = notes.saved(ANN)
    assert "far below" not in marked.fresh
    assert len(marked.fresh) == 10


def test_only_a_few_searches_are_run_for_one_listing(notes, shelf, index):
    for number in range(5):
        notes.save(ANN, f"search {number}", REQUEST, STATE | {"q": [str(number)]})
    shelf.put(document("c.txt"))
    asked = len(index.asked)
    notes.saved(ANN)
    assert len(index.asked) == asked + 3
    notes.saved(ANN)
    assert len(index.asked) == asked + 5


def test_a_saved_search_that_cannot_be_run_stays(notes, shelf, index):
    saved = notes.save(ANN, "honey", REQUEST, STATE)
    shelf.put(document("c.txt"))
    index.error = AppError("The model is gone.")
    assert notes.saved(ANN) == [saved]
    NoteTable(shelf.catalog.database).update_saved("ann", replace(saved, request={"mode": "no such mode"}))
    index.error = None
    assert notes.saved(ANN)[0].fresh == ()


def test_a_search_needs_a_name(notes):
    with pytest.raises(NoteRefused, match="needs a name"):
        notes.save(ANN, " \0 ", REQUEST, STATE)


def test_a_judgment_is_kept_changed_and_taken_back(notes, shelf):
    live = shelf.catalog.live_number("books")
    notes.judge(ANN, "books", " honey ", result("a"), 1)
    assert notes.judged(ANN, "books", "honey") == {"passage-a": 1}
    (kept,) = NoteTable(shelf.catalog.database).judgments("books")
    assert (kept.text, kept.uri, kept.generation, kept.model) == ("Bees make honey.", "a.txt", live, "tiny")
    notes.judge(ANN, "books", "honey", result("a"), 0)
    assert notes.judged(ANN, "books", "honey") == {"passage-a": 0}
    notes.judge(ANN, "books", "honey", result("a"), None)
    assert notes.judged(ANN, "books", "honey") == {}
    for query, grade in (("honey", 4), ("honey", -1), ("", 1), ("x" * 2_000, 1)):
        with pytest.raises(NoteRefused, match="0 to 3"):
            notes.judge(ANN, "books", query, result("a"), grade)


def test_golden_queries_are_what_is_relevant_and_still_there(notes, shelf):
    for name, grade in (("a", 1), ("b", 0), ("gone", 2)):
        notes.judge(ANN, "books", "honey", result(name), grade)
    notes.judge(BOB, "books", "honey", result("a"), 1)
    assert [(each.query, each.uri) for each in notes.golden("books")] == [("honey", "a.txt")]


def test_several_people_agree_on_a_verdict_or_on_none(notes, shelf):
    for person, name, grade in ((ANN, "a", 3), (BOB, "a", 2), (ANN, "b", 1), (BOB, "b", 0), (ANN, "c", 0)):
        notes.judge(person, "books", "honey", result(name), grade)
    agreed = verdicts(NoteTable(shelf.catalog.database).judgments("books"))
    assert [(each.passage_id, each.grade) for each in agreed] == [("passage-a", 2), ("passage-c", 0)]


@pytest.fixture
def judged(notes):
    for query, name, grade in (
        ("honey", "a", 1), ("honey", "b", 0), ("honey", "old", 2), ("wax", "b", 0), ("蜂蜡", "b", 3),
    ):  # fmt: skip
        notes.judge(ANN, "books", query, result(name, f"Text of {name}."), grade)


def test_pairs_are_rows_the_trainer_reads(notes, judged, tmp_path):
    from trainer.config import DataConfig
    from trainer.data import TrainingData

    (tmp_path / "pairs").mkdir()
    written = notes.export_pairs(OWNER, "books", tmp_path / "pairs" / "judged.jsonl")
    assert (written.queries, written.judgments, written.passages) == (2, 4, 3)
    data = TrainingData.open(
        DataConfig(root=str(tmp_path / "pairs")), seed=1, negatives_per_query=2, cache_dir=tmp_path / "cache"
    )
    rows = {row.query: row for row in data.sources[0].read([0, 1])}
    assert (rows["honey"].positives, rows["honey"].negatives) == (("Text of a.", "Text of old."), ("Text of b.",))
    assert (rows["蜂蜡"].positives, rows["蜂蜡"].negatives) == (("Text of b.",), ())


def test_a_golden_set_is_a_task_the_trainer_evaluates(notes, judged, shelf, tmp_path):
    from trainer.task_files import load_tasks

    written = notes.export_mteb(OWNER, "books", tmp_path / "tasks" / "judged")
    assert (written.queries, written.judgments) == (2, 4)
    (task,) = load_tasks(tmp_path / "tasks", max_texts=100)
    assert (task.kind, task.language, set(task.first)) == ("retrieval", "x", {"honey", "蜂蜡"})
    # Every passage of the index, and those judged that it has no more.
    assert written.passages == len(task.second) == 5
    texts = {number: text for number, text in enumerate(task.second)}
    graded = {
        query: {texts[n]: g for n, g in grades.items()} for query, grades in zip(task.first, task.grades, strict=True)
    }
    assert {text.split("\n")[-1]: grade for text, grade in graded["honey"].items()} == {
        "Text of a.": 1,
        "Text of old.": 2,
    }
    assert json.loads((tmp_path / "tasks" / "judged" / "task.json").read_text()) == {
        "type": "retrieval",
        "lang": "en-zh",
    }
    with pytest.raises(ExportRefused, match="is not empty"):
        notes.export_mteb(OWNER, "books", tmp_path / "tasks" / "judged")


def test_exports_need_an_editor_and_something_to_write(notes, tmp_path):
    with pytest.raises(Forbidden):
        notes.export_pairs(ANN, "books", tmp_path / "pairs.jsonl")
    notes.judge(ANN, "books", "wax", result("b"), 0)
    for export, target in ((notes.export_pairs, "pairs.jsonl"), (notes.export_mteb, "task")):
        with pytest.raises(ExportRefused, match="No question has a result"):
            export(OWNER, "books", tmp_path / target)
        assert not (tmp_path / target).exists()
