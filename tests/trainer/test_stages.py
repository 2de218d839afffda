"""Stages from config to folder: all of a small recipe once, and what is refused before any work."""

import json
import shutil
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file

from embedder import Embedder
from embedder.errors import AppError
from trainer import stages
from trainer.checkpoints import DiskFull
from trainer.columns import InvalidData
from trainer.config import BackboneConfig, InvalidConfig, SoupConfig
from trainer.evaluation import evaluate, load_tasks
from trainer.metrics import read_metrics
from trainer.recipes import Places, Recipe, tiny
from trainer.runs import Run, UnusableRun
from trainer.soup import LINEAGE
from trainer.stages import is_finished, run_recipe, run_soup, run_stage
from trainer.task_files import BadTasks
from trainer.teachers import NoTeacher

NAMES = ("pretrain", "finetune", "distill", "soup")
FOLDERS = tuple(f"{number}-{name}" for number, name in enumerate(NAMES, start=1))


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """On cores that others use as well a second thread makes models of this size slower."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory):
    """A folder with one task."""
    folder = tmp_path_factory.mktemp("tasks")
    (folder / "similar").mkdir()
    pairs = {
        "text1": ["bees make honey", "the light of stars", "a planet in orbit", "蜂蜜"],
        "text2": ["honey is made by bees", "stars shine", "the hive", "望远镜"],
        "score": [1.0, 0.8, 0.1, 0.0],
    }
    pq.write_table(pa.table(pairs), folder / "similar" / "pairs.parquet")
    return folder


@pytest.fixture(scope="module")
def recipe(articles, evaluation, tiny_checkpoint):
    """The recipe ``tiny``, cut to a few steps."""
    teachers = [{"model": str(tiny_checkpoint("qwen3")), "languages": ["en"]}]
    whole = tiny(Places(data=f"articles:{articles}", evaluation=str(evaluation)))
    return whole.changed(
        [
            "max_steps=3",
            "batch_size=8",
            "log_every=1",
            "checkpoint_every=1",
            "runtime.device=cpu",
            "data.max_query_tokens=24",
            "data.max_document_tokens=32",
            f"distill.teachers={json.dumps(teachers)}",
        ]
    )


@pytest.fixture(scope="module")
def finished(recipe, tmp_path_factory):
    """The folder of a run of all stages; tests only read it."""
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    model = run_recipe(recipe, folder, command="kalm train all")
    assert model == folder / "4-soup" / "model"
    return folder


@pytest.fixture
def stage(recipe):
    """The first stage, two steps, with some settings changed."""

    def make(*assignments):
        return recipe.changed(["max_steps=2", "evaluation=", *assignments]).stages[0]

    return make


def files(folder):
    """Every file and when it was written."""
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def nothing_was_trained(folder):
    return not any((folder / name).exists() for name in ("manifest.json", "checkpoints", "model", "metrics.jsonl"))


# A whole recipe


def test_every_stage_leaves_its_folder(finished):
    assert sorted(path.name for path in finished.iterdir()) == list(FOLDERS)
    for name in FOLDERS:
        run = Run.open(finished / name)
        assert is_finished(run)
        assert run.plot_png.stat().st_size > 1000
        assert run.plot_html.is_file()
        assert run.card.read_text() == (run.model / "README.md").read_text()
        assert Embedder.load(str(run.model), device="cpu", dtype="float32").dims == (64, 32, 16)
        assert not list(run.folder.glob(".*.part"))


def test_manifests_say_what_was_done(finished, recipe):
    for name, config in zip(FOLDERS[:3], recipe.stages[:3], strict=True):
        facts = Run.open(finished / name).facts()
        assert (facts.stage, facts.steps, facts.command, facts.seed) == (config.name, 3, "kalm train all", 42)
        assert {source.name for source in facts.sources} == set(facts.digests)
        assert {"titles-en", "topics-zh", "closeness-en"} <= set(facts.digests)
        assert facts.tokens > 3 * 8 * 2
        assert facts.scores.keys() == facts.scores_before.keys() == {"similar"}


def test_metrics_have_a_line_for_every_step_and_the_scores_before_and_after(finished):
    for name in FOLDERS[:3]:
        lines = read_metrics(finished / name / "metrics.jsonl")
        losses = [line for line in lines if "loss/total" in line]
        scores = [line for line in lines if "eval/similar" in line]
        assert [line["step"] for line in losses] == [1, 2, 3]
        assert all(line["loss/total"] > 0 and line["speed/tokens_per_second"] > 0 for line in losses)
        assert all(0 <= line["padding/share"] < 1 and line["gradient/norm"] > 0 for line in losses)
        assert [line["step"] for line in scores] == [0, 3]
        assert {"eval/mean/en"} <= scores[0].keys()


def test_each_stage_starts_from_the_one_before(finished):
    for before, name in zip(FOLDERS, FOLDERS[1:3], strict=False):
        run = Run.open(finished / name)
        assert run.config.base.path == str(finished / before / "model")
        # Scored on the same texts before its first step: what the stage before had reached.
        assert run.facts().scores_before == pytest.approx(Run.open(finished / before).facts().scores, abs=1e-3)
    assert Run.open(finished / "1-pretrain").config.base.path == "random:qwen2-tiny"


def test_the_scores_are_those_of_the_finished_model(finished, evaluation):
    tasks = load_tasks(evaluation, 100)
    run = Run.open(finished / "3-distill")
    encoder = Embedder.load(str(run.model), device="cpu", dtype="float32")

    def encode(texts, side, task):
        return (encoder.encode_queries if side == "query" else encoder.encode_documents)(texts, task=task)

    assert run.facts().scores == pytest.approx(evaluate(tasks, encode), abs=1e-3)


def test_the_stages_change_the_weights(finished):
    weights = [load_file(finished / name / "model" / "model.safetensors") for name in FOLDERS]
    for one, other in zip(weights, weights[1:], strict=False):
        assert one.keys() == other.keys()
        assert any(not torch.equal(value, other[name]) for name, value in one.items())


def test_only_what_teachers_teach_is_cached(finished):
    assert (finished / "3-distill" / "teachers.sqlite").is_file()
    assert not (finished / "2-finetune" / "teachers.sqlite").exists()


def test_the_soup_is_the_mean_of_the_kept_checkpoints_and_the_model(finished):
    distill, soup = finished / "3-distill", finished / "4-soup"
    members = [distill / "models" / "step-00000002", distill / "model"]  # two checkpoints are kept
    assert Run.open(soup).config.members == tuple(str(member) for member in members)
    lineage = json.loads((soup / "model" / LINEAGE).read_text())
    assert [(member["name"], member["weight"]) for member in lineage["members"]] == [
        ("models/step-00000002", 0.5),
        ("3-distill/model", 0.5),
    ]
    one, other, mean = (load_file(folder / "model.safetensors") for folder in (*members, soup / "model"))
    assert any(not torch.equal(value, other[name]) for name, value in one.items())
    for name, value in mean.items():
        torch.testing.assert_close(value, (one[name].double() + other[name].double()).div(2).float(), rtol=0, atol=0)


def test_the_card_tells_of_all_stages(finished):
    card = (finished / "4-soup" / "README.md").read_text()
    assert "pretrain, finetune, distill, soup" in card
    assert "titles-en" in card


def test_a_finished_recipe_is_left_alone(finished, recipe, monkeypatch):
    before = files(finished)
    monkeypatch.setattr(stages, "TrainingData", None)  # nothing is opened
    monkeypatch.setattr(stages, "make_soup", None)
    assert run_recipe(recipe, finished) == finished / "4-soup" / "model"
    assert files(finished) == before


def test_a_folder_of_another_run_is_refused(finished, recipe):
    before = files(finished)
    with pytest.raises(UnusableRun, match=r"1-pretrain holds a run with seed = 42 and not 7; choose another folder"):
        run_recipe(recipe.changed(["seed=7"]), finished)
    assert files(finished) == before


def test_a_run_that_lost_its_model_makes_it_again_from_its_checkpoint(finished, recipe, tmp_path):
    folder = tmp_path / "1-pretrain"
    shutil.copytree(finished / "1-pretrain", folder)
    weights = load_file(folder / "model" / "model.safetensors")
    lines = read_metrics(folder / "metrics.jsonl")
    shutil.rmtree(folder / "model")
    run = run_stage(recipe.stages[0], folder)
    again = load_file(run.model / "model.safetensors")
    assert all(torch.equal(again[name], value) for name, value in weights.items())
    assert [line["step"] for line in read_metrics(folder / "metrics.jsonl")][: len(lines) - 1] == [
        line["step"] for line in lines[:-1]
    ]
    assert len(run.facts().resumed) == 1


def test_a_run_that_was_killed_while_it_finished_finishes(finished, recipe, tmp_path):
    folder = tmp_path / "1-pretrain"
    shutil.copytree(finished / "1-pretrain", folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | {"finished": None}))
    (folder / "README.md").unlink()
    (folder / ".model.part").mkdir()
    run = run_stage(recipe.stages[0], folder)
    assert is_finished(run)
    assert run.card.is_file()
    assert not list(folder.glob(".*.part"))


# Single stages


def test_a_stage_with_adapters_and_recomputed_activations(stage, tmp_path):
    run = run_stage(stage('lora={"rank": 2}', "runtime.gradient_checkpointing=true"), tmp_path / "run")
    assert run.facts().steps == 2
    names = load_file(run.model / "model.safetensors").keys()
    assert "layers.0.self_attn.q_proj.weight" in names
    assert not [name for name in names if "lora" in name]


def test_the_same_stage_gives_the_same_model(stage, tmp_path):
    one, other = (run_stage(stage(), tmp_path / name) for name in ("one", "other"))
    first, second = (load_file(run.model / "model.safetensors") for run in (one, other))
    assert all(torch.equal(second[name], value) for name, value in first.items())
    assert one.facts().scores == {}


def test_an_unlisted_teacher_cache_is_the_runs_and_a_listed_one_is_shared(finished, recipe, tmp_path):
    cache = tmp_path / "shared" / "teachers.sqlite"
    distill = recipe.changed([f"distill.teacher_cache={cache}", "max_steps=1", "evaluation="]).stages[2]
    start = BackboneConfig(path=str(finished / "2-finetune" / "model"))
    run = run_stage(distill.model_copy(update={"base": start}), tmp_path / "run")
    assert cache.is_file()
    assert not (run.folder / "teachers.sqlite").exists()


def test_greedy_soups_choose_by_the_evaluation(finished, evaluation, tmp_path):
    members = tuple(str(finished / name / "model") for name in FOLDERS[:3])
    run = run_soup(SoupConfig(members=members, method="greedy", evaluation=str(evaluation)), tmp_path / "soup")
    lineage = json.loads((run.model / LINEAGE).read_text())
    assert lineage["score"] >= max(member["score"] for member in lineage["members"])
    assert run.facts().scores["similar"] == pytest.approx(lineage["score"], abs=0.5)


# What is refused before any work


@pytest.mark.parametrize(
    ("assignments", "kind", "said"),
    [
        (["loss.dims=[128, 64]", "loss.weights=[1, 1]"], InvalidConfig, "let loss.dims begin with 64"),
        (["loss.dims=[32]", "loss.weights=[1]"], InvalidConfig, "let loss.dims begin with 64"),
        (["evaluation=nowhere"], BadTasks, "There is no evaluation folder nowhere"),
        (["data.root=nowhere"], InvalidData, "There is no folder 'nowhere'"),
        (["data.root=articles:nowhere"], InvalidData, "There is no Markdown article in nowhere"),
        (["base.path="], AppError, "No model is named to start from"),
        (["base.path=random:huge"], AppError, "There is no random model 'huge'"),
        (["base.path=nowhere/model"], AppError, "nowhere/model"),
        (["base.layers=[7]"], AppError, "The model has layers 0 to 2"),
        (['lora={"targets": ["x"]}'], InvalidConfig, "lora.targets names no layer"),
        (
            ['teachers=[{"model": "nowhere/teacher"}]', "loss.distill_weight=1"],
            AppError,
            "nowhere/teacher",
        ),
    ],
)
def test_what_does_not_fit_is_said_before_any_work(stage, tmp_path, monkeypatch, assignments, kind, said):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(kind) as refused:
        run_stage(stage(*assignments), tmp_path / "run")
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)
    assert nothing_was_trained(tmp_path / "run")


def test_empty_data_is_refused_before_any_work(stage, tmp_path):
    (tmp_path / "data").mkdir()
    with pytest.raises(InvalidData, match="There is no parquet or JSONL file"):
        run_stage(stage(f"data.root={tmp_path / 'data'}"), tmp_path / "run")
    pq.write_table(pa.table({"query": pa.array([], pa.string()), "positive": []}), tmp_path / "data" / "a.parquet")
    with pytest.raises(InvalidData, match="The source a is empty; leave it out"):
        run_stage(stage(f"data.root={tmp_path / 'data'}"), tmp_path / "run")
    assert nothing_was_trained(tmp_path / "run")


def test_teachers_of_other_languages_are_refused_before_any_work(stage, tmp_path, tiny_checkpoint):
    teachers = json.dumps([{"model": str(tiny_checkpoint()), "languages": ["fr"]}])
    with pytest.raises(NoTeacher, match="No teacher knows the languages"):
        run_stage(stage(f"teachers={teachers}", "loss.distill_weight=1"), tmp_path / "run")
    assert nothing_was_trained(tmp_path / "run")


def test_too_little_disk_is_refused_before_any_work(stage, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(total=10**9, used=10**9, free=1000))
    with pytest.raises(DiskFull) as refused:
        run_stage(stage(), tmp_path / "run")
    assert "1,000 free; make room, keep fewer with checkpoints_kept, or train in another folder." in str(refused.value)
    assert "\n" not in str(refused.value)
    assert nothing_was_trained(tmp_path / "run")


def test_room_that_is_asked_for_is_enough(stage, tmp_path, monkeypatch):
    config = stage("checkpoint_every=1", "checkpoints_kept=1")
    free = SimpleNamespace(total=0, used=0, free=0)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: free)
    with pytest.raises(DiskFull) as refused:
        run_stage(config, tmp_path / "run")
    needed = int(str(refused.value).split()[3].replace(",", ""))
    monkeypatch.undo()
    run = run_stage(config, tmp_path / "run")
    kept = [*run.folder.glob("checkpoints/*/*"), *run.model.glob("*.safetensors")]
    state = sum(path.stat().st_size for path in run.folder.glob("checkpoints/*/*"))
    assert needed >= 0.95 * (sum(path.stat().st_size for path in kept) + state)


def test_a_run_that_another_process_has_is_refused(stage, tmp_path):
    run = Run.create(tmp_path / "run", stage())
    with run.lock(), pytest.raises(UnusableRun, match="Another process is training in"):
        run_stage(stage(), tmp_path / "run")
    assert nothing_was_trained(tmp_path / "run")


def test_soups_of_nothing_and_of_strangers_are_refused(finished, tiny_checkpoint, tmp_path):
    with pytest.raises(AppError, match="A soup needs members"):
        run_recipe(Recipe("soup", "", (SoupConfig(),)), tmp_path / "nothing")
    members = (str(finished / "1-pretrain" / "model"), str(tiny_checkpoint()))
    with pytest.raises(AppError, match="cannot be averaged"):
        run_soup(SoupConfig(members=members), tmp_path / "strangers")
    assert not (tmp_path / "strangers" / "model").exists()
