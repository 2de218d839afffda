"""Lists of tasks, their prompts and published scores: as mteb has them, as the registry says, and consistent."""

import json
import statistics
from importlib import resources

import pytest

from app.evaluation.errors import EvaluationRefused
from app.evaluation.published import benchmark_table, published_means, published_scores, task_table
from app.evaluation.task_lists import find_list, intended, task_lists
from embedder.prompts import Instruction, PromptPolicy, instruction_for, task_instructions

SIZES = {"mteb-en-v1": 56, "mteb-en-v2": 41, "mteb-zh-v1": 31}
NEWER = {
    "ArXivHierarchicalClusteringP2P": "ArxivClusteringP2P",
    "ArXivHierarchicalClusteringS2S": "ArxivClusteringS2S",
    "BiorxivClusteringP2P.v2": "BiorxivClusteringP2P",
    "ClimateFEVERHardNegatives": "ClimateFEVER",
    "FEVERHardNegatives": "FEVER",
    "HotpotQAHardNegatives": "HotpotQA",
    "MedrxivClusteringP2P.v2": "MedrxivClusteringP2P",
    "MedrxivClusteringS2S.v2": "MedrxivClusteringS2S",
    "STS22.v2": "STS22",
    "StackExchangeClustering.v2": "StackExchangeClustering",
    "StackExchangeClusteringP2P.v2": "StackExchangeClusteringP2P",
    "SummEvalSummarization.v2": "SummEval",
    "Touche2020Retrieval.v3": "Touche2020",
    "TwentyNewsgroupsClustering.v2": "TwentyNewsgroupsClustering",
}
"""Tasks younger than the registry, and the task each was made from."""


def told(task):
    return Instruction(instruction_for(task, "query"), instruction_for(task, "document"))


@pytest.mark.parametrize("name", SIZES)
def test_a_list_is_the_benchmark_of_the_installed_mteb(name):
    import mteb

    listed = find_list(name)
    assert len(listed.tasks) == SIZES[name]
    tasks = {task.metadata.name: task for task in mteb.get_benchmark(listed.benchmark).tasks}
    assert {task.name for task in listed.tasks} == tasks.keys()
    for task in listed.tasks:
        theirs = tasks[task.name]
        parts = tuple(part.metadata.name for part in getattr(theirs.metadata, "tasks", ()))
        assert (task.type, task.splits, task.subsets, task.parts) == (
            theirs.metadata.type,
            tuple(theirs.eval_splits),
            tuple(theirs.hf_subsets),
            parts,
        )


def test_every_listed_task_is_told_what_the_registry_says():
    written = json.loads(resources.files("app.evaluation").joinpath("task_lists.json").read_text(encoding="utf-8"))
    assert {row["name"]: row["as"] for one in written.values() for row in one["tasks"] if "as" in row} == NEWER
    for listed in task_lists().values():
        for task in listed.tasks:
            for name in (*task.parts, *(() if task.parts else (NEWER.get(task.name, task.name),))):
                assert task.told == told(name), task.name
    assert intended("FEVERHardNegatives", "Retrieval") == told("FEVER")
    assert intended("CQADupstackTexRetrieval", "Retrieval").document.startswith("Given a question, retrieve detailed")
    assert intended("MyOwnTask", "STS") == told("STS")


def test_mteb_never_sends_80_strings_of_its_own_table():
    import mteb
    from mteb.types import PromptType

    from app.evaluation.prompts import MtebEntry

    class Seen(dict):
        """A table that remembers which of its strings were asked for."""

        sent: set[str] = set()

        def __getitem__(self, key):
            self.sent.add(key)
            return super().__getitem__(key)

    entry = MtebEntry()
    assert entry.prompts_dict == task_instructions()  # the same 138 strings, byte for byte
    table = entry.prompts_dict = Seen(entry.prompts_dict)
    for name in {key.removesuffix("-query").removesuffix("-document") for key in table}:
        for side in (None, PromptType.query, PromptType.document):
            entry(mteb.get_task(name).metadata, side)
    dead = table.keys() - table.sent
    assert (len(table), len(dead)) == (138, 80)
    assert all(key.endswith(("-query", "-document")) for key in dead)


