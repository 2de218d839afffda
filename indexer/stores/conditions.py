"""What the metadata of a passage must be, for every engine: written as plain dictionaries, kept as frozen values.

=============================================== ====================================================================
``{"source": "a.md"}``                          the field is this, or a list that has it
``{"year": {"$gte": 2020, "$lt": 2024}}``       it lies there; numbers, or days and moments as ISO 8601
``{"source": {"$in": ["a.md", "b.md"]}}``       it is one of these; ``$nin`` for none of these
``{"source": {"$ne": "a.md"}}``                 it is not this, or not there at all
``{"author": {"$exists": True}}``               it is there, and neither null nor an empty list
``{"language": "en", "year": 2020}``            both hold, as with ``$and``
``{"$or": [{...}, {...}]}``, ``$and``, ``$not`` one of them holds, all hold, it does not hold
=============================================== ====================================================================

A dot leads into a nested object (``{"loc.page": 3}``), or stands in the name of a field itself. Numbers are compared as
numbers, so 1 is 1.0, but True is not 1. ``None`` stands for a field that is not there.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import Any, Literal, TypeGuard, TypeVar

from embedder.errors import AppError

METADATA = "metadata"
"""Where a point's metadata is in its payload, and so where the path of every condition on them begins."""

_PLAIN = re.compile(r"[A-Za-z0-9_-]+")
_EXACT_FLOAT, _LARGEST = 2**53, 2**63
_Bounds = Literal["gte", "gt", "lte", "lt"]
_BOUNDS: Mapping[str, _Bounds] = {"$gte": "gte", "$gt": "gt", "$lte": "lte", "$lt": "lt"}
_OPERATORS = ("$eq", "$ne", "$in", "$nin", "$exists", *_BOUNDS)
_JOINS = ("$and", "$or", "$not")

_Filter = TypeVar("_Filter")


class FilterRefused(AppError):
    """A filter that says nothing that could be meant."""


@dataclass(frozen=True, slots=True)
class OneOf:
    """The field is one of these: strings, or whole numbers too large to be compared as floats."""

    path: tuple[str, ...]
    values: tuple[str, ...] | tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Flag:
    """The field is this truth value."""

    path: tuple[str, ...]
    value: bool


@dataclass(frozen=True, slots=True)
class Numbers:
    """The field is a number within these bounds; None is no bound."""

    path: tuple[str, ...]
    gte: float | None = None
    gt: float | None = None
    lte: float | None = None
    lt: float | None = None


@dataclass(frozen=True, slots=True)
class Moments:
    """The field is a day or a moment within these bounds, all of them with a time zone; None is no bound."""

    path: tuple[str, ...]
    gte: datetime | None = None
    gt: datetime | None = None
    lte: datetime | None = None
    lt: datetime | None = None


