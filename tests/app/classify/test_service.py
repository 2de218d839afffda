"""The service: learn, correct, keep, apply; and who may."""

import os
from unittest import mock

import numpy as np
import pytest

from app.services.access import OWNER, Forbidden, Person, Role
from app.services.classify.chores import Chores
from app.services.classify.classifiers import ClassifierRefused, Label
from app.services.classify.desk import NoWork
from app.services.classify.service import ClassifyRequest
from app.services.classify.tables import Example, TableRefused, read_table
from app.services.classify.training import Method
from app.services.encoders import WrongModel
from indexer.catalog.documents import Documents
from indexer.catalog.label_tables import LabelsRefused, Unit
from indexer.retrieval.generations import NotBuilt

VIEWER = Person("reader", Role.VIEWER)
TOPICS = [Label("bees", "insects that make honey"), Label("stars", "the sky at night")]


def test_what_is_saved_says_what_was_learnt(service, learnt, examples):
    training = service.work(learnt).training
    kept = service.save(OWNER, learnt, "topics", 0.3)
    assert (kept.version, kept.method, kept.examples) == (1, Method.LOGISTIC, 10)
    texts = [example.text for example in examples]
    answer = service.classify(ClassifyRequest(texts, "topics", threshold=0.0))
    vectors = service._vectors.encoder.encode_queries(texts, task="Classification")
    expected = training.trained.head.probabilities(vectors)
    assert [one.label for one in answer.predictions] == [training.labels[n] for n in expected.argmax(axis=1)]
    assert np.allclose([one.score for one in answer.predictions], expected.max(axis=1), atol=1e-5)
    assert service.classify(ClassifyRequest(texts[:1], "topics")).threshold == 0.3


def test_the_same_name_is_the_next_version(service, learnt):
    assert [service.save(OWNER, learnt, "topics", 0.0).version for _ in range(3)] == [1, 2, 3]
    assert [(one.name, one.version) for one in service.classifiers()] == [("topics", 3)]
    service.remove(OWNER, "topics")
    assert service.classifiers() == []


def test_corrections_make_what_was_learnt_old_until_it_is_learnt_again(service, learnt, examples):
    assert not service.work(learnt).is_stale
    service.relabel(OWNER, learnt, {0: "stars", 1: None})
    work = service.work(learnt)
    assert work.is_stale
    assert work.examples == (Example(examples[0].text, "stars"), *examples[2:])
    service.add(OWNER, learnt, [Example("A queen bee.", "bees")])
    assert service.work(learnt).unlabelled == ("A red star.",)
    service.train(OWNER, learnt)
    assert not service.work(learnt).is_stale
    assert service.work(learnt).training.next == (0,)


def test_labels_that_leave_nothing_to_choose_are_refused(service, learnt):
    with pytest.raises(ClassifierRefused, match="All examples have the label bees; a classifier needs"):
        service.begin(OWNER, [Example("a", "bees"), Example("b", "bees")])
    with pytest.raises(ClassifierRefused, match="All examples have the label bees"):
        service.relabel(OWNER, learnt, dict.fromkeys(range(5, 10)))
    many = [Example("a", f"label {n}") for n in range(201)]
    with pytest.raises(ClassifierRefused, match="201 labels and the limit is 200"):
        service.begin(OWNER, many)


@pytest.mark.parametrize("work", ["", "0" * 16, "../../etc/passwd", "x" * 400])
def test_work_that_is_not_there(service, work):
    with pytest.raises(NoWork, match="not there any more"):
        service.work(work)


def test_a_table_comes_back_with_labels_and_no_formula(service, learnt):
    service.save(OWNER, learnt, "topics", 0.0)
    table = service.put_table(OWNER, "id;text\n1;Honey from a hive\n2;=HYPERLINK(1)\n".encode("utf-16"))
    progress = mock.Mock()
    done = Chores(service).predict(OWNER, {"classifier": "topics", "table": table, "column": "text"}, progress)
    assert done == {"table": table, "rows": 2}
    back = read_table(service.predictions(table))
    assert back.columns == ("id", "text", "predicted_label", "predicted_score", "predicted_margin")
    assert back.rows[1][1] == "'=HYPERLINK(1)"
    assert all(row[2] in ("bees", "stars") and 0 <= float(row[3]) <= 1 for row in back.rows)
    assert progress.called
    with pytest.raises(TableRefused, match="no column words"):
        service.predict_table(OWNER, "topics", table, "words")


