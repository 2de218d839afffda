"""The LangChain vector store and retriever: LangChain's own suites, on the embedded engine and on qdrant-client."""

import pytest
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_tests.integration_tests import RetrieversIntegrationTests, VectorStoreIntegrationTests
from qdrant_server import LOCAL_MODE_WARNS

from indexer.langchain import KaLMRetriever, KaLMVectorStore

pytestmark = LOCAL_MODE_WARNS

TEXTS = ["Bees make honey.", "Yeast makes bread rise.", "蜜蜂用花蜜酿造蜂蜜。", "Black holes bend light."]


class TestVectorStore(VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self, place):
        store = KaLMVectorStore(self.get_embeddings(), **place)
        yield store
        store.close()


class TestRetriever(RetrieversIntegrationTests):
    @pytest.fixture(autouse=True)
    def _fill(self, place):
        self.store = KaLMVectorStore.from_texts(TEXTS, DeterministicFakeEmbedding(size=6), **place)

    @property
    def retriever_constructor(self):
        return KaLMRetriever

    @property
    def retriever_constructor_params(self):
        return {"store": self.store}

    @property
    def retriever_query_example(self):
        return "What do bees make?"


class TestCorpusRetriever(TestRetriever):
    @pytest.fixture(autouse=True)
    def _fill(self, bench):
        for number, text in enumerate(TEXTS):
            bench.write(f"{number}.txt", text)
        bench.build()
        self.search = bench.searcher

    @property
    def retriever_constructor_params(self):
        return {"search": self.search, "corpus": "books"}
