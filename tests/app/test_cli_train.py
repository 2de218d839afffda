"""``kalm train``: a recipe from one command, single stages, plans before work, and what is refused."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.torch import load_file

from embedder import Embedder
from trainer.runs import Run

WORDS = {
    "bees": ["honey", "nectar", "wings", "hive"],
    "stars": ["light", "gravity", "planet", "orbit"],
    "蜜蜂": ["蜂蜜", "花蜜", "翅膀", "蜂巢"],
    "星星": ["光线", "引力", "行星", "轨道"],
}
QUICK = ["max_steps=1", "batch_size=4", "data.max_query_tokens=16", "data.max_document_tokens=24", "runtime.device=cpu"]


def article(topic, word):
    if topic.isascii():
        return f"# {topic} and {word}\n\nThe {word} matters to {topic}. We watch it.\n\n## More\n\nA {word} is old.\n"
    return f"# {topic}和{word}\n\n{word}对{topic}很重要。人们观察{word}。\n\n## 更多\n\n{word}很古老。\n"


def settings(*assignments):
    return [part for assignment in assignments for part in ("--set", assignment)]


def lay_out(folder):
    for topic, words in WORDS.items():
        (folder / topic).mkdir(parents=True)
        for word in words:
            (folder / topic / f"{word}.md").write_text(article(topic, word), encoding="utf-8")


@pytest.fixture
def notes(cli):
    """The data of a command: articles in a folder ``notes``."""
    lay_out(cli.folder / "notes")
    return "articles:notes"


@pytest.fixture(scope="module")
def trained(module_cli, tiny_model):
    """A finished run of all stages in the folder ``runs``; tests only read it."""
    lay_out(module_cli.folder / "notes")
    teachers = json.dumps([{"model": str(tiny_model), "languages": ["en"]}])
    arguments = settings(*QUICK, "seed=7", "pretrain.max_steps=2", f"distill.teachers={teachers}")
    typed = ["train", "all", "--recipe", "tiny", "--data", "articles:notes", "--out", "runs", *arguments]
    outcome = module_cli(*typed)
    assert outcome.code == 0, outcome.err
    return module_cli, typed, outcome


# Training


def test_all_stages_run_from_one_command(trained):
    cli, _, outcome = trained
    runs = [Run.open(cli.folder / "runs" / name) for name in ("1-pretrain", "2-finetune", "3-distill", "4-soup")]
    assert [run.facts().stage for run in runs] == ["pretrain", "finetune", "distill", "soup"]
    assert [run.facts().steps for run in runs[:3]] == [2, 1, 1]
    assert [run.facts().seed for run in runs[:3]] == [7, 7, 7]
    assert outcome.out == ""
    said = "The model is in runs/4-soup/model; use it with --model or KALM_MODEL=runs/4-soup/model."
    assert outcome.err.splitlines()[-1] == said
    assert "1-pretrain: step 2 of 2, loss " in outcome.err
    assert "Traceback" not in outcome.err


def test_what_was_typed_can_be_typed_again(trained):
    cli, _, _ = trained
    command = Run.open(cli.folder / "runs" / "1-pretrain").facts().command
    assert command.startswith("kalm train all --recipe tiny --data articles:notes --out runs --set max_steps=1 ")
    assert "'distill.teachers=[{" in command  # quoted, as a shell needs it


def test_the_model_embeds(trained):
    cli, _, _ = trained
    encoder = Embedder.load(str(cli.folder / "runs" / "4-soup" / "model"), device="cpu")
    assert encoder.encode_queries(["bees", "蜜蜂"]).shape == (2, 64)


def test_the_same_command_does_nothing_more(trained):
    cli, typed, outcome = trained
    before = {path: path.stat().st_mtime_ns for path in (cli.folder / "runs").rglob("*")}
    again = cli(*typed)
    assert (again.code, again.out) == (0, "")
    assert again.err == outcome.err.splitlines()[-1] + "\n"
    assert {path: path.stat().st_mtime_ns for path in (cli.folder / "runs").rglob("*")} == before


def test_another_setting_wants_another_folder(trained):
    cli, typed, _ = trained
    assert "holds a run with seed = 7 and not 8; choose another folder" in cli(*typed, "--set", "seed=8").refusal


def test_a_stage_goes_on_from_a_model(cli, notes, trained):
    base = trained[0].folder / "runs" / "1-pretrain" / "model"
    quick = settings(*QUICK)
    done = cli("train", "finetune", "--recipe", "tiny", "--base", base, "--data", notes, "--out", "more", *quick)
    assert done.code == 0, done.err
    run = Run.open(cli.folder / "more")
    assert (run.facts().stage, run.config.base.path) == ("finetune", str(base))
    assert load_file(run.model / "model.safetensors").keys() == load_file(base / "model.safetensors").keys()


def test_models_are_averaged(cli, trained):
    runs = trained[0].folder / "runs"
    members = [runs / "1-pretrain" / "model", runs / "2-finetune" / "model"]
    done = cli("train", "soup", *members, "--out", "soup", *settings("method=weighted", "weights=[1, 3]"))
    assert done.code == 0, done.err
    assert done.err == "The model is in soup/model; use it with --model or KALM_MODEL=soup/model.\n"
    lineage = json.loads((cli.folder / "soup" / "model" / "soup.json").read_text())
    assert [member["weight"] for member in lineage["members"]] == [0.25, 0.75]


# Plans


def test_a_dry_run_of_a_recipe_shows_every_stage_and_makes_nothing(cli, notes):
    shown = cli("train", "all", "--data", notes, "--out", "runs", "--dry-run", *settings(*QUICK, "distill.max_steps=3"))
    assert (shown.code, shown.err) == (0, "")
    assert not (cli.folder / "runs").exists()
    heads = [line for line in shown.out.splitlines() if "learning rate" in line]
    assert heads == [
        "pretrain: random:qwen2-tiny, steps: 1, queries of a step: 4, learning rate 0.002, rows as counted",
        "finetune: the stage before, steps: 1, queries of a step: 4, learning rate 0.001, rows as counted",
        "distill: the stage before, steps: 3, queries of a step: 4, learning rate 0.001, rows as counted",
    ]
    assert shown.out.endswith("soup: averages the models before it\n")
    rows = [line for line in shown.out.splitlines() if "closeness-zh" in line]
    assert len(rows) == 3
    symmetric = r"'Instruct: Retrieve semantically similar text \n Query: '"
    assert [cell.strip() for cell in rows[0].split("│")[1:-1]][-3:] == ["zh", symmetric, symmetric]
    assert "graded" in rows[0]


def test_a_dry_run_of_published_data_needs_none_of_it(cli):
    base = ["--base", "models/base", "--out", "run", "--dry-run"]
    shown = cli("train", "finetune", *base)
    assert (shown.code, shown.err) == (0, "")
    head, *table = shown.out.splitlines()
    assert head.startswith("finetune: models/base, ")
    assert head.endswith(", queries of a step: 192, learning rate 1e-05, rows as declared")
    row = next(line for line in table if "T2Ranking" in line)
    assert [cell.strip() for cell in row.split("│")[1:-1]] == [
        "T2Ranking",
        "contrastive",
        "188,606",
        "188,606",
        "1",
        "zh",
        "''",
        "''",
    ]
    assert not (cli.folder / "run").exists()
    shown = cli("train", "pretrain", "--out", "run", "--dry-run")
    assert "steps unknown until the rows are counted, queries of a step: 4,096" in shown.out
    assert next(line for line in shown.out.splitlines() if "reddit" in line).count("?") == 2
    shown = cli("train", "distill", *base, "--set", "max_steps=5")
    assert shown.out.startswith("distill: models/base, steps: 5, ")


# Help and refusals


@pytest.mark.parametrize("command", ["pretrain", "finetune", "distill", "soup", "all"])
def test_every_command_explains_itself(cli, command):
    shown = cli("train", command, "--help")
    assert shown.code == 0
    assert f"Example: kalm train {command} " in shown.out
    assert "--set" in shown.out


def test_the_group_lists_its_commands(cli):
    assert {"pretrain", "finetune", "distill", "soup", "all"} <= set(cli("train").out.split())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["all", "--recipe", "kalm_v9"], "There is no recipe 'kalm_v9'; there are kalm_v2, kalm_v2_5, nano, tiny."),
        (["distill", "--recipe", "kalm_v2", "--base", "m"], "The recipe kalm_v2 has no stage 'distill'; it has "),
        (["all", "--set", "seeds=1"], "There is no setting 'seeds'; there are base, batch_size, "),
        (["all", "--set", "pretrain.loss.tau=1"], "There is no setting 'loss.tau'; there are contrastive_weight, "),
        (["all", "--set", "seed"], "--set seed has no value; write it as key=value."),
        (["pretrain", "--set", "batch_size=none"], "The setting batch_size cannot be used: Input should be"),
        (["all", "--data", "articles:nowhere"], "There is no Markdown article in nowhere; set data.root"),
        (["all", "--data", "articles:nowhere", "--dry-run"], "There is no Markdown article in nowhere; set data.root"),
        (["pretrain", "--recipe", "tiny", "--data", "nowhere"], "There is no folder 'nowhere' to take training data"),
        (["finetune", "--recipe", "tiny", "--base", "no/where"], "no/where"),
        (["pretrain", "--recipe", "tiny", "--evaluation", "nowhere"], "There is no evaluation folder nowhere;"),
        (["soup", "nowhere"], "nowhere is not a model folder: it has no config.json"),
        (["soup", "one", "one"], "A member of the soup is named twice"),
        (["soup", "one", "--set", "method=greedy"], "method=greedy needs an evaluation folder"),
        (["soup", "one", "--set", "recipe=1"], "There is no setting 'recipe'; there are evaluation, "),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(cli, notes, arguments, said):
    data = [] if "--data" in arguments or arguments[0] == "soup" else ["--data", notes]
    assert said in cli("train", *arguments, *data, "--out", "run").refusal
    assert not list(cli.folder.rglob("model.safetensors"))


def test_a_folder_of_something_else_is_left_alone(cli, notes, write):
    write(cli.folder / "run", **{"letter.txt": "dear"})
    refused = cli("train", "pretrain", "--recipe", "tiny", "--data", notes, "--out", "run").refusal
    assert "holds files that are not a run" in refused
    assert [path.name for path in (cli.folder / "run").iterdir()] == ["letter.txt"]


def test_an_option_that_is_needed_is_asked_for(cli):
    assert "--out" in cli("train", "all").err
    assert cli("train", "all").code == 2
    assert "--base" in cli("train", "finetune", "--out", "run").err


def test_a_place_that_cannot_be_written_is_named(cli, write, tiny_checkpoint):
    (cli.folder / "taken").write_text("a file where a folder is wanted")
    catalogue = 'msgid ""\nmsgstr ""\n"Content-Type: text/plain; charset=UTF-8\\n"\n\n'
    sentence = 'msgid "Bees make honey from nectar."\nmsgstr "蜜蜂用花蜜酿造蜂蜜。"\n'
    write(cli.folder / "po", **{"zh_CN.po": catalogue + sentence})
    assert "taken/x.parquet cannot be written" in cli("train", "pairs", "po", "--out", "taken/x.parquet").refusal
    assert "Sentence pairs in made/x.parquet: 1." in cli("train", "pairs", "po", "--out", "made/x.parquet").out
    assert (
        "taken/x cannot be written" in cli("train", "pack", str(tiny_checkpoint("qwen2")), "--out", "taken/x").refusal
    )
    assert "not in 5" in cli("train", "pack", "anything", "--out", "x", "--bits", "5").refusal
    assert "has no weights to pack" in cli("train", "pack", "nowhere", "--out", "x").refusal


def test_a_table_of_longer_texts_becomes_passages(cli):
    sentences = "".join(f"Number {number} is what this long sentence of the text is about. " for number in range(40))
    pq.write_table(pa.table({"positive": [sentences]}), cli.folder / "texts.parquet")
    assert "rows. Train on them" in cli("train", "passages", "texts.parquet", "--out", "made/passages.parquet").out
    assert pq.read_table(cli.folder / "made/passages.parquet").column_names == ["query", "positive", "negatives"]
    assert "no column 'query'" in cli("train", "passages", "texts.parquet", "--joined", "--out", "x.parquet").refusal
    assert "cannot be read" in cli("train", "passages", "away.parquet", "--out", "x.parquet").refusal
