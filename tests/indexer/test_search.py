"""Search: one result per document, pages of one ranking, counts beside the filters."""

import threading
import time

import pytest

from embedder.errors import AppError
from indexer.retrieval.generations import NotBuilt
from indexer.search import FacetCount, Mode, SearchRefused, SearchRequest


@pytest.fixture
def books(bench):
    for n in range(12):
        bench.write(f"en/{n:02d}.txt", f"Article {n}\n\nBees make honey, and this is article number {n}.")
    bench.write("zh/mifeng.md", "# 蜜蜂\n\n蜜蜂用花蜜酿造蜂蜜。一群蜜蜂有几万只。\n\n## 蜂王\n\n蜂王产卵。")
    bench.write(
        "long.md",
        "# Long\n\n" + "\n\n".join(f"## Part {n}\n\nWax and honey in part {n}. " + "word " * 60 for n in range(6)),
    )
    bench.build()
    return bench


def ask(bench, query, mode=Mode.KEYWORD, **more):
    return bench.searcher.search(SearchRequest("books", query, mode, **more))


def test_a_document_is_one_result_that_counts_its_other_passages(books):
    page = ask(books, "wax")
    assert [result.uri for result in page.results] == ["long.md"]
    assert page.results[0].more_passages == 5


def test_a_result_says_where_it_stands(books):
    result = ask(books, "蜂王产卵").results[0]
    assert (result.uri, result.title, result.file_type, result.language) == ("zh/mifeng.md", "蜜蜂", "markdown", "zh")
    text = (books.root / "zh/mifeng.md").read_text()
    assert "蜂王产卵" in result.text
    assert result.text.splitlines()[-1] in text
    assert result.end - result.start == len(result.text)
    highlighted = "".join(result.text[start:end] for start, end in result.highlights)
    assert "蜂王产卵" in highlighted


def test_pages_are_cut_from_one_ranking(books):
    for mode in Mode:
        whole = [result.uri for result in ask(books, "bees honey", mode, page_size=50).results]
        assert len(whole) > 4
        pages = [ask(books, "bees honey", mode, page=page, page_size=4) for page in range(1, 6)]
        assert [result.uri for page in pages for result in page.results] == whole
        assert [page.has_more for page in pages] == [4 * (n + 1) < len(whole) for n in range(5)]


def test_filters_and_their_counts(books):
    page = ask(books, "honey 蜂蜜", Mode.HYBRID, languages=frozenset({"zh"}))
    assert [result.uri for result in page.results] == ["zh/mifeng.md"]
    assert page.facets.languages == (FacetCount("en", 13), FacetCount("zh", 1))
    assert page.facets.file_types == (FacetCount("markdown", 1),)
    both = ask(books, "honey", file_types=frozenset({"text"}), languages=frozenset({"zh"}))
    assert both.results == ()


def test_what_the_scores_are_is_said(books):
    assert ask(books, "honey", Mode.HYBRID).scored_by is Mode.HYBRID
    assert ask(books, "honey", Mode.SEMANTIC).scored_by is Mode.SEMANTIC
    assert ask(books, "🐝🐝", Mode.HYBRID).scored_by is Mode.SEMANTIC


def test_a_model_that_cannot_read_the_script_is_not_asked_in_a_fusion(books):
    books.encoder.languages = frozenset({"en"})
    page = ask(books, "蜜蜂", Mode.HYBRID)
    assert page.scored_by is Mode.KEYWORD
    assert [result.uri for result in page.results] == ["zh/mifeng.md"]
    assert ask(books, "bees", Mode.HYBRID).scored_by is Mode.HYBRID
    assert ask(books, "蜜蜂", Mode.SEMANTIC).scored_by is Mode.SEMANTIC


def test_a_result_says_what_each_leg_thought_of_it(books):
    best = ask(books, "bees honey", Mode.HYBRID).results[0]
    assert best.dense.rank >= 1
    assert best.lexical.rank >= 1
    assert best.score >= best.lexical.score
    (wax,) = ask(books, "wax").results
    assert (wax.dense, wax.lexical.rank, wax.lexical.score) == (None, 1, wax.score)
    assert ask(books, "bees", Mode.SEMANTIC).results[0].lexical is None


def test_a_phrase_is_a_condition_in_every_mode(books):
    for mode in Mode:
        page = ask(books, 'honey "article number 7"', mode, page_size=50)
        assert [result.uri for result in page.results] == ["en/07.txt"], mode
        without = {result.uri for result in ask(books, "honey -“article number 7”", mode, page_size=50).results}
        assert "en/07.txt" not in without
        assert without >= {"en/06.txt", "long.md"}


def test_a_passage_deep_down_the_ranking_is_found_by_its_phrase(bench):
    bench.write("rows.csv", "id,text\n" + "".join(f"{n},honey honey in jar {n} of the shelf\n" for n in range(230)))
    bench.build()
    for mode in (Mode.KEYWORD, Mode.SEMANTIC):
        (found,) = ask(bench, 'honey "jar 217 of"', mode).results
        assert found.key == "217"


