"""Recall against throughput, as a picture of what ``kalm bench vectors`` found."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_INK, _MUTED, _GRID = "#24292f", "#6e7781", "#e8eaed"
_LINES: Mapping[str, tuple[str, str]] = {
    "edge": ("#2a6f97", "o"),
    "edge, int8": ("#d17a22", "s"),
    "edge, turbo": ("#5b8c5a", "^"),
    "edge, binary": ("#8e5572", "v"),
    "faiss, hnsw": ("#6e7781", "D"),
    "numpy, exact": ("#24292f", "x"),
    "qdrant-client, local": ("#b0413e", "P"),
}
"""A colour and a mark of each engine: never the colour alone."""

_LOWEST = 0.7
"""Recall below which a point says only that it is of no use; it stands on the edge."""

_STYLE: Any = {
    "font.size": 9.0,
    "text.color": _INK,
    "axes.edgecolor": _MUTED,
    "xtick.color": _MUTED,
    "ytick.color": _MUTED,
    "axes.labelcolor": _MUTED,
    "svg.fonttype": "none",
    "svg.hashsalt": "kalm",
}


def draw_curves(report: Mapping[str, Any], out: Path) -> None:
    """Write one panel for each number of vectors and width, a line for each engine.

    Args:
        report: As ``bench_vectors`` returns it.
        out: An .svg or .png file.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    runs: Sequence[Mapping[str, Any]] = report["runs"]
    columns = min(2, len(runs))
    rows = -(-len(runs) // columns)
    with rc_context(_STYLE):
        figure = Figure(figsize=(4.6 * columns, 3.4 * rows + 0.4), layout="constrained", facecolor="white")
        panels = figure.subplots(rows, columns, squeeze=False).flat
        for panel, run in zip(panels, runs, strict=False):
            _panel(panel, run)
        for panel in list(figure.axes)[len(runs) :]:
            panel.remove()
        lines = {str(line.get_label()): line for axes in figure.axes for line in axes.get_lines()}
        figure.legend(list(lines.values()), list(lines), loc="outside lower center", ncols=4, frameon=False)
        metadata = dict.fromkeys(("Creator", "Date", "Format", "Type")) if out.suffix == ".svg" else None
        figure.savefig(out, metadata=metadata, dpi=160)


def _panel(axes: "Axes", run: Mapping[str, Any]) -> None:
    title = f"{run['points']:,} {run['vectors']} vectors of {run['dim']}"
    axes.set_title(title, loc="left", fontsize=10, color=_INK)
    for name, figures in run["engines"].items():
        colour, mark = _LINES[name]
        points = sorted((max(_LOWEST, at["recall_at_10"]), at["queries_per_second"]) for at in figures["curve"])
        axes.plot(*zip(*points, strict=True), color=colour, marker=mark, markersize=4.5, linewidth=1.4, label=name)
    axes.set_yscale("log")
    axes.set_xlim(_LOWEST - 0.01, 1.01)
    axes.set_xlabel("recall@10")
    axes.set_ylabel("queries per second, one at a time")
    axes.grid(visible=True, which="major", color=_GRID, linewidth=0.7)
    axes.spines[["top", "right"]].set_visible(False)
