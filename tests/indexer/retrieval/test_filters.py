"""What narrows and steers a search: folders, authors, labels, dates, examples, texts, variety, balance."""

from datetime import date

import pytest

from indexer.catalog.label_tables import Label, LabelsRefused, LabelTable, Unit
from indexer.retrieval.results import MAX_TEXT_CHARACTERS
from indexer.search import FacetCount, Mode, SearchRefused, SearchRequest


@pytest.fixture(scope="module")
def shelf(module_bench):
    """Eight documents in three folders, by two authors, with labels; searched and never changed."""
    bench = module_bench
    for n in range(3):
        front = f"---\nauthor: Du Fu\ndate: 2024-0{n + 1}-01\n---\n"
        bench.write(f"poems/tang/{n}.md", f"{front}# Poem {n}\n\nThe river in spring, poem number {n}, and honey.")
    for n in range(3):
        bench.write(f"poems/song/{n}.md", f"---\nauthor: Su Shi\n---\n# Song {n}\n\nThe moon in autumn {n}, and honey.")
    bench.write("Poems/tang/other.txt", "Other\n\nAnother river, in a folder of another case, with honey.")
    long = "\n\n".join(f"## Part {n}\n\nWax and honey in part {n}. " + "word " * 60 for n in range(4))
    bench.write("wax.md", f"# Wax\n\n{long}")
    bench.build()
    return bench


def ask(bench, query, mode=Mode.HYBRID, **more):
    return bench.searcher.search(SearchRequest("books", query, mode, page_size=50, **more))


def uris(page):
    return {result.uri for result in page.results}


def ids(bench):
    return {result.uri: result.document_id for result in ask(bench, "honey").results}


def counts(facet):
    return {count.value: count.documents for count in facet}


def test_a_folder_is_the_whole_folder_and_no_other(shelf):
    assert uris(ask(shelf, "honey", folders=frozenset({"poems/tang"}))) == {f"poems/tang/{n}.md" for n in range(3)}
    assert len(uris(ask(shelf, "honey", folders=frozenset({"poems"})))) == 6
    assert uris(ask(shelf, "honey", folders=frozenset({"poem", "po%"}))) == set()


def test_folders_are_counted_where_the_ways_part(shelf):
    assert counts(ask(shelf, "honey").facets.folders) == {"poems": 6, "Poems": 1}
    below = ask(shelf, "honey", authors=frozenset({"Du Fu", "Su Shi"})).facets
    assert counts(below.folders) == {"poems/tang": 3, "poems/song": 3}


def test_an_author_is_the_whole_name(shelf):
    page = ask(shelf, "honey", authors=frozenset({"Du Fu"}))
    assert uris(page) == {f"poems/tang/{n}.md" for n in range(3)}
    assert counts(page.facets.authors) == {"Du Fu": 3, "Su Shi": 3}
    assert {result.author for result in page.results} == {"Du Fu"}
    assert uris(ask(shelf, "honey", authors=frozenset({"Du"}))) == set()


def test_days_chosen_and_days_typed_both_hold(shelf):
    assert len(uris(ask(shelf, "honey", after=date(2024, 1, 2)))) == 2
    assert uris(ask(shelf, "honey after:2024-02", before=date(2024, 3, 1))) == {"poems/tang/1.md"}
    assert ask(shelf, "honey", after=date(2024, 2, 1)).facets.authors == (FacetCount("Du Fu", 2),)


def test_labels_of_documents_and_of_passages_filter_and_are_counted(shelf):
    table, known = LabelTable(shelf.catalog.database), ids(shelf)
    table.put(
        "books",
        "seasons",
        "classifier",
        Unit.DOCUMENT,
        {},
        [Label(known[f"poems/tang/{n}.md"], "spring") for n in range(3)] + [Label(known["poems/song/0.md"], "autumn")],
    )
    passage = ask(shelf, "honey part", folders=frozenset()).results
    wax = next(result for result in passage if result.uri == "wax.md")
    table.put("books", "map", "map", Unit.PASSAGE, {}, [Label(wax.chunk_id, "beeswax")])
    page = ask(shelf, "honey", labels=frozenset({("seasons", "spring")}))
    assert uris(page) == {f"poems/tang/{n}.md" for n in range(3)}
    said = {facet.name: (facet.kind, counts(facet.labels)) for facet in page.facets.labels}
    assert said == {"map": ("map", {}), "seasons": ("classifier", {"spring": 3, "autumn": 1})}
    (found,) = ask(shelf, "honey", labels=frozenset({("map", "beeswax")})).results
    assert (found.chunk_id, found.more_passages) == (wax.chunk_id, 0)
    both = frozenset({("seasons", "spring"), ("seasons", "autumn")})
    assert len(uris(ask(shelf, "honey", labels=both))) == 4
    assert uris(ask(shelf, "honey", labels=both | {("map", "beeswax")})) == set()
    table.rename_value("books", "seasons", "autumn", "spring")
    assert len(uris(ask(shelf, "honey", labels=frozenset({("seasons", "spring")})))) == 4
    for name in ("seasons", "map"):
        table.drop("books", name)
    with pytest.raises(LabelsRefused, match="no labels seasons"):
        ask(shelf, "honey", labels=both)


def test_filters_look_at_what_they_cannot_name(shelf, monkeypatch):
    monkeypatch.setattr("indexer.retrieval.filters.MOST_NAMED", 1)
    assert uris(ask(shelf, "wax honey", folders=frozenset({"poems/song"}))) == {f"poems/song/{n}.md" for n in range(3)}
    table, known = LabelTable(shelf.catalog.database), ids(shelf)
    labels = [Label(known[f"poems/song/{n}.md"], "moon") for n in range(3)]
    table.put("books", "themes", "classifier", Unit.DOCUMENT, {}, labels)
    assert uris(ask(shelf, "wax honey", labels=frozenset({("themes", "moon")}))) == {
        f"poems/song/{n}.md" for n in range(3)
    }
    table.drop("books", "themes")


