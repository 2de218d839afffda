"""What steers a search beside the words: filters, weights, examples, texts, and what is done with results."""

import re
from dataclasses import replace
from datetime import date

import pytest

from embedder.errors import AppError
from indexer.catalog.label_tables import LabelsRefused
from indexer.records import Duplicate
from indexer.search import Example, FacetCount, Facets, LabelFacet, Mode

ID = "00000000-0000-0000-0000-00000000000{}".format
MAP = LabelFacet("topics", "map", (FacetCount("bees", 7), FacetCount("wax", 2)))


@pytest.fixture
def rich(backend, make_result):
    """A backend with everything to filter by, whose results have ids as documents do."""
    authors = tuple(FacetCount(f"Author {n}", 20 - n) for n in range(12))
    backend.facets = Facets(
        (FacetCount("markdown", 12), FacetCount("pdf", 0)),
        (FacetCount("en", 13), FacetCount("zh", 1)),
        (FacetCount("en/nature", 9), FacetCount("en/art", 3)),
        authors,
        (MAP,),
    )
    backend.results = [make_result(n, document_id=ID(n), more_passages=2 if n == 1 else 0) for n in range(1, 4)]
    return backend


def shown(page):
    assert not page.exception
    return "\n".join(element.value for element in page.main.get("html"))


def url(page):
    return {name: value if isinstance(value, str) else value[-1] for name, value in page.query_params.items()}


def labels(page):
    return [button.label for button in page.button]


def test_folders_authors_and_labels_have_counts_and_narrow(rich, open_page):
    page = open_page(q="stars")
    assert page.pills(key="folders").options == ["en\\/nature 9", "en\\/art 3"]
    assert page.pills(key="labels_topics").options == ["bees 7", "wax 2"]
    assert page.pills(key="file_types").options == ["Markdown 12", "PDF"]
    page.pills(key="folders").select("en/art").run()
    assert url(page) == {"q": "stars", "folder": "en/art"}
    page.pills(key="labels_topics").select("wax").run()
    assert rich.requests[-1].labels == {("topics", "wax")}
    assert rich.requests[-1].folders == {"en/art"}
    assert "topics\\: wax" in labels(page)
    page.button(key="chip_0").click().run()
    assert rich.requests[-1].folders == frozenset()
    page.pills(key="labels_topics").unselect("wax").run()
    assert url(page) == {"q": "stars"}


def test_many_values_wait_behind_more(rich, open_page):
    page = open_page(q="stars")
    assert len(page.pills(key="authors").options) == 8
    page.button(key="more_authors").click().run()
    assert len(page.pills(key="authors").options) == 12
    hidden = open_page(q="stars", author=["Author 11"]).pills(key="authors")
    assert len(hidden.options) == 9
    assert hidden.value == ["Author 11"]


def test_days_are_chosen_and_taken_away(rich, open_page):
    page = open_page(q="stars")
    page.date_input(key="after").set_value(date(2024, 5, 1)).run()
    assert url(page) == {"q": "stars", "after": "2024-05-01"}
    assert rich.requests[-1].after == date(2024, 5, 1)
    page.button(key="chip_0").click().run()
    assert url(page) == {"q": "stars"}
    assert page.date_input(key="after").value is None


def test_labels_that_are_gone_leave_the_url_unheeded(rich, open_page, monkeypatch):
    search = rich.search

    def refuse(request):
        if request.labels:
            raise LabelsRefused("There are no labels old of samples.")
        return search(request)

    monkeypatch.setattr(rich, "search", refuse)
    page = open_page(q="stars", label=["old:x"])
    assert shown(page).count("<article") == 3


def test_the_balance_is_for_hybrid_searches_and_in_the_url(rich, open_page):
    page = open_page(q="stars")
    assert page.slider(key="balance").value == 50
    page.slider(key="balance").set_value(80).run()
    assert url(page) == {"q": "stars", "balance": "80"}
    assert rich.requests[-1].balance == 0.8
    assert not open_page(q="stars", mode=Mode.KEYWORD.value).slider
    page.toggle(key="diverse").set_value(True).run()
    assert rich.requests[-1].diverse
    assert "Varied results" in labels(page)


def test_more_and_less_like_a_result(rich, open_page):
    page = open_page(q="stars")
    page.button(key=f"like_{ID(1)}").click().run()
    assert (rich.requests[-1].like, rich.requests[-1].unlike) == ((ID(1),), ())
    rich.examples = (Example(ID(1), "Title *1*", "a.md", "", liked=True),)
    page.button(key=f"unlike_{ID(2)}").click().run()
    assert (rich.requests[-1].like, rich.requests[-1].unlike) == ((ID(1),), (ID(2),))
    assert r"Like\: Title \*1\*" in labels(page)
    page.button(key="chip_0").click().run()
    assert (rich.requests[-1].like, rich.requests[-1].unlike) == ((), (ID(2),))


