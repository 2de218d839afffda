"""What stands before the texts of a task: three conventions, so that a score can say which one it used.

``kalm``
    what the model was trained with: each task's own instruction by the registry, on both sides where the two are
    alike; for a model that is no KaLM, its own stored prompts or none.
``mteb``
    what mteb's entry of KaLM-Embedding-V2 sends. It looks its table up by bare names only and tells documents
    nothing, so 80 of its 138 strings are never sent (``docs/evaluation.md``).
``none``
    nothing.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, Protocol

import mteb
from mteb.abstasks import AbsTask, AbsTaskRetrieval
from mteb.abstasks.aggregated_task import AbsTaskAggregate
from mteb.abstasks.task_metadata import TaskMetadata
from mteb.models.instruct_wrapper import InstructSentenceTransformerModel
from mteb.types import PromptType

from app.evaluation.errors import EvaluationRefused
from app.evaluation.task_lists import intended
from embedder.prompts import PromptPolicy, wrap
from embedder.protocol import Side

Convention = Literal["kalm", "mteb", "none"]

ENTRY = "HIT-TMG/KaLM-embedding-multilingual-mini-instruct-v2"
"""mteb's entry of KaLM-Embedding-V2; that of V2.5 has the same prompts."""


class Prompts(Protocol):
    """Says what is put before the texts of a task."""

    def __call__(self, task: TaskMetadata, prompt_type: PromptType | None, /) -> str:
        """The exact string; ``prompt_type`` is None for tasks without a query and a document side."""
        ...


class MtebEntry(InstructSentenceTransformerModel):
    """mteb's entry of KaLM-Embedding-V2 without its weights: the look-up of prompts is mteb's own."""

    def __init__(self) -> None:
        """Take template, table and habits from mteb."""
        settings = mteb.get_model_meta(ENTRY).loader_kwargs
        self.instruction_template = settings["instruction_template"]
        self.prompts_dict = settings["prompts_dict"]
        self.apply_instruction_to_passages = settings["apply_instruction_to_passages"]

    def __call__(self, task: TaskMetadata, prompt_type: PromptType | None, /) -> str:
        """The exact string its ``encode`` would put before a text."""
        if prompt_type is PromptType.document and not self.apply_instruction_to_passages:
            return ""
        return self.get_task_instruction(task, prompt_type)


@dataclass(frozen=True, slots=True)
class OwnPrompts:
    """What a model was trained with."""

    policy: PromptPolicy

    def __call__(self, task: TaskMetadata, prompt_type: PromptType | None, /) -> str:
        """The exact string; a text without a side stands on the query side."""
        side: Side = "document" if prompt_type is PromptType.document else "query"
        if self.policy.kind == "instructions":
            return wrap(intended(task.name, task.type).of(side))
        return self.policy.prompt(side, task.type)


@dataclass(frozen=True, slots=True)
class NoPrompts:
    """Nothing before any text."""

    def __call__(self, task: TaskMetadata, prompt_type: PromptType | None, /) -> str:
        """The empty string."""
        return ""


def prompts_of(convention: Convention, policy: PromptPolicy) -> Prompts:
    """The prompts of a convention for a model.

    Raises:
        EvaluationRefused: If the model takes no instructions, and mteb's are asked for.
    """
    if convention == "none":
        return NoPrompts()
    if convention == "kalm":
        return OwnPrompts(policy)
    if policy.kind != "instructions":
        raise EvaluationRefused(
            "The model takes no instructions, so those of mteb's KaLM entry say nothing to it; use --prompts kalm, "
            "which stands for a model's own, or none."
        )
    return MtebEntry()


@dataclass(frozen=True, slots=True)
class Resolved:
    """What is put before the texts of one task.

    Attributes:
        document: None where the task has no document side, and every text is told the same.
    """

    task: str
    type: str
    query: str
    document: str | None


def parts_of(task: AbsTask) -> list[AbsTask]:
    """The tasks whose mean a task is; for most the task itself."""
    return list(task.metadata.tasks) if isinstance(task, AbsTaskAggregate) else [task]


def resolve(tasks: Iterable[AbsTask], prompts: Prompts) -> list[Resolved]:
    """The prompt of every task and side."""
    resolved = []
    for task in (part for whole in tasks for part in parts_of(whole)):
        about = task.metadata
        if isinstance(task, AbsTaskRetrieval):
            query, document = prompts(about, PromptType.query), prompts(about, PromptType.document)
            resolved.append(Resolved(about.name, about.type, query, document))
        else:
            resolved.append(Resolved(about.name, about.type, prompts(about, None), None))
    return resolved


def as_lines(resolved: Iterable[Resolved]) -> str:
    """For people: every string in quotes, its line breaks and spaces to be seen."""
    lines = []
    for one in resolved:
        lines.append(f"{one.task} ({one.type})")
        if one.document is None:
            lines.append(f"  every text  {_quoted(one.query)}")
        else:
            lines += [f"  queries     {_quoted(one.query)}", f"  documents   {_quoted(one.document)}"]
    return "\n".join(lines)


def _quoted(prompt: str) -> str:
    return json.dumps(prompt, ensure_ascii=False)
