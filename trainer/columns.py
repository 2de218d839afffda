"""What the columns of a table say: the part each plays, the form of the rows, and what is missing."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc

from embedder.errors import AppError
from embedder.prompts import instruction_for, wrap
from trainer.config import Source

RowForm = Literal["contrastive", "graded", "labelled"]
"""How rows are read; labelled rows are trained on as contrastive examples."""

_QUERY = ("query", "anchor", "question", "text", "sentence1")
_POSITIVE = ("positive", "positives", "pos", "sentence2")
_NEGATIVE = ("negative", "negatives", "neg")
_LABEL = ("label",)
_SCORE = ("score",)

_TASKS = {
    "retrieval": "Retrieval",
    "sts": "STS",
    "pair": "PairClassification",
    "nli": "STS",
    "classification": "Classification",
    "clustering": "Clustering",
}
"""MTEB task type for what a table's metadata calls its task."""


class InvalidData(AppError):
    """A table that is missing, cannot be read or does not hold training rows."""


@dataclass(frozen=True, slots=True)
class Columns:
    """Which column of a table plays which part; None where none does."""

    query: str
    positive: str | None
    negative: str | None
    label: str | None
    score: str | None

    @property
    def is_published(self) -> bool:
        """Whether these are the columns of the published KaLM sets, whose queries have their instruction in them."""
        return (self.query, self.positive, self.negative) == ("query", "pos", "neg")

    @property
    def names(self) -> list[str]:
        """All that are read, in the table's terms."""
        found = (self.query, self.positive, self.negative, self.label, self.score)
        return [name for name in found if name is not None]


@dataclass(frozen=True, slots=True)
class Row:
    """The cells of a row, lists without what is empty in them."""

    query: str
    positives: tuple[str, ...]
    negatives: tuple[str, ...]
    label: str | None
    score: float | None


def find_columns(names: Iterable[str], source: str) -> Columns:
    """The parts that columns play, by their names.

    Raises:
        InvalidData: If there is no query, or neither a positive nor a label.
    """
    there = list(names)

    def first(known: Sequence[str]) -> str | None:
        return next((name for name in known if name in there), None)

    query, positive, label = first(_QUERY), first(_POSITIVE), first(_LABEL)
    if query is None or (positive is None and label is None):
        raise InvalidData(
            f"The source {source} has the columns {', '.join(there) or 'none'}; training needs a query "
            "and a positive, or a text and a label."
        )
    return Columns(query, positive, first(_NEGATIVE), label, first(_SCORE))


def with_metadata(source: Source, metadata: dict[str, str], columns: Columns) -> Source:
    """The source with what its table says of itself where the configuration is silent.

    The table's ``task`` decides where the source has no instruction and the task that sources have by default;
    weakly supervised pairs go bare, and so do rows of the published sets, which are prompted already.
    """
    task = metadata.get("task", "").lower()
    silent = source.instruction is None and source.task == Source.model_fields["task"].default
    changes: dict[str, Any] = {}
    if silent and task.startswith("weak"):
        changes["instruction"] = ""
    elif silent and columns.is_published:
        changes["instruction"] = ""
    elif silent and task in _TASKS:
        changes["task"] = _TASKS[task]
    elif silent and columns.positive is None:
        changes["task"] = "Classification"
    if not source.languages:
        codes = metadata.get("language", "").replace("+", "-").split("-")
        changes["languages"] = tuple(code for code in codes if code.isalpha() and len(code) in (2, 3))
    if not source.licence:
        changes["licence"] = metadata.get("licence", "")
    return source.model_copy(update=changes)


def prompts_of(source: Source) -> tuple[str, str]:
    """The strings put before queries and documents of a source.

    Raises:
        UnknownTask: If its task is unknown.
    """
    query, document = (instruction_for(source.task, side) for side in ("query", "document"))
    if source.instruction is None:
        return wrap(query), wrap(document)
    own = wrap(source.instruction) if source.instruction else ""
    return own, own if document is not None else ""


