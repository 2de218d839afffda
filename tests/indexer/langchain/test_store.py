"""What LangChain's suites do not ask of the vector store: modes, filters, scores, threads, processes, refusals."""

import asyncio
import multiprocessing
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from langchain_cases import DOCUMENTS, Counted, ids
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding
from qdrant_server import LOCAL_MODE_WARNS, Fault, QdrantServer

from embedder.errors import AppError
from indexer.langchain import KaLMRetriever, KaLMVectorStore
from indexer.stores.protocol import StoreError

pytestmark = LOCAL_MODE_WARNS


@pytest.fixture
def store(place):
    filled = KaLMVectorStore.from_documents(DOCUMENTS, Counted(), **place)
    yield filled
    filled.close()


def test_modes(store):
    assert ids(store.similarity_search("bee", k=2)) == ["bees", "bees too"]
    assert ids(store.similarity_search("nectar", k=4, mode="keyword")) == ["bees too"]
    assert ids(store.similarity_search("酿造", mode="keyword")) == ["zh"]
    assert ids(store.similarity_search("釀造", mode="keyword")) == ["zh"]
    assert ids(store.search("the bread from nectar", "hybrid", k=2)) == ["bread", "bees too"]
    assert ids(asyncio.run(store.asearch("nectar", "keyword"))) == ["bees too"]
    assert store.similarity_search("🐝", mode="keyword") == []
    assert len(store.similarity_search("🐝", mode="hybrid")) == 4


def test_filters_hold_in_every_mode(store):
    for mode in ("semantic", "keyword", "hybrid"):
        found = store.similarity_search("honey", k=4, mode=mode, filter={"source": "a.md", "year": {"$gt": 2020}})
        assert ids(found) == ["bees too"]
    assert ids(store.similarity_search("bee", filter={"public": True})) == ["zh"]
    assert ids(store.max_marginal_relevance_search("bee", filter={"source": "b.md"})) == ["bread"]
    assert ids(store.similarity_search_by_vector([1.0, 0, 0, 0, 0.1], k=1, filter={"year": 2019})) == ["bees"]
    retriever = store.as_retriever(search_kwargs={"k": 3, "mode": "hybrid", "filter": {"source": {"$in": ["c.md"]}}})
    assert ids(retriever.invoke("honey")) == ["zh"]


def test_scores_are_cosines_and_have_a_floor(store):
    (best, score), *others = store.similarity_search_with_score("Bees make honey.", k=4)
    assert (best.id, score) == ("bees", pytest.approx(1.0, abs=1e-5))
    assert ids(store.similarity_search("Bees make honey.", k=4, score_threshold=0.9)) == ["bees", "bees too"]
    assert all(floor < 1 for _, floor in others)
    relevant = store.similarity_search_with_relevance_scores("Bees make honey.", k=4, score_threshold=0.95)
    assert [(document.id, round(each, 2)) for document, each in relevant] == [("bees", 1.0), ("bees too", 1.0)]
    threshold = store.as_retriever(search_type="similarity_score_threshold", search_kwargs={"score_threshold": 0.95})
    assert ids(threshold.invoke("Bees make honey.")) == ["bees", "bees too"]
    with pytest.raises(AppError, match="Only a cosine is a relevance"):
        store.similarity_search_with_relevance_scores("honey", mode="hybrid")


def test_diversity(store):
    near, diverse = {"k": 2, "lambda_mult": 1.0}, {"k": 2, "lambda_mult": 0.3}
    assert ids(store.max_marginal_relevance_search("bee bee bread", **near)) == ["bees", "bees too"]
    assert ids(store.max_marginal_relevance_search("bee bee bread", **diverse)) == ["bees", "bread"]
    assert ids(store.max_marginal_relevance_search_by_vector([2.0, 1.0, 0, 0, 0.1], **diverse)) == ["bees", "bread"]
    assert ids(store.max_marginal_relevance_search("nectar", k=4, mode="keyword")) == ["bees too"]


def test_a_retriever_finds_what_differs_too(store):
    store.add_texts(["Bees make honey!", "Bees make honey?"], ids=["again", "and again"])
    plain, diverse = (KaLMRetriever(store=store, k=3, mode="semantic", diverse=diverse) for diverse in (False, True))
    assert ids(plain.invoke("bee bee bread", k=2)) != ids(diverse.invoke("bee bee bread", k=2))
    found = diverse.invoke("bee bee bread")
    assert "bread" in ids(found)
    assert ids(asyncio.run(diverse.ainvoke("bee bee bread"))) == ids(found)
    assert ids(plain.invoke("bee bee bread", diverse=True)) == ids(found)
    assert found[0].metadata["_score"] == max(each.metadata["_score"] for each in found)


