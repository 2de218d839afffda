"""300 hostile strings through every input of the services and of REST: done, or refused in one sentence.

In the short form each string goes into one input of a group, in turn; ``KALM_TEST_HOSTILE=300 pytest -k hostile
tests/app`` has every string in every input, here and on the pages (``ui/test_hostile.py``,
``test_browser_hostile.py``).
"""

import csv
import io
import json
import os
import re
from dataclasses import replace
from types import SimpleNamespace
from unittest import mock
from urllib.parse import urlencode

import pytest
from argon2.exceptions import VerifyMismatchError
from hostile import hostile_strings
from rest_cases import LIMITS, connect

from app.rest.application import create_application
from app.services.access import OWNER, Role
from app.services.accounts import Accounts
from app.services.answering import Answering
from app.services.classify.classifiers import Label
from app.services.classify.service import ClassifyRequest
from app.services.classify.tables import Example, write_csv
from app.services.configuration import listed
from app.services.exports import Format, exported
from app.services.maps.runs import Plan
from app.services.maps.service import MapService
from app.services.sessions import COOKIE, NotSignedIn, Sessions
from app.settings import load_settings
from embedder.errors import AppError
from indexer.catalog.session_tables import SessionTable
from indexer.search import Mode, SearchRequest

STRINGS = hostile_strings(300)
IN_FULL = int(os.environ.get("KALM_TEST_HOSTILE", "20")) >= len(STRINGS)
FORMULAS = ("=", "+", "-", "@", "\t", "\r")
PASSWORD = "correct horse battery"


def calmly(work, *arguments, **more):
    """What came of something, or None where it was refused as people are told: in one sentence, without a trace."""
    said, done = ".", None
    try:
        done = work(*arguments, **more)
    except AppError as error:
        said = str(error)
    assert said.endswith("."), ascii(said[-200:])
    assert "Traceback" not in said
    return done


def turns(inputs):
    """Each string with the inputs it is to go into."""
    for number, text in enumerate(STRINGS):
        yield text, inputs if IN_FULL else [inputs[number % len(inputs)]]


def put(*inputs):
    """Put the strings into inputs, functions of one string."""
    for text, chosen in turns(inputs):
        for each in chosen:
            calmly(each, text)