def tell_form(source: Source, table: pa.Table, columns: Columns) -> RowForm:
    """How the rows of a source are read.

    Raises:
        InvalidData: If the columns do not fit the form that is asked for, or may be read in two ways.
        UnknownTask: If its task is unknown.
    """
    form = source.form if source.form != "auto" else _form_of(source, table, columns)
    needed = {
        "contrastive": {"positive": columns.positive},
        "graded": {"positive": columns.positive, "score": columns.score},
        "labelled": {"label": columns.label},
    }[form]
    for part, column in needed.items():
        if column is None:
            raise InvalidData(f"The source {source.name} is to be read as {form} rows but has no {part} column.")
    return form


def _form_of(source: Source, table: pa.Table, columns: Columns) -> RowForm:
    if columns.positive is None:
        return "labelled"
    symmetric = instruction_for(source.task, "document") is not None
    if columns.score and table[columns.score].null_count < len(table) and not _has_texts(table, columns.negative):
        if symmetric:
            return "graded"
        raise InvalidData(
            f"The source {source.name} has scores but the task {source.task}; set its task to STS to train on the "
            "scores, or its form to contrastive to take every pair for a positive one."
        )
    has_labels = columns.label is not None and not table[columns.label].null_count
    answers = instruction_for(source.task, "query") == instruction_for("Retrieval", "query")
    return "labelled" if has_labels and not symmetric and not answers else "contrastive"


def _has_texts(table: pa.Table, column: str | None) -> bool:
    if column is None or pa.types.is_null(table[column].type):
        return False
    if _is_list(table[column].type):
        return any(len(chunk.flatten()) for chunk in table[column].chunks)
    return bool(table[column].null_count < len(table))


def check_table(name: str, table: pa.Table, columns: Columns, form: RowForm) -> None:
    """Refuse a table with cells that no example can be made of; looks at lengths and scores, not at texts.

    Raises:
        InvalidData: If a query, a positive, a label or a score that is needed is missing or of a wrong kind.
    """
    _check_texts(name, table[columns.query], columns.query, lists=False)
    if columns.negative and not pa.types.is_null(table[columns.negative].type):
        _check_type(name, table[columns.negative].type, columns.negative, lists=True)
    if columns.positive and form != "labelled":
        _check_texts(name, table[columns.positive], columns.positive, lists=True)
    if form == "labelled":
        _check_full(name, table[columns.label], str(columns.label))
    if form == "graded":
        _check_full(name, table[columns.score], str(columns.score))
        bounds = pc.min_max(table[columns.score]).as_py()
        if not (0 <= bounds["min"] and bounds["max"] <= 1):
            raise InvalidData(
                f"The column {columns.score} of {name} runs from {bounds['min']:g} to {bounds['max']:g}; "
                "scale its scores to 0 to 1."
            )


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind))


def _check_type(name: str, kind: pa.DataType, column: str, *, lists: bool) -> None:
    inner = kind.value_type if lists and _is_list(kind) else kind
    if not (pa.types.is_string(inner) or pa.types.is_large_string(inner) or (lists and pa.types.is_null(inner))):
        raise InvalidData(f"The column {column} of {name} holds {kind}; it must hold texts.")


def _check_full(name: str, column: pa.ChunkedArray, title: str) -> None:
    if column.null_count:
        raise InvalidData(f"The column {title} of {name} is empty in {column.null_count} rows; fill or drop them.")


def _check_texts(name: str, column: pa.ChunkedArray, title: str, *, lists: bool) -> None:
    _check_type(name, column.type, title, lists=lists)
    _check_full(name, column, title)
    length = pc.list_value_length if _is_list(column.type) else pc.binary_length
    shortest = (pc.min(length(chunk)).as_py() for chunk in column.chunks if len(chunk))  # a chunk at a time: no copy
    if not all(shortest):
        raise InvalidData(f"The column {title} of {name} has rows without text; drop them.")


def read_rows(table: pa.Table, columns: Columns) -> list[Row]:
    """The rows of a small table."""

    def cells(column: str | None) -> list[Any]:
        return [None] * len(table) if column is None else table[column].to_pylist()

    parts = (cells(columns.positive), cells(columns.negative), cells(columns.label), cells(columns.score))
    return [
        Row(query, _texts(positive), _texts(negative), None if label is None else str(label), score)
        for query, positive, negative, label, score in zip(cells(columns.query), *parts, strict=True)
    ]


def _texts(cell: str | list[str | None] | None) -> tuple[str, ...]:
    if cell is None or isinstance(cell, str):
        return (cell,) if cell else ()
    return tuple(text for text in cell if text)
