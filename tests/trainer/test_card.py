"""Cards and plots: everything comes from the manifests and metrics, and nothing is fetched from anywhere."""

import json
import re

import pytest
from PIL import Image

from trainer.card import model_card, write_report
from trainer.config import (
    BackboneConfig,
    DataConfig,
    LoraConfig,
    LossConfig,
    SoupConfig,
    StageConfig,
    TeacherConfig,
)
from trainer.metrics import MetricsLog
from trainer.plots import plot_run
from trainer.runs import Facts, Run, SourceFacts


def _facts(config, **fields):
    plain = {
        "config": config.model_dump(mode="json"),
        "seed": 1,
        "command": "",
        "base_model": "",
        "base_licence": "",
        "sources": (),
        "digests": {},
        "code": {"version": "0.1.0", "commit": "abcdef0123456789", "digest": "d"},
        "hardware": {"cpu": "Some CPU", "cores": 2, "gpu": None, "gpus": 0, "processes": 1},
        "versions": {"torch": "2.13.0", "transformers": "5.23.0"},
        "started": "2025-01-01T00:00:00+00:00",
        "finished": "2025-01-01T01:00:00+00:00",
    }
    return Facts.model_validate(plain | fields)


def _all():
    pretrain = StageConfig(
        name="pretrain",
        data=DataConfig(),
        loss=LossConfig(),
        base=BackboneConfig(path="Qwen/Qwen2-0.5B"),
        batch_size=4096,
    )
    distill = StageConfig(
        name="distill",
        data=DataConfig(max_query_tokens=64),
        loss=LossConfig(
            dims=(896, 256),
            weights=(1.0, 0.3),
            negatives_per_query=7,
            focal_gamma=0.5,
            pair_mixes=1,
            distill_weight=1.0,
        ),
        teachers=(TeacherConfig(model="Qwen/Qwen3-Embedding-8B"), TeacherConfig(model="/home/someone/secret/big")),
        lora=LoraConfig(rank=16),
        max_tokens=1024,
        evaluation="tasks",
    )
    web = SourceFacts(name="web | pages", rows=1_000_000, weight=0.5, licence="MIT", languages=("zh", "en"))
    return [
        _facts(
            pretrain,
            base_model="Qwen/Qwen2-0.5B",
            base_licence="apache-2.0",
            sources=(web,),
            steps=244,
            tokens=51_000_000,
            seconds=7384.0,
            command="kalm train all --out runs/mine",
            scores_before={"STS": 40.0, "Web": 20.0},
            scores={"STS": 60.0, "Web": 45.5},
        ),
        _facts(
            distill,
            sources=(SourceFacts(name="<b>", rows=12),),
            steps=3,
            seconds=61.0,
            command="kalm train all --out runs/mine",
            hardware={"cpu": "x", "cores": 8, "gpu": "H200", "gpus": 2, "processes": 2},
            scores={"STS": 71.25},
        ),
        _facts(SoupConfig(members=("a", "b", "c"), method="uniform"), seed=None),
    ]


def _front_matter(card):
    _, head, _ = card.split("---\n", 2)
    return {key: json.loads(value) for key, value in (line.split(": ", 1) for line in head.splitlines())}


def _row(card, label):
    rows = [line for line in card.splitlines() if line.startswith(f"| {label} |")]
    assert len(rows) == 1, label
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", rows[0])[2:-1]]


def test_the_front_matter_is_what_the_hub_reads():
    assert _front_matter(model_card(_all(), name="mine")) == {
        "license": "apache-2.0",
        "language": ["en", "zh"],
        "library_name": "sentence-transformers",
        "pipeline_tag": "sentence-similarity",
        "tags": ["sentence-transformers", "feature-extraction", "kalm"],
        "base_model": "Qwen/Qwen2-0.5B",
    }


def test_every_stage_has_its_column():
    card = model_card(_all(), name="mine")
    assert "| | pretrain | distill | soup |" in card.replace("|  |", "| |")
    assert _row(card, "steps") == ["244", "3", "–"]
    assert _row(card, "tokens") == ["51,000,000", "–", "–"]
    assert _row(card, "batch size") == ["4,096", "512", "–"]
    assert _row(card, "learning rate") == ["1e-05", "1e-05", "–"]
    assert _row(card, "focal exponent") == ["–", "0.5", "–"]
    assert _row(card, "hard negatives per query") == ["–", "7", "–"]
    assert _row(card, "widths") == ["–", "896, 256", "–"]
    assert _row(card, "LoRA") == ["–", "rank 16, alpha 16", "–"]
    assert _row(card, "teachers") == ["–", "Qwen/Qwen3-Embedding-8B, big", "–"]
    assert _row(card, "averaged checkpoints") == ["–", "–", "3"]
    assert _row(card, "time") == ["2 h 3 min", "1 min 1 s", "0 min 0 s"]
    assert _row(card, "machine")[:2] == ["Some CPU, 2 cores, 1 process", "2 × H200, 2 processes"]
    assert _row(card, "code")[0] == "0.1.0 (abcdef012345)"
    assert "query-query" not in card  # off in every stage
    assert "secret" not in card