@dataclass(frozen=True, slots=True)
class Missing:
    """The field is not there, or null, or an empty list."""

    path: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AllOf:
    """Every one of these holds."""

    conditions: tuple["Condition", ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    """At least one of these holds; there is at least one."""

    conditions: tuple["Condition", ...]


@dataclass(frozen=True, slots=True)
class Not:
    """It does not hold."""

    condition: "Condition"


Leaf = OneOf | Flag | Numbers | Moments | Missing
Condition = Leaf | AllOf | AnyOf | Not


def parse_filter(conditions: Mapping[str, Any]) -> Condition:
    """Read a filter on the metadata.

    Raises:
        FilterRefused: If it is none.
    """
    if not isinstance(conditions, Mapping):
        raise FilterRefused(f'A filter is a dictionary such as {{"source": "a.md"}}, and not {conditions!r}.')
    parts = [_joined(key, value) if key in _JOINS else _either(_field(key, value)) for key, value in conditions.items()]
    return parts[0] if len(parts) == 1 else AllOf(tuple(parts))


def encodable(text: str) -> str:
    """A text as engines take it: half a surrogate pair, which no encoding has, becomes U+FFFD."""
    return text if text.isascii() else text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def translated(
    condition: Condition,
    leaf: Callable[[Leaf], Any],
    group: Callable[[dict[str, list[Any]]], _Filter],
) -> _Filter:
    """A condition in an engine's terms.

    Args:
        condition: What must hold.
        leaf: The engine's condition on one field.
        group: The engine's filter of its conditions that ``must`` hold, ``should`` (at least one) or ``must_not``.
    """

    def part(inner: Condition) -> Any:  # noqa: ANN401 - a condition of the engine, or a filter, which is one too
        return translated(inner, leaf, group) if isinstance(inner, AllOf | AnyOf | Not) else leaf(inner)

    if isinstance(condition, AnyOf):
        return group({"should": [part(inner) for inner in condition.conditions]})
    if isinstance(condition, Not):
        return group({"must_not": [part(condition.condition)]})
    if isinstance(condition, AllOf):
        return group({"must": [part(inner) for inner in condition.conditions]})
    return group({"must": [leaf(condition)]})


def json_path(path: Sequence[str]) -> str:
    """A path as Qdrant writes it: ``metadata.loc."page number"``."""
    return ".".join(name if _PLAIN.fullmatch(name) else f'"{name}"' for name in path)


def _joined(operator: str, value: object) -> Condition:
    if operator == "$not":
        return Not(parse_filter(_mapping(operator, value)))
    if not isinstance(value, Sequence) or isinstance(value, str) or not value:
        raise FilterRefused(f"{operator} takes a list of filters, at least one, and not {value!r}.")
    parts = tuple(parse_filter(_mapping(operator, part)) for part in value)
    return AllOf(parts) if operator == "$and" else AnyOf(parts)


def _field(name: str, wanted: object) -> Condition:
    path = _path(name)
    if not isinstance(wanted, Mapping):
        return _equal(path, wanted)
    if not wanted:
        raise FilterRefused(f"The filter on {name!r} says nothing; give it a value or one of {', '.join(_OPERATORS)}.")
    bounds = {operator: wanted[operator] for operator in wanted if operator in _BOUNDS}
    parts = [_compared(path, operator, wanted[operator]) for operator in wanted if operator not in _BOUNDS]
    if bounds:
        parts.append(_within(path, bounds))
    return parts[0] if len(parts) == 1 else AllOf(tuple(parts))


def _either(condition: Condition) -> Condition:
    """A condition that a field with dots in its name meets too, which loaders make: ``ptex.fullbanner``."""
    if isinstance(condition, AllOf | AnyOf):
        return replace(condition, conditions=tuple(map(_either, condition.conditions)))
    if isinstance(condition, Not):
        return Not(_either(condition.condition))
    if len(condition.path) == 2:
        return condition
    both = condition, replace(condition, path=(METADATA, ".".join(condition.path[1:])))
    return AllOf(both) if isinstance(condition, Missing) else AnyOf(both)


def _compared(path: tuple[str, ...], operator: str, value: object) -> Condition:
    if operator == "$eq":
        return _equal(path, value)
    if operator == "$ne":
        return Not(_equal(path, value))
    if operator in ("$in", "$nin"):
        found = _one_of(path, operator, value)
        return found if operator == "$in" else Not(found)
    if operator == "$exists":
        if not isinstance(value, bool):
            raise FilterRefused(f"$exists takes True or False, and not {value!r}.")
        return Not(Missing(path)) if value else Missing(path)
    if operator == "$not":
        return Not(_field(".".join(path[1:]), value))
    raise FilterRefused(f"A filter does not know {operator!r}; it knows {', '.join((*_OPERATORS, *_JOINS))}.")


def _equal(path: tuple[str, ...], value: object) -> Condition:
    if value is None:
        return Missing(path)
    if isinstance(value, bool):
        return Flag(path, value)
    if isinstance(value, str):
        return OneOf(path, (encodable(value),))
    if isinstance(value, int) and _EXACT_FLOAT <= abs(value) < _LARGEST:
        return OneOf(path, (value,))
    if _is_number(value):
        return Numbers(path, gte=float(value), lte=float(value))
    raise FilterRefused(
        f"A filter compares texts, finite numbers, True, False and None, and {path[-1]!r} is to be "
        f"{value!r}; write a date as text."
    )


def _one_of(path: tuple[str, ...], operator: str, values: object) -> Condition:
    if isinstance(values, str) or not isinstance(values, Sequence | set | frozenset):
        raise FilterRefused(f"{operator} takes a list of values, and not {values!r}.")
    texts = tuple(sorted(encodable(value) for value in values if isinstance(value, str)))
    others = tuple(_equal(path, value) for value in values if not isinstance(value, str))
    return AnyOf((OneOf(path, texts), *others)) if others else OneOf(path, texts)


def _within(path: tuple[str, ...], bounds: Mapping[str, object]) -> Condition:
    numbers: dict[_Bounds, float] = {}
    moments: dict[_Bounds, datetime] = {}
    for operator, value in bounds.items():
        if _is_number(value):
            numbers[_BOUNDS[operator]] = float(value)
        else:
            moments[_BOUNDS[operator]] = _moment(operator, value)
    if numbers and moments:
        raise FilterRefused(f"The filter on {path[-1]!r} has a number and a date as bounds; use one kind of them.")
    return Numbers(path, **numbers) if numbers else Moments(path, **moments)


def _is_number(value: object) -> TypeGuard[float]:
    """Whether engines can compare it: neither a truth value nor infinite."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _LARGEST


def _moment(operator: str, value: object) -> datetime:
    refused = FilterRefused(f"{operator} takes a number or a date such as 2024-01-31, and not {value!r}.")
    if not isinstance(value, str | date):  # a datetime is a date
        raise refused
    try:
        moment = datetime.fromisoformat(str(value))
    except ValueError as error:
        raise refused from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _path(name: str) -> tuple[str, ...]:
    if not isinstance(name, str) or name.startswith("$"):
        known = ", ".join(_JOINS)
        raise FilterRefused(f"A filter names fields, or one of {known}, and not {name!r}.")
    names = encodable(name).split(".")
    if not all(names) or '"' in name:
        raise FilterRefused(f"{name!r} cannot be a field: a dot leads into a nested object, and quotes cannot be.")
    return (METADATA, *names)


def _mapping(operator: str, value: object) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise FilterRefused(f"{operator} takes filters, which are dictionaries, and not {value!r}.")
    return value
