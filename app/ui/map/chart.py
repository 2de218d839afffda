"""The map as a figure, and what of it somebody has drawn a line around. Pure functions."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from app.services.maps.clusters import OUTLIER, Labels
from app.services.maps.items import Floats
from app.services.maps.runs import ClusterInfo, Points
from app.ui.i18n import Translator
from app.ui.markup import plain

MOST_DRAWN = 30_000
_MOST_NAMED = 16
_LONGEST_NAME = 24
_ABOVE = 0.9
"""Share of a cluster's points that lie below its name; the highest may be far from the others."""

_LONGEST_TITLE = 90

# Okabe and Ito's palette, which colour-blind people can tell apart, without its black and with a darker yellow.
_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7", "#B59F00", "#7A6FC4")
_SYMBOLS = (("circle", "●"), ("square", "■"), ("diamond", "◆"), ("triangle-up", "▲"), ("cross", "✚"), ("x", "✖"))
_OUTLIER_COLOUR = "#8a949a"


def mark(number: int) -> tuple[str, str, str]:
    """Colour, Plotly's symbol and its character of a cluster: clusters with the same colour differ in the symbol."""
    if number == OUTLIER:
        return _OUTLIER_COLOUR, "circle-open", "○"
    symbol, character = _SYMBOLS[number // len(_COLOURS) % len(_SYMBOLS)]
    return _COLOURS[number % len(_COLOURS)], symbol, character


def drawn(count: int) -> NDArray[np.int64]:
    """The places of the points that are drawn: all, or so many spread evenly over the ids, which are random."""
    return np.unique(np.linspace(0, count - 1, min(count, MOST_DRAWN)).astype(np.int64)) if count else np.zeros(0, int)


def figure(points: Points, labels: Labels, clusters: Sequence[ClusterInfo], looked_at: int, t: Translator) -> go.Figure:
    """The map: one trace for each cluster, with its number and its first word above it.

    Args:
        points: All of them.
        labels: The cluster of each, shape (items,).
        clusters: By number.
        looked_at: Number of the cluster that stands out; ``OUTLIER`` for none.
        t: Wording.
    """
    chosen = drawn(len(points))
    places, titles = points.places, points.column("title")
    size = float(np.clip(200 / np.sqrt(max(len(chosen), 1)), 3.5, 9))
    shown = go.Figure()
    for number in sorted(set(labels[chosen].tolist())):
        mine = chosen[labels[chosen] == number]
        name = clusters[number].name if number != OUTLIER else t("map.outliers")
        colour, symbol, _ = mark(number)
        is_faint = number == OUTLIER or looked_at not in (OUTLIER, number)
        shown.add_trace(
            go.Scattergl(
                x=places[mine, 0],
                y=places[mine, 1],
                mode="markers",
                name=plain(name),
                customdata=mine.tolist(),
                hovertext=[_hover(titles[place], name) for place in mine],
                hoverinfo="text",
                marker={"color": colour, "symbol": symbol, "size": size, "opacity": 0.3 if is_faint else 0.85},
            )
        )
    _name_islands(shown, places, labels, clusters)
    axis = {"visible": False, "showgrid": False, "zeroline": False}
    shown.update_layout(
        xaxis=axis | {"range": [-1.08, 1.08]},
        yaxis=axis | {"range": [-1.08, 1.16]},
        margin={"l": 0, "r": 0, "t": 0, "b": 0},
        height=560,
        showlegend=False,
        dragmode="lasso",
        hovermode="closest",
        uirevision="map",
    )
    return shown


def _name_islands(shown: go.Figure, places: Floats, labels: Labels, clusters: Sequence[ClusterInfo]) -> None:
    for each in clusters[:_MOST_NAMED]:
        mine = labels == each.number
        if not mine.any():
            continue
        x, y = float(np.median(places[mine, 0])), float(np.quantile(places[mine, 1], _ABOVE))
        word = _short(each.name.split(" · ")[0], _LONGEST_NAME)
        shown.add_annotation(
            x=x,
            y=y,
            text=f"<b>{each.number + 1}</b> {plain(word)}",
            showarrow=False,
            yanchor="bottom",
            yshift=7,
            borderpad=2,
            bgcolor="white",  # by the style sheet that of the page, as the colour of the words
            font={"size": 13},
        )


def _hover(title: str, name: str) -> str:
    return f"<b>{plain(_short(title, _LONGEST_TITLE))}</b><br>{plain(_short(name, _LONGEST_TITLE))}"


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def selected(selection: Mapping[str, Any], places: Floats) -> NDArray[np.int64]:
    """The points inside what was drawn on the map, also those that are not drawn themselves; else those clicked.

    Args:
        selection: What Streamlit says was selected: ``box``, ``lasso`` and ``points``.
        places: Shape (items, 2).

    Returns:
        Places, ascending.
    """
    inside = np.zeros(len(places), bool)
    for box in selection.get("box", ()):
        (left, right), (low, high) = sorted(box["x"][:2]), sorted(box["y"][:2])
        inside |= (left <= places[:, 0]) & (places[:, 0] <= right) & (low <= places[:, 1]) & (places[:, 1] <= high)
    for line in selection.get("lasso", ()):
        inside |= within(np.asarray([line["x"], line["y"]], np.float64).T, places)
    if not selection.get("box") and not selection.get("lasso"):
        inside[
            [place for point in selection.get("points", ()) if (place := _place(point, len(places))) is not None]
        ] = True
    return np.flatnonzero(inside)


def _place(point: Mapping[str, Any], count: int) -> int | None:
    found = point.get("customdata")
    found = found[0] if isinstance(found, list) and found else found
    return found if isinstance(found, int) and 0 <= found < count else None


def within(polygon: NDArray[np.float64], places: Floats) -> NDArray[np.bool_]:
    """Which points lie inside a closed line: a ray to the right of them crosses it an odd number of times.

    Args:
        polygon: Corners in order, shape (corners, 2); the last is joined to the first.
        places: Shape (items, 2).
    """
    inside = np.zeros(len(places), bool)
    x, y = places[:, 0], places[:, 1]
    for (x1, y1), (x2, y2) in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
        crosses = (y1 > y) != (y2 > y)
        if y1 != y2:
            inside ^= crosses & (x < (x2 - x1) * (y - y1) / (y2 - y1) + x1)
    return inside
