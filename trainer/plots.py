"""A run in one picture, and the same picture as a page with its scores: nothing is fetched from anywhere."""

import html
import io
import re
import warnings
from collections.abc import Sequence
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from trainer.durable import write_text
from trainer.metrics import read_metrics

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_INK, _MUTED, _GRID = "#24292f", "#6e7781", "#e8eaed"
_COLOURS = ("#2a6f97", "#d17a22", "#5b8c5a", "#8e5572")
_MEAN = "eval/mean/"
_FEW = 40
"""Up to this many measurements each is marked by a dot."""

_SMOOTHED = 400
"""Points of a smoothed line: more cannot be told apart."""

_PANEL_POINTS, _LABEL_POINTS = 150, 12
"""Height of a panel and of a line of text in it, about, in points."""

_STYLE: Any = {
    "font.size": 9.0,
    "text.color": _INK,
    "axes.edgecolor": _MUTED,
    "axes.linewidth": 0.8,
    "xtick.color": _MUTED,
    "ytick.color": _MUTED,
    "svg.fonttype": "none",  # letters stay letters, and the reader's browser has fonts for all of them
    "svg.hashsalt": "kalm",  # the same run gives the same file
}

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; color: #24292f; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }}
svg {{ width: 100%; height: auto; }}
table {{ border-collapse: collapse; margin: 1rem 0; }}
caption {{ text-align: left; font-weight: 600; padding-bottom: .4rem; }}
th, td {{ padding: .3rem 1.2rem .3rem 0; border-bottom: 1px solid #e8eaed; text-align: left; }}
th {{ font-weight: 500; color: #6e7781; }}
td + td, th + th {{ text-align: right; font-variant-numeric: tabular-nums; }}
</style>
</head>
<body>
{figure}
{table}
</body>
</html>
"""

Points = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Steps and values, each of shape (N,)."""


def plot_run(metrics: Path, out_png: Path, out_html: Path, title: str) -> None:
    """Draw loss, learning rate, gradient norm and evaluation means over the steps.

    Args:
        metrics: The run's ``metrics.jsonl``; what it does not hold is left empty in the picture.
        out_png: The picture.
        out_html: A page with the picture as SVG and a table of the scores.
        title: What stands above.

    Raises:
        UnreadableMetrics: If the metrics cannot be read.
    """
    from matplotlib import rc_context

    lines = read_metrics(metrics)
    with rc_context(_STYLE), warnings.catch_warnings():
        # The picture's own font has no Chinese; a title in Chinese is boxes there and text on the page.
        warnings.filterwarnings("ignore", message="Glyph .* missing from", category=UserWarning)
        figure = _draw(lines, title)
        figure.savefig(out_png, dpi=160, format="png")
        drawn = io.StringIO()
        figure.savefig(drawn, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    write_text(out_html, _PAGE.format(title=html.escape(title), figure=_inline(drawn.getvalue()), table=_table(lines)))


def _draw(lines: Sequence[dict[str, Any]], title: str) -> "Figure":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 6.4), layout="constrained", facecolor="white")
    figure.get_layout_engine().set(w_pad=0.12, h_pad=0.12, wspace=0.04, hspace=0.05)  # type: ignore[union-attr, call-arg]
    figure.suptitle(title, x=0.012, ha="left", fontsize=13, fontweight="bold", parse_math=False)
    (loss, scores), (rate, norm) = figure.subplots(2, 2)
    _panel(loss, "Loss")
    _noisy(loss, _points(lines, "loss/total"), _COLOURS[0])
    _panel(scores, "Evaluation, mean score")
    _scores(scores, lines)
    _panel(rate, "Learning rate")
    _line(rate, _points(lines, "learning_rate"), _COLOURS[2])
    rate.yaxis.set_major_formatter(lambda value, _: re.sub(r"e-0*", "e-", f"{value:g}"))
    _panel(norm, "Gradient norm")
    _noisy(norm, _points(lines, "gradient/norm"), _COLOURS[3])
    last = max((line["step"] for line in lines), default=0)
    for axes in (loss, scores, rate, norm):
        axes.set_xlim(0, max(last, 1) * (1.17 if axes is scores else 1.02))  # labels stand right of the scores
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        axes.xaxis.get_major_locator().set_params(integer=True, nbins=6)
    return figure


def _panel(axes: "Axes", title: str) -> None:
    axes.set_title(title, loc="left", fontsize=10, color=_INK, pad=8)
    axes.grid(visible=True, color=_GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.tick_params(length=0, pad=5)
    axes.set_xlabel("step", color=_MUTED, fontsize=8.5)
    axes.margins(y=0.1)


def _points(lines: Sequence[dict[str, Any]], name: str) -> Points:
    pairs = [(line["step"], line[name]) for line in lines if line.get(name) is not None]
    steps, values = np.asarray(pairs, dtype=np.float64).reshape(-1, 2).T
    return steps, values


def _line(axes: "Axes", points: Points, colour: str) -> None:
    steps, values = points
    if not len(steps):
        _say_nothing_is_there(axes)
        return
    marker = "o" if len(steps) <= _FEW else None
    axes.plot(steps, values, color=colour, linewidth=1.8, marker=marker, markersize=4)


def _noisy(axes: "Axes", points: Points, colour: str) -> None:
    """The measurements faintly, and their running mean where there are enough for one."""
    steps, values = points
    if len(steps) <= _FEW:
        _line(axes, points, colour)
        return
    axes.plot(steps, values, color=colour, linewidth=0.7, alpha=0.25)
    axes.plot(*_smoothed(points), color=colour, linewidth=1.8)
    # One spike should not flatten the rest: what lies far above nearly everything runs out of the picture.
    low, high = float(values.min()), float(np.quantile(values, 0.995))
    if low < high < float(values.max()) - 2 * (high - low):
        axes.set_ylim(low - 0.1 * (high - low), high + 0.3 * (high - low))


def _smoothed(points: Points) -> Points:
    """Means of the middle half of the fortieth around at most ``_SMOOTHED`` measurements: spikes do not move them."""
    steps, values = points
    half = max(2, len(values) // 80)
    centres = np.unique(np.linspace(0, len(values) - 1, _SMOOTHED).astype(int))
    around = (np.sort(values[max(0, centre - half) : centre + half + 1]) for centre in centres)
    means = [near[len(near) // 4 : len(near) - len(near) // 4].mean() for near in around]
    return steps[centres], np.asarray(means)


def _scores(axes: "Axes", lines: Sequence[dict[str, Any]]) -> None:
    names = sorted(
        {name for line in lines for name, value in line.items() if name.startswith(_MEAN) and value is not None}
    )
    if not names:
        _say_nothing_is_there(axes)
        return
    axes.margins(y=0.2)
    ends: list[tuple[float, float, str, str]] = []
    for name, colour in zip(names, cycle(_COLOURS), strict=False):
        steps, values = _points(lines, name)
        _line(axes, (steps, values), colour)
        ends.append((values[-1], steps[-1], f"{name.removeprefix(_MEAN)}  {values[-1]:.1f}", colour))
    low, high = axes.get_ylim()
    above = -np.inf
    for value, step, label, colour in sorted(ends):
        height = (value - low) / (high - low) * _PANEL_POINTS
        above = max(height, above + _LABEL_POINTS)  # labels of close scores are moved apart
        axes.annotate(label, (step, value), (7, above - height), textcoords="offset points", color=colour, va="center")


def _say_nothing_is_there(axes: "Axes") -> None:
    axes.text(0.5, 0.5, "nothing measured", transform=axes.transAxes, ha="center", va="center", color=_MUTED)
    axes.set_yticks([])


def _inline(svg: str) -> str:
    """The drawing without the declarations that a page does not need: they are addresses."""
    drawing = svg[svg.index("<svg") :]
    drawing = re.sub(r"<metadata>.*?</metadata>", "", drawing, flags=re.DOTALL)
    return re.sub(r' xmlns(:\w+)?="[^"]*"', "", drawing)


def _table(lines: Sequence[dict[str, Any]]) -> str:
    """First and last score of every task and mean; nothing if there was no evaluation."""
    scored: dict[str, list[float]] = {}
    for line in lines:
        for name, value in line.items():
            if name.startswith("eval/") and value is not None:
                scored.setdefault(name, []).append(value)
    if not scored:
        return ""
    by_kind = sorted(scored, key=lambda name: (not name.startswith(_MEAN), name))
    rows = [
        f"<tr><td>{html.escape(_label(name))}</td><td>{scored[name][0]:.2f}</td><td>{scored[name][-1]:.2f}</td></tr>"
        for name in by_kind
    ]
    head = "<tr><th>task</th><th>first</th><th>last</th></tr>"
    return "\n".join(("<table>", "<caption>Evaluation</caption>", head, *rows, "</table>"))


def _label(name: str) -> str:
    return f"mean, {name.removeprefix(_MEAN)}" if name.startswith(_MEAN) else name.removeprefix("eval/")
