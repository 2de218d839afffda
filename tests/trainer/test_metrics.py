"""Metrics: lines survive kills and rewinds, TensorBoard mirrors them, windows are means."""

import io
import json
import warnings

import pytest
from rich.console import Console

from trainer import progress
from trainer.metrics import MetricsLog, UnreadableMetrics, Window, read_metrics
from trainer.progress import TrainingProgress


def _write(folder, *steps):
    log = MetricsLog(folder)
    for step in steps:
        log.write(step, {"loss/total": 1 / step})
    log.close()


def _scalars(folder, name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    return [(event.step, round(event.value, 4)) for event in events.Scalars(name)]


def test_lines_are_there_at_once(tmp_path):
    log = MetricsLog(tmp_path / "run")
    log.write(10, {"loss/total": 0.5, "loss/中文": 2, "gradient/norm": float("nan")})
    path = tmp_path / "run" / "metrics.jsonl"
    assert path.read_text("utf-8") == '{"step": 10, "loss/total": 0.5, "loss/中文": 2.0, "gradient/norm": null}\n'
    log.close()
    assert read_metrics(path) == [{"step": 10, "loss/total": 0.5, "loss/中文": 2.0, "gradient/norm": None}]


def test_a_rewound_log_goes_on_from_the_step(tmp_path):
    _write(tmp_path, 10, 20, 30)
    log = MetricsLog(tmp_path)
    log.rewind(20)
    log.write(30, {"loss/total": 0.25})
    log.close()
    lines = read_metrics(tmp_path / "metrics.jsonl")
    assert [(line["step"], line["loss/total"]) for line in lines] == [(10, 0.1), (20, 0.05), (30, 0.25)]
    assert _scalars(tmp_path, "loss/total") == [(10, 0.1), (20, 0.05), (30, 0.25)]


def test_rewinding_an_open_log_and_an_empty_one(tmp_path):
    log = MetricsLog(tmp_path)
    log.rewind(0)
    log.write(1, {"loss/total": 1.0})
    log.rewind(0)
    log.write(2, {"loss/total": 2.0})
    log.close()
    assert read_metrics(tmp_path / "metrics.jsonl") == [{"step": 2, "loss/total": 2.0}]


@pytest.mark.parametrize("half", ['{"step": 30, "loss/to', '{"step": 30, "loss/total": 0.5}'], ids=["cut", "no break"])
def test_half_a_last_line_is_dropped(tmp_path, half):
    _write(tmp_path, 10, 20)
    path = tmp_path / "metrics.jsonl"
    with path.open("a") as file:
        file.write(half)
    assert [line["step"] for line in read_metrics(path)] == [10, 20]
    _write(tmp_path, 40)
    assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == [10, 20, 40]
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("line", ["{", "3", "{}", '{"step": "x"}'])
def test_a_line_of_something_else_is_named(tmp_path, line):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n' + line + "\n")
    with pytest.raises(UnreadableMetrics, match="Line 2 of"):
        read_metrics(path)


def test_a_file_that_is_not_there_has_no_lines(tmp_path):
    assert read_metrics(tmp_path / "metrics.jsonl") == []


def test_without_tensorboard_the_lines_are_written_and_it_is_said(tmp_path, monkeypatch, caplog):
    monkeypatch.setitem(__import__("sys").modules, "torch.utils.tensorboard", None)
    _write(tmp_path, 10, 20)
    assert len(read_metrics(tmp_path / "metrics.jsonl")) == 2
    assert caplog.text.count("TensorBoard is not installed") == 1


def test_a_window_holds_means():
    window = Window()
    assert window.values() == {}
    window.add({"a": (6.0, 3), "b": (1.0, 1)}, 80, 100, hardness=0.2, gradient_norm=1.0, seconds=0.5)
    window.add({"a": (2.0, 1)}, 70, 100, hardness=0.4, gradient_norm=2.0, seconds=1.0)
    assert window.values() == pytest.approx(
        {
            "loss/total": 9 / 5,
            "loss/a": 2.0,
            "loss/b": 1.0,
            "gradient/norm": 1.5,
            "padding/share": 0.25,
            "hardness/mean": 0.3,
            "speed/tokens_per_second": 100.0,
        }
    )


def _shown(monkeypatch, *, terminal=False, is_shown=True):
    clock = iter(range(0, 1000, 4))
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    out = io.StringIO()
    console = Console(file=out, force_terminal=terminal, width=200, markup=False)
    with TrainingProgress("finetune [x]", is_shown=is_shown, console=console) as bar:
        for step in range(101, 106):
            bar.advance(step, 105, 12345.6, 0.5)
    return out.getvalue()


def test_plain_lines_come_now_and_then_and_at_the_end(monkeypatch):
    assert _shown(monkeypatch) == (
        "finetune [x]: step 103 of 105, loss 0.5000, 12,346 tokens/s, about 8 s left\n"
        "finetune [x]: step 105 of 105, loss 0.5000, 12,346 tokens/s\n"
    )


def test_a_terminal_gets_a_bar(monkeypatch):
    shown = _shown(monkeypatch, terminal=True)
    assert "step 105 of 105, loss 0.5000, 12,346 tokens/s" in shown
    assert "100%" in shown
    assert "finetune [x]" in shown


def test_other_processes_show_nothing(monkeypatch):
    assert _shown(monkeypatch, is_shown=False) == ""