def test_a_corpus_has_a_label_for_each_document(installation, service, learnt, write, tmp_path):
    folder = write(tmp_path / "books", **{"bees.md": "# Bees\n\nHoney.\n", "sun.txt": "Sun\n\nA star.\n"})
    installation.corpora.add("books", folder)
    service.save(OWNER, learnt, "topics", 0.0)
    with pytest.raises(NotBuilt, match="books is not indexed yet"):
        service.apply(OWNER, "topics", "books")
    with mock.patch.object(os, "nice"):
        installation.indexing.build("books")
    counts = Chores(service).apply(OWNER, {"classifier": "topics", "corpus": "books"}, mock.Mock())["counts"]
    assert sum(counts.values()) == 2
    kept = installation.labels.one("books", "topics")
    assert (kept.kind, kept.unit, kept.details["version"]) == ("classifier", Unit.DOCUMENT, 1)
    live = installation.catalog.corpus("books").live
    known = {one.id for one in Documents(installation.catalog.database).beginnings("books", live, 10)}
    assert set(installation.labels.items("books", "topics")) == known
    assert service.gather(OWNER, learnt, "books") == 2
    assert service.gather(OWNER, learnt, "books") == 0
    assert len(service.work(learnt).unlabelled) == 4
    installation.labels.put("books", "map", "map", Unit.DOCUMENT, {}, [])
    service.save(OWNER, learnt, "map", 1.0)
    service.remove(OWNER, "topics")
    noted = [(each.action, each.subject, dict(each.details)) for each in reversed(installation.audit.latest(9))]
    assert noted == [
        ("classifier.save", "topics", {"version": "1"}),
        ("classifier.apply", "topics", {"version": "1", "corpus": "books"}),
        ("classifier.save", "map", {"version": "1"}),
        ("classifier.remove", "topics", {}),
    ]
    with pytest.raises(LabelsRefused, match="is that of a map"):
        service.apply(OWNER, "map", "books")


def test_another_model_is_refused_in_one_sentence(service, learnt, tiny_checkpoint, tmp_path):
    from app.services.classify.service import ClassifyService
    from app.services.classify.vectors import TextVectors
    from app.services.encoders import Encoders

    service.save(OWNER, learnt, "topics", 0.0)
    others = TextVectors(Encoders(str(tiny_checkpoint("bert"))), service._vectors._open_cache)
    other = ClassifyService(others, tmp_path / "data", service._catalog, service._labels, service._audit)
    with pytest.raises(WrongModel, match="topics was made with other weights .* or train it again.$"):
        other.classify(ClassifyRequest(["a"], "topics"))


def test_described_labels_need_two_and_names_of_their_own(service):
    with pytest.raises(ClassifierRefused, match="at least two labels"):
        service.classify(ClassifyRequest(["a"], labels=[Label("one"), Label("  ")]))
    with pytest.raises(ClassifierRefused, match="The label one is there twice"):
        service.classify(ClassifyRequest(["a"], labels=[Label("one"), Label(" one ")]))
    with pytest.raises(ClassifierRefused, match="not between 0 and 1"):
        service.classify(ClassifyRequest(["a"], labels=TOPICS, threshold=1.5))
    assert service.classify(ClassifyRequest([], labels=TOPICS)).predictions == ()


def test_whoever_only_reads_may_ask_and_change_nothing(service, learnt):
    service.save(OWNER, learnt, "topics", 0.0)
    assert service.classify(ClassifyRequest(["a"], "topics")).predictions
    table = service.put_table(OWNER, b"text\na\n")
    forbidden = [
        lambda: service.begin(VIEWER, []),
        lambda: service.relabel(VIEWER, learnt, {}),
        lambda: service.add(VIEWER, learnt, []),
        lambda: service.gather(VIEWER, learnt, "books"),
        lambda: service.train(VIEWER, learnt),
        lambda: service.save(VIEWER, learnt, "mine", 0.0),
        lambda: service.save_described(VIEWER, "mine", TOPICS, 0.0),
        lambda: service.remove(VIEWER, "topics"),
        lambda: service.put_table(VIEWER, b"text\na\n"),
        lambda: service.predict_table(VIEWER, "topics", table, "text"),
        lambda: service.apply(VIEWER, "topics", "books"),
    ]
    for attempt in forbidden:
        with pytest.raises(Forbidden, match="needs the role editor"):
            attempt()
