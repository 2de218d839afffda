"""Saved maps: what one is, and the folder that keeps them.

A run is a folder of two files: ``run.json`` says how it was made and what its clusters are called, ``points.parquet``
has its points. It holds all that a page shows, so it can be read when its index has long been replaced.
"""

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import parquet

from app.services.maps.clusters import OUTLIER, Clustering, Labels, Method
from app.services.maps.items import Floats, Item
from embedder.errors import AppError
from indexer.catalog.label_tables import Unit

_RUN, _POINTS = "run.json", "points.parquet"
_PART = ".part-"
"""Begins the name of a run that is not whole yet."""

_EXCERPT = 200


class MapRefused(AppError):
    """A map that cannot be made, or is not there."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How a map is to be made.

    Attributes:
        name: What it is called; its labels are a label set of that name.
        count: Clusters of k-means and Ward.
        least: Smallest cluster of HDBSCAN.
        threshold: How well an item must fit not to be an outlier, 0 to 1.
        is_aligned: Whether what is common to all texts of a language is taken away first.
        parent: Id of the run whose cluster ``parent_cluster`` is mapped; empty for the whole corpus.
    """

    corpus: str
    name: str
    unit: Unit = Unit.DOCUMENT
    method: Method = Method.KMEANS
    count: int = 12
    least: int = 10
    threshold: float = 0.02
    seed: int = 0
    is_aligned: bool = True
    parent: str = ""
    parent_cluster: int = 0

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> "Plan":
        """The plan that ``asdict`` made these values of."""
        return cls(**{**values, "unit": Unit(values["unit"]), "method": Method(values["method"])})


@dataclass(frozen=True, slots=True)
class ClusterInfo:
    """A cluster as people see it.

    Attributes:
        number: From 0, the largest first.
        name: What it is called now.
        silhouette: How well it stands apart, -1 to 1.
        english: Words that set it apart, best first, as ``chinese``.
    """

    number: int
    name: str
    silhouette: float
    english: tuple[str, ...] = ()
    chinese: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Run:
    """A saved map without its points.

    Attributes:
        generation: The version of the index it is of.
        fingerprint: Hash of ids and vectors: maps with the same one and the same plan are the same.
        items: Points of it.
        total: Items there were; more than ``items`` where the map's limit was reached.
        silhouette: Mean; None where there was nothing to measure, as ``stability``.
        outliers: Share of items that are in no cluster.
        by: Who asked for it.
    """

    id: str
    plan: Plan
    generation: int
    fingerprint: str
    items: int
    total: int
    clusters: tuple[ClusterInfo, ...]
    silhouette: float | None
    stability: float | None
    outliers: float
    by: str
    created: datetime

    def named(self, number: int, name: str) -> "Run":
        """This run with another name for one of its clusters."""
        clusters = tuple(replace(each, name=name) if each.number == number else each for each in self.clusters)
        return replace(self, clusters=clusters)


