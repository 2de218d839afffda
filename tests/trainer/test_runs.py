"""Run folders: the same settings go on, others are refused, one process at a time, and a manifest of it all."""

import json
import logging
import subprocess
import sys
from datetime import datetime

import pytest
from pydantic import ValidationError

from trainer import runs
from trainer.config import DataConfig, LossConfig, SoupConfig, Source, StageConfig, override
from trainer.provenance import code, commit_of, hardware, versions
from trainer.runs import Run, SourceFacts, UnusableRun

CONFIG = StageConfig(
    name="finetune",
    data=DataConfig(sources=(Source(name="a", path="a.parquet"), Source(name="b", path="b.parquet"))),
    loss=LossConfig(negatives_per_query=7),
    seed=7,
    checkpoints_kept=3,
)


def test_a_run_is_made_and_found_again(tmp_path):
    made = Run.create(tmp_path / "runs" / "one", CONFIG)
    assert json.loads((made.folder / "config.json").read_text()) == CONFIG.model_dump(mode="json")
    assert Run.open(made.folder).config == Run.create(made.folder, CONFIG).config == CONFIG
    assert made.checkpoints().folder == made.folder / "checkpoints"
    assert made.facts() is None


def test_a_soup_is_a_run(tmp_path):
    soup = SoupConfig(members=("x", "y"))
    Run.create(tmp_path / "soup", soup)
    opened = Run.open(tmp_path / "soup")
    assert opened.config == soup
    assert opened.begin().facts.seed is None
    assert opened.checkpoints().latest() is None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("loss.temperature=0.02", r"loss\.temperature = 0\.01 and not 0\.02;"),
        ("name=distill", 'name = "finetune" and not "distill";'),
        ("max_steps=3", "max_steps = null and not 3;"),
        ("data.sources=[]", r"data\.sources = \[\{.*\.\.\. and not \[\];"),
    ],
)
def test_another_run_is_refused_by_its_first_difference(tmp_path, change, said):
    Run.create(tmp_path, CONFIG).begin()
    with pytest.raises(UnusableRun, match=said):
        Run.create(tmp_path, override(CONFIG, [change]))


def test_a_difference_inside_a_list_is_named(tmp_path):
    Run.create(tmp_path, CONFIG).begin()
    a, b = CONFIG.data.sources
    sources = (a, b.model_copy(update={"weight": 2.0}))
    with pytest.raises(UnusableRun, match=r"data\.sources\.1\.weight = 1\.0 and not 2\.0;"):
        Run.create(tmp_path, CONFIG.model_copy(update={"data": DataConfig(sources=sources)}))


def test_a_soup_is_not_a_stage(tmp_path):
    Run.create(tmp_path, SoupConfig()).begin()
    with pytest.raises(UnusableRun, match='name = "soup" and not "finetune"'):
        Run.create(tmp_path, CONFIG)


def test_settings_that_were_refused_before_the_run_began_can_be_corrected(tmp_path):
    Run.create(tmp_path, CONFIG)
    corrected = override(CONFIG, ["max_steps=3"])
    assert Run.create(tmp_path, corrected).config == corrected
    assert Run.open(tmp_path).config == corrected


def test_folders_that_are_no_run(tmp_path):
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "a.txt").write_text("dear")
    with pytest.raises(UnusableRun, match="holds files that are not a run"):
        Run.create(tmp_path / "letters", CONFIG)
    with pytest.raises(UnusableRun, match="cannot be made: (File exists|Not a directory)"):
        Run.create(tmp_path / "letters" / "a.txt", CONFIG)
    with pytest.raises(UnusableRun, match="holds no run"):
        Run.open(tmp_path / "letters")
    (tmp_path / "letters" / "config.json").write_text("{")
    with pytest.raises(UnusableRun, match="not what a trainer writes"):
        Run.open(tmp_path / "letters")
    (tmp_path / "letters" / "manifest.json").write_text('{"seed": 1}')
    with pytest.raises(UnusableRun, match=r"manifest\.json is not what"):
        Run(tmp_path / "letters", CONFIG).facts()


def test_a_start_killed_at_once_does_not_bar_the_folder(tmp_path):
    (tmp_path / ".config.json.tmp").write_text("{")
    assert Run.create(tmp_path, CONFIG).config == CONFIG


_HOLD = """
import sys
from pathlib import Path
from trainer.runs import Run
with Run.open(Path(sys.argv[1])).lock():
    print("locked", flush=True)
    sys.stdin.read()
"""