def test_data_and_scores():
    card = model_card(_all(), name="mine")
    assert r"| pretrain | web \| pages | 1,000,000 | 0.5 | zh, en | MIT |" in card
    assert "| distill | &lt;b> | 12 | 1 | – | – |" in card
    assert "| task | before | after pretrain | after distill |" in card
    assert _row(card, "STS") == ["40.00", "60.00", "71.25"]
    assert _row(card, "Web") == ["20.00", "45.50", "–"]
    assert _row(card, "mean") == ["30.00", "52.75", "–"]


def test_use_reproduction_and_limits():
    card = model_card(_all(), name="mine")
    assert 'Embedder.load("' in card
    assert 'SentenceTransformer("path/to/this/folder", truncate_dim=256)' in card
    assert card.count("kalm train all --out runs/mine") == 1
    assert "Its longest input is 1,024 tokens." in card
    assert "queries were cut to 64 tokens and documents to 512" in card
    assert "at most 2,000 queries" in card
    assert "not finished" not in card


def test_nothing_is_invented():
    config = StageConfig(
        name="finetune", data=DataConfig(), loss=LossConfig(), base=BackboneConfig(path="/home/me/base")
    )
    card = model_card([_facts(config, finished=None)], name="one")
    assert _front_matter(card).keys() == {"license", "library_name", "pipeline_tag", "tags"}
    assert _front_matter(card)["license"] == "unknown"
    assert "Made from base in these stages: finetune." in card
    assert "/home" not in card
    for absent in ("## Data", "## Scores", "truncate_dim", "```sh", "Trained on texts in", "cut to their first"):
        assert absent not in card
    assert "It was not evaluated." in card
    assert "The stage finetune was not finished." in card


def _measure(folder, steps, evaluate=True):
    log = MetricsLog(folder)
    log._has_board = False
    for step in range(1, steps + 1):
        spike = 1000.0 if step == steps // 2 else 1.0
        log.write(step, {"loss/total": 1 / step, "learning_rate": 1e-5, "gradient/norm": spike})
    if evaluate:
        log.write(steps, {"eval/mean/zh": 61.25, "eval/mean/en": 61.5, "eval/<i>STS": 0.0, "eval/Nan": float("nan")})
    log.close()
    return folder / "metrics.jsonl"


def _is_picture(path):
    with Image.open(path) as picture:
        picture.load()
        return picture.format == "PNG" and picture.size == (1600, 1024) and len(picture.getcolors(2**20)) > 20


def _is_self_contained(page):
    assert page.startswith("<!DOCTYPE html>")
    assert page.count("<svg") == page.count("</svg>") == 1
    assert page.rstrip().endswith("</html>")
    return not re.search(r"https?:|//\w|<script|<link|<img|@import|src=", page)


@pytest.mark.parametrize("steps", [1, 3, 500])
def test_plots_of_short_and_long_runs(tmp_path, steps):
    plot_run(_measure(tmp_path, steps), tmp_path / "a.png", tmp_path / "a.html", "fine & <tune> 向量 $x$")
    assert _is_picture(tmp_path / "a.png")
    page = (tmp_path / "a.html").read_text("utf-8")
    assert _is_self_contained(page)
    assert "<title>fine &amp; &lt;tune&gt; 向量 $x$</title>" in page
    assert "<td>mean, en</td><td>61.50</td><td>61.50</td>" in page
    assert "<td>&lt;i&gt;STS</td><td>0.00</td><td>0.00</td>" in page
    assert "Nan" not in page
    assert page.index("mean, zh") < page.index("STS")
    assert "zh  61.2" in page


def test_the_table_shows_first_and_last(tmp_path):
    log = MetricsLog(tmp_path)
    log._has_board = False
    for step, score in enumerate((50.0, 70.0, 60.0)):
        log.write(step, {"eval/STS": score})
    log.close()
    plot_run(tmp_path / "metrics.jsonl", tmp_path / "a.png", tmp_path / "a.html", "x")
    assert "<td>STS</td><td>50.00</td><td>60.00</td>" in (tmp_path / "a.html").read_text()


def test_a_run_without_measurements_has_plots_that_say_so(tmp_path):
    plot_run(tmp_path / "none.jsonl", tmp_path / "a.png", tmp_path / "a.html", "x")
    assert _is_picture(tmp_path / "a.png")
    page = (tmp_path / "a.html").read_text()
    assert page.count("nothing measured</text>") == 4
    assert "<table>" not in page


def test_the_same_metrics_give_the_same_page(tmp_path):
    metrics = _measure(tmp_path, 3)
    for name in ("a", "b"):
        plot_run(metrics, tmp_path / f"{name}.png", tmp_path / f"{name}.html", "x")
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()


def test_a_report_lies_in_the_run_and_in_the_model(tmp_path):
    run = Run.create(tmp_path / "mine", StageConfig(name="finetune", data=DataConfig(), loss=LossConfig()))
    with pytest.raises(ValueError, match="never begun"):
        write_report(run)
    run.begin(sources=[SourceFacts(name="letters", rows=9)]).finish(steps=3)
    _measure(run.folder, 3)
    write_report(run)
    assert not run.model.exists()
    run.model.mkdir()
    write_report(run, earlier=_all()[:1])
    card = run.card.read_text("utf-8")
    assert card == (run.model / "README.md").read_text("utf-8")
    assert "# mine" in card
    assert "| finetune | letters | 9 |" in card
    assert "| pretrain | web" in card
    assert _is_picture(run.plot_png)
    assert "mine: finetune" in run.plot_html.read_text("utf-8")
