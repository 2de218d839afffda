"""README and the guides are true: every block is run, read by the command line, or says why not.

A document is played from top to bottom, in a folder and with a small installation of its own: its Python in one
namespace, its commands through the entry point of ``kalm``, other commands by the shell. A block that cannot be run has
a comment before it, ``<!-- not run: why -->``; the command line still has to understand it.
"""

import contextlib
import io
import json
import os
import re
import shlex
import shutil
import subprocess
import threading
import time
import tomllib
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from unittest import mock

import pytest
import uvicorn
from conftest import skip_or_fail
from guides import DOCUMENTS, ROOT, blocks, parse, read, started, unknown
from qdrant_server import LOCAL_MODE_WARNS, QdrantServer

from app.bootstrap import Services, close_services, services
from app.rest.application import create_application
from app.rest.limits import Limits
from app.services.access import OWNER
from app.settings import Settings, load_settings
from indexer.search import Mode, SearchRequest

BLOCKS = [block for document in DOCUMENTS for block in blocks(document)]
DATA = {"json": json.loads, "toml": tomllib.loads}
ENDLESS = (["serve"], ["worker"])
FILES = {
    "bees.md": "# Bees\n\nBees make honey from the nectar of flowers, and live on it in the winter.\n",
    "leave.md": "# Parental leave\n\nAsk for parental leave seven weeks before it begins.\n",
    "tea.txt": "茶要趁热喝，放凉了就不香了。\n",
}
QUESTION = {"query": "how do bees make honey", "uri": "bees.md"}
PASSWORD = "correct horse battery\n"
SAYS = {
    "README.md": (r"^\[\[0\.[3-9]", "^320$", r"^1\. Parental leave", r"^Version \d+ of handbook is in use"),
    "docs/haystack.md": ("^Yeast makes bread rise.$", r"^bees\.md$", r"^\[1\] Bees: ", r"^How do bees make honey\?$"),
    "docs/langchain.md": (
        r"\ABees make honey from nectar.\nYeast makes bread rise.\n蜜蜂用花蜜酿造蜂蜜。$",
        "^wasps$",
        "^bees.md$",
        r"^\{'num_added': 1,",
        r"^蜜蜂用花蜜酿造蜂蜜。\n蜜蜂用花蜜酿造蜂蜜。\n1$",
    ),
    "docs/llamaindex.md": ("^Yeast makes bread rise.$", r"^bees\.md$", r"^\['Bees', "),
    "docs/rest.md": ("2 vectors, ", "^32 numbers", '"uri":"bees.md"', '"label":', "notebook"),
    "docs/server.md": ("it is on the server now", "it is in the data folder now", "honey"),
}
"""What the documents print, as patterns; of others it is enough that every command succeeds."""

pytestmark = [
    *LOCAL_MODE_WARNS,
    pytest.mark.filterwarnings("ignore:Api key is used with an insecure connection"),
    pytest.mark.filterwarnings("ignore:Failed to obtain server version"),
    pytest.mark.allow_hosts(["127.0.0.1", "localhost", "::1"]),
]


def is_played(block):
    return not block.reason and block.language not in DATA


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_a_block_is_run_or_read_or_says_why_not(block):
    if block.language in DATA:
        DATA[block.language](block.text)
    else:
        for _, words in block.kalm:
            parse(words)
        runs = block.language == "python" or block.is_ours or (block.is_shell and not block.kalm)
        assert runs or block.reason, f"{block} cannot be run: change it, or say why before it"


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_fence_and_every_mark_belongs_to_a_block(document):
    text, found = read(document), blocks(document)
    assert text.count("```") == 2 * len(found)
    assert text.count("<!-- not run") == sum(bool(block.reason) for block in found)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_commands_in_prose_are_there(document):
    prose = re.sub(r"^```.*?^```$", "", read(document), flags=re.MULTILINE | re.DOTALL)
    mentions = [mention.replace("\n", " ") for mention in re.findall(r"`kalm ([^`]+)`", prose)]
    assert {mention: word for mention in mentions if (word := unknown(mention))} == {}


def test_the_guide_to_langchain_names_everything_that_there_is():
    import indexer.langchain

    text = read("docs/langchain.md")
    assert [name for name in indexer.langchain.__all__ if f"`{name}" not in text and f"{name}(" not in text] == []


@pytest.fixture(scope="module")
def home(tmp_path_factory, write):
    """A home folder with the documents that the guides speak of; tests only read it."""
    folder = tmp_path_factory.mktemp("home")
    write(folder / "Documents" / "handbook", **FILES)
    return folder


