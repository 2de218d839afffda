"""Maps of a small corpus: made, kept, changed, compared, dropped; read when the index is a later one."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest

from app.services.access import OWNER, Forbidden, Person, Role
from app.services.audit import AuditLog
from app.services.corpora import CorpusService
from app.services.maps.clusters import OUTLIER, Method
from app.services.maps.runs import MapRefused, Plan
from app.services.maps.service import MapService
from app.services.tasks import Tasks
from embedder.errors import AppError
from indexer.catalog.audit_tables import AuditTable
from indexer.catalog.corpora import Catalog
from indexer.catalog.label_tables import LabelTable, Unit
from indexer.catalog.task_tables import TaskState, TaskTable
from indexer.lexical import LexicalEncoder
from indexer.records import Manifest
from indexer.stores.edge import EdgeEngine
from indexer.stores.protocol import Point

_TOPICS = ("telescope galaxy", "honey bees", "marathon runner")
_DOCUMENTS = 24


def _points():
    """Two passages a document, each document on one of three topics."""
    draws, words = np.random.default_rng(0), LexicalEncoder()
    middles = draws.standard_normal((3, 16))
    points = []
    for number in range(2 * _DOCUMENTS):
        document = number // 2
        vector = middles[document % 3] + 0.2 * draws.standard_normal(16)
        text = f"All about the {_TOPICS[document % 3]}, part {number % 2}"
        about = {
            "document_id": f"doc{document:02}",
            "title": f"=Title {document}",
            "uri": "a.md",
            "language": "en",
            "start": number % 2,
        }
        unit = (vector / np.linalg.norm(vector)).astype(np.float32)
        points.append(Point(f"00000000-0000-4000-8000-{number:012}", unit, words.encode_document(text), text, about))
    return points


def _build(catalog, engine):
    """Make a generation of the corpus ``books`` and put it in use."""
    manifest = Manifest(
        **(
            dict.fromkeys(("model", "fingerprint", "chunker", "readers", "lexical"), "x")
            | {"dim": 16, "max_tokens": 1, "dtype": "float32", "engine": engine.name}
        )
    )
    number = catalog.reserve("books", manifest, None)
    store = engine.create("books", number, 16, None)
    store.upsert(_points())
    store.seal()
    catalog.make_live("books", number, 2 * _DOCUMENTS)
    return number


@pytest.fixture
def parts(tmp_path):
    catalog, engine = Catalog(f"sqlite:///{tmp_path / 'catalog.sqlite'}"), EdgeEngine(tmp_path / "indexes")
    catalog.add_corpus("books", tmp_path, ())
    catalog.add_corpus("empty", tmp_path / "empty", ())
    _build(catalog, engine)
    yield catalog, engine, LabelTable(catalog.database)
    catalog.close()


@pytest.fixture
def maps(parts, tmp_path):
    catalog, engine, labels = parts
    idle = Tasks(TaskTable(catalog.database), tmp_path / "tasks", command=("true",))
    corpora = CorpusService(catalog, engine, tmp_path / "maps")
    return MapService(catalog, engine, corpora, labels, idle, tmp_path / "maps", AuditLog(AuditTable(catalog.database)))


@pytest.fixture
def make(maps):
    """Have a map made here and now."""

    def made(name="topics", **changes):
        plan = replace(Plan("books", name, count=3, least=4, threshold=0.0), **changes)
        values = json.loads(json.dumps({field: getattr(plan, field) for field in plan.__dataclass_fields__}))
        said = []
        result = maps.carry_out(OWNER, values, lambda share, stage="": said.append((share, stage)))
        assert [share for share, _ in said] == sorted(share for share, _ in said)
        return maps.run("books", result["run"])

    return made


@pytest.mark.parametrize("unit", list(Unit))
@pytest.mark.parametrize("method", list(Method))
def test_a_map_finds_the_topics_and_its_labels_can_filter(maps, make, parts, unit, method):
    run = make(unit=unit, method=method)
    assert maps.runs("books") == [run]
    assert run.items == run.total == (24 if unit is Unit.DOCUMENT else 48)
    assert 2 <= len(run.clusters) <= 4
    assert maps.is_current(run)
    labels = parts[2]
    assert labels.one("books", "topics").unit is unit
    counts = labels.counts("books", "topics")
    assert counts.keys() == {each.name for each in run.clusters}
    assert sum(counts.values()) == run.items
    if method is not Method.HDBSCAN:  # with so few points an island may lose one to another
        assert set(counts.values()) == {run.items // 3}
    points = maps.points(run)
    for item, label in labels.items("books", "topics").items():
        place = points.column("id").index(item)
        assert run.clusters[points.labels(0)[place]].name == label.value
    typical = points.typical(points.labels(0), 0, 3)
    assert len(set(points.labels(0)[typical])) == 1


def test_the_same_plan_makes_the_same_map(maps, make):
    first, second = make(), make("again")
    assert first.fingerprint == second.fingerprint
    assert first.clusters == second.clusters
    assert maps.points(first).table.equals(maps.points(second).table)
    assert maps.compare(first, second).moved == {}


def test_clusters_are_renamed_and_outliers_decided_anew(maps, make, parts):
    run = make()
    other = run.clusters[1].name
    renamed = maps.rename(OWNER, run, 0, "  Stars  & <b>sky</b> ")
    assert maps.run("books", run.id) == renamed
    assert "Stars & <b>sky</b>" in parts[2].counts("books", "topics")
    for refused in ("", "x" * 200, other, "a\x00b"):
        with pytest.raises(MapRefused):
            maps.rename(OWNER, run, 0, refused)
    stricter = maps.set_threshold(OWNER, run, 0.5)
    assert 0 < stricter.outliers < 1
    assert stricter.clusters == renamed.clusters
    left = np.count_nonzero(maps.points(stricter).labels(0.5) == OUTLIER)
    assert sum(parts[2].counts("books", "topics").values()) == 24 - left


def test_a_cluster_is_divided(maps, make):
    run = make()
    part = make("part", count=2, parent=run.id, parent_cluster=1)
    members = {
        item
        for item, label in zip(maps.points(run).column("id"), maps.points(run).labels(0), strict=True)
        if label == 1
    }
    assert set(maps.points(part).column("id")) == members


def test_a_later_index_leaves_maps_readable(maps, make, parts):
    run = make()
    _build(*parts[:2])
    assert not maps.is_current(run)
    assert len(maps.points(run)) == 24
    assert maps.is_current(make("later"))


def test_a_map_that_is_dropped_is_gone_with_its_labels(maps, make, parts):
    run = make()
    maps.drop(OWNER, run)
    assert maps.runs("books") == []
    assert parts[2].sets("books") == []
    with pytest.raises(MapRefused, match="no such map"):
        maps.points(run)


def test_the_maps_of_a_corpus_go_with_it(maps, make, parts, tmp_path):
    make()
    CorpusService(*parts[:2], tmp_path / "maps").remove("books")
    assert list((tmp_path / "maps").iterdir()) == []
    parts[0].add_corpus("books", tmp_path, ())
    assert (maps.runs("books"), parts[2].sets("books")) == ([], [])


@pytest.mark.parametrize("is_made_anew", [False, True])
def test_a_map_of_a_corpus_that_is_removed_meanwhile_is_not_kept(maps, parts, tmp_path, is_made_anew):
    catalog, engine, labels = parts

    def remove(_, stage=""):
        if stage == "names":
            CorpusService(catalog, engine, tmp_path / "maps").remove("books")
            if is_made_anew:
                catalog.add_corpus("books", tmp_path, ())

    with pytest.raises(AppError):
        maps.carry_out(OWNER, asdict(Plan("books", "topics", count=3, least=4)), remove)
    assert not list((tmp_path / "maps").glob("*/*"))
    assert labels.sets("books") == []


def test_the_audit_log_says_who_changed_which_map(maps, make, parts):
    run = make()
    maps.rename(OWNER, run, 0, "Stars")
    maps.set_threshold(OWNER, run, 0.5)
    maps.drop(OWNER, run)
    noted = reversed(AuditLog(AuditTable(parts[0].database)).latest(10))
    assert [(each.action, each.subject, dict(each.details)) for each in noted] == [
        ("map.make", "topics", {"corpus": "books"}),
        ("map.rename", "topics", {"corpus": "books", "cluster": "1", "name": "Stars"}),
        ("map.threshold", "topics", {"corpus": "books", "threshold": "0.5"}),
        ("map.remove", "topics", {"corpus": "books"}),
    ]


def test_half_a_map_is_none(maps, make, tmp_path):
    run = make()
    whole = tmp_path / "maps" / "books" / run.id
    whole.rename(whole.with_name(f".part-{run.id}"))
    assert maps.runs("books") == []


def test_what_cannot_be_mapped_is_refused_in_one_sentence(maps, make, parts):
    make()
    parts[2].put("books", "spam", "classifier", Unit.DOCUMENT, {}, [])
    plan = Plan("books", "new")
    for wrong, reason in (
        (replace(plan, name="topics"), "a map topics already"),
        (replace(plan, name="spam"), "that of a classifier"),
        (replace(plan, name="../up"), "map's name begins"),
        (replace(plan, count=0), "1 to 100 clusters"),
        (replace(plan, threshold=2), "threshold from 0 to 1"),
    ):
        with pytest.raises(MapRefused, match=reason):
            maps.start(OWNER, wrong)
    with pytest.raises(MapRefused, match="not indexed yet"):
        make(corpus="empty")
    passages, documents = make("p", unit=Unit.PASSAGE), make("d")
    with pytest.raises(MapRefused, match="two of one kind"):
        maps.compare(passages, documents)


def test_only_editors_change_anything(maps, make):
    run, viewer = make(), Person("Ana", Role.VIEWER)
    for change in (
        lambda: maps.start(viewer, Plan("books", "new")),
        lambda: maps.rename(viewer, run, 0, "x"),
        lambda: maps.set_threshold(viewer, run, 0.5),
        lambda: maps.drop(viewer, run),
        lambda: maps.stop(viewer, "any"),
    ):
        with pytest.raises(Forbidden):
            change()


def test_a_map_that_is_asked_for_is_seen_by_everybody_until_it_is_stopped(maps):
    task_id = maps.start(OWNER, Plan("books", "new"))
    assert [task.id for task in maps.making("books")] == [task_id]
    assert maps.making("empty") == []
    maps.stop(OWNER, task_id)
    assert maps.task(task_id).state is TaskState.CANCELLED
    assert maps.making("books") == []
    assert maps.task("gone") is None