def test_a_text_without_an_id_has_always_the_same(store):
    first = store.add_texts(["new", "new"], [{"a": 1}, {"a": 2}])
    assert store.add_texts(["new"], [{"a": 2}]) == first[1:]
    assert len({*first, *store.add_texts(["new"])}) == 3
    given = [
        "7",
        "18446744073709551616",
        "00000000-0000-0000-0000-00000000000A",
        "00000000-0000-0000-0000-00000000000a",
    ]
    assert store.add_texts([*"abcd"], ids=given) == given
    assert [(each.id, each.page_content) for each in store.get_by_ids(given[::-1])] == [
        *zip(given[::-1], "dcba", strict=True)
    ]
    assert store.delete(given)
    assert store.get_by_ids(given) == []


def test_everything_is_deleted_only_by_name_or_all_at_once(store):
    assert store.delete([])
    assert len(store.similarity_search("bee", k=9)) == 4
    assert store.delete()
    assert store.similarity_search("bee", k=9) == []


def test_half_a_character_is_replaced_wherever_it_is(store):
    halves = {"title \ud83d": "half \ud83d", "parts": [{"\udc00": "\udc00"}], "whole": "\ud83d\udc1d"}
    (id,) = store.add_texts(["A \ud83d stings."], [halves])
    (found,) = store.get_by_ids([id])
    assert (found.page_content, found.metadata["whole"]) == ("A \ufffd stings.", "🐝")
    assert found.metadata["parts"] == [{"\ufffd": "\ufffd"}]
    for mode in ("semantic", "keyword", "hybrid"):
        for condition in ("half \ud83d", {"$in": ["half \ud83d"]}):
            assert store.similarity_search("stings \ud83d", 1, mode=mode, filter={"title \ud83d": condition}) == [found]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda s: s.similarity_search("x", k=0), "at least 1"),
        (lambda s: s.similarity_search("x", mode="fuzzy"), "semantic, keyword, hybrid"),
        (lambda s: s.similarity_search("x", filters={}), "does not know the argument filters"),
        (lambda s: s.similarity_search("x", filter={"a": {"$near": 1}}), r"does not know '\$near'"),
        (lambda s: s.similarity_search_by_vector([1.0] * 5, mode="keyword"), "A vector has no words"),
        (lambda s: s.add_texts(["x"], [{}, {}]), "1 texts, 2 metadatas"),
        (lambda s: s.add_texts(["x"], [{"at": object()}]), "cannot be stored"),
        (lambda s: s.add_texts(["x"], [{"at": float("nan")}]), "cannot be stored"),
        (lambda s: s.add_texts(["a", "x"], [{}, {1: "x"}]), "the name 1 is no text"),
        (lambda s: s.add_texts(["a", "x"], [{}, {"of": [{"n": 2**64}]}]), "18446744073709551616 has more than 64 bits"),
        (lambda s: s.add_texts(["a", "x"], [{}, {"n": -(2**63) - 1}]), "has more than 64 bits"),
        (lambda s: s.add_texts(["a", "x"], [{}, "x"]), "are a dictionary, and not 'x'"),
        (lambda s: s.add_texts(["a", None]), "has a text, and not None"),
        (lambda s: s.add_texts(["a", "x"], ids=["a", "\ud83d"]), "half a surrogate pair"),
        (lambda s: s.similarity_search(None), "is a text, and not None"),
        (lambda s: s.similarity_search(None, mode="keyword"), "is a text, and not None"),
        (lambda s: s.similarity_search_by_vector([1.0] * 4), "has 4 dimensions and those of this store 5"),
        (lambda s: s.max_marginal_relevance_search_by_vector([1.0] * 4), "has 4 dimensions and those of this store 5"),
        (lambda s: s.add_texts(["x"], ids=[7]), "is a text, and not 7"),
        (lambda s: s.add_texts(["x"], batch_size=0), "batch_size"),
        (lambda s: KaLMVectorStore(Counted()), "one of path, url and client"),
        (lambda s: KaLMRetriever(), "give store, or search and corpus"),
        (lambda s: KaLMRetriever(store=s, parents="document"), "parents need a corpus"),
        (lambda s: KaLMRetriever(store=s).invoke("x", fuzzy=True), "does not know the argument fuzzy"),
        (
            lambda s: KaLMRetriever(store=s, search_type="mmr"),
            "not know the argument search_type.* diverse",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused_in_one_sentence(tmp_path, call, words):
    store = KaLMVectorStore(Counted(), path=tmp_path / "notes")
    with pytest.raises(AppError, match=words) as caught:
        call(store)
    assert "\n" not in str(caught.value)
    assert store.similarity_search("x") == []


def test_other_models_are_refused_and_a_closed_store_says_so(place):
    store = KaLMVectorStore.from_documents(DOCUMENTS, Counted("a model"), **place)
    with pytest.raises(StoreError, match="were made by a model and these come from another"):
        KaLMVectorStore(Counted("another"), **place)
    assert len(KaLMVectorStore(Counted("a model"), **place).similarity_search("bee", k=9)) == 4
    store.close()
    with pytest.raises(StoreError, match="was closed"):
        store.similarity_search("bee")


def test_a_collection_is_that_of_the_first_model_that_writes_and_is_named(place):
    unnamed = KaLMVectorStore.from_documents(DOCUMENTS, Counted(), **place)
    one, other = (KaLMVectorStore(Counted(name), **place) for name in ("a model", "another"))
    one.add_texts(["a bee"])
    for late in (lambda: other.add_texts(["a bee"]), lambda: KaLMVectorStore(Counted("another"), **place)):
        with pytest.raises(StoreError, match="were made by a model and these come from another"):
            late()
    unnamed.add_texts(["bread"])
    assert len(one.similarity_search("bee", k=9)) == 6


def test_only_a_store_of_the_same_model_is_adopted(tmp_path, place):
    made = KaLMVectorStore.from_documents(DOCUMENTS, Counted("a model"), **place)
    for theirs in (made, KaLMVectorStore(Counted(), **place)):
        with pytest.raises(StoreError, match="were made by another and these come from a model"):
            KaLMVectorStore(Counted("another"), path=tmp_path / "another").adopt(theirs)
    unnamed = KaLMVectorStore(Counted(), path=tmp_path / "unnamed")
    assert unnamed.adopt(made) == 4
    with pytest.raises(StoreError, match="were made by a model and these come from another"):
        KaLMVectorStore(Counted("another"), path=tmp_path / "unnamed")
    wider = KaLMVectorStore(DeterministicFakeEmbedding(size=6), path=tmp_path / "wider")
    with pytest.raises(StoreError, match="have 6 dimensions and these 5"):
        wider.adopt(made)


def test_a_store_opens_again_in_the_arithmetic_that_it_was_made_in(tiny_checkpoint, place):
    from embedder.langchain import KaLMEmbeddings  # loads torch, which the other process below need not

    folder = str(tiny_checkpoint("qwen2"))
    timed = KaLMEmbeddings(model=folder)
    slower = "float32" if timed.encoder.dtype == "bfloat16" else "bfloat16"
    KaLMVectorStore.from_texts(["a bee"], KaLMEmbeddings(model=folder, dtype=slower), **place)
    opened = KaLMVectorStore(timed, **place)
    assert (opened.embeddings.dtype, len(opened.similarity_search("bee"))) == (slower, 1)
    with pytest.raises(StoreError, match=rf"-{slower}-.* arithmetic \(dtype=\)"):
        KaLMVectorStore(KaLMEmbeddings(model=folder, dtype=timed.encoder.dtype), **place)


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "precious.txt").write_text("mine")
    with pytest.raises(StoreError, match="holds something else"):
        KaLMVectorStore(Counted(), path=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["precious.txt"]


def test_threads_write_and_read_at_once(tmp_path):
    store = KaLMVectorStore(Counted(), path=tmp_path / "notes")
    done = threading.Event()

    def write(number):
        store.add_texts([f"bee {number} {line}" for line in range(40)], batch_size=8)

    def read():
        counts = []
        while not done.is_set():
            counts.append(len(store.similarity_search("bee", k=500, mode="hybrid")))
        return counts

    with ThreadPoolExecutor(6) as pool:
        readers = [pool.submit(read) for _ in range(2)]
        for writer in [pool.submit(write, number) for number in range(4)]:
            writer.result()
        done.set()
        assert all(counts == sorted(counts) for counts in (reader.result() for reader in readers))
    assert len(store.similarity_search("bee", k=500)) == 160


def _write_and_wait(path, written):
    _open = KaLMVectorStore.from_documents(DOCUMENTS, Counted(), path=path)
    written.set()
    threading.Event().wait()


def test_one_process_at_a_time_and_nothing_written_dies_with_it(tmp_path):
    spawn = multiprocessing.get_context("spawn")
    written = spawn.Event()
    other = spawn.Process(target=_write_and_wait, args=(tmp_path / "notes", written))
    other.start()
    assert written.wait(timeout=120)
    with pytest.raises(StoreError, match="open in another process"):
        KaLMVectorStore(Counted(), path=tmp_path / "notes")
    other.kill()
    other.join()
    store = KaLMVectorStore(Counted(), path=tmp_path / "notes")
    assert sorted(store.get_by_ids(ids(DOCUMENTS)), key=ids_first) == sorted(DOCUMENTS, key=ids_first)


def ids_first(document: Document) -> str:
    return document.id


def test_a_server_that_loses_a_write_is_found_out():
    with QdrantServer() as server:
        store = KaLMVectorStore(Counted(), url=server.url, collection="notes")
        server.faults = [Fault("PUT /collections/notes/points", "swallow")]
        with pytest.raises(StoreError, match="lost 4 of 4 documents"):
            store.add_documents(DOCUMENTS)
        store.add_documents(DOCUMENTS)
        server.faults = [Fault("POST /collections/notes/points/delete", "swallow")]
        with pytest.raises(StoreError, match="could not be deleted"):
            store.delete(["bees"])
        assert len(store.get_by_ids(ids(DOCUMENTS))) == 4