@pytest.fixture(scope="module")
def installation(tmp_path_factory, tiny_model, home):
    """Services of a data folder with the corpora of the guides, built, and a judgment. Tests only read it."""
    made = Services(Settings(data_dir=tmp_path_factory.mktemp("installation"), model=str(tiny_model)))
    with mock.patch.object(os, "nice"):  # there is no way back up, and other tests follow in this process
        for name in ("handbook", "samples"):
            made.corpora.add(name, home / "Documents" / "handbook")
            made.indexing.build(name)
    best = made.search.search(SearchRequest("handbook", "honey", mode=Mode.KEYWORD)).results[0]
    made.notes.judge(OWNER, "handbook", "honey", best, 1)
    yield made
    made.close()


@pytest.fixture(scope="module")
def rest(installation):
    """Address of its REST interface."""
    application = create_application(lambda: installation, Limits.of(installation.settings))
    server = uvicorn.Server(uvicorn.Config(application, port=0, log_level="warning", lifespan="off", ws="none"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join()


@pytest.fixture
def stage(cli, installation, home, rest, monkeypatch):
    """Where a document is played: a data folder, the REST interface and a Qdrant server that answer."""
    ignored = shutil.ignore_patterns("readers")  # the copies of those who search there now
    shutil.copytree(installation.settings.data_dir, cli.data, ignore=ignored, copy_function=_copy_or_link)
    (cli.folder / "questions.jsonl").write_text(json.dumps(QUESTION))
    monkeypatch.chdir(cli.folder)
    own = {"HOME": str(home), "KALM_DATA_DIR": str(cli.data)}
    environment = {name: value for name, value in os.environ.items() if not name.startswith("KALM_")} | own
    services.cache_clear()
    with mock.patch.dict(os.environ, environment, clear=True), QdrantServer() as qdrant:
        places = {
            "http://localhost:8501": rest,
            "http://localhost:6333": qdrant.url,
            "https://qdrant.example.org:6333": qdrant.url,
            "/srv/kalm": str(cli.folder / "srv"),
        }
        opened = Stage(cli, places)
        yield opened
        opened.close()
    services.cache_clear()


def _copy_or_link(source, target):
    """Files of an index are large, mostly empty, and never changed again."""
    (os.link if "indexes" in Path(source).parts else shutil.copy2)(source, target)


class Stage:
    """Plays blocks one after the other.

    Attributes:
        exports: What they set for those that follow.
        printed: What they printed.
    """

    def __init__(self, cli, places):
        self.exports, self.printed = {}, io.StringIO()
        self._cli, self._places, self._names = cli, places, {"__name__": "guide"}

    def play(self, block):
        for place, own in self._places.items():
            block = replace(block, text=block.text.replace(place, own))
        if block.language == "python":
            self._run(block)
        elif block.is_ours:
            self._command(block)
        else:
            self._shell(block)

    def close(self):
        for value in self._names.values():
            if not isinstance(value, type | ModuleType) and callable(getattr(value, "close", None)):
                value.close()
        close_services()

    def export(self, **settings):
        assert {name.removeprefix("KALM_").lower() for name in settings} <= Settings.model_fields.keys()
        self.exports |= settings
        os.environ.update(settings)
        load_settings()

    def _run(self, block):
        code = compile("\n" * block.line + block.text, ROOT / block.document, "exec")
        with contextlib.redirect_stdout(self.printed):
            exec(code, self._names)

    def _command(self, block):
        for words in block.commands:
            if words[0] == "export":
                self.export(**dict(word.split("=", 1) for word in words[1:]))
            elif (begun := started(words)) and begun[1] not in ENDLESS:
                own, arguments = begun
                outcome = self._cli(*map(os.path.expanduser, arguments), stdin=PASSWORD, **(self.exports | own))
                assert outcome.code == 0, f"{block}: {shlex.join(words)}: {outcome.err}"
                self.printed.write(outcome.out)

    def _shell(self, block):
        if "curl " in block.text and not shutil.which("curl"):
            skip_or_fail("curl is not installed")
        ran = subprocess.run(["sh", "-ec", block.text], capture_output=True, text=True, check=False)
        assert ran.returncode == 0, f"{block}: {ran.stderr}"
        assert '"error"' not in ran.stdout, f"{block}: {ran.stdout}"
        self.printed.write(ran.stdout)


@pytest.mark.parametrize("document", [name for name in DOCUMENTS if any(map(is_played, blocks(name)))])
def test_a_document_is_true(document, stage, tiny_model):
    if document == "docs/server.md":
        stage.export(KALM_MODEL=str(tiny_model))  # what its commands build is read by its Python
    for block in filter(is_played, blocks(document)):
        stage.play(block)
    said = stage.printed.getvalue()
    assert [pattern for pattern in SAYS.get(document, ()) if not re.search(pattern, said, re.MULTILINE)] == [], said


def test_haystack_reports_to_nobody(stage):
    stage.play(blocks("docs/haystack.md")[0])
    from haystack.telemetry import _telemetry

    assert _telemetry.telemetry is None
