"""What a run tells of itself: sums over steps and processes, and nothing of steps that are taken back."""

import json
from types import SimpleNamespace

import pytest

from trainer.config import DataConfig, LossConfig, StageConfig
from trainer.metrics import MetricsLog, Window, read_metrics
from trainer.recorder import Recorder, StepFacts, merged
from trainer.runs import Run


class Progress:
    """Remembers what it was told."""

    def __init__(self):
        self.calls = []

    def advance(self, *facts):
        self.calls.append(facts)


def alone():
    return SimpleNamespace(world=1, gather_objects=lambda value: [value])


def facts(sources, losses, tokens=10, **more):
    values = {"hardness": 0.5, "padded_tokens": 2 * tokens, "gradient_norm": 3.0, "seconds": 2.0} | more
    return StepFacts(sources=sources, losses=losses, tokens=tokens, **values)


@pytest.fixture
def parts(tmp_path):
    run = Run.create(tmp_path / "run", StageConfig(name="pretrain", data=DataConfig(), loss=LossConfig()))
    log = MetricsLog(run.folder)
    made = SimpleNamespace(run=run, log=log, progress=Progress(), manifest=run.begin())
    made.recorder = Recorder(alone(), made.progress, log, made.manifest)
    yield made
    log.close()


def test_a_line_tells_of_the_steps_since_the_last(parts):
    recorder = parts.recorder
    recorder.add(facts(["a", "b", "a"], [1.0, 2.0, 3.0], gradient_norm=1.0))
    recorder.add(facts(["a"], [6.0], tokens=30, hardness=0.1))
    assert recorder.tokens == 40  # those of the window count
    recorder.log(2, 10, 1e-4)
    recorder.add(facts(["b"], [7.0]))
    recorder.log(3, 10, 5e-5)
    first, second = read_metrics(parts.run.metrics)
    assert first == pytest.approx(
        {
            "step": 2,
            "loss/total": 3.0,
            "loss/a": 10 / 3,
            "loss/b": 2.0,
            "gradient/norm": 2.0,
            "padding/share": 0.5,
            "hardness/mean": 0.3,
            "speed/tokens_per_second": 10.0,
            "learning_rate": 1e-4,
        }
    )
    assert (second["step"], second["loss/total"], second["learning_rate"]) == (3, 7.0, 5e-5)
    assert "loss/a" not in second
    assert parts.progress.calls == [(2, 10, 10.0, 3.0), (3, 10, 5.0, 7.0)]
    assert recorder.tokens == 50


def test_scores_go_into_the_metrics_and_the_manifest(parts):
    tasks = [
        SimpleNamespace(name=name, language=language) for name, language in (("x", "en"), ("y", "en"), ("z", "zh"))
    ]
    parts.recorder.scores(0, {"x": 10.0, "y": 30.0, "z": 5.0}, tasks)
    parts.recorder.scores(4, {"x": 20.0, "y": 40.0, "z": 6.0}, tasks)
    first, last = read_metrics(parts.run.metrics)
    assert first == {"step": 0, "eval/x": 10, "eval/y": 30, "eval/z": 5, "eval/mean/en": 20, "eval/mean/zh": 5}
    assert last == {"step": 4, "eval/x": 20, "eval/y": 40, "eval/z": 6, "eval/mean/en": 30, "eval/mean/zh": 6}
    written = parts.run.facts()
    assert written.scores_before == {"x": 10, "y": 30, "z": 5}
    assert written.scores == {"x": 20, "y": 40, "z": 6}


def test_a_checkpoint_is_noted_with_its_tokens(parts):
    parts.recorder.add(facts(["a"], [1.0]))
    parts.recorder.log(1, 9, 1e-4)
    parts.recorder.add(facts(["a"], [1.0]))
    parts.recorder.saved(2)
    assert (parts.run.facts().steps, parts.run.facts().tokens) == (2, 20)


def test_what_comes_after_a_checkpoint_is_forgotten(parts):
    for done in (1, 2, 3):
        parts.recorder.add(facts(["a"], [float(done)]))
        parts.recorder.log(done, 9, 1e-4)
    again = Recorder(alone(), parts.progress, parts.log, parts.manifest)
    again.resume(2, 20)
    assert [line["step"] for line in read_metrics(parts.run.metrics)] == [1, 2]
    again.add(facts(["a"], [30.0]))
    assert again.tokens == 30
    again.log(3, 9, 1e-4)
    assert [line["loss/total"] for line in read_metrics(parts.run.metrics)] == [1, 2, 30]


def test_a_loss_that_is_no_number_leaves_a_line_that_can_be_read(parts):
    parts.recorder.add(facts(["a"], [float("nan")]))
    parts.recorder.log(1, 9, 1e-4)
    assert json.loads(parts.run.metrics.read_text())["loss/total"] is None


def windows():
    first, second = Window(), Window()
    first.add({"a": (4.0, 2)}, 10, 20, 0.2, 3.0, 1.0)
    first.add({"a": (4.0, 2)}, 10, 20, 0.2, 5.0, 1.0)
    second.add({"a": (1.0, 1), "b": (3.0, 1)}, 30, 40, 0.6, 3.0, 1.5)
    second.add({"b": (8.0, 2)}, 30, 40, 0.6, 5.0, 1.5)
    return [first, second]


def test_processes_that_share_steps_are_added_up():
    whole = merged(windows())
    values = whole.values()
    assert values["loss/total"] == 20 / 8  # every row weighs the same
    assert (values["loss/a"], values["loss/b"]) == (9 / 5, 11 / 3)
    assert (whole.steps, whole.tokens, whole.padded_tokens, whole.seconds) == (2, 80, 120, 3.0)
    assert values["gradient/norm"] == 4.0  # the gradient is that of all
    assert values["hardness/mean"] == pytest.approx(0.4)
    assert merged(windows()[:1]) == windows()[0]


def test_only_the_first_process_writes(parts):
    both = windows()
    processes = SimpleNamespace(world=2, gather_objects=lambda value: both)
    other = Recorder(processes, Progress(), None, None)
    other.add(facts(["a"], [1.0], tokens=7))
    assert other.tokens == 14  # taken to be as many on each, until they tell
    other.log(2, 9, 1e-4)
    other.scores(2, {"x": 1.0}, [])
    other.saved(2)
    other.resume(0, 5)
    assert read_metrics(parts.run.metrics) == []
    assert parts.run.facts().steps == 0
    assert other.tokens == 5
    first = Recorder(processes, parts.progress, parts.log, parts.manifest)
    first.log(2, 9, 1e-4)
    assert first.tokens == 80
    assert read_metrics(parts.run.metrics)[0]["loss/total"] == 20 / 8
