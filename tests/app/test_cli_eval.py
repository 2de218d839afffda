"""``kalm eval``: what it says before, while and after it runs."""

import json
from pathlib import Path

import pytest
from task_cases import write_tasks

GUIDE = Path(__file__).parents[2] / "docs" / "evaluation.md"


@pytest.fixture(scope="module")
def tasks(module_cli):
    """A folder of tasks beside the data of a command line that the file's tests share."""
    return write_tasks(module_cli.folder / "tasks")


def test_scores_are_printed_written_and_not_made_twice(module_cli, tasks):
    asked = ["eval", "--tasks", "tasks", "--only", "TinySTS,TinyRetrieval", "--dim", 16, "--out", "out"]
    done = module_cli(*asked)
    assert done.code == 0
    prompt = r'"Instruct: Retrieve semantically similar text \n Query: "'
    assert done.err.startswith(f"TinySTS (STS)\n  every text  {prompt}\nTinyRetrieval (Retrieval)\n")
    assert '  documents   ""\n' in done.err
    assert done.out.startswith("| task | type | **tiny-qwen2, prompts kalm** | KaLM V1.5 | KaLM V2 | KaLM V2.5 |")
    out = module_cli.folder / "out"
    assert (out / "scores.md").read_text() == done.out
    written = json.loads((out / "scores.json").read_text())
    assert [one["task"] for one in written["tasks"]] == ["TinySTS", "TinyRetrieval"]
    assert written["settings"] == {
        "prompts": "kalm",
        "dim": 16,
        "dtype": "float32",
        "max_tokens": 128,
    }
    assert len(list(out.rglob("results/**/Tiny*.json"))) == 2
    again = module_cli(*asked)
    assert again.out == done.out
    assert again.err.count("from an earlier run") == 2
    other = module_cli(*asked, "--prompts", "none")  # other settings are other results
    assert "from an earlier run" not in other.err
    assert len(list(out.rglob("results/**/Tiny*.json"))) == 4


def test_prompts_are_shown_without_weights(module_cli):
    done = module_cli("eval", "--tasks", "@mteb-zh-v1", "--model", "kalm-v2.5", "--show-prompts")
    assert (done.code, done.err) == (0, "")
    assert done.out.count("(STS)\n") == 7
    assert r"T2Retrieval (Retrieval)" + "\n" + r'  queries     "Instruct: Given a query, retrieve documents' in done.out
    theirs = module_cli("eval", "--tasks", "STS12", "--model", "kalm-v2.5", "--show-prompts", "--prompts", "mteb")
    assert r'"Instruct: Retrieve semantically similar text. \n Query: "' in theirs.out


@pytest.mark.parametrize(
    ("name", "known"), [("mteb-en-v1", "34 of 56"), ("mteb-en-v2", "14 of 41"), ("mteb-zh-v1", "19 of 31")]
)
def test_published_scores_are_shown_without_a_run(module_cli, name, known):
    done = module_cli("eval", "--tasks", f"@{name}", "--show-published")
    assert (done.code, done.err) == (0, "")
    *table, _, lacking = done.out.splitlines()
    assert table[0] == "| task | type | KaLM V1.5 | KaLM V2 | KaLM V2.5 |"
    assert len(table) == 2 + int(known.split()[0])
    assert lacking.startswith(f"Single scores are published of {known} tasks, not of ")
    assert ("| STSB | STS | 77.81 | 79.10 | 82.38 |" in table) == (name == "mteb-zh-v1")
    assert f"{known} tasks" in GUIDE.read_text(encoding="utf-8")


def test_a_benchmark_without_the_hub_is_a_sentence(module_cli):
    done = module_cli("eval", "--tasks", "@mteb-en-v1", "--only", "STS12,SciFact", "--out", "hub")
    assert done.code == 1
    assert done.err.splitlines()[-1] == (
        "kalm: The data of STS12 is on the Hugging Face hub, which cannot be reached; connect and run the command "
        "again, or name a folder of tasks."
    )


def test_a_task_that_cannot_be_loaded_does_not_hold_up_the_others(module_cli, tasks, monkeypatch):
    from mteb.abstasks import AbsTask

    def load_data(self, **_):
        raise ValueError("the data set\nis gone.")

    monkeypatch.setattr(AbsTask, "load_data", load_data)
    done = module_cli("eval", "--tasks", "STS12,tasks", "--only", "STS12,TinySTS", "--out", "partly")
    assert done.code == 1
    assert "| TinySTS | STS |" in done.out
    assert done.err.endswith(
        "kalm: There is no score of STS12 (STS12: its data could not be loaded: the data set); the same command tries "
        "again.\n"
    )


def test_a_task_that_cannot_be_scored_does_not_hold_up_the_others(module_cli, tasks, monkeypatch, caplog):
    import mteb

    evaluate = mteb.evaluate

    def broken(model, task, **rest):
        if task.metadata.name == "TinySTS":
            raise ValueError("Found array\nwith 0 samples.")
        return evaluate(model, task, **rest)

    monkeypatch.setattr(mteb, "evaluate", broken)
    asked = ["eval", "--tasks", "tasks", "--only", "TinySTS,TinyPairs", "--out", "unscored"]
    done = module_cli(*asked)
    assert done.code == 1
    assert "| TinyPairs | PairClassification |" in done.out
    assert "TinySTS" not in done.out
    assert done.err.endswith(
        "kalm: There is no score of TinySTS (TinySTS: it could not be scored: Found array); the same command tries "
        "again.\n"
    )
    assert "TinySTS could not be scored.\nTraceback" in caplog.text
    monkeypatch.undo()
    assert module_cli(*asked).code == 0


def test_the_whole_search_is_scored(module_cli, tasks):
    done = module_cli("eval", "--tasks", "tasks", "--system", "hybrid", "--out", "system")
    assert done.code == 0, done.err
    assert done.out.startswith("| task | type | **tiny-qwen2, hybrid search** |")
    assert "| TinyRetrieval | Retrieval | " in done.out
    assert "TinySTS" not in done.out


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--tasks", "SST12"], "mteb has no task 'SST12'; did you mean STS12"),
        (["--tasks", "no/folder"], "There is no folder no/folder"),
        (["--tasks", "@mteb-fr"], "There is no list of tasks @mteb-fr; there are @mteb-en-v1"),
        (["--tasks", ","], "No task was named"),
        (["--tasks", "tasks", "--only", "Other"], "There is no task Other among those asked for"),
        (["--tasks", "tasks", "--only", "TinySTS", "--system", "hybrid"], "tasks of type Retrieval"),
        (["--tasks", "tasks", "--system", "hybrid", "--dim", "8"], "leave --prompts, --dim and --dtype out"),
        (["--tasks", "tasks", "--dim", "7"], "has no vectors of 7 dimensions"),
        (["--tasks", "tasks", "--out", "/proc/nowhere"], "Results cannot be written to /proc/nowhere"),
    ],
)
def test_what_cannot_be_evaluated_is_refused_in_a_sentence(module_cli, tasks, flags, said):
    done = module_cli("eval", *flags)
    assert done.code == 1
    assert done.out == ""
    assert said in done.err.splitlines()[-1]
    assert "Traceback" not in done.err
