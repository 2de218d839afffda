"""The instructions are data, byte for byte."""

import hashlib
import json

import pytest

from embedder.checkpoint import load_tokenizer
from embedder.prompts import (
    DEFAULTS,
    PromptPolicy,
    UnknownTask,
    instruction_for,
    policy_for,
    task_instructions,
    template,
    wrap,
)

SIDES = ("query", "document")
SYMMETRIC = {"STS", "PairClassification", "BitextMining", "Summarization"}
ASYMMETRIC = {
    "Retrieval",
    "Reranking",
    "InstructionRetrieval",
    "InstructionReranking",
    "Classification",
    "MultilabelClassification",
    "ZeroShotClassification",
    "Regression",
    "Clustering",
}
KALM = {"query": "Instruct: Given a query, retrieve documents that answer the query \n Query: ", "document": ""}
FOREIGN = {"query": "query: ", "document": "passage: "}


def keys(suffix: str) -> list[str]:
    return sorted(key.removesuffix(suffix) for key in task_instructions() if key.endswith(suffix))


BARE = sorted(key for key in task_instructions() if not key.endswith(("-query", "-document")))


def test_the_registry_is_frozen():
    assert len(task_instructions()) == 138
    assert template().encode() == b"Instruct: {instruction} \n Query: "
    table = json.dumps(dict(task_instructions()), sort_keys=True).encode()
    assert hashlib.sha256(table).hexdigest() == "268b5c7e931ae7c56319c9fef3f4c2ee8e25c937107b1ea699410c6582e4f6a2"


@pytest.mark.parametrize("side", SIDES)
def test_each_side_of_a_pair_has_its_own_string(side):
    assert keys("-query") == keys("-document")
    for task in keys(f"-{side}"):
        assert instruction_for(task, side) == task_instructions()[f"{task}-{side}"]


def test_a_bare_key_is_for_queries_only():
    assert len(BARE) == 58
    for task in BARE:
        assert instruction_for(task, "query") == task_instructions()[task]
        assert instruction_for(task, "document") is None


def test_every_mteb_task_type_has_a_default():
    assert set(DEFAULTS) == SYMMETRIC | ASYMMETRIC
    for task in SYMMETRIC:
        assert instruction_for(task, "query") == instruction_for(task, "document") != ""
    for task in ASYMMETRIC:
        assert instruction_for(task, "query")
        assert instruction_for(task, "document") is None


def test_an_unknown_task_names_the_choices(refused):
    with refused(UnknownTask, "'Retreival'", "Retrieval, Reranking", "STS", "T2Retrieval", "instruction"):
        instruction_for("Retreival", "query")


GOLDEN = {
    ("Retrieval", "query"): b"Instruct: Given a query, retrieve documents that answer the query \n Query: ",
    ("Retrieval", "document"): b"",
    ("T2Retrieval", "query"): b"Instruct: Given a query, retrieve documents that answer the query \n Query: ",
    ("T2Retrieval", "document"): b"",
    ("STS12", "query"): b"Instruct: Retrieve semantically similar text \n Query: ",
    ("STS12", "document"): b"Instruct: Retrieve semantically similar text \n Query: ",
    ("QuoraRetrieval", "document"): b"Instruct: Retrieve semantically similar questions \n Query: ",
    ("Clustering", "query"): b"Instruct: Identify the topic or theme of the given text \n Query: ",
    ("Banking77Classification", "query"): (
        b"Instruct: Given an online banking query, find the corresponding intents \n Query: "
    ),
}


@pytest.mark.parametrize(("task", "side"), GOLDEN)
def test_the_model_gets_the_golden_bytes(encoder, tiny_checkpoint, monkeypatch, task, side):
    """Every byte is a token of the tiny tokenizer or part of one, so that none can be lost on the way."""
    fed = []
    forward = encoder._turns.forward
    monkeypatch.setattr(encoder._turns, "forward", lambda rows, between: fed.extend(rows) or forward(rows, between))
    literal = GOLDEN[task, side] + "蜜蜂 make honey".encode()
    encode = encoder.encode_queries if side == "query" else encoder.encode_documents
    encode(["蜜蜂 make honey"], task=task)
    tokenizer = load_tokenizer(tiny_checkpoint("qwen2"))
    assert fed == [tokenizer(literal.decode())["input_ids"]]
    assert tokenizer.decode(fed[0]).encode() == literal


@pytest.mark.parametrize("stored", [KALM, KALM | {"document": "passage: "}], ids=["all", "one"])
def test_a_checkpoint_with_the_kalm_template_knows_every_task(stored):
    policy = policy_for(stored, is_decoder=True)
    assert policy == PromptPolicy("instructions", {})
    assert policy.prompt("query", "Retrieval") == KALM["query"]
    assert policy.prompt("document", "Retrieval") == ""
    assert policy.prompt("document", "STS") == wrap("Retrieve semantically similar text")


def test_a_foreign_checkpoint_keeps_its_own_prompts():
    policy = policy_for(FOREIGN | {"STS": "similar: "}, is_decoder=True)
    assert [policy.prompt(side, "Retrieval") for side in SIDES] == ["query: ", "passage: "]
    assert [policy.prompt(side, "STS") for side in SIDES] == ["similar: ", "passage: "]


@pytest.mark.parametrize("stored", [{}, {"query": "", "document": ""}], ids=["none", "empty"])
def test_without_prompts_a_decoder_is_a_kalm_and_an_encoder_is_bare(stored):
    assert policy_for(stored, is_decoder=True).prompt("query", "Retrieval") == KALM["query"]
    assert policy_for(stored, is_decoder=False).prompt("query", "Retrieval") == ""


POLICIES = pytest.mark.parametrize(
    "policy",
    [policy_for(KALM, is_decoder=True), policy_for(FOREIGN, is_decoder=True), policy_for({}, is_decoder=False)],
    ids=lambda policy: policy.kind,
)


@POLICIES
def test_an_instruction_of_the_callers_own_wins(policy):
    assert policy.prompt("query", "STS", "Find the {instruction}") == "Instruct: Find the {instruction} \n Query: "


@POLICIES
def test_a_typo_never_passes(policy):
    with pytest.raises(UnknownTask):
        policy.prompt("document", "retrieval")


def test_an_own_instruction_reaches_the_model(encoder):
    asked = encoder.encode_queries(["bees"], instruction="Find recipes")
    assert (asked == encoder.encode_documents(["Instruct: Find recipes \n Query: bees"])).all()
    assert (asked != encoder.encode_queries(["bees"])).any()
