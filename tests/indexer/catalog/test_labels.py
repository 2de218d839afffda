import pytest

from indexer.catalog.corpora import Catalog
from indexer.catalog.label_tables import Label, LabelsRefused, LabelTable, Unit


@pytest.fixture
def labels(tmp_path):
    catalog = Catalog(f"sqlite:///{tmp_path / 'catalog.sqlite'}")
    for name in ("books", "papers"):
        catalog.add_corpus(name, tmp_path, ())
    yield LabelTable(catalog.database)
    catalog.close()


def test_a_set_comes_back_as_it_was_put(labels):
    given = [Label("a", "stars", 0.9), Label("b", "bees", 0.4), Label("c", "stars")]
    made = labels.put("books", "topics", "map", Unit.PASSAGE, {"seed": 7}, given)
    assert (made.kind, made.unit, made.details) == ("map", Unit.PASSAGE, {"seed": 7})
    assert labels.one("books", "topics") == made
    assert labels.items("books", "topics") == {label.item: label for label in given}
    assert set(labels.items("books", "topics", ["stars"])) == {"a", "c"}
    assert labels.of("books", "topics", ["b", "never seen"]) == {"b": given[1]}
    assert list(labels.counts("books", "topics").items()) == [("stars", 2), ("bees", 1)]
    assert labels.sets("papers") == []


def test_more_items_than_a_statement_holds(labels):
    labels.put("books", "topics", "map", Unit.PASSAGE, {}, (Label(str(n), "x") for n in range(2_500)))
    assert len(labels.of("books", "topics", [str(n) for n in range(3_000)])) == 2_500


def test_putting_a_set_again_replaces_it_and_another_kind_may_not(labels):
    labels.put("books", "topics", "map", Unit.PASSAGE, {}, [Label("a", "stars")])
    labels.put("books", "topics", "map", Unit.PASSAGE, {}, [Label("b", "bees")])
    assert set(labels.items("books", "topics")) == {"b"}
    with pytest.raises(LabelsRefused, match="is that of a map"):
        labels.put("books", "topics", "classifier", Unit.DOCUMENT, {}, [])
    assert set(labels.items("books", "topics")) == {"b"}


def test_a_label_renamed_to_another_joins_it(labels):
    labels.put("books", "topics", "map", Unit.PASSAGE, {}, [Label("a", "stars"), Label("b", "sun"), Label("c", "bees")])
    labels.rename_value("books", "topics", "sun", "stars")
    assert labels.counts("books", "topics") == {"stars": 2, "bees": 1}


def test_a_dropped_set_is_gone_and_what_is_not_there_is_refused(labels):
    labels.put("books", "topics", "map", Unit.PASSAGE, {}, [Label("a", "stars")])
    labels.drop("books", "topics")
    assert labels.sets("books") == []
    for ask in (labels.one, labels.drop, labels.counts, labels.items):
        with pytest.raises(LabelsRefused, match="There are no labels topics of books"):
            ask("books", "topics")
