"""Recipes hold what is published of the models, and a plan can be read before anything is fetched or trained."""

from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from trainer.batches import EmptyPlan
from trainer.columns import InvalidData
from trainer.config import DataConfig, InvalidConfig, LossConfig, SoupConfig, Source, StageConfig
from trainer.dryrun import plan_stage
from trainer.published import FINETUNING, PRETRAINING
from trainer.recipes import RECIPES, Places, UnknownRecipe, find_recipe, kalm_v2, kalm_v2_5, nano, tiny


def config(sources=(), root="hub:someone/data", **settings):
    return StageConfig(
        name="pretrain",
        data=DataConfig(root=root, sources=sources),
        loss=LossConfig(),
        **({"batch_size": 10} | settings),
    )


# What is published


def test_kalm_v2_is_what_the_paper_says():
    recipe = kalm_v2()
    pretrain, finetune, soup = recipe.stages
    assert [stage.name for stage in recipe.stages] == ["pretrain", "finetune", "soup"]
    assert (pretrain.base.path, finetune.base.path) == ("Qwen/Qwen2-0.5B", "")
    for stage in (pretrain, finetune):
        assert stage.loss.dims == (896, 512, 256, 128, 64)
        assert stage.loss.weights == (1.0, 0.3, 0.2, 0.1, 0.1)
        assert (stage.max_tokens, stage.data.max_query_tokens, stage.data.max_document_tokens) == (512, 512, 512)
        assert (stage.loss.in_batch, stage.loss.cross_device) == (True, True)
        assert (stage.loss.query_query, stage.loss.positive_positive) == (False, False)
        assert (stage.loss.distill_weight, stage.teachers) == (0, ())
    assert (pretrain.loss.negatives_per_query, pretrain.loss.focal_gamma) == (0, 0)
    assert (pretrain.loss.pair_mixes, pretrain.loss.list_mixes) == (0, 0)
    assert (finetune.loss.negatives_per_query, finetune.loss.focal_gamma, finetune.loss.temperature) == (7, 0.5, 0.01)
    assert (finetune.loss.pair_mixes, finetune.loss.list_mixes) == (1, 1)
    assert (pretrain.data.root, finetune.data.root) == (PRETRAINING, FINETUNING)
    assert finetune.batch_size < pretrain.batch_size
    assert finetune.export_checkpoints  # members of the soup
    assert isinstance(soup, SoupConfig)


def test_kalm_v2_5_distils_on_top_of_it():
    pretrain, finetune, distill = kalm_v2_5().stages
    assert [pretrain, finetune.model_copy(update={"export_checkpoints": True})] == list(kalm_v2().stages[:2])
    assert (distill.loss.distill_temperature, distill.loss.contrastive_weight) == (0.05, 1)
    assert distill.loss.distill_weight > 0
    assert distill.loss.model_copy(update={"distill_weight": 0.0}) == finetune.loss
    assert distill.data == finetune.data
    assert [teacher.model for teacher in distill.teachers] == ["Qwen/Qwen3-Embedding-8B"]
    assert distill.base.path == ""


@pytest.mark.parametrize(("made", "taught"), [(nano, ("en",)), (tiny, ())])
def test_small_recipes_have_all_stages(made, taught):
    recipe = made()
    assert [stage.name for stage in recipe.stages] == ["pretrain", "finetune", "distill", "soup"]
    assert [len(stage.loss.dims) == len(stage.loss.weights) for stage in recipe.stages[:3]] == [True] * 3
    assert recipe.stages[2].export_checkpoints or recipe.stages[1].export_checkpoints
    assert recipe.stages[2].teachers[0].languages == taught


