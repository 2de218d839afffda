"""The tables of the map page as HTML, and as files to take away. Pure functions; everything variable is escaped."""

import csv
import io
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import parquet

from app.services.maps.clusters import OUTLIER, Labels
from app.services.maps.comparing import Comparison
from app.services.maps.runs import Points, Run
from app.ui.document.links import Place, document_address
from app.ui.i18n import Translator
from app.ui.map.chart import mark
from app.ui.map.state import MapState
from app.ui.markup import lang_attribute, plain
from indexer.catalog.label_tables import Unit

MOST_ROWS = 50
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""Spreadsheets take a cell that begins so for a formula."""


def clusters_table(run: Run, labels: Labels, state: MapState, t: Translator) -> str:
    """The clusters: mark, number and name as a link, size, share, silhouette. It is the map's legend too."""
    sizes = np.bincount(labels[labels != OUTLIER], minlength=len(run.clusters))
    rows = [
        _row(
            _swatch(each.number),
            str(each.number + 1),
            _link(
                state.link(run=run.id, cluster=each.number + 1, interface=t.language),
                each.name,
                is_current=state.cluster == each.number + 1,
            ),
            t.number(int(size)),
            f"{size / max(1, len(labels)):.1%}",
            f"{each.silhouette:.2f}",
        )
        for each, size in zip(run.clusters, sizes, strict=True)
    ]
    if left := int(np.count_nonzero(labels == OUTLIER)):
        share = f"{left / len(labels):.1%}"
        rows.append(_row(_swatch(OUTLIER), "", plain(t("map.outliers")), t.number(left), share, ""))
    heads = ("", "#", t("map.cluster"), t("map.size"), t("map.share"), t("map.silhouette"))
    return _table(t("map.clusters"), heads, rows, "kalm-clusters", t)


def items_table(points: Points, run: Run, labels: Labels, chosen: NDArray[np.int64], t: Translator) -> str:
    """Some points, the first of them: title as a link to the place, cluster, how well it fits, how it begins."""
    names = {each.number: f"{each.number + 1} {each.name}" for each in run.clusters}
    rows = []
    for place, item in zip(chosen[:MOST_ROWS], points.rows(chosen[:MOST_ROWS]).to_pylist(), strict=True):
        passage = item["id"] if run.plan.unit is Unit.PASSAGE else ""
        address = document_address(Place(run.plan.corpus, item["document_id"], passage, interface=t.language))
        title = _link(address, item["title"], lang=item["language"])
        where = f'{title}<div class="kalm-source">{plain(item["uri"])}</div>'
        text = f"<div{lang_attribute(item['language'])}>{plain(item['excerpt'])}</div>"
        cluster = plain(names.get(int(labels[place]), t("map.outliers")))
        rows.append(_row(where, cluster, f"{item['fit']:.2f}", text))
    heads = (t("map.title_column"), t("map.cluster"), t("map.fit"), t("map.text"))
    return _table(t("map.items"), heads, rows, "kalm-items", t)


def moved_table(found: Comparison, titles: dict[str, str], t: Translator) -> str:
    """The first of the items that are in another cluster than before."""
    outlier = t("map.outliers")
    rows = [
        _row(plain(titles.get(item, item)), plain(old or outlier), plain(new or outlier))
        for item, (old, new) in list(found.moved.items())[:MOST_ROWS]
    ]
    return _table(t("map.moved"), (t("map.title_column"), t("map.before"), t("map.after")), rows, "kalm-moved", t)


def as_csv(table: pa.Table) -> bytes:
    """A table for spreadsheets: UTF-8 with its mark, and an apostrophe before what would be taken for a formula."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(table.column_names)
    for row in zip(*(column.to_pylist() for column in table.columns), strict=True):
        writer.writerow([_cell(value) for value in row])
    return text.getvalue().encode("utf-8-sig", "replace")


def as_parquet(table: pa.Table) -> bytes:
    """A table for programs."""
    sink = io.BytesIO()
    parquet.write_table(table, sink)
    return sink.getvalue()


def _cell(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def _swatch(number: int) -> str:
    colour, _, character = mark(number)
    return f'<span style="color:{colour}" aria-hidden="true">{character}</span>'


def _link(address: str, text: str, *, lang: str = "", is_current: bool = False) -> str:
    current = ' aria-current="true"' if is_current else ""
    language = lang_attribute(lang) if lang else ""
    return f'<a href="{plain(address)}" target="_self"{language}{current}>{plain(text)}</a>'


def _row(*cells: str) -> str:
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def _table(caption: str, heads: Sequence[str], rows: Sequence[str], name: str, t: Translator) -> str:
    head = "".join(f'<th scope="col">{plain(each)}</th>' for each in heads)
    return (
        f'<div class="kalm-scroll" role="region" tabindex="0" aria-label="{plain(caption)}">'
        f'<table class="kalm-table {name}"{lang_attribute(t.language)}><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )
