"""The example of retrieval-augmented generation, with a model that says what the test wrote down."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
from langchain_core.documents import Document
from langchain_core.language_models import FakeListChatModel
from langchain_core.retrievers import BaseRetriever


def load():
    path = Path(__file__).parents[2] / "examples" / "rag.py"
    spec = importlib.util.spec_from_file_location("rag", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def rag():
    return load()


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


@pytest.mark.parametrize("said", ["Yes [1, 2].", "是 [1，2]。", "Yes [1][2].", "[2] [1,2] [0] [3]"])
def test_sources_may_be_named_together(rag, said):
    given = rag.answer("Who makes honey?", Fixed(documents=SOURCES), FakeListChatModel(responses=[said]))
    assert given.cited == {1: SOURCES[0], 2: SOURCES[1]}


def test_no_sources_are_said_to_be_none(rag):
    given = rag.answer("Who?", Fixed(documents=[]), FakeListChatModel(responses=["I do not know."]))
    assert given.cited == {}
    assert rag.numbered([]) == "(There are no sources.)"


# The command line


@pytest.fixture(scope="module")
def shelf(module_cli, write):
    """A command line with a corpus that was built."""
    files = {"bees.md": "# Bees\n\nBees make honey of nectar.\n", "foxes.md": "# Foxes\n\nFoxes dig holes.\n"}
    write(module_cli.folder / "shelf", **files)
    assert module_cli("corpus", "add", "shelf", "shelf").code == 0
    assert module_cli("index", "build", "shelf").code == 0
    return module_cli


@pytest.fixture
def ask(rag, shelf, monkeypatch, tiny_model):
    """``python examples/rag.py``, with a chat model that says what is written here."""
    from app.bootstrap import close_services, services

    def init_chat_model(name):
        if name.startswith("openai:"):
            raise ImportError("Initializing ChatOpenAI requires the langchain-openai package.")
        if name != "scripted:bees":
            raise ValueError(f"Unable to infer model provider for model='{name}'")
        return FakeListChatModel(responses=["Bees do [1, 2]."])

    chat_models = ModuleType("langchain.chat_models")
    chat_models.init_chat_model = init_chat_model
    monkeypatch.setitem(sys.modules, "langchain", ModuleType("langchain"))
    monkeypatch.setitem(sys.modules, "langchain.chat_models", chat_models)
    monkeypatch.chdir(shelf.folder)
    monkeypatch.setenv("KALM_DATA_DIR", str(shelf.data))
    monkeypatch.setenv("KALM_MODEL", str(tiny_model))
    services.cache_clear()

    def run(*flags, model="scripted:bees", corpus="shelf"):
        asked = ["rag.py", "Who makes honey?", "--model", model, "--corpus", corpus, *flags]
        monkeypatch.setattr(sys, "argv", asked)
        rag.main()

    yield run
    close_services()
    services.cache_clear()


def test_a_built_corpus_is_asked_and_its_sources_are_printed(ask, capsys):
    ask()
    said, sources = capsys.readouterr().out.split("\n\n")
    assert said == "Bees do [1, 2]."
    assert sources.splitlines()[0] == "[1] Bees (bees.md)"
    assert sources.splitlines()[1] == "[2] Foxes (foxes.md)"


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"corpus": "nope"}, "rag.py: There is no corpus nope; there are shelf"),
        (
            {"model": "openai:gpt"},
            "rag.py: error: the model openai:gpt cannot be opened: Initializing ChatOpenAI requires",
        ),
        ({"model": "gpt"}, "rag.py: error: the model gpt cannot be opened: Unable to infer model provider"),
    ],
)
def test_what_cannot_be_asked_is_said_in_a_sentence(ask, capsys, flags, said):
    with pytest.raises(SystemExit) as ended:
        ask(**flags)
    assert ended.value.code in (1, 2)
    assert capsys.readouterr().err.splitlines()[-1].startswith(said)


def test_no_sources_cannot_be_asked_for(ask, capsys):
    with pytest.raises(SystemExit):
        ask("--sources", "0")
    assert capsys.readouterr().err.splitlines()[-1] == "rag.py: error: --sources takes a number of at least 1"


def test_without_langchain_the_package_is_named(ask, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "langchain", None)
    monkeypatch.delitem(sys.modules, "langchain.chat_models")
    with pytest.raises(SystemExit):
        ask()
    assert "is not installed; run pip install langchain and the" in capsys.readouterr().err


def test_without_langchain_core_the_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "langchain_core.documents", None)
    with pytest.raises(SystemExit, match="is not installed; run pip install langchain and the"):
        load()