def test_the_shipped_models_recipe_names_its_tables_wherever_the_data_is():
    pretrain, finetune, distill, _ = nano(Places(data="tables", base="gemma.gguf")).stages
    roots = [stage.data.root for stage in (pretrain, finetune, distill)]
    assert roots == [str(Path("tables") / "pretrain"), str(Path("tables") / "finetune"), "tables"]
    named = {source.name for stage in (pretrain, finetune) for source in stage.data.sources}
    again = {Path(source.path).stem for source in distill.data.sources}
    assert again < named
    assert {source.name for source in finetune.data.sources} < again
    assert {source.path.partition("/")[0] for source in distill.data.sources} == {"pretrain", "finetune"}
    unclear = {"ocnli_zh", "lcqmc_zh", "afqmc_zh", "waimai_zh", "dictionary_zh", "classical_modern_zh", "trecqa_en"}
    assert not named & unclear
    assert distill.stored_bits == 4


def test_recipes_are_found_by_name():
    for name in RECIPES:
        assert find_recipe(name, Places()).name == name
    with pytest.raises(
        UnknownRecipe, match="There is no recipe 'kalm_v3'; there are kalm_v2, kalm_v2_5, nano, tiny\\."
    ):
        find_recipe("kalm_v3", Places())
    with pytest.raises(UnknownRecipe, match="kalm_v2 has no stage 'distill'; it has pretrain, finetune, soup\\."):
        kalm_v2().stage("distill")
    assert kalm_v2().stage("finetune").name == "finetune"


# Places and changes


@pytest.mark.parametrize("made", [kalm_v2, kalm_v2_5])
def test_a_data_folder_has_a_part_for_each_kind_of_stage(made, tmp_path):
    for part in ("pretrain", "finetune"):
        (tmp_path / part).mkdir()
    stages = [stage for stage in made(Places(data=str(tmp_path))).stages if isinstance(stage, StageConfig)]
    wanted = ["pretrain" if stage.name == "pretrain" else "finetune" for stage in stages]
    assert [stage.data.root for stage in stages] == [str(tmp_path / part) for part in wanted]
    assert {stage.data.sources for stage in stages} == {()}


def test_a_data_folder_without_parts_is_for_all_stages(tmp_path):
    for recipe in (kalm_v2(Places(data=str(tmp_path))), tiny(Places(data=str(tmp_path)))):
        roots = {stage.data.root for stage in recipe.stages if isinstance(stage, StageConfig)}
        assert roots == {str(tmp_path)}
    assert tiny(Places(data="articles:notes")).stages[0].data.root == "articles:notes"


@pytest.mark.parametrize("name", RECIPES)
def test_the_base_is_for_the_first_stage_and_the_evaluation_for_all(name):
    stages = find_recipe(name, Places(base="a.gguf", evaluation="tasks")).stages
    trained = [stage for stage in stages if isinstance(stage, StageConfig)]
    assert [stage.base.path for stage in trained] == ["a.gguf", *[""] * (len(trained) - 1)]
    assert {stage.evaluation for stage in trained} == {"tasks"}


def test_a_change_is_for_one_stage_or_for_all_but_the_soup():
    recipe = tiny().changed(["seed=7", "finetune.batch_size=8", "distill.seed=8", 'soup.members=["a", "b"]'])
    pretrain, finetune, distill, soup = recipe.stages
    assert [stage.seed for stage in (pretrain, finetune, distill)] == [7, 7, 8]  # a stage's own setting wins
    assert [stage.batch_size for stage in (pretrain, finetune, distill)] == [64, 8, 32]
    assert soup.members == ("a", "b")
    assert tiny().changed([]) == tiny()


@pytest.mark.parametrize("assignment", ["distill.seed=1", "finetune.sed=1", "soup.seed=1", "finetune=1"])
def test_a_change_of_what_is_not_there_is_refused(assignment):
    with pytest.raises(InvalidConfig, match="There is no setting"):
        kalm_v2().changed([assignment])


# Plans


def test_published_data_is_planned_without_it():
    plan = plan_stage(kalm_v2().stage("finetune"))
    assert plan.is_declared
    assert sum(source.rows for source in plan.sources) == 3_655_225
    assert 3_655_225 // 192 <= plan.steps <= 3_655_225 // 192 + len(plan.sources)
    assert {(source.query_prompt, source.document_prompt) for source in plan.sources} == {("", "")}  # in the rows
    assert {source.visits == source.rows for source in plan.sources} == {True}
    assert next(source for source in plan.sources if source.source == "T2Ranking").languages == ("zh",)


