"""Charts as Plotly figures. Pure functions; labels are escaped, since Plotly reads a little HTML."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from app.services.classify.figures import CurvePoint
from app.ui.i18n import Translator
from app.ui.markup import plain

_TEAL = [[0.0, "rgba(11,107,99,0.04)"], [0.5, "rgba(11,107,99,0.5)"], [1.0, "rgb(11,107,99)"]]
_COVERAGE, _ACCURACY = "#d17a00", "#0b8a80"
_SHOWN_CHARACTERS = 24
_NUMBERS_UP_TO = 20
"""Labels up to which there is room for numbers in the cells."""


def confusion(counts: NDArray[np.int64], labels: Sequence[str], t: Translator) -> go.Figure:
    """The confusion matrix: shade is the share of the row, the number how many texts.

    Args:
        counts: ``(C, C + 1)``; the last column are texts that were given no label.
        labels: Of the rows.
        t: For the words.
    """
    names = [_name(label) for label in labels]
    columns = [*names, plain(t("classify.abstained"))] if counts[:, -1].any() else names
    shown = counts[:, : len(columns)]
    shares = shown / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    hover = (
        f"{plain(t('classify.has'))}: %{{customdata[0]}}<br>{plain(t('classify.given'))}: %{{customdata[1]}}"
        "<br>%{customdata[2]}<extra></extra>"
    )
    cells = [
        (column, row, (names[row], columns[column], int(shown[row, column])))
        for row in range(len(names))
        for column in range(len(columns))
    ]
    figure = go.Figure(
        go.Heatmap(z=shares, zmin=0, zmax=1, colorscale=_TEAL, showscale=False, hoverinfo="skip", xgap=2, ygap=2)
    )
    # Cells cannot be selected, points can: an invisible one lies on each.
    quiet = {"marker": {"opacity": 0.0}}
    figure.add_scatter(
        x=[x for x, _, _ in cells],
        y=[y for _, y, _ in cells],
        customdata=[facts for _, _, facts in cells],
        mode="markers+text" if len(names) <= _NUMBERS_UP_TO else "markers",
        text=[str(facts[2]) if facts[2] else "" for _, _, facts in cells],
        textfont={"color": [_ink(shares[y, x]) for x, y, _ in cells]},
        marker={"symbol": "square", "size": 24, "opacity": 0.0},
        selected=quiet,
        unselected=quiet,
        hovertemplate=hover,
        showlegend=False,
    )
    ticks = {"tickmode": "array", "showgrid": False, "zeroline": False, "fixedrange": True}
    places = list(range(len(columns)))
    figure.update_xaxes(**ticks, tickvals=places, ticktext=columns, title=plain(t("classify.given")), tickangle=-40)
    figure.update_yaxes(
        **ticks, tickvals=places[: len(names)], ticktext=names, title=plain(t("classify.has")), autorange="reversed"
    )
    figure.update_layout(
        height=min(900, 180 + 34 * len(names)), margin={"l": 8, "r": 8, "t": 16, "b": 8}, dragmode=False
    )
    return figure


def curve(points: Sequence[CurvePoint], threshold: float, t: Translator) -> go.Figure:
    """Coverage and accuracy over the threshold, with a line where it stands."""
    at = [100 * point.threshold for point in points]
    figure = go.Figure()
    series = (
        (t("classify.coverage"), _COVERAGE, "dash", [100 * point.coverage for point in points]),
        (
            t("classify.accuracy"),
            _ACCURACY,
            "solid",
            [None if p.accuracy is None else 100 * p.accuracy for p in points],
        ),
    )
    for name, colour, dash, values in series:
        figure.add_scatter(
            x=at, y=values, name=plain(name), mode="lines", line={"color": colour, "width": 2.5, "dash": dash}
        )
    figure.add_vline(x=100 * threshold, line={"width": 1, "color": "#8a9499"})
    figure.update_xaxes(title=plain(t("classify.threshold.axis")), range=[0, 100], fixedrange=True)
    figure.update_yaxes(title="%", range=[0, 102], fixedrange=True)
    figure.update_layout(
        height=300,
        margin={"l": 8, "r": 8, "t": 8, "b": 8},
        legend={"orientation": "h", "y": 1.12, "x": 0},
        hovermode="x unified",
        dragmode=False,
    )
    return figure


def _name(label: str) -> str:
    return plain(label if len(label) <= _SHOWN_CHARACTERS else label[: _SHOWN_CHARACTERS - 1] + "…")


def _ink(share: float) -> str:
    """White on dark cells; on light ones a grey that is readable on either theme's ground."""
    return "#ffffff" if share > 0.45 else "#7d888d"
