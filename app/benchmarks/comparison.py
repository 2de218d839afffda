"""Has anything become slower? Two files of results, figure by figure."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.benchmarks.errors import BenchRefused

_MORE_IS_BETTER = ("per_second", "recall", "ours_over", "ndcg", "products")
_LESS_IS_BETTER = ("p50", "p95", "p99", "seconds", "mib", "milliseconds")
_MACHINE = "machine"
_SAME = ("cpu", "cores", "gpu")


@dataclass(frozen=True, slots=True)
class Change:
    """One figure in both files.

    Attributes:
        name: Its place in the JSON, with dots.
        gain: How many times as good the new one is, whichever way is better.
    """

    name: str
    old: float
    new: float
    gain: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """What came of a comparison.

    Attributes:
        changes: All figures that both have, the worst first.
        is_same_machine: Whether they were measured on one kind of machine; else the figures say nothing about the code.
    """

    changes: tuple[Change, ...]
    is_same_machine: bool

    def worse(self, tolerance: float) -> list[Change]:
        """Figures that lost more than a share of what they were."""
        return [change for change in self.changes if change.gain < 1 - tolerance]


def compare(old: Path, new: Path) -> Comparison:
    """Compare two results of the same benchmark.

    Raises:
        BenchRefused: If a file is no result, or they have no figure in common.
    """
    before, after = _read(old), _read(new)
    earlier, later = dict(_figures(before)), dict(_figures(after))
    changes = [
        Change(name, earlier[name], later[name], _gain(name, earlier[name], later[name]))
        for name in earlier.keys() & later.keys()
    ]
    if not changes:
        raise BenchRefused(f"{old} and {new} have no figure in common; compare two results of one benchmark.")
    changes.sort(key=lambda change: (change.gain, change.name))
    machines = [report.get(_MACHINE, {}) for report in (before, after)]
    return Comparison(tuple(changes), all(machines[0].get(key) == machines[1].get(key) for key in _SAME))


def _read(file: Path) -> dict[str, Any]:
    try:
        report = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BenchRefused(
            f"{file} cannot be read as a result ({error}); name a file that kalm bench wrote."
        ) from error
    if not isinstance(report, dict):
        raise BenchRefused(f"{file} is not a result; name a file that kalm bench wrote.")
    return report


def _figures(report: object, name: str = "") -> Iterator[tuple[str, float]]:
    """Every number whose better direction is known."""
    if isinstance(report, dict):
        for key, value in report.items():
            if key != _MACHINE:
                yield from _figures(value, f"{name}.{key}".strip("."))
    elif isinstance(report, list):
        for place, value in enumerate(report):
            yield from _figures(value, f"{name}[{place}]")
    elif isinstance(report, int | float) and not isinstance(report, bool) and report > 0 and _direction(name):
        yield name, float(report)


def _direction(name: str) -> int:
    """1 where more is better, -1 where less is, 0 where that is not known: the innermost telling name decides."""
    for part in reversed(name.split(".")):
        if any(word in part for word in _MORE_IS_BETTER):
            return 1
        if any(word in part for word in _LESS_IS_BETTER):
            return -1
    return 0


def _gain(name: str, old: float, new: float) -> float:
    return new / old if _direction(name) > 0 else old / new


def as_table(comparison: Comparison, tolerance: float) -> str:
    """Markdown: figures that moved by more than the tolerance, the worst first."""
    moved = [change for change in comparison.changes if abs(change.gain - 1) > tolerance]
    lines = ["| figure | before | after | times as good |", "|---|---|---|---|"]
    lines += [f"| {change.name} | {change.old:g} | {change.new:g} | {change.gain:.2f} |" for change in moved]
    still = len(comparison.changes) - len(moved)
    lines += ["", f"{still} more figures stayed within {tolerance:.0%}."]
    if not comparison.is_same_machine:
        lines.append("The two were measured on different kinds of machine.")
    return "\n".join(lines)