def test_fields_filter_and_the_counts_follow(books):
    books.write("old.html", "<title>Old honey</title><p>Honey of old times.</p>")
    books.write("dated.md", "---\ndate: 2024-05-01\nauthor: Du Fu\n---\n# Dated honey\n\nHoney of one day.")
    books.build()

    def found(query, **more):
        return [result.uri for result in ask(books, query, **more).results]

    assert found("honey type:html") == ["old.html"]
    assert found('honey author:"du fu"') == ["dated.md"]
    assert found("honey title:dated") == ["dated.md"]
    assert found("honey after:2024-05-01 before:2024-05-02") == ["dated.md"]
    assert found("honey before:2024-05") == found("honey after:2024-05-02") == []
    assert found("蜂蜜 lang:en") == []
    assert found("honey type:html", file_types=frozenset({"text"})) == []
    narrow = ask(books, "honey type:html").facets
    assert [count.value for count in narrow.file_types] == ["html"]
    dated = ask(books, "honey after:2024", file_types=frozenset({"html"})).facets
    assert dated.file_types == (FacetCount("markdown", 1),)
    assert dated.languages == ()


def test_operators_can_be_switched_off(books):
    page = ask(books, '"wax" -honey', operators=False)
    assert page.results[0].uri == "long.md"
    assert len(page.results) == 10


def test_a_question_of_conditions_only_is_refused(books):
    with pytest.raises(SearchRefused, match="conditions only; add a word"):
        ask(books, "type:pdf -cat")


TALE = "A bee met a wasp by the river and asked for the way to the lime tree, which the wasp did not know. " * 2


def test_near_duplicates_are_one_result_that_names_the_others(bench):
    bench.write("tale.txt", f"Tale\n\n{TALE} The end, said the river.")
    bench.write("copy/tale.md", f"# Tale\n\n{TALE}\n\nThe end, said the river!")
    bench.write("other.txt", "Bee and wasp are insects; a river is none, and a lime tree is not either.")
    bench.build()
    page = ask(bench, "bee wasp river", Mode.HYBRID)
    assert len(page.results) == 2
    told = next(result for result in page.results if result.title == "Tale")
    (twin,) = told.duplicates
    assert {told.uri, twin.uri} == {"tale.txt", "copy/tale.md"}
    assert twin.similarity >= 0.7
    assert [result.duplicates for result in page.results if result is not told] == [()]
    (bench.root / twin.uri).unlink()
    bench.build()
    assert all(result.duplicates == () for result in ask(bench, "bee wasp river", Mode.HYBRID).results)


def test_the_best_sentence_is_one_of_the_passage(books):
    results = ask(books, "蜜蜂 花蜜").results
    (span,) = books.searcher.best_sentences("books", "几万只蜜蜂", results)
    assert results[0].text[slice(*span)] == "一群蜜蜂有几万只。"
    assert books.searcher.best_sentences("books", "anything", ()) == []


def test_questions_that_are_none_are_refused(books):
    for bad in ({"query": " \n"}, {"query": "bees", "page": 0}, {"query": "bees", "page_size": 0}):
        with pytest.raises(SearchRefused):
            ask(books, **bad)


def test_a_corpus_that_is_not_built_or_not_there_says_so(bench):
    with pytest.raises(NotBuilt, match="run kalm index build books"):
        ask(bench, "bees")
    with pytest.raises(AppError, match="There is no corpus films"):
        bench.searcher.search(SearchRequest("films", "bees"))


def test_searches_in_many_threads_during_builds_never_fail(books):
    failures = []
    stop = threading.Event()

    def search():
        while not stop.is_set():
            try:
                assert len(ask(books, "honey", Mode.HYBRID, page_size=50).results) >= 13
            except Exception as error:
                failures.append(error)

    threads = [threading.Thread(target=search) for _ in range(4)]
    for thread in threads:
        thread.start()
    for n in range(3):
        books.write("en/00.txt", f"Changed {n}\n\nBees make honey still, version {n}.")
        books.build()
    stop.set()
    for thread in threads:
        thread.join()
    assert failures == []
    readers = books.data / "indexes" / "books" / "readers"
    assert sum(path.is_dir() for path in readers.iterdir()) == 1


def test_two_widths_of_one_model_are_kept_apart(books):
    narrow = books.encoder.resized(8)
    wide_encoder = books.searcher._encoder_for
    books.searcher._encoder_for = lambda manifest: narrow if manifest.dim == 8 else wide_encoder(manifest)
    assert ask(books, "bees", Mode.SEMANTIC).results
    books.encoder, wide = narrow, books.encoder
    books.build(fresh=True)
    assert ask(books, "bees", Mode.SEMANTIC).results
    books.encoder = wide


def test_a_corpus_that_was_removed_and_entered_again_shows_nothing_of_its_past(books, tmp_path):
    assert ask(books, "honey").results
    time.sleep(1.1)  # numbers of generations are counted on from the clock, in seconds
    books.catalog.remove_corpus("books")
    books.engine.drop_corpus("books")
    books.root = tmp_path / "other"
    books.write("bread.txt", "Bread rises, and has no honey in it.")
    books.catalog.add_corpus("books", books.root)
    books.build()
    assert [result.uri for result in ask(books, "honey").results] == ["bread.txt"]