def test_rows_that_nobody_declares_leave_the_steps_open():
    plan = plan_stage(kalm_v2().stage("pretrain"))
    assert (plan.is_declared, plan.steps) == (True, None)
    assert {source.source: source.rows for source in plan.sources}["paq"] == 9_004_577
    assert {source.source: source.rows for source in plan.sources}["reddit"] is None
    assert plan_stage(kalm_v2().changed(["pretrain.max_steps=9"]).stage("pretrain")).steps == 9
    assert plan_stage(config(())).steps is None


def test_a_declared_plan_counts_weights_caps_and_epochs():
    sources = (
        Source(name="whole", path="whole", rows=1000),
        Source(name="half", path="half", rows=1000, weight=0.5),
        Source(name="cut", path="cut", rows=1000, cap=30),
        Source(name="twice", path="twice", rows=5, weight=2.0, task="STS", form="graded"),
    )
    plan = plan_stage(config(sources))
    assert [source.visits for source in plan.sources] == [1000, 500, 30, 10]
    assert plan.steps == 154
    assert plan_stage(config(sources, epochs=2)).steps == 308
    assert plan_stage(config(sources, epochs=2, max_steps=7)).steps == 7
    assert (
        plan.sources[3].query_prompt
        == plan.sources[3].document_prompt
        == ("Instruct: Retrieve semantically similar text \n Query: ")
    )


def test_graded_rows_make_batches_of_their_own():
    sources = (Source(name="a", path="a", rows=5), Source(name="b", path="b", rows=5, task="STS", form="graded"))
    assert plan_stage(config(sources)).steps == 2


def test_a_declared_plan_without_a_visit_is_refused():
    with pytest.raises(EmptyPlan, match="No source has a row to visit"):
        plan_stage(config((Source(name="a", path="a", rows=1, weight=0.1),)))


def test_tables_in_the_published_schema_are_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    for name, rows in (("NQ", 25), ("T2Ranking", 13)):
        (tmp_path / "data" / name).mkdir(parents=True)
        query = "Instruct: Given a query, retrieve documents that answer the query \n Query: q"
        table = {
            "query": [f"{query}{row}" for row in range(rows)],
            "pos": [[f"p{row}"] for row in range(rows)],
            "neg": [[f"n{row}-{at}" for at in range(7)] for row in range(rows)],
            "relevance": [0.5] * rows,
        }
        pq.write_table(pa.table(table), tmp_path / "data" / name / "train.parquet")
    settings = [
        'data.sources=[{"name": "nq", "path": "nq", "instruction": ""},'
        ' {"name": "t2", "path": "T2Ranking", "instruction": "", "weight": 2, "cap": 10}]'
    ]
    recipe = kalm_v2(Places(data=str(tmp_path / "data")))
    plan = plan_stage(recipe.changed(["batch_size=5", "epochs=2", *settings]).stage("finetune"))
    assert not plan.is_declared
    assert plan.steps == 2 * (5 + 4)
    assert [(source.source, source.form, source.rows, source.visits) for source in plan.sources] == [
        ("nq", "contrastive", 25, 25),
        ("t2", "contrastive", 13, 20),
    ]
    assert {source.query_prompt for source in plan.sources} == {""}
    with pytest.raises(InvalidData, match="The source gone is not at"):
        plan_stage(config((Source(name="gone", path="gone"),), root=str(tmp_path / "data")))


def test_data_of_ones_own_is_read_as_the_recipe_reads_its_own(tmp_path):
    (stage, *_) = find_recipe("tiny", Places(data=str(tmp_path))).stages
    assert stage.data.root == str(tmp_path)
    assert stage.data.sources == ()
    assert (stage.data.max_query_tokens, stage.data.max_document_tokens) == (64, 128)
