"""A folder of articles gives rows of every form, the same each time."""

from pathlib import Path

import pytest

from trainer.articles import article_tables
from trainer.batches import Visit
from trainer.columns import InvalidData
from trainer.config import DataConfig, Source
from trainer.data import TrainingData

SAMPLES = Path(__file__).parents[2] / "samples"

MOON = """# The Moon

It orbits the Earth. It has **no** air.

## Phases

The lit half turns. We see [a part](https://example.org) of it.

```
code is left out
```

- New moon is dark. Full moon is bright.
"""


@pytest.fixture
def articles(tmp_path):
    for topic, name, text in (("sky", "moon", MOON), ("sea", "tide", "# Tides\n\nThe sea rises. The sea falls.\n")):
        (tmp_path / topic).mkdir()
        (tmp_path / topic / f"{name}.md").write_text(text, encoding="utf-8")
    return tmp_path


def test_rows_follow_the_structure(articles):
    tables = {name: table.to_pylist() for name, table in article_tables(articles).items()}
    assert set(tables) == {"titles-en", "sentences-en", "topics-en", "closeness-en"}
    phases = "The lit half turns. We see a part of it.\nNew moon is dark. Full moon is bright."
    assert tables["titles-en"][1:] == [
        {"query": "The Moon", "positive": "It orbits the Earth. It has no air."},
        {"query": "The Moon - Phases", "positive": phases},
    ]
    assert {"query": "It has no air.", "positive": "It orbits the Earth."} in tables["sentences-en"]
    assert {"query": phases, "label": "sky"} in tables["topics-en"]
    by_score = {row["score"]: row for row in tables["closeness-en"]}
    assert set(by_score) == {0.0, 0.5, 1.0}
    assert by_score[0.5]["positive"] == phases
    assert by_score[0.0]["positive"] == "The sea rises. The sea falls."


def test_the_samples_train_every_form_in_both_languages():
    data = TrainingData.open(DataConfig(root=f"articles:{SAMPLES}"), seed=1, negatives_per_query=3)
    assert [source.info.name for source in data.sources] == [
        f"{kind}-{language}" for language in ("en", "zh") for kind in ("titles", "sentences", "topics", "closeness")
    ]
    assert [source.form for source in data.sources][:4] == ["contrastive", "contrastive", "labelled", "graded"]
    assert data.sources[4].info.languages == {"zh"}
    assert data.sources[0].info.query_prompt == ""
    plan = data.plan(16)
    forms = set()
    for step in range(plan.steps_per_epoch):
        batch = plan.batch(step)
        forms.add(batch.form)
        assert all(example.query and example.positive for example in data.examples(batch.visits))
    assert forms == {"contrastive", "graded"}
    again = TrainingData.open(DataConfig(root=f"articles:{SAMPLES}"), seed=1, negatives_per_query=3)
    assert again.digests() == data.digests()
    assert again.examples([Visit(2, 0, 0)]) == data.examples([Visit(2, 0, 0)])


def test_tables_are_picked_by_name(articles):
    source = Source(name="mine", path="topics-en", weight=2)
    (opened,) = TrainingData.open(
        DataConfig(root=f"articles:{articles}", sources=(source,)), seed=1, negatives_per_query=3
    ).sources
    assert (opened.info.name, opened.form, opened.source.task) == ("mine", "labelled", "Clustering")
    with pytest.raises(InvalidData, match="no source topics-fr; there are titles-en"):
        TrainingData.open(
            DataConfig(root=f"articles:{articles}", sources=(Source(name="x", path="topics-fr"),)),
            seed=1,
            negatives_per_query=3,
        )


def test_no_article_is_an_error(tmp_path):
    for folder in (tmp_path, tmp_path / "absent"):
        with pytest.raises(InvalidData, match="no Markdown article"):
            article_tables(folder)