@pytest.fixture(scope="module")
def made(module_made, tmp_path_factory):
    """An installation whose one corpus holds every string, as the title, the text and the author of a document."""
    folder = tmp_path_factory.mktemp("hostile")
    rows = [{"title": text, "text": f"Honey {text}", "author": text[:90], "id": text[:90]} for text in STRINGS]
    (folder / "strings.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for number, text in enumerate(STRINGS[:60]):
        name = re.sub(r"[/\0\ud800-\udfff]", "", text)[:40].strip(".")
        content = text.replace("\0", "")  # with it, a file is taken for a binary one
        (folder / f"{name}{number}.md").write_text(f"# Tea\n\n{content}", "utf-8", errors="replace")
    module_made.admin.add_folder(OWNER, "strings", str(folder))
    module_made.admin.build(OWNER, "strings")
    module_made.indexing.work(wait=True, on_error=lambda run, error: pytest.fail(str(error)))
    return module_made


@pytest.fixture(scope="module")
def search(made):
    """Ask the corpus."""
    return lambda **changes: made.search.search(replace(SearchRequest("strings", "honey"), **changes))


@pytest.fixture(scope="module")
def found(search):
    """Results that hold them."""
    return search(page_size=100, mode=Mode.KEYWORD).results


def test_every_document_is_indexed(made, found):
    info = made.corpora.one("strings")
    assert info.failed_files == 0
    assert info.documents >= 300
    assert len(found) > 50


def test_as_a_question(made, search):
    def read(text):
        results = search(query=text).results[:3]
        made.search.best_sentences("strings", text, results)

    put(*(lambda text, mode=mode: search(query=text, mode=mode) for mode in Mode), *([read] if IN_FULL else []))
    assert search().results


def test_as_filters(search):
    names = ("folders", "authors", "file_types", "languages")
    put(
        *(lambda text, name=name: search(**{name: frozenset({text})}) for name in names),
        lambda text: search(labels=frozenset({(text, text)})),
        lambda text: search(like=(text,)),
        lambda text: search(corpus=text),
        lambda text: search(text=text, query=""),
        lambda text: search(text=text, query="", mode=Mode.KEYWORD, operators=False),
    )


def test_in_exports(found):
    for row in csv.reader(io.StringIO(exported(found, Format.CSV).lstrip("\ufeff"))):
        assert not any(cell.startswith(FORMULAS) for cell in row), row
    lines = exported(found, Format.JSONL).splitlines()
    assert [json.loads(line)["document_id"] for line in lines] == [result.document_id for result in found]
    assert not re.search(r"(?<!\\)<(script|img|iframe)", exported(found, Format.MARKDOWN), re.IGNORECASE)


def test_as_notes(made, found, tmp_path):
    notes, state = made.notes, {"corpus": ["strings"]}

    def save(text):
        saved = notes.save(OWNER, text, SearchRequest("strings", "honey"), state | {"q": [text]})
        assert not re.search(r"[\0-\x1f]", saved.name)
        notes.forget_saved(OWNER, saved.id)

    put(
        save,
        lambda text: notes.record(OWNER, SearchRequest("strings", text), state | {"q": [text]}),
        lambda text: notes.judge(OWNER, "strings", text, found[0], 1),
        lambda text: notes.judge(OWNER, "strings", "honey", replace(found[0], text=text, title=text, uri=text), 1),
        lambda text: notes.judged(OWNER, "strings", text),
        lambda text: notes.suggestions(OWNER, "strings", text),
        lambda text: notes.did_you_mean("strings", text, found[:1]),
        lambda text: notes.look(OWNER, text, state),
    )
    notes.export_pairs(OWNER, "strings", tmp_path / "pairs.jsonl")
    assert [json.loads(line)["query"] for line in (tmp_path / "pairs.jsonl").read_text().splitlines()]


def test_as_corpora(made, tmp_path):
    admin, before = replace(made.admin, roots=(tmp_path,)), [corpus.name for corpus in made.catalog.corpora()]
    put(
        lambda text: admin.add_folder(OWNER, text, "/nowhere"),
        lambda text: admin.add_folder(OWNER, "other", f"/nowhere/{text}"),
        lambda text: made.corpora.add("other", f"/nowhere{text.replace('/', '')}"),
        lambda text: admin.remove(OWNER, "strings", text),
        lambda text: admin.failed_files(OWNER, text),
        lambda text: admin.outlook(OWNER, text),
        lambda text: admin.rebuild(OWNER, "strings", text, None),
        lambda text: admin.swap(OWNER, text),
        lambda text: made.upkeep.drop_backup(OWNER, text),
        lambda text: made.upkeep.prove_model(OWNER, f"no {text}"),
    )
    assert [corpus.name for corpus in made.catalog.corpora()] == before


def test_as_names_of_uploads(made):
    def upload(text):
        file = io.BytesIO(text.encode("utf-8", "replace"))
        file.name, file.size = f"{text}.md", file.getbuffer().nbytes
        made.admin.upload(OWNER, "uploaded", [file])

    put(upload)
    folder = made.uploads.folder_of("uploaded")
    paths = [path for path in folder.rglob("*") if path.is_file()]
    assert len(paths) > 200
    assert all(path.resolve().is_relative_to(folder) for path in paths)
    assert {path.name for path in folder.parent.iterdir()} <= {"uploaded", ".lock"}


def test_as_documents(made, found):
    document, documents = found[0].document_id, made.documents
    put(
        lambda text: documents.view(text, document),
        lambda text: documents.view("strings", text, text),
        lambda text: documents.view("strings", document, text),
        lambda text: documents.download("strings", text),
        lambda text: documents.page_image("strings", text, 1),
        lambda text: made.search.text_of(text, b"honey"),
    )


def test_as_labels_and_texts(made):
    service, bees, stars = made.classify, Label("bees", "honey"), Label("stars")

    def keep(text):
        kept = service.save_described(OWNER, text, [bees, stars], 0.0)
        assert kept.name in {each.name for each in service.classifiers()}
        service.remove(OWNER, kept.name)

    put(
        keep,
        lambda text: service.classify(ClassifyRequest([text], labels=[Label(text, text), bees])),
        lambda text: service.classify(ClassifyRequest(["honey"], labels=[bees, stars], instruction=text)),
        lambda text: service.classify(ClassifyRequest(["honey"], classifier=text)),
        lambda text: service.work(text),
        lambda text: service.predictions(text),
        lambda text: service.remove(OWNER, text),
    )


def test_as_examples_and_tables(made):
    service = made.classify
    rows = [(text, f"label {number % 2}") for number, text in enumerate(STRINGS)]
    assert len(service.work(service.begin(OWNER, [Example(*row) for row in rows], STRINGS[:20])).examples) == 300
    table = service.put_table(OWNER, write_csv(("text", "label"), rows))
    put(
        lambda text: service.begin(OWNER, [Example("honey", text), Example("stars", "b")]),
        lambda text: service.predict_table(OWNER, "none", table, text),
        lambda text: service.put_table(OWNER, text.encode("utf-8", "surrogatepass")),
        lambda text: service.put_table(OWNER, f"{text},b\n1,2\n".encode("utf-8", "replace")),
    )


def test_as_maps(made, tmp_path):
    asked = []
    tasks = SimpleNamespace(submit=lambda person, kind, plan: asked.append(json.dumps(plan)) or "id")
    maps = MapService(made.catalog, made.engine, made.corpora, made.labels, tasks, tmp_path / "maps", made.audit)
    put(
        lambda text: maps.start(OWNER, Plan("strings", text)),
        lambda text: maps.start(OWNER, Plan(text, "topics")),
        lambda text: maps.run("strings", text),
        lambda text: maps.run(text, text),
        lambda text: maps.runs(text),
        lambda text: made.tasks.one(text),
    )
    assert asked


class _Hash:
    """In place of argon2, which takes its time on purpose."""

    def hash(self, password):
        return f"hash of {password!r}"

    def verify(self, hashed, password):
        if hashed != self.hash(password):
            raise VerifyMismatchError


def test_as_accounts_and_keys(made, tmp_path):
    with mock.patch("app.services.accounts.PasswordHasher", _Hash):
        accounts = Accounts(tmp_path / "accounts.json", tmp_path / "lock")
    accounts.add("ann", Role.ADMIN, PASSWORD)
    sessions = Sessions(accounts, SessionTable(made.catalog.database), made.audit, hours=1.0)

    def change(text):
        accounts.change("ann", password=text)
        assert accounts.check("ann", text)
        accounts.change("ann", password=PASSWORD)

    def enter(text):
        assert calmly(sessions.sign_in, text, text, text) is None
        assert calmly(sessions.person, {COOKIE: text}) is None

    put(
        change,
        enter,
        lambda text: accounts.add(text, Role.VIEWER, PASSWORD),
        lambda text: accounts.remove(f"no {text}"),
        lambda text: made.keys.ring().find(text),
        lambda text: made.keys.revoke(text),
    )
    assert accounts.check("ann", PASSWORD).role is Role.ADMIN
    with pytest.raises(NotSignedIn):
        sessions.person({})


def test_as_settings(monkeypatch, tmp_path):
    monkeypatch.setenv("KALM_DATA_DIR", str(tmp_path))

    def setting(name):
        def read(text):
            with monkeypatch.context() as patch:  # no system lets a NUL into an environment
                patch.setenv(f"KALM_{name.upper()}", os.fsdecode(text.replace("\0", "").encode("utf-8", "replace")))
                listed(load_settings())

        return read

    put(*map(setting, ("model", "chat_model", "qdrant_url", "port", "access", "corpus_roots", "cache_gigabytes")))


def test_as_questions_to_a_chat_model(made):
    echo = SimpleNamespace(stream=lambda instruction, question: iter([question, " [1]"]))
    answering = Answering(made.search, lambda: echo)

    def ask(text):
        assert "".join(answering.ask("strings", text).pieces) == f"{text} [1]"

    for text in STRINGS if IN_FULL else STRINGS[::10]:
        calmly(ask, text)


SEARCH = {"corpus": "strings", "query": "honey", "mode": "keyword"}
FILTERS = ("folders", "authors", "languages", "file_types", "like", "unlike")
BODIES = [
    lambda text: ("/v1/search", SEARCH | {"query": text}),
    lambda text: ("/v1/search", SEARCH | {"corpus": text}),
    lambda text: ("/v1/search", SEARCH | {"query": "", "text": text}),
    lambda text: ("/v1/search", SEARCH | {"after": text, "mode": text}),
    lambda text: ("/v1/search", SEARCH | {"labels": [{"set": text, "label": text}]}),
    *(lambda text, name=name: ("/v1/search", SEARCH | {name: [text]}) for name in FILTERS),
    lambda text: ("/v1/search", SEARCH | {text: text}),
    lambda text: ("/v1/embeddings", {"input": [text, "a"], "instruction": text}),
    lambda text: ("/v1/embeddings", {"input": "a", "model": text, "task": text}),
    lambda text: ("/v1/classify", {"input": text, "labels": [{"name": text, "description": text}, {"name": "bees"}]}),
    lambda text: ("/v1/classify", {"input": "a", "classifier": text}),
]


async def test_over_rest(made):
    """Every field that takes text: a body is answered or refused, and no fault is the server's."""
    async with connect(create_application(lambda: made, LIMITS)) as client:
        for text, chosen in turns(BODIES):
            for body_of in chosen:
                path, body = body_of(text)
                sent = json.dumps(body).encode()
                _fine(await client.post(path, content=sent, headers={"content-type": "application/json"}))
            _fine(await client.get(f"/v1/corpora?{urlencode({'q': text}, errors='replace')}"))
            header = re.sub(rb"[\r\n\0]", b"", text.encode("utf-8", "replace"))[:2_000].strip()
            _fine(await client.get("/v1/corpora", headers={b"authorization": b"Bearer " + header}))


def _fine(answer):
    assert answer.status_code < 500, answer.text[:500]
    assert "Traceback" not in answer.text
    assert answer.headers["content-type"] == "application/json"
    if answer.status_code >= 400:
        message = answer.json()["error"]["message"]
        assert message.endswith(".")
        assert len(message) < 600
