"""The page on the real service, over vectors that count words; long work only as far as the page sees it."""

import zlib
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from types import SimpleNamespace

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from app.services.access import OWNER
from app.services.classify.service import ClassifyService
from app.services.classify.tables import Example
from app.ui.classify.contract import Backend
from indexer.catalog.task_tables import Task, TaskRefused, TaskState

DIM = 96
WORDS = {
    "bees": "honey hive nectar queen drone wax bloom wing swarm comb".split(),
    "stars": "moon planet orbit comet sun galaxy light dark telescope sky".split(),
}


def sentences(label, count):
    """Different short texts of the words of a label."""
    words = WORDS[label]
    return [f"{words[n % 10]} {words[(3 * n + 1) % 10]} {words[(7 * n + n // 10 + 2) % 10]} {n}" for n in range(count)]


class WordVectors:
    """In the place of the model: a text is its words."""

    encoder = SimpleNamespace(name="words", fingerprint="f" * 8, dim=DIM)

    def kept(self, texts, instruction, progress=lambda *_: None):
        rows = np.zeros((len(texts), DIM), dtype=np.float32)
        for row, text in zip(rows, texts, strict=True):
            for word in text.lower().replace(":", " ").replace(",", " ").split():
                row[zlib.crc32(word.encode()) % DIM] += 1
        return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)

    def passing(self, texts, instruction, is_abandoned):
        return self.kept(texts, instruction)

    def of_labels(self, labels):
        return self.kept([label.text for label in labels], "")


@dataclass
class FakeTasks:
    """Remembers what was asked for; a test says how it goes on."""

    known: dict[str, Task] = field(default_factory=dict)

    def submit(self, person, kind, parameters):
        id = f"task{len(self.known)}"
        now = datetime(2026, 3, 5, tzinfo=UTC)
        self.known[id] = Task(
            id, kind, person.name, "admin", parameters, TaskState.RUNNING, 0.4, "encoding", {}, "", None, now, now, None
        )
        return id

    def one(self, task_id):
        if task_id not in self.known:
            raise TaskRefused("There is no such task.")
        return self.known[task_id]

    def cancel(self, person, task_id):
        self.becomes(task_id, state=TaskState.CANCELLED)

    def becomes(self, task_id, **changes):
        self.known[task_id] = replace(self.known[task_id], **changes)


@pytest.fixture
def examples():
    """Fifteen of each label, of which the first has a wrong one."""
    found = [Example(text, label) for label in WORDS for text in sentences(label, 15)]
    return [replace(found[0], label="stars"), *found[1:]]


@pytest.fixture
def service(tmp_path):
    unread = SimpleNamespace(note=lambda *_, **__: None)
    return ClassifyService(WordVectors(), tmp_path, SimpleNamespace(database=None), None, unread)


@pytest.fixture
def tasks():
    return FakeTasks()


@pytest.fixture
def work(service, examples):
    """Id of work from which something was learnt."""
    id = service.begin(OWNER, examples, ["honey moon", "<script>alert(1)</script> hive"])
    service.train(OWNER, id)
    return id


@pytest.fixture
def open_page(service, tasks, make_corpus):
    """Load the page at a URL and with a locale."""
    backend = Backend(service, tasks, lambda: [make_corpus(), make_corpus("new", searchable=False)])

    def page(backend):  # runs on its own, without this module's names
        from app.ui.classify.page import render

        render(backend)

    def load(locale="en-US", **params):
        test = AppTest.from_function(page, args=(backend,), default_timeout=60)
        test.context = {"locale": locale}
        test.query_params.update(params)
        return test.run()

    return load