def test_one_process_at_a_time(tmp_path):
    run = Run.create(tmp_path, CONFIG)
    with subprocess.Popen(
        [sys.executable, "-c", _HOLD, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout.readline() == "locked\n"
        with pytest.raises(UnusableRun, match="Another process is training in"), run.lock():
            pytest.fail("both have the lock")
        other.kill()  # a killed process leaves no lock behind
        other.wait()
        with run.lock():
            assert Run.open(tmp_path).config == CONFIG
    with run.lock():
        pass


def test_errors_of_the_block_pass_through_the_lock(tmp_path):
    run = Run.create(tmp_path, CONFIG)
    with pytest.raises(BlockingIOError), run.lock():
        raise BlockingIOError


def test_a_manifest_from_start_to_end(tmp_path, monkeypatch):
    clock = iter([0.0, 1.0, 5.0, 100.0, 100.5, 102.0])
    monkeypatch.setattr(runs.time, "monotonic", lambda: next(clock))
    run = Run.create(tmp_path, CONFIG)
    sources = [SourceFacts(name="a", rows=3, licence="MIT", languages=("en",)), SourceFacts(name="b", rows=4)]
    manifest = run.begin(
        sources=sources, digests={"a": "1", "b": "2"}, world_size=2, command="kalm train finetune", base_model="x/y"
    )
    facts = manifest.update(steps=10, tokens=1000)
    assert (facts.stage, facts.seed, facts.steps, facts.tokens, facts.seconds) == ("finetune", 7, 10, 1000, 5.0)
    assert facts.config == CONFIG.model_dump(mode="json")
    assert facts.hardware["processes"] == 2
    assert facts.resumed == ()
    again = Run.open(tmp_path).begin(digests={"a": "1", "b": "2"})
    assert len(again.facts.resumed) == 1
    assert again.facts.hardware["processes"] == 1
    done = again.finish(steps=20, scores={"STS": 80.5})
    assert (done.steps, done.tokens, done.seconds) == (20, 1000, 7.0)
    assert datetime.fromisoformat(done.started) <= datetime.fromisoformat(done.finished)
    assert datetime.fromisoformat(done.finished).utcoffset().total_seconds() == 0
    read = Run.open(tmp_path).facts()
    assert read == done
    assert read.sources == tuple(sources)
    assert read.scores == {"STS": 80.5}
    assert not list(tmp_path.glob(".*.tmp"))


def test_a_manifest_takes_no_field_it_does_not_have(tmp_path):
    manifest = Run.create(tmp_path, CONFIG).begin()
    with pytest.raises(ValidationError):
        manifest.update(stpes=10)
    assert Run.open(tmp_path).facts() == manifest.facts


@pytest.mark.parametrize("digests", [{"a": "1", "b": "3"}, {"a": "1"}, {"a": "1", "b": "2", "c": "3"}])
def test_a_run_goes_on_only_with_its_data(tmp_path, digests):
    run = Run.create(tmp_path, CONFIG)
    run.begin(digests={"a": "1", "b": "2"})
    with pytest.raises(UnusableRun, match=r"The data of [bc] has changed since"):
        run.begin(digests=digests)


def test_changed_code_is_logged(tmp_path, monkeypatch, caplog):
    run = Run.create(tmp_path, CONFIG)
    run.begin()
    with caplog.at_level(logging.WARNING):
        run.begin()
        assert not caplog.records
        monkeypatch.setattr(runs, "code", lambda: {"version": "9", "commit": None, "digest": "other"})
        run.begin()
    assert "The code has changed" in caplog.text
    assert run.facts().code["digest"] == "other"


def test_commits_are_read_without_git(tmp_path):
    git = tmp_path / "repository" / ".git"
    (git / "refs" / "heads").mkdir(parents=True)
    assert commit_of(tmp_path) is None
    (git / "HEAD").write_text("ref: refs/heads/main\n")
    assert commit_of(git.parent) is None
    (git / "packed-refs").write_text("# pack-refs with: peeled\n" + "b" * 40 + " refs/heads/main\n^" + "c" * 40 + "\n")
    assert commit_of(git.parent) == "b" * 40
    (git / "refs" / "heads" / "main").write_text("a" * 40 + "\n")
    assert commit_of(git.parent) == "a" * 40
    (tree := git / "worktrees" / "other").mkdir(parents=True)
    (tree / "HEAD").write_text("ref: refs/heads/main\n")
    (tree / "commondir").write_text("../..\n")
    (linked := tmp_path / "linked").mkdir()
    (linked / ".git").write_text(f"gitdir: {tree}\n")
    assert commit_of(linked) == "a" * 40
    (git / "HEAD").write_text("d" * 40 + "\n")
    assert commit_of(git.parent) == "d" * 40


def test_where_a_result_came_from():
    assert code() == code()
    assert len(code()["digest"]) == 32
    assert hardware(3)["processes"] == 3
    assert hardware(1)["cores"] >= 1
    assert hardware(1)["cpu"]
    assert versions()["torch"]
