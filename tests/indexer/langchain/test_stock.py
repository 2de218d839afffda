"""A stock ``langchain_qdrant.QdrantVectorStore`` and the parts here: each opens what the other wrote."""

import pytest
from langchain_cases import DOCUMENTS, Counted, ids
from langchain_core.embeddings import Embeddings
from langchain_qdrant import QdrantVectorStore, RetrievalMode
from qdrant_client import QdrantClient, models
from qdrant_server import LOCAL_MODE_WARNS

from embedder.errors import AppError
from indexer.langchain import KaLMSparseEmbeddings, KaLMVectorStore
from indexer.stores.server import ServerEngine
from indexer.stores.server_requests import ServerConfig

pytestmark = LOCAL_MODE_WARNS


class Dense(Embeddings):
    """Our encoder, in LangChain's words."""

    def __init__(self, encoder):
        self.encoder = encoder

    def embed_documents(self, texts):
        return self.encoder.encode_documents(texts).tolist()

    def embed_query(self, text):
        return self.encoder.encode_queries([text])[0].tolist()


@pytest.fixture
def client(bench):
    """A server that has the index of the bench, under its alias."""
    bench.write("bees.md", "# Bees\n\nBees make honey from nectar.")
    bench.write("bread.txt", "Yeast makes bread rise.")
    bench.write("zh.md", "# 蜜蜂\n\n蜜蜂用花蜜酿造蜂蜜。")
    local = QdrantClient(":memory:")
    engine = ServerEngine(local, ServerConfig("http://local-mode"))
    engine.publish("books", bench.build(engine=engine).generation)
    yield local
    local.close()


def test_by_meaning_with_text_metadata_and_filters(bench, client):
    store = QdrantVectorStore(client, "books", embedding=Dense(bench.encoder), vector_name="dense")
    (document, score), *others = store.similarity_search_with_score("Yeast makes bread rise.", k=3)
    assert (document.page_content, document.metadata["uri"]) == ("Yeast makes bread rise.", "bread.txt")
    assert score > max(other for _, other in others)
    only = models.Filter(must=[models.FieldCondition(key="metadata.language", match=models.MatchValue(value="zh"))])
    assert [found.metadata["uri"] for found in store.similarity_search("honey", k=3, filter=only)] == ["zh.md"]


def test_by_words_and_by_both(bench, client):
    by_words, by_both = (
        QdrantVectorStore(
            client,
            "books",
            embedding=Dense(bench.encoder),
            vector_name="dense",
            sparse_embedding=KaLMSparseEmbeddings(),
            sparse_vector_name="lexical",
            retrieval_mode=mode,
        )
        for mode in (RetrievalMode.SPARSE, RetrievalMode.HYBRID)
    )
    assert [found.metadata["uri"] for found in by_words.similarity_search("酿造", k=3)] == ["zh.md"]
    assert len(by_both.similarity_search("honey", k=3)) == 3


@pytest.fixture
def local():
    client = QdrantClient(":memory:")
    yield client
    client.close()


def stock(client, embedding=None, uuids=True, **settings):
    """A store that LangChain's own class made, of a client in this process."""
    embedding = embedding or Counted()
    client.create_collection(
        "stock",
        vectors_config={settings.get("vector_name", ""): models.VectorParams(size=5, distance=models.Distance.COSINE)},
        sparse_vectors_config={"langchain-sparse": models.SparseVectorParams(modifier=models.Modifier.IDF)}
        if "sparse_embedding" in settings
        else None,
    )
    store = QdrantVectorStore(client, "stock", embedding=embedding, **settings)
    names = [f"00000000-0000-0000-0000-00000000000{n}" if uuids else n for n in range(len(DOCUMENTS))]
    store.add_texts([each.page_content for each in DOCUMENTS], [dict(each.metadata) for each in DOCUMENTS], names)
    return store


def test_a_stock_store_reads_what_a_store_of_ours_wrote(local):
    KaLMVectorStore.from_documents(DOCUMENTS, Counted(), client=local, collection="notes")
    store = QdrantVectorStore(
        local,
        "notes",
        embedding=Counted(),
        vector_name="dense",
        sparse_embedding=KaLMSparseEmbeddings(),
        sparse_vector_name="lexical",
        retrieval_mode=RetrievalMode.HYBRID,
    )
    found = store.similarity_search("蜜蜂酿造", k=1)[0]
    assert (found.page_content, found.metadata["source"]) == ("蜜蜂用花蜜酿造蜂蜜。", "c.md")


