"""A map of a few points behind the page's one protocol, and the page running on it."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from app.services.maps.clusters import Clustering
from app.services.maps.comparing import Comparison
from app.services.maps.items import Item
from app.services.maps.runs import ClusterInfo, Plan, Points, Run
from indexer.catalog.label_tables import Unit
from indexer.catalog.task_tables import Task, TaskState

_MOMENT = datetime(2026, 3, 5, tzinfo=UTC)


@dataclass
class MapFake:
    """Has what it is given, and remembers what it was asked to do."""

    known: list[object]
    nasty: str
    saved: list[Run] = field(default_factory=list)
    tasks: dict[str, Task] = field(default_factory=dict)
    current: bool = True
    done: list[tuple[object, ...]] = field(default_factory=list)
    error: Exception | None = None

    def corpora(self):
        return self.known

    def runs(self, corpus):
        if self.error:
            raise self.error
        return [run for run in self.saved if run.plan.corpus == corpus]

    def points(self, run):
        items = [Item(str(n), str(n), f"Title {n}", "a.md", "en", "Some text.") for n in range(5)]
        items.append(Item("5", "5", self.nasty, self.nasty, "en", self.nasty))
        places = np.array([[-1, 0], [-0.9, 0], [0.9, 0], [1, 0], [1, 0.1], [0.2, 0.5]], np.float32)
        fit = np.array([1, 0.5, 1, 0.7, 0.4, 0.01], np.float32)
        return Points.of(items, places, Clustering(np.array([1, 1, 0, 0, 0, 0]), fit))

    def is_current(self, run):
        return self.current

    def start(self, person, plan):
        self.done.append(("start", plan))
        self.tasks["t1"] = task()
        return "t1"

    def task(self, task_id):
        return self.tasks.get(task_id)

    def making(self, corpus):
        return [each for each in self.tasks.values() if not each.state.is_final]

    def stop(self, person, task_id):
        self.tasks[task_id] = replace(self.tasks[task_id], state=TaskState.CANCELLED)

    def rename(self, person, run, number, name):
        self.done.append(("rename", number, name))
        self.saved = [run.named(number, name)]
        return self.saved[0]

    def set_threshold(self, person, run, threshold):
        self.done.append(("threshold", threshold))
        self.saved = [replace(run, plan=replace(run.plan, threshold=threshold))]
        return self.saved[0]

    def drop(self, person, run):
        self.saved.remove(run)

    def compare(self, first, second):
        return Comparison(6, 0.25, 0.5, {}, {"1": ("old", ""), "5": ("old", self.nasty)})


def task(**changes) -> Task:
    values = {
        "id": "t1",
        "kind": "map",
        "person": "owner",
        "role": "admin",
        "parameters": {"name": "topics", "corpus": "samples"},
        "state": TaskState.RUNNING,
        "progress": 0.3,
        "stage": "layout",
        "result": {},
        "error": "",
        "pid": 1,
        "created": _MOMENT,
        "started": _MOMENT,
        "ended": None,
    }
    return Task(**(values | changes))


def run(run_id="r1", name="topics", nasty="", **changes) -> Run:
    clusters = (
        ClusterInfo(0, "honey · bees", 0.5, ("honey", "bees"), ("蜜蜂",)),
        ClusterInfo(1, nasty or "stars", 0.25, ("stars",), ()),
    )
    values = {
        "id": run_id,
        "plan": Plan("samples", name, unit=Unit.DOCUMENT, threshold=0.02),
        "generation": 3,
        "fingerprint": "abc123",
        "items": 6,
        "total": 6,
        "clusters": clusters,
        "silhouette": 0.4,
        "stability": None,
        "outliers": 1 / 6,
        "by": "owner",
        "created": _MOMENT,
    }
    return Run(**(values | changes))


@pytest.fixture
def maps(make_corpus, nasty) -> MapFake:
    return MapFake([make_corpus(), make_corpus("papers")], nasty, [run(nasty=nasty), run("r2", "earlier")])


@pytest.fixture
def make_task() -> Callable[..., Task]:
    return task


@pytest.fixture
def make_run() -> Callable[..., Run]:
    return run


@pytest.fixture
def open_map(maps: MapFake) -> Callable[..., AppTest]:
    """Load the page as a browser would, at a URL and with a locale."""

    def page(backend):  # runs on its own, without this module's names
        from app.ui.map.page import render

        render(backend)

    def load(locale: str = "en-US", **params: str) -> AppTest:
        test = AppTest.from_function(page, args=(maps,), default_timeout=60)
        test.context = {"locale": locale}
        test.query_params.update(params)
        return test.run()

    return load
