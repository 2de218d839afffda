"""Settings: changed one at a time, refused in a sentence, and the same after a trip through JSON."""

import json

import pytest
from pydantic import ValidationError

from trainer.config import (
    DataConfig,
    InvalidConfig,
    LoraConfig,
    LossConfig,
    SoupConfig,
    Source,
    StageConfig,
    TeacherConfig,
    override,
    read_config,
)
from trainer.recipes import RECIPES, Places

CONFIG = StageConfig(name="pretrain", data=DataConfig(root="tables"), loss=LossConfig())
SOUP = SoupConfig(members=("a", "b"))
STAGES = [
    pytest.param(stage, id=f"{name}-{stage.name}") for name, made in RECIPES.items() for stage in made(Places()).stages
]


def test_inner_settings_are_set_by_dotted_keys_and_nothing_else_changes():
    changed = override(
        CONFIG,
        [
            "loss.temperature=0.02",
            "loss.query_query=true",
            "loss.dims=[64, 32]",
            "loss.weights=[1, 0.5]",
            "max_steps=7",
            "data.root=a=b",
            "optimizer.betas=[0.8, 0.9]",
            'lora={"rank": 4}',
        ],
    )
    assert changed.loss == LossConfig(temperature=0.02, query_query=True, dims=(64, 32), weights=(1, 0.5))
    assert (changed.max_steps, changed.data.root, changed.optimizer.betas) == (7, "a=b", (0.8, 0.9))
    assert changed.lora == LoraConfig(rank=4)
    assert override(changed, ["max_steps=null", "lora=null"]).max_steps is None
    untouched = {"loss", "max_steps", "data", "optimizer", "lora"}
    assert changed.model_dump(exclude=untouched) == CONFIG.model_dump(exclude=untouched)


def test_a_text_that_looks_like_no_json_is_taken_as_it_stands():
    changed = override(CONFIG, ["base.path=random:qwen2-tiny", "runtime.device=cpu", 'evaluation="7"'])
    assert (changed.base.path, changed.runtime.device, changed.evaluation) == ("random:qwen2-tiny", "cpu", "7")


def test_lists_of_settings_are_set_whole():
    sources = [{"name": "a", "path": "a.parquet", "weight": 0.5}]
    changed = override(CONFIG, [f"data.sources={json.dumps(sources)}"])
    assert changed.data.sources == (Source(name="a", path="a.parquet", weight=0.5),)
    taught = override(CONFIG, ['teachers=[{"model": "m", "languages": ["en"]}]', "loss.distill_weight=1"])
    assert taught.teachers == (TeacherConfig(model="m", languages=("en",)),)


def test_a_soup_is_changed_alike():
    assert override(SOUP, ["method=weighted", "weights=[1, 3]"]).weights == (1, 3)
    with pytest.raises(InvalidConfig, match=r"There is no setting 'seed'; there are evaluation, .*members, method"):
        override(SOUP, ["seed=1"])


@pytest.mark.parametrize(
    ("assignment", "said"),
    [
        ("batchsize=1", "There is no setting 'batchsize'; there are base, batch_size, checkpoint_every, "),
        ("loss.dim=1", "There is no setting 'loss.dim'; there are contrastive_weight, cross_device, dims, "),
        ("seed.x=1", "There is no setting 'seed.x'; there are base, batch_size, "),
        ("=1", "There is no setting ''; there are base, "),
        ("seed", "--set seed has no value; write it as key=value."),
        ("seed=one", "The setting seed cannot be used: Input should be a valid integer, "),
        ("batch_size=0", "The setting batch_size cannot be used: Input should be greater than 0."),
        ("optimizer.warmup=2", "The setting optimizer.warmup cannot be used: Input should be less than or equal to 1."),
        ("loss.temperature=0", "The setting loss.temperature cannot be used: Input should be greater than 0."),
        ("runtime.precision=float16", "The setting runtime.precision cannot be used: Input should be 'bfloat16', "),
        ("loss.temperature=warm", "The setting loss.temperature cannot be used: Input should be a valid number, "),
        ('data.sources=[{"name": "a"}]', "The setting data.sources.0.path cannot be used: Field required."),
        ('lora={"ranks": 1}', "The setting lora.ranks cannot be used: Extra inputs are not permitted."),
    ],
)
def test_what_does_not_exist_or_fit_is_named(assignment, said):
    with pytest.raises(InvalidConfig) as refused:
        override(CONFIG, [assignment])
    assert str(refused.value).startswith(said)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("assignments", "said"),
    [
        (["loss.dims=[64, 32]"], "loss cannot be used: 2 dims need as many weights, not 0"),
        (["loss.dims=[32, 64]", "loss.weights=[1, 1]"], "loss cannot be used: dims go from the widest"),
        (["loss.dims=[64, 64]", "loss.weights=[1, 1]"], "loss cannot be used: dims go from the widest"),
        (["loss.pair_mixes=1", "loss.negatives_per_query=1"], "loss cannot be used: mixing needs at least two"),
        (["loss.list_mixes=1"], "loss cannot be used: mixing needs at least two"),
        (["loss.distill_weight=1"], "teachers belong to loss.distill_weight or loss.vector_weight"),
        (["loss.vector_weight=1"], "teachers belong to loss.distill_weight or loss.vector_weight"),
        (['teachers=[{"model": "m"}]'], "teachers belong to loss.distill_weight or loss.vector_weight"),
        (["lora={}", "runtime.strategy=fsdp2"], "LoRA needs runtime.strategy=ddp"),
        (["lora={}", "stored_bits=4"], "stored_bits needs whole weights"),
        (["stored_bits=8", "runtime.strategy=fsdp2"], "stored_bits needs whole weights"),
        (['data.sources=[{"name": "a", "path": "b"}, {"name": "a", "path": "c"}]'], "sources named twice: a"),
    ],
)
def test_settings_that_do_not_fit_together(assignments, said):
    with pytest.raises(InvalidConfig) as refused:
        override(CONFIG, assignments)
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("assignments", "said"),
    [
        (["method=weighted"], "weights go with method=weighted"),
        (["weights=[1, 2]"], "weights go with method=weighted"),
        (["method=greedy"], "method=greedy needs an evaluation folder"),
    ],
)
def test_soups_that_do_not_fit_together(assignments, said):
    with pytest.raises(InvalidConfig, match=said):
        override(SOUP, assignments)


@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_of_every_recipe_survives_a_trip_through_json(stage):
    # Recipes are put together by model_copy, which checks nothing: this is where they are checked.
    written = json.loads(json.dumps(stage.model_dump(mode="json")))
    read = read_config(type(stage), written)
    assert read == stage
    assert read.model_dump() == stage.model_dump()
    assert override(stage, []) == stage


@pytest.mark.parametrize(
    ("config", "field"),
    [(CONFIG, "seed"), (CONFIG.loss, "temperature"), (CONFIG.data, "root"), (CONFIG.runtime, "device"), (SOUP, "name")],
)
def test_nothing_can_be_changed_in_place(config, field):
    with pytest.raises(ValidationError, match="frozen"):
        setattr(config, field, getattr(config, field))
