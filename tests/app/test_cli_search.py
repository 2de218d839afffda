"""What steers ``kalm search`` beside the words: pytest tests/app/test_cli_search.py."""

import csv
import io
import json

import pytest

from app.services.searching import SearchService
from indexer.readers import UnreadableFile
from indexer.search import SearchRefused

FILES = {
    "en/bees.md": "---\nauthor: Du Fu\n---\n# Bees\n\nBees make honey in spring.\n",
    "en/tea.txt": "Tea\n\nHoney is put into tea.\n",
    "zh/mifeng.txt": "蜜蜂\n\n蜜蜂酿造蜂蜜 honey。\n",
}


@pytest.fixture(scope="module")
def books(module_cli, write):
    root = module_cli.folder / "books"
    for name, content in FILES.items():
        folder, _, file = name.partition("/")
        write(root / folder, **{file: content})
    assert module_cli("corpus", "add", "books", root).code == 0
    assert module_cli("index", "build", "books").code == 0
    return module_cli


def found(outcome):
    assert (outcome.code, outcome.err) == (0, "")
    return {result["uri"]: result for result in json.loads(outcome.out)}


def test_folders_authors_and_examples(books):
    whole = found(books("search", "books", "honey", "--json"))
    assert whole.keys() == FILES.keys()
    assert found(books("search", "books", "honey", "--folder", "en", "--json")).keys() == {"en/bees.md", "en/tea.txt"}
    assert found(books("search", "books", "honey", "--author", "Du Fu", "--json")).keys() == {"en/bees.md"}
    like = whole["en/bees.md"]["document_id"]
    others = found(books("search", "books", "", "--like", like, "--json"))
    assert others.keys() == {"en/tea.txt", "zh/mifeng.txt"}
    assert "should be unlike" in books("search", "books", "", "--unlike", like).refusal


def test_the_balance_and_variety(books):
    words = found(books("search", "books", "honey", "--balance", "0", "--varied", "--json"))
    assert {result["evidence"]["dense"] for result in words.values()} == {0}


def test_labels_that_are_not_there_are_refused(books):
    assert "SET=LABEL, which bees is not" in books("search", "books", "honey", "--label", "bees").refusal
    assert "There are no labels map of books" in books("search", "books", "honey", "--label", "map=bees").refusal


def test_a_file_is_the_question(books):
    (books.folder / "question.md").write_text("# A question\n\nHoney, and tea with it.")
    shown = found(books("search", "books", "", "--by-file", "question.md", "--mode", "keyword", "--json"))
    assert next(iter(shown)) == "en/tea.txt"
    (books.folder / "question.exe").write_bytes(b"MZ")
    assert "of one of these kinds: .txt, .md" in books("search", "books", "", "--by-file", "question.exe").refusal


def test_results_are_exported(books):
    table = books("search", "books", "honey", "--limit", "2", "--export", "csv").out
    rows = list(csv.DictReader(io.StringIO(table.removeprefix("\ufeff"))))
    assert [row["rank"] for row in rows] == ["1", "2"]
    assert books("search", "books", "honey", "--export", "markdown").out.count("\n## ") == 2
    assert books("search", "books", "zeppelin", "--mode", "keyword", "--export", "jsonl").out == ""


def test_a_damaged_or_empty_question_is_refused():
    service = SearchService.__new__(SearchService)  # reading a file needs none of its parts
    for name, content in (("blank.txt", b" \n "), ("broken.pdf", b"%PDF-1.7 broken")):
        with pytest.raises(UnreadableFile):
            service.text_of(name, content)
    with pytest.raises(SearchRefused, match="of one of these kinds"):
        service.text_of("page.html", b"<p>Bees.")
    assert service.text_of("../../etc/Question.TXT", "蜜蜂".encode()) == "蜜蜂"
