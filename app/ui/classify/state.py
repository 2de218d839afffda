"""What the page shows, as a value, and its round trip through the address bar."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from typing import Any, Self

import streamlit as st

_ID = re.compile(r"[0-9a-zA-Z_-]{1,64}", re.ASCII)
_MAX_LABELS = 20
_MAX_LABEL_CHARS = 300
_BETWEEN = " :: "
"""Stands between a label and its description in the address."""


class Step(StrEnum):
    """How far somebody is."""

    LABELS = "labels"
    TRAIN = "train"
    USE = "use"


class Way(StrEnum):
    """How labels are made known."""

    DESCRIBE = "describe"
    UPLOAD = "upload"
    TYPE = "type"


@dataclass(frozen=True, slots=True)
class ClassifyState:
    """Everything that decides what the page shows.

    Attributes:
        work: Id of the examples in hand; empty for none.
        task: Id of the long work last begun; empty for none.
        table: Id of the table last labelled; empty for none.
        classifier: Name of the one in use; empty for the first.
        threshold: Below how many percent no label is given.
        pair: The cell of the matrix whose texts are shown: places of the label they have and the one they were
            given, as ``3.1``; empty for none.
        label: Labels with their descriptions, as they stand in the address.
    """

    step: Step = Step.LABELS
    way: Way = Way.DESCRIBE
    work: str = ""
    task: str = ""
    table: str = ""
    classifier: str = ""
    threshold: int = 0
    pair: str = ""
    label: tuple[str, ...] = ()

    @classmethod
    def from_params(cls, params: Mapping[str, Sequence[str]]) -> Self:
        """Read URL parameters; whatever is missing or makes no sense becomes its default."""
        last = {name: values[-1] for name, values in params.items() if values}
        step, way = last.get("step", ""), last.get("way", "")
        ids = {name: last.get(name, "") for name in ("work", "task", "table")}
        threshold, pair = last.get("threshold", ""), last.get("pair", "")
        return cls(
            step=Step(step) if step in set(Step) else Step.LABELS,
            way=Way(way) if way in set(Way) else Way.DESCRIBE,
            **{name: value if _ID.fullmatch(value) else "" for name, value in ids.items()},
            classifier=last.get("classifier", "")[:64],
            threshold=int(threshold) if re.fullmatch(r"\d{1,2}|100", threshold, re.ASCII) else 0,
            pair=pair if re.fullmatch(r"\d{1,3}\.\d{1,3}", pair, re.ASCII) else "",
            label=tuple(value[:_MAX_LABEL_CHARS] for value in params.get("label", ())[:_MAX_LABELS]),
        )

    def to_params(self) -> dict[str, list[str]]:
        """URL parameters that ``from_params`` reads back to this state; defaults are left out."""
        default = type(self)()
        params: dict[str, list[str]] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if value != getattr(default, field.name):
                params[field.name] = list(value) if isinstance(value, tuple) else [str(value)]
        return params

    @property
    def labels(self) -> list[tuple[str, str]]:
        """Names and descriptions of ``label``."""
        return [(name, text) for name, _, text in (value.partition(_BETWEEN) for value in self.label)]


def as_label_params(labels: Sequence[tuple[str, str]]) -> tuple[str, ...]:
    """Labels as they stand in the address; none where they would make it too long."""
    whole = tuple(f"{name}{_BETWEEN}{text}" if text else name for name, text in labels)
    fits = len(whole) <= _MAX_LABELS and all(len(one) <= _MAX_LABEL_CHARS for one in whole)
    return whole if fits else ()


def read_state() -> ClassifyState:
    """The state in the address bar."""
    return ClassifyState.from_params({name: st.query_params.get_all(name) for name in st.query_params})


def change(**changes: Any) -> None:  # noqa: ANN401 - fields of ClassifyState
    """Write a changed state to the address bar, where the parameters of all pages stay."""
    known = {field.name for field in fields(ClassifyState)}
    others = {name: st.query_params.get_all(name) for name in st.query_params if name not in known}
    st.query_params.from_dict(others | replace(read_state(), **changes).to_params())