@dataclass(frozen=True, slots=True)
class Points:
    """The points of a run, equal places in all fields being one item.

    Attributes:
        table: Columns ``id``, ``document_id``, ``title``, ``uri``, ``language``, ``excerpt``, ``x``, ``y``,
            ``cluster`` (the nearest) and ``fit``.
    """

    table: pa.Table = field(repr=False)

    @classmethod
    def of(cls, items: Sequence[Item], places: Floats, clustering: Clustering) -> "Points":
        """Points from what the numerics found; ``places`` of shape (items, 2)."""
        columns = {
            name: [getattr(item, name) for item in items] for name in ("id", "document_id", "title", "uri", "language")
        }
        values = {
            "excerpt": [item.text[:_EXCERPT] for item in items],
            "x": places[:, 0],
            "y": places[:, 1],
            "cluster": clustering.nearest,
            "fit": clustering.fit,
        }
        return cls(pa.table(columns | values))

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def column(self, name: str) -> list[Any]:
        """All values of a column."""
        return list(self.table.column(name).to_pylist())

    @property
    def places(self) -> Floats:
        """Shape (items, 2)."""
        return np.stack([self.table.column(name).to_numpy() for name in ("x", "y")], axis=1).astype(np.float32)

    @property
    def fit(self) -> Floats:
        """How well each fits its cluster, shape (items,)."""
        return np.asarray(self.table.column("fit").to_numpy(), np.float32)

    def labels(self, threshold: float) -> Labels:
        """The cluster of each, ``OUTLIER`` for those that fit less than ``threshold``; shape (items,)."""
        nearest = np.asarray(self.table.column("cluster").to_numpy(), np.int64)
        return Clustering(nearest, self.fit).labels(threshold)

    def typical(self, labels: Labels, cluster: int, limit: int) -> list[int]:
        """Places of the items that fit a cluster best, best first."""
        members = np.flatnonzero(labels == cluster)
        order = np.argsort(-self.fit[members], kind="stable")[:limit]
        return [int(place) for place in members[order]]

    def rows(self, places: Sequence[int] | NDArray[np.int64]) -> pa.Table:
        """Some of the points, in the order given."""
        return self.table.take(pa.array(np.asarray(places, np.int64)))

    def export(self, run: Run) -> pa.Table:
        """Everything with ids, the numbers and the names of clusters; outliers have neither."""
        labels = self.labels(run.plan.threshold)
        names = {each.number: each.name for each in run.clusters}
        numbers = [None if label == OUTLIER else int(label) + 1 for label in labels]
        table = self.table.drop_columns(["cluster"]).append_column("cluster", pa.array(numbers, pa.int64()))
        return table.append_column("label", pa.array([names.get(int(label)) for label in labels], pa.string()))


class RunFolder:
    """All saved maps of an installation, by corpus. What is written is whole or not there."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def all(self, corpus: str) -> list[Run]:
        """The maps of a corpus, newest first."""
        runs = [self._read(path) for path in self._files(corpus)]
        return sorted(runs, key=lambda run: (run.created, run.id), reverse=True)

    def one(self, corpus: str, run_id: str) -> Run:
        """A map.

        Raises:
            MapRefused: If it is not there.
        """
        for path in self._files(corpus):
            if path.parent.name == run_id:
                return self._read(path)
        raise MapRefused(f"There is no such map of {corpus}; it may have been deleted. Choose another.")

    def points(self, run: Run) -> Points:
        """The points of a map; raises as ``one``."""
        self.one(run.plan.corpus, run.id)
        return Points(parquet.read_table(self._place(run) / _POINTS))

    def save(self, run: Run, points: Points) -> None:
        """Keep a new map."""
        place = self._place(run)
        part = place.with_name(_PART + run.id)
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        parquet.write_table(points.table, part / _POINTS, compression="zstd")
        _write(part / _RUN, run)
        part.rename(place)

    def change(self, run: Run) -> None:
        """Keep what was changed of a map."""
        _write(self._place(run) / _RUN, run)

    def drop(self, run: Run) -> None:
        """Forget a map."""
        part = self._place(run).with_name(_PART + run.id)
        with suppress(FileNotFoundError):  # its corpus was removed just now
            self._place(run).rename(part)
        shutil.rmtree(part, ignore_errors=True)

    def _files(self, corpus: str) -> Iterator[Path]:
        folder = self._folder / corpus
        is_there = os.path.isdir(folder)  # False for a name too long for a folder, where Path would raise
        for path in sorted(folder.glob(f"*/{_RUN}")) if is_there else ():
            if not path.parent.name.startswith(_PART):
                yield path

    def _place(self, run: Run) -> Path:
        return self._folder / run.plan.corpus / run.id

    def _read(self, path: Path) -> Run:
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            clusters = tuple(
                ClusterInfo(**{**each, "english": tuple(each["english"]), "chinese": tuple(each["chinese"])})
                for each in values.pop("clusters")
            )
            created = datetime.fromisoformat(values.pop("created"))
            return Run(plan=Plan.of(values.pop("plan")), clusters=clusters, created=created, **values)
        except (ValueError, KeyError, TypeError) as error:
            raise MapRefused(
                f"The map in {path.parent} cannot be read; delete that folder and make it again."
            ) from error


def _write(path: Path, run: Run) -> None:
    values = asdict(run) | {"created": run.created.isoformat()}
    beside = path.with_name(f".{path.name}.new")  # hidden: a backup passes over what is not whole yet
    beside.write_text(json.dumps(values, ensure_ascii=False, indent=1), encoding="utf-8")
    os.replace(beside, path)