@pytest.mark.parametrize("uuids", [True, False], ids=["uuids", "numbers"])
def test_a_collection_of_a_stock_store_is_searched_and_written(local, uuids):
    theirs = stock(local, uuids=uuids, content_payload_key="text", metadata_payload_key="about")
    names = {"content_payload_key": "text", "metadata_payload_key": "about"}
    ours = KaLMVectorStore(Counted(), client=local, collection="stock", **names)
    (found,) = ours.similarity_search("yeast bread", k=1)
    assert (found.page_content, found.metadata) == ("Yeast makes bread rise.", {"source": "b.md", "year": 2021})
    assert ours.get_by_ids([found.id]) == [found]
    assert len(ours.similarity_search("bee", k=9, filter={"source": "a.md"})) == 2
    (added,) = ours.add_texts(["A hole in the bread."], [{"source": "d.md"}])
    assert theirs.similarity_search("hole bread", k=1)[0].metadata["source"] == "d.md"
    assert ours.delete([added, found.id])
    assert theirs.similarity_search("bread", k=1)[0].page_content != found.page_content
    with pytest.raises(AppError, match="has no terms to search with mode='keyword'"):
        ours.similarity_search("bee", mode="keyword")


def test_terms_that_our_encoder_made_are_used_and_those_of_others_not_spoilt(local):
    terms = {"sparse_embedding": KaLMSparseEmbeddings(), "retrieval_mode": RetrievalMode.HYBRID}
    theirs = stock(local, vector_name="text", **terms)
    assert theirs.similarity_search("蜜蜂酿造", k=1)[0].metadata["source"] == "c.md"
    unknown = KaLMVectorStore(Counted(), client=local, collection="stock")
    with pytest.raises(AppError, match=r"further vectors \(langchain-sparse\)"):
        unknown.add_texts(["x"])
    ours = KaLMVectorStore(Counted(), client=local, collection="stock", sparse_vector_name="langchain-sparse")
    assert [found.metadata["source"] for found in ours.similarity_search("酿造", mode="keyword")] == ["c.md"]
    ours.add_texts(["蜂王浆"])
    assert theirs.similarity_search("蜂王浆", k=1)[0].page_content == "蜂王浆"


def test_a_stock_store_is_adopted_with_terms_and_without_embedding_again(local, tmp_path):
    stock(local)
    embedding = Counted()
    ours = KaLMVectorStore(embedding, path=tmp_path / "notes")
    embedding.embedded.clear()
    for _ in range(2):
        assert ours.adopt(KaLMVectorStore(embedding, client=local, collection="stock")) == 4
    assert embedding.embedded == ["How wide are the vectors?"] * 2
    assert [found.metadata["source"] for found in ours.similarity_search("酿造", mode="keyword")] == ["c.md"]
    assert len(ours.similarity_search("bee", k=9)) == 4
    back = KaLMVectorStore(embedding, client=local, collection="moved")
    back.adopt(ours)
    assert sorted(ids(back.similarity_search("bee", k=9))) == sorted(ids(ours.similarity_search("bee", k=9)))


@pytest.mark.parametrize(
    ("vectors", "settings", "words"),
    [
        (models.VectorParams(size=7, distance="Cosine"), {}, "have 7 dimensions and these 5"),
        (models.VectorParams(size=5, distance="Euclid"), {}, "compares vectors by Euclid"),
        (models.VectorParams(size=5, distance="Cosine"), {"sparse_vector_name": "s"}, "no sparse vector 's'"),
        (
            {name: models.VectorParams(size=5, distance="Cosine") for name in ("a", "b")},
            {},
            "name one of those it has: 'a', 'b'",
        ),
    ],
)
def test_a_collection_that_does_not_fit_says_why(local, vectors, settings, words):
    local.create_collection("odd", vectors_config=vectors)
    with pytest.raises(AppError, match=words) as caught:
        KaLMVectorStore(Counted(), client=local, collection="odd", **settings)
    assert "\n" not in str(caught.value)
