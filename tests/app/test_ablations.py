"""``kalm bench recipe``: variants differ in one thing, take the same steps, and share what they have in common."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from app.benchmarks.ablations import ABLATIONS, FULL, as_table, find_ablation, run_ablations
from app.benchmarks.errors import BenchRefused
from trainer.config import SoupConfig, StageConfig
from trainer.recipes import Places, nano, tiny

SAMPLES = Path(__file__).parents[2] / "samples"


def trained(recipe):
    return [stage for stage in recipe.stages if isinstance(stage, StageConfig)]


def steps(recipe):
    return sum(stage.max_steps for stage in trained(recipe))


@pytest.mark.parametrize("ablation", ABLATIONS, ids=lambda ablation: ablation.name)
def test_a_variant_is_the_recipe_but_for_one_thing(ablation):
    whole = nano(Places(data="tables", base="gemma.gguf"))
    variant = ablation.change(whole)
    assert (variant == whole) == (ablation.name == FULL)
    assert steps(variant) == steps(whole)
    assert trained(variant)[0].base.path == "gemma.gguf"
    assert all(not stage.base.path for stage in trained(variant)[1:])
    assert len({stage.batch_size for stage in trained(variant)}) > 1


def test_what_is_taken_out():
    whole = nano(Places(data="tables", base="gemma.gguf"))

    def variant(name):
        return find_ablation(name).change(whole)

    assert [stage.name for stage in variant("no-pretraining").stages] == ["finetune", "distill", "soup"]
    assert [stage.name for stage in variant("no-distillation").stages] == ["pretrain", "finetune", "soup"]
    unaveraged = [each.name for each in ABLATIONS if each.against == "no-soup" or each.name == "no-soup"]
    assert unaveraged == ["causal", "last-token", "no-soup", "no-instructions"]
    assert not any(isinstance(stage, SoupConfig) for name in unaveraged for stage in variant(name).stages)
    assert {stage.loss.focal_gamma for stage in trained(variant("no-focal"))} == {0.0}
    assert {stage.loss.pair_mixes + stage.loss.list_mixes for stage in trained(variant("no-mixing"))} == {0}
    assert {stage.variant.attention for stage in trained(variant("causal"))} == {"causal"}
    assert {stage.variant.pooling for stage in trained(variant("last-token"))} == {"last"}
    assert not any(stage.variant.instructions for stage in trained(variant("no-instructions")))
    assert {stage.data.example_share for stage in trained(variant("labels"))[1:]} == {0.0}
    assert trained(variant("labels"))[0] == trained(whole)[0]
    with pytest.raises(BenchRefused, match="There is no variant 'no-luck'; there are full, causal"):
        find_ablation("no-luck")
    with pytest.raises(BenchRefused, match="name a folder of tasks with --evaluation"):
        run_ablations(whole, Path("nowhere"), ["full"], 1)


@pytest.fixture
def tasks(tmp_path):
    folder = tmp_path / "tasks" / "Bees"
    folder.mkdir(parents=True)
    pairs = {"text1": ["a bee", "a river", "honey"], "text2": ["bees", "honey", "a bee"], "score": [3.0, 0.0, 2.0]}
    pq.write_table(pa.table(pairs), folder / "pairs.parquet")
    (folder / "task.json").write_text(json.dumps({"type": "STS", "lang": "en"}))
    return str(tmp_path / "tasks")


def test_variants_are_trained_scored_and_compared(tmp_path, tasks, monkeypatch):
    monkeypatch.chdir(SAMPLES.parent)
    small = ["max_steps=1", "batch_size=4", "data.max_document_tokens=24", "data.max_query_tokens=24"]
    recipe = find_ablation("no-distillation").change(tiny(Places(evaluation=tasks)).changed(small))  # quick, no teacher
    recipe = recipe.changed(["finetune.export_checkpoints=true", "finetune.checkpoint_every=1"])
    report = run_ablations(recipe, tmp_path / "runs", ["full", "no-soup"], 1)
    assert {name: found["runs"] for name, found in report["variants"].items()} == {"full": 2, "no-soup": 2}
    assert all(set(found["means"]) == {"en", "STS"} for found in report["variants"].values())
    assert report["steps"] == 3
    # The seeds of no-soup are those of full: everything but the soup is one run.
    stages = {path.name.partition("-")[2] for path in (tmp_path / "runs" / "stages").iterdir()}
    assert stages == {"pretrain", "finetune", "soup"}
    assert len(list((tmp_path / "runs" / "stages").iterdir())) == 6
    last = [json.loads(file.read_text()) for file in (tmp_path / "runs").glob("full-*/2-finetune/manifest.json")]
    assert len(last) == 2
    assert all(facts["scores"] and not facts["scores_before"] for facts in last)
    table = as_table(report)
    assert "| the whole recipe |  | 2 |" in table
    assert "| without soup | the whole recipe | 2 |" in table
    assert table.count("±") == 4
    again = run_ablations(recipe, tmp_path / "runs", ["full", "no-soup"], 1)
    assert again["variants"] == report["variants"]