@pytest.mark.parametrize(
    ("task", "sent", "meant"),
    [
        ("STS12", "Retrieve semantically similar text.", "Retrieve semantically similar text"),
        (
            "CQADupstackGamingRetrieval",
            "Retrieve text based on user query.",
            "Given a question, retrieve detailed question descriptions from Stackexchange that are duplicates to the "
            "given question",
        ),
        (
            "SCIDOCS",
            "Given a scientific paper title, retrieve paper abstracts that are cited by the given paper",
            "Given a query, retrieve documents that answer the query",
        ),
        (
            "AskUbuntuDupQuestions",
            "Retrieve duplicate questions from AskUbuntu forum",
            "Retrieve semantically similar questions",
        ),
        (
            "T2Retrieval",
            "Given a query, retrieve documents that answer the query",
            "Given a query, retrieve documents that answer the query",
        ),
    ],
)
def test_what_mteb_sends_and_what_was_meant(task, sent, meant):
    import mteb

    from app.evaluation.prompts import prompts_of, resolve

    policy = PromptPolicy("instructions", {})
    chosen = [mteb.get_task(task)]
    (theirs,), (ours,), (none,) = (resolve(chosen, prompts_of(name, policy)) for name in ("mteb", "kalm", "none"))
    assert theirs.query == f"Instruct: {sent} \n Query: "
    assert ours.query == f"Instruct: {meant} \n Query: "
    assert none.query == ""
    if ours.document is not None:
        assert theirs.document == ""
        assert ours.document == ("" if task == "T2Retrieval" else ours.query)


def test_a_model_without_instructions_keeps_its_own_prompts():
    import mteb

    from app.evaluation.prompts import prompts_of, resolve

    stored = PromptPolicy("stored", {"query": "query: ", "document": "passage: "})
    (resolved,) = resolve([mteb.get_task("SciFact")], prompts_of("kalm", stored))
    assert (resolved.query, resolved.document) == ("query: ", "passage: ")
    with pytest.raises(EvaluationRefused, match="takes no instructions"):
        prompts_of("mteb", stored)


def test_published_means_are_those_of_the_paper():
    headlines = {name: {row.model: row.tasks for row in published_means(name)} for name in SIZES}
    assert headlines["mteb-en-v1"]["KaLM V2"] == 67.47
    assert headlines["mteb-zh-v1"]["KaLM V2"] == 68.15
    assert headlines["mteb-en-v1"]["KaLM V2.5"] == 69.33
    assert headlines["mteb-zh-v1"]["KaLM V2.5"] == 70.93
    assert headlines["mteb-en-v2"]["KaLM V2.5"] == 71.29


@pytest.mark.parametrize("name", ["mteb-en-v1", "mteb-zh-v1"])
@pytest.mark.parametrize("model", ["KaLM V1.5", "KaLM V2", "KaLM V2.5"])
def test_published_scores_of_retrieval_add_up_to_their_mean(name, model):
    tasks = [task.name for task in find_list(name).tasks if task.type == "Retrieval"]
    mean = statistics.fmean(published_scores(task)[model] for task in tasks)
    (row,) = [row for row in published_means(name) if row.model == model]
    assert mean == pytest.approx(row.by_type["Retrieval"], abs=0.02)


def test_our_scores_stand_beside_theirs():
    listed = find_list("@mteb-zh-v1")
    table = benchmark_table(listed, "ours", {"STSB": 80.0, "LCQMC": 70.0, "T2Retrieval": 90.0, "Elsewhere": 1.0})
    head, _, ours, *others = table.splitlines()
    assert head == (
        "| MTEB(cmn, v1) | mean of tasks | mean of types | Classification | Clustering | PairClassification | "
        "Reranking | Retrieval | STS |"
    )
    assert ours == "| **ours**, 3 of 31 tasks | 80.00 | 82.50 | - | - | - | - | 90.00 | 75.00 |"
    assert "| KaLM V2 | 68.15 | 69.28 | 75.14 | 69.76 | 77.91 | 65.16 | 72.15 | 55.58 |" in others
    assert "| STSB | STS | 80.00 | 77.81 | 79.10 | 82.38 |" in task_table("ours", [("STSB", "STS", 80.0)])
    assert "| Own | STS | 80.00 | - | - | - |" in task_table("ours", [("Own", "STS", 80.0)])
