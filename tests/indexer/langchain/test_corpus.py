"""LangChain on a corpus that a build made: read only, passages from the store, documents from the search."""

import asyncio
import time
from types import SimpleNamespace

import pytest
from langchain_cases import ids

from embedder.errors import AppError
from indexer.langchain import KaLMRecordManager, KaLMRetriever, KaLMVectorStore
from indexer.langchain.sources import EncoderEmbeddings
from indexer.retrieval.generations import NotBuilt

LONG = "\n\n".join(f"The {letter * 12} {'says nothing at all ' * 8}to anybody." for letter in "abcdefghijklmnopqrst")


@pytest.fixture
def books(bench):
    bench.write("bees.md", "# Bees\n\nBees make honey from nectar.")
    bench.write("bread.txt", "Yeast makes bread rise.")
    bench.write("zh.md", "# 蜜蜂\n\n蜜蜂用花蜜酿造蜂蜜。")
    bench.write("tale.txt", LONG)
    bench.build()
    return bench


@pytest.fixture
def installation(books):
    return SimpleNamespace(
        catalog=books.catalog, engine=books.engine, encoders=SimpleNamespace(of=lambda _: books.encoder)
    )


def sources(documents):
    return [document.metadata["uri"] for document in documents]


def test_a_corpus_is_a_store_for_reading_that_follows_its_builds(books, installation):
    store = KaLMVectorStore.open_corpus("books", installation)
    assert sources(store.similarity_search("honey nectar", k=1)) == ["bees.md"]
    assert sources(store.similarity_search("酿造", k=4, mode="keyword")) == ["zh.md"]
    assert sources(store.similarity_search("honey", k=9, filter={"language": "zh"})) == ["zh.md"]
    assert len(store.max_marginal_relevance_search("honey", k=2)) == 2
    (found,) = store.similarity_search("Yeast makes bread rise.", k=1, mode="semantic")
    assert store.get_by_ids([found.id]) == [found]
    books.write("bread.txt", "Sourdough makes bread rise.")
    books.build()
    assert [found.page_content for found in asyncio.run(store.asimilarity_search("sourdough", mode="keyword"))] == [
        "Sourdough makes bread rise."
    ]
    store.close()


def test_an_asynchronous_search_of_a_corpus_leaves_the_loop_free(books, installation):
    slow = SimpleNamespace(of=lambda _: time.sleep(0.2) or books.encoder)
    store = KaLMVectorStore.open_corpus("books", SimpleNamespace(**{**vars(installation), "encoders": slow}))

    async def beats_during(search):
        task, beats = asyncio.create_task(search), 0
        while not task.done():
            await asyncio.sleep(0.001)
            beats += 1
        assert sources(await task) == ["bees.md"]
        return beats

    for search in (store.asimilarity_search, KaLMRetriever(store=store).ainvoke):
        assert asyncio.run(beats_during(search("honey nectar", k=1))) > 10
    store.close()


def test_nothing_is_written_to_a_corpus(books, installation):
    store = KaLMVectorStore.open_corpus("books", installation)
    empty = KaLMVectorStore.open_corpus("books", installation)
    for write in (
        lambda: store.add_texts(["x"]),
        lambda: store.delete(["x"]),
        lambda: store.delete(),
        lambda: store.adopt(empty),
        lambda: store.optimize(),
        lambda: KaLMRecordManager(store),
    ):
        with pytest.raises(AppError, match="The corpus books is made from its files.*kalm index build books"):
            write()
    assert len(store.similarity_search("honey", k=99)) > 3
    store.close()
    empty.close()


def test_a_corpus_is_adopted_by_a_store_of_its_model(books, installation, tmp_path):
    class Other(EncoderEmbeddings):
        namespace = "another"

    corpus = KaLMVectorStore.open_corpus("books", installation)
    store = KaLMVectorStore(EncoderEmbeddings(books.encoder), path=tmp_path / "notes")
    assert store.adopt(corpus) > 3
    assert sources(store.similarity_search("honey nectar", k=1, mode="hybrid")) == ["bees.md"]
    other = KaLMVectorStore(Other(books.encoder), path=tmp_path / "others")
    with pytest.raises(AppError, match="were made by another and these come from kalm-"):
        other.adopt(corpus)


def test_a_corpus_without_an_index_says_what_to_do(bench):
    installation = SimpleNamespace(catalog=bench.catalog, engine=bench.engine, encoders=None)
    with pytest.raises(NotBuilt, match="kalm index build books"):
        KaLMVectorStore.open_corpus("books", installation)


def test_a_retriever_gives_the_best_passage_of_each_document(books):
    retriever = KaLMRetriever(search=books.searcher, corpus="books", k=2)
    first, second = retriever.invoke("honey from nectar")
    assert (first.metadata["source"], first.page_content) == ("bees.md", "Bees\n\nBees make honey from nectar.")
    assert first.metadata["_score"] > second.metadata["_score"]
    assert ids(asyncio.run(retriever.ainvoke("honey from nectar"))) == [first.id, second.id]
    assert len(retriever.invoke("honey from nectar", k=3)) == 3
    assert sources(retriever.invoke("honey", filter={"file_type": {"$ne": "text"}, "language": "zh"})) == ["zh.md"]
    assert sources(retriever.invoke("酿造", mode="keyword")) == ["zh.md"]
    top = first.metadata["_score"]
    assert ids(retriever.invoke("honey from nectar", score_threshold=top)) == [first.id]
    literal, typed = retriever.invoke("honey -nectar"), retriever.model_copy(update={"operators": True})
    assert "bees.md" in sources(literal)
    assert "bees.md" not in sources(typed.invoke("honey -nectar"))
    for alone in ({"search": books.searcher}, {"search": books.searcher, "corpus": "books", "mode": "fuzzy"}):
        with pytest.raises((AppError, ValueError), match=r"name of a corpus|fuzzy"):
            KaLMRetriever(**alone)


def test_a_retriever_finds_in_a_corpus_what_differs_too(books):
    for number, text in enumerate(["Bees make honey from nectar, too.", "Wasps steal honey.", "Yeast likes honey."]):
        books.write(f"{number}.txt", text)
    books.build()
    retriever = KaLMRetriever(search=books.searcher, corpus="books", k=5, mode="keyword")
    plain, diverse = (sources(retriever.invoke("honey nectar", diverse=diverse)) for diverse in (False, True))
    assert plain != diverse
    assert (plain[0], sorted(plain)) == (diverse[0], sorted(diverse))


def test_parents_are_the_neighbours_or_the_whole_document(books):
    settings = {"search": books.searcher, "corpus": "books", "k": 1, "mode": "keyword"}
    (passage,) = KaLMRetriever(**settings).invoke("what says dddddddddddd")
    (around,) = KaLMRetriever(**settings, parents="neighbours").invoke("what says dddddddddddd")
    (whole,) = KaLMRetriever(**settings, parents="document").invoke("what says dddddddddddd")
    assert "dddddddddddd" in passage.page_content
    assert len(passage.page_content) < len(around.page_content) < len(whole.page_content)
    assert passage.page_content in around.page_content
    assert (whole.page_content, whole.id) == (LONG, passage.metadata["document_id"])
    for found in (passage, around, whole):
        assert LONG[found.metadata["start"] : found.metadata["end"]] == found.page_content
    (every,) = KaLMRetriever(**settings, parents="neighbours", neighbours=99).invoke("what says dddddddddddd")
    assert every.page_content == LONG
