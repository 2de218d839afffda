"""What people leave behind: questions, saved searches, judgments."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from indexer.catalog import note_tables
from indexer.catalog.corpora import Catalog
from indexer.catalog.note_tables import Judgment, NoteRefused, NoteTable, SavedSearch


@pytest.fixture
def catalog(any_catalog_url, tmp_path):
    opened = Catalog(any_catalog_url)
    for name in ("books", "papers"):
        opened.add_corpus(name, tmp_path, ())
    yield opened
    opened.close()


@pytest.fixture
def notes(catalog):
    return NoteTable(catalog.database)


def search(name="bees", corpus="books", **changes):
    return replace(SavedSearch(0, corpus, name, {"q": ["bees"]}, {"query": "bees"}, checked=1), **changes)


def judgment(person="ann", query="honey", passage="p1", grade=1):
    moment = datetime(2026, 3, 5, tzinfo=UTC)
    return Judgment(person, "books", query, "d1", passage, "bees.md", "Bees", "Bees make.", grade, 7, "tiny", moment)


def test_a_history_is_bounded_ordered_and_everybodys_own(notes, monkeypatch):
    monkeypatch.setattr(note_tables, "KEPT_QUERIES", 4)
    for number in range(6):
        notes.remember("ann", "books", f"question {number}", {"q": [f"question {number}"]})
    notes.remember("ann", "books", "question 3", {"q": ["question 3"], "mode": ["keyword"]})
    notes.remember("ann", "papers", "elsewhere", {})
    past = notes.history("ann", "books")
    assert [each.query for each in past] == ["question 3", "question 5", "question 4", "question 2"]
    assert past[0].state["mode"] == ["keyword"]
    assert notes.history("bob", "books") == []
    notes.forget_history("ann", "books")
    assert (notes.history("ann", "books"), len(notes.history("ann", "papers"))) == ([], 1)


def test_a_question_longer_than_a_key_of_the_database_is_remembered(notes):
    question = "蜜蜂" * 500
    notes.remember("ann", "books", question, {})
    notes.judge(judgment(query=question))
    assert notes.history("ann", "books")[0].query == question
    assert notes.judged("ann", "books", question) == {"p1": 1}


def test_a_saved_search_comes_back_and_one_of_the_same_name_replaces_it(notes):
    first = notes.save("ann", search(seen=("a", "b"), fresh=("c",), unread=True))
    assert notes.saved("ann") == [first]
    second = notes.save("ann", search(corpus="papers"))
    other = notes.save("ann", search("ants"))
    assert notes.saved("ann") == [other, second]
    assert notes.saved("bob") == []


def test_nobody_changes_or_removes_the_search_of_another(notes):
    mine = notes.save("ann", search())
    notes.update_saved("bob", replace(mine, fresh=("x",)))
    with pytest.raises(NoteRefused, match="no longer there"):
        notes.drop_saved("bob", mine.id)
    assert notes.saved("ann") == [mine]
    notes.update_saved("ann", replace(mine, fresh=("x",), unread=True, checked=9))
    assert notes.saved("ann") == [replace(mine, fresh=("x",), unread=True, checked=9)]
    notes.drop_saved("ann", mine.id)
    notes.update_saved("ann", mine)
    assert notes.saved("ann") == []


def test_the_number_of_saved_searches_is_bounded(notes, monkeypatch):
    monkeypatch.setattr(note_tables, "MOST_SAVED", 4)
    for number in range(4):
        notes.save("ann", search(f"search {number}"))
    with pytest.raises(NoteRefused, match="remove one"):
        notes.save("ann", search("one more"))
    notes.save("ann", search("search 3", corpus="papers"))
    assert len(notes.saved("ann")) == 4


def test_one_person_has_one_judgment_of_a_passage_and_may_change_it(notes):
    for each in (judgment(), judgment(grade=0), judgment(passage="p2"), judgment("bob"), judgment(query="wax")):
        notes.judge(each)
    assert notes.judged("ann", "books", "honey") == {"p1": 0, "p2": 1}
    assert notes.judged("bob", "books", "honey") == {"p1": 1}
    notes.withdraw("ann", "books", "honey", "p1")
    assert notes.judged("ann", "books", "honey") == {"p2": 1}
    assert notes.judgments("books") == [judgment(passage="p2"), judgment("bob"), judgment(query="wax")]


def test_notes_go_with_their_corpus(notes, catalog):
    notes.remember("ann", "books", "honey", {})
    notes.save("ann", search())
    notes.judge(judgment())
    catalog.remove_corpus("books")
    catalog.add_corpus("books", catalog.corpus("papers").root, ())
    assert (notes.history("ann", "books"), notes.saved("ann"), notes.judgments("books")) == ([], [], [])