def test_examples_are_a_question_without_words(rich, open_page):
    page = open_page(like=ID(1))
    assert shown(page).count("<article") == 3
    assert rich.requests[-1].query == ""
    assert "kalm-best" not in shown(page)


def test_an_example_that_the_search_refuses_can_be_taken_away(rich, open_page):
    rich.error = AppError("None of the documents to search by is in samples any more; take them out of the question.")
    page = open_page(like=ID(1))
    assert "None of the documents to search by" in shown(page)
    rich.error = None
    page.button(key="chip_0").click().run()
    assert "Ask the way you would ask a person" in shown(page)


def test_further_passages_come_when_they_are_asked_for(rich, open_page):
    page = open_page(q="stars", mode="keyword")
    assert "Further passage" not in shown(page)
    assert page.button(key=f"passages_{ID(1)}").label == "2 more passages"
    assert f"passages_{ID(2)}" not in {button.key for button in page.button}
    page.button(key=f"passages_{ID(1)}").click().run()
    assert "Further passage 2. &lt;script&gt;" in shown(page)
    address = f"document?corpus=samples&amp;doc=1&amp;passage={ID(1)}-2&amp;q=stars&amp;lang=en&amp;back=mode%3Dkeyword"
    assert f'href="{address}"' in shown(page)
    assert page.button(key=f"passages_{ID(1)}").label == "Hide the other passages"
    page.button(key=f"passages_{ID(1)}").click().run()
    assert "Further passage" not in shown(page)


def test_near_duplicates_can_be_opened(rich, open_page):
    twin = Duplicate("aa-77", "Twin", "twin.md", "", 0.9)
    rich.results = [replace(rich.results[1], duplicates=(twin,))]
    page = open_page(q="stars", type="markdown")
    address = "document?corpus=samples&amp;doc=aa-77&amp;q=stars&amp;lang=en&amp;back=type%3Dmarkdown"
    assert f'href="{address}"' in shown(page)


def test_further_passages_that_cannot_be_had_leave_the_page(rich, open_page, caplog, monkeypatch):
    page = open_page(q="stars")
    for error, said in ((AppError("The index is <gone>."), "The index is &lt;gone&gt;."), (RuntimeError("x"), "log.")):
        monkeypatch.setattr(rich, "further_passages", lambda *_, error=error: (_ for _ in ()).throw(error))
        page.session_state["opened_1"] = True
        page.run()
        assert said in shown(page)
        assert shown(page).count("<article") == 3
    assert "Could not find the further passages" in caplog.text


def test_a_pasted_text_is_the_question_until_words_are_typed(rich, open_page):
    page = open_page()
    page.text_area(key="pasted").input("A long *story* of bees.\n\nAnd of wax.").run()
    page.button(key="search_by_text").click().run()
    assert rich.requests[-1].text == "A long *story* of bees.\n\nAnd of wax."
    assert shown(page).count("<article") == 3
    assert url(page) == {"corpus": "samples"}
    assert any(re.match(r"By text\\: A long \\\*story", label) for label in labels(page))
    page.text_input(key="query").input("stars").run()
    assert rich.requests[-1].text == ""
    page.text_input(key="query").input("").run()
    assert "Ask the way you would ask a person" in shown(page)


def test_a_text_can_be_taken_away(rich, open_page):
    page = open_page()
    page.text_area(key="pasted").input("bees").run()
    page.button(key="search_by_text").click().run()
    page.button(key="chip_text").click().run()
    assert "Ask the way you would ask a person" in shown(page)


def test_a_text_without_words_is_no_question(rich, open_page):
    page = open_page()
    page.button(key="search_by_text").click().run()
    assert "paste a text or choose a file" in shown(page)
    assert rich.requests == []


def test_a_file_is_the_question_or_says_why_not(rich, open_page):
    page = open_page()
    page.file_uploader(key="file").upload("bees.md", b"# Bees", "text/markdown").run()
    page.button(key="search_by_text").click().run()
    assert rich.uploads == [("bees.md", b"# Bees")]
    assert rich.requests[-1].text == "# Bees"
    rich.error = AppError("The file is <damaged>; get a good copy.")
    page.button(key="search_by_text").click().run()
    assert "The file is &lt;damaged&gt;; get a good copy." in shown(page)


def test_results_can_be_saved(rich, open_page):
    page = open_page(q="stars")
    (button,) = page.get("download_button")
    assert button.proto.label == "Save"
    rich.results = []
    assert not open_page(q="stars").get("download_button")
