r"""The instructions a KaLM-V2 checkpoint was trained with: one registry for serving, training and evaluation.

The strings are data (``prompts.json``), kept byte for byte: a space more or less is other tokens and other
vectors. ``Instruct: {instruction} \n Query: `` has a space before the line break and one after it, and ends in
a space (KaLM-Embedding-V2, arXiv 2506.20923; the strings are those declared for the published checkpoints).

Queries carry an instruction, documents do not, except in symmetric tasks, where both sides are the same kind
of text and carry the same one.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Literal

from embedder.errors import AppError
from embedder.protocol import Side


class UnknownTask(AppError):
    """A task that is neither an MTEB task type nor a task the registry knows."""


@dataclass(frozen=True, slots=True)
class Instruction:
    """What a task tells the model on each side; None leaves that side bare."""

    query: str | None
    document: str | None

    def of(self, side: Side) -> str | None:
        """The instruction of one side."""
        return self.query if side == "query" else self.document


def _asymmetric(instruction: str) -> Instruction:
    return Instruction(query=instruction, document=None)


def _symmetric(instruction: str) -> Instruction:
    return Instruction(query=instruction, document=instruction)


_ANSWER = "Given a query, retrieve documents that answer the query"
_SIMILAR = "Retrieve semantically similar text"

DEFAULTS: Mapping[str, Instruction] = {
    # What most tasks of the type say in the registry; used when a task has no string of its own.
    "Retrieval": _asymmetric(_ANSWER),
    "Reranking": _asymmetric(_ANSWER),
    "InstructionRetrieval": _asymmetric(_ANSWER),
    "InstructionReranking": _asymmetric(_ANSWER),
    "STS": _symmetric(_SIMILAR),
    "PairClassification": _symmetric(_SIMILAR),
    # A translation is a semantically similar text: the nearest thing the model was trained on.
    "BitextMining": _symmetric(_SIMILAR),
    "Summarization": _symmetric("Retrieve semantically similar summaries"),
    # The registry names each data set's own classes; these say the same without naming any.
    "Classification": _asymmetric("Classifying the category of the given text"),
    "MultilabelClassification": _asymmetric("Classifying the categories of the given text"),
    "ZeroShotClassification": _asymmetric("Classifying the category of the given text"),
    "Regression": _asymmetric("Classifying the given text into its appropriate rating category"),
    "Clustering": _asymmetric("Identify the topic or theme of the given text"),
}
"""Default instruction of every MTEB task type over text."""


@cache
def _table() -> tuple[str, Mapping[str, str]]:
    data = json.loads(resources.files("embedder").joinpath("prompts.json").read_text(encoding="utf-8"))
    return data["template"], data["task_instructions"]


def template() -> str:
    r"""The text an instruction is put into: ``Instruct: {instruction} \n Query: ``."""
    return _table()[0]


def task_instructions() -> Mapping[str, str]:
    """All strings of the registry by key; ``NAME-query`` and ``NAME-document`` hold for that side only."""
    return _table()[1]


def instruction_for(task: str, side: Side) -> str | None:
    """The instruction of a task on one side, or None where that side goes bare.

    Args:
        task: A task name of the registry (``"T2Retrieval"``, ``"STS12"``) or an MTEB task type
            (``"Retrieval"``, ``"BitextMining"``).
        side: Which side of the task the text stands on.

    Raises:
        UnknownTask: If ``task`` is neither.
    """
    table = task_instructions()
    if f"{task}-{side}" in table:
        return table[f"{task}-{side}"]
    if task in table:  # a bare key is an instruction for queries: classification, clustering, retrieval
        return table[task] if side == "query" else None
    if task in DEFAULTS:
        return DEFAULTS[task].of(side)
    raise UnknownTask(
        f"There is no task {task!r}; use one of the task types {', '.join(DEFAULTS)}, "
        "a task name such as T2Retrieval, or pass your own instruction."
    )


def wrap(instruction: str | None) -> str:
    """The prompt put before a text: the template around the instruction, or nothing."""
    return "" if instruction is None else template().replace("{instruction}", instruction)


@dataclass(frozen=True)
class PromptPolicy:
    """How a checkpoint wants its texts introduced.

    Attributes:
        kind: ``instructions`` for models trained with the KaLM template; ``stored`` for models that bring
            their own fixed prompts; ``none`` for models trained on bare text.
        stored: The checkpoint's own prompts by name (``query``, ``document`` or a task name).
    """

    kind: Literal["instructions", "stored", "none"]
    stored: Mapping[str, str]

    def prompt(self, side: Side, task: str, instruction: str | None = None) -> str:
        """The exact string put before a text.

        An instruction of the caller's own always wins and always goes through the template.

        Raises:
            UnknownTask: If the task is unknown.
        """
        if instruction is not None:
            return wrap(instruction)
        by_template = wrap(instruction_for(task, side))  # looked up for every model, so that a typo never passes
        if self.kind == "instructions":
            return by_template
        if self.kind == "stored":
            return self.stored.get(task, self.stored.get(side, "")) if side == "query" else self.stored.get(side, "")
        return ""

    def canonical(self) -> bytes:
        """What the fingerprint covers of the prompts."""
        table = [template(), dict(task_instructions())] if self.kind == "instructions" else dict(self.stored)
        return json.dumps([self.kind, table], ensure_ascii=False, sort_keys=True).encode()


def policy_for(stored: Mapping[str, str], *, is_decoder: bool) -> PromptPolicy:
    """Read a checkpoint's habits off its stored prompts.

    Prompts in the KaLM template mean the whole registry applies. No prompts at all mean a KaLM-to-be for a
    decoder, and bare text for a BERT-style encoder.
    """
    given = {name: text for name, text in stored.items() if text}
    head = template().partition("{instruction}")[0]
    if given and not any(text.startswith(head) for text in given.values()):
        return PromptPolicy("stored", given)
    if given or is_decoder:
        return PromptPolicy("instructions", {})
    return PromptPolicy("none", {})
