"""The example of retrieval-augmented generation, with a model that says what the test wrote down."""

import importlib.util
from pathlib import Path

import pytest
from langchain_core.documents import Document
from langchain_core.language_models import FakeListChatModel
from langchain_core.retrievers import BaseRetriever


@pytest.fixture(scope="module")
def rag():
    path = Path(__file__).parents[2] / "examples" / "rag.py"
    spec = importlib.util.spec_from_file_location("rag", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Fixed(BaseRetriever):
    documents: list[Document]

    def _get_relevant_documents(self, query, *, run_manager):
        return self.documents


SOURCES = [
    Document(page_content="Bees make honey. {braces}", metadata={"title": "Bees", "source": "bees.md"}),
    Document(page_content="蜂蜜", metadata={"title": "茶", "source": "tea.txt"}),
]


def test_citations_lead_to_the_sources_they_name(rag):
    chat = FakeListChatModel(responses=["Bees do [1], so [1][2], and {x} [9]."])
    given = rag.answer("Who makes honey?", Fixed(documents=SOURCES), chat)
    assert given.text == "Bees do [1], so [1][2], and {x} [9]."
    assert given.cited == {1: SOURCES[0], 2: SOURCES[1]}
    assert rag.numbered(SOURCES).startswith("[1] Bees\nBees make honey. {braces}\n\n[2] 茶")


def test_no_sources_are_said_to_be_none(rag):
    given = rag.answer("Who?", Fixed(documents=[]), FakeListChatModel(responses=["I do not know."]))
    assert given.cited == {}
    assert rag.numbered([]) == "(There are no sources.)"