def test_values_of_the_corpus_stay_choosable_where_none_was_found(shelf):
    assert ask(shelf, "autumn", Mode.KEYWORD).facets.file_types == (FacetCount("markdown", 3), FacetCount("text", 0))


def test_results_are_like_an_example_and_not_the_example(shelf):
    known = ids(shelf)
    page = ask(shelf, "", like=(known["poems/tang/0.md"],))
    assert page.scored_by is Mode.SEMANTIC
    assert page.results[0].uri in {"poems/tang/1.md", "poems/tang/2.md"}
    assert "poems/tang/0.md" not in uris(page)
    assert [(example.title, example.liked) for example in page.examples] == [("Poem 0", True)]
    away = ask(shelf, "", like=(known["wax.md"],), unlike=(known["poems/tang/0.md"],))
    order = [result.uri for result in away.results]
    assert [example.liked for example in away.examples] == [True, False]
    assert order != [result.uri for result in ask(shelf, "", like=(known["wax.md"],)).results]


def test_examples_go_with_words(shelf):
    known = ids(shelf)
    page = ask(shelf, "moon", like=(known["wax.md"],))
    assert page.scored_by is Mode.HYBRID
    assert page.results[0].uri.startswith("poems/song/")
    assert ask(shelf, "moon", Mode.KEYWORD, like=(known["wax.md"],)).scored_by is Mode.HYBRID


def test_examples_that_are_gone_are_left_out_or_refused(shelf):
    assert ask(shelf, "moon", like=("gone",)).examples == ()
    with pytest.raises(SearchRefused, match="None of the documents to search by is in books any more"):
        ask(shelf, "", like=("gone",))
    with pytest.raises(SearchRefused, match="only named what results should be unlike"):
        ask(shelf, "", unlike=("gone",))


def test_a_text_is_a_question_of_several_parts(shelf):
    text = "The moon in autumn, and a song. " * 30 + "\n\n" + "Wax in part 3. " * 30
    assert ask(shelf, "", Mode.SEMANTIC, text=text).scored_by is Mode.SEMANTIC
    for mode in (Mode.KEYWORD, Mode.HYBRID):
        found = ask(shelf, "", mode, text=text)
        assert {result.uri for result in found.results[:4]} == {"wax.md", *(f"poems/song/{n}.md" for n in range(3))}
    assert uris(ask(shelf, "type:text", text=text)) == {"Poems/tang/other.txt"}
    with pytest.raises(SearchRefused, match="search by a part of it"):
        ask(shelf, "", text="a" * (MAX_TEXT_CHARACTERS + 1))


def test_the_other_passages_of_a_result_are_those_that_were_counted(shelf):
    request = SearchRequest("books", "wax", Mode.KEYWORD)
    (wax,) = shelf.searcher.search(request).results
    others = shelf.searcher.further_passages(request, wax.document_id)
    assert len(others) == wax.more_passages >= 3
    assert wax.chunk_id not in {other.chunk_id for other in others}
    assert [other.score for other in others] == sorted((other.score for other in others), reverse=True)
    assert shelf.searcher.further_passages(request, "another") == ()


def test_variety_keeps_the_best_and_every_document(shelf):
    plain, diverse = ask(shelf, "river in spring"), ask(shelf, "river in spring", diverse=True)
    assert diverse.results[0] == plain.results[0]
    assert uris(diverse) == uris(plain)
    assert [result.uri for result in diverse.results] != [result.uri for result in plain.results]


def test_the_balance_leans_to_one_leg(shelf):
    middle = ask(shelf, "moon wax")
    assert ask(shelf, "moon wax", balance=0.5).results == middle.results
    words = ask(shelf, "moon wax", balance=0.0).results
    assert all(result.evidence.dense == 0 for result in words)
    assert [result.score for result in words] == [result.evidence.lexical for result in words]
    assert all(result.evidence.lexical == 0 for result in ask(shelf, "moon wax", balance=1.0).results)
    with pytest.raises(SearchRefused, match="between 0 and 1"):
        ask(shelf, "moon", balance=1.5)


def test_a_result_says_how_unusual_its_cosine_is(shelf):
    for result in ask(shelf, "river in spring", Mode.SEMANTIC).results:
        assert result.calibration.passages == shelf.catalog.generations("books")[0].chunks
        nearer = result.dense.rank - 1
        assert result.calibration.share <= 1 - nearer / result.calibration.passages
    best = ask(shelf, "river in spring", Mode.SEMANTIC).results[0]
    assert best.calibration.share >= 0.8
    assert best.calibration.deviations > 0
    assert ask(shelf, "river", Mode.KEYWORD).results[0].calibration is None


def test_the_first_results_begin_as_the_pages_do(bench):
    rows = "".join(f"{n},honey in jar {n}\n" for n in range(260))
    bench.write("rows.csv", "id,text\n" + rows)
    bench.build()
    request = SearchRequest("books", "honey", Mode.KEYWORD)
    shown = bench.searcher.search(SearchRequest("books", "honey", Mode.KEYWORD, page_size=200)).results
    first = bench.searcher.first(request, 1_000)
    assert len(first) == 260
    assert first[:200] == shown
    assert len({result.document_id for result in first}) == 260
    assert bench.searcher.first(request, 20) == shown[:20]
