"""Maps as the pages see them: asked for, made in a task, read, changed, compared."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from app.services.access import Person, Role
from app.services.audit import AuditLog
from app.services.corpora import CorpusInfo, CorpusService
from app.services.maps.clusters import MOST_CLUSTERS, OUTLIER, Labels, Recipe, cluster
from app.services.maps.comparing import Comparison, compare
from app.services.maps.items import Items, read_items, without_language
from app.services.maps.labelling import name_clusters
from app.services.maps.layout import layout, reduced
from app.services.maps.quality import measure
from app.services.maps.runs import ClusterInfo, MapRefused, Plan, Points, Run, RunFolder
from app.services.tasks import OnProgress, Tasks
from embedder.errors import AppError
from indexer.catalog.corpora import Catalog
from indexer.catalog.label_tables import Label, LabelSet, LabelsRefused, LabelTable
from indexer.catalog.task_tables import Task, TaskRefused, TaskState, new_task_id
from indexer.records import Corpus
from indexer.stores.protocol import VectorEngine

KIND = "map"
"""Of its tasks and of its label sets."""

_NAME = re.compile(r"[^\W_][\w .&+-]{0,63}")
_LONGEST_LABEL = 120
_LEAST = 2
"""Items of a map and of a cluster, at least."""

_READ, _PLACED, _CLUSTERED, _MEASURED = 0.15, 0.7, 0.8, 0.9
"""Shares of the work, about."""


class MapService:
    """The maps of an installation. Safe between threads."""

    def __init__(
        self,
        catalog: Catalog,
        engine: VectorEngine,
        corpora: CorpusService,
        labels: LabelTable,
        tasks: Tasks,
        folder: Path,
        audit: AuditLog,
    ) -> None:
        self._catalog = catalog
        self._engine = engine
        self._corpora = corpora
        self._labels = labels
        self._tasks = tasks
        self._runs = RunFolder(folder)
        self._audit = audit

    def corpora(self) -> Sequence[CorpusInfo]:
        """Every corpus, by name."""
        return self._corpora.all()

    def runs(self, corpus: str) -> list[Run]:
        """The saved maps of a corpus, newest first."""
        return self._runs.all(corpus)

    def run(self, corpus: str, run_id: str) -> Run:
        """A saved map; raises MapRefused if it is not there."""
        return self._runs.one(corpus, run_id)

    def points(self, run: Run) -> Points:
        """Its points; raises as ``run``."""
        return self._runs.points(run)

    def is_current(self, run: Run) -> bool:
        """Whether a map is of the version of the index that is searched now."""
        return self._catalog.live_number(run.plan.corpus) == run.generation

    def start(self, person: Person, plan: Plan) -> str:
        """Have a map made; returns the id of the task.

        Raises:
            Forbidden: If the person is no editor.
            MapRefused: If it cannot be made so.
            TaskRefused: If too many tasks wait.
        """
        person.must_be(Role.EDITOR)
        self._check(plan)
        return self._tasks.submit(person, KIND, asdict(plan))

    def task(self, task_id: str) -> Task | None:
        """The making of a map as it stands; None where there is none of that id."""
        try:
            return self._tasks.one(task_id)
        except TaskRefused:
            return None

    def making(self, corpus: str) -> list[Task]:
        """The maps of a corpus that wait or are being made, newest first."""
        active = (TaskState.QUEUED, TaskState.RUNNING)
        return [
            task for task in self._tasks.recent(KIND) if task.state in active and task.parameters["corpus"] == corpus
        ]

    def stop(self, person: Person, task_id: str) -> None:
        """End the making of a map; raises Forbidden if the person is no editor."""
        self._tasks.cancel(person, task_id)

    def carry_out(self, person: Person, parameters: Mapping[str, Any], progress: OnProgress) -> Mapping[str, Any]:
        """Make a map and keep it: what a task of this kind does.

        Returns:
            The id of the run, as ``run``.

        Raises:
            MapRefused: If it cannot be made.
            CatalogError: If there is no such corpus, as StoreError if its index cannot be read.
        """
        plan = Plan.of(parameters)
        self._check(plan)
        corpus = self._catalog.corpus(plan.corpus)
        generation, items = self._items(plan, progress)
        run, points = _made(plan, person, generation, items, progress)
        self._keep(run, points, corpus)
        self._note(person, "map.make", run)
        return {"run": run.id}

    def rename(self, person: Person, run: Run, number: int, name: str) -> Run:
        """Call a cluster something else, here and where searches filter by it.

        Raises:
            Forbidden: If the person is no editor.
            MapRefused: If it is no name, or another cluster's.
        """
        person.must_be(Role.EDITOR)
        name = " ".join(name.split())
        if not name or len(name) > _LONGEST_LABEL or not name.isprintable():
            raise MapRefused(f"A cluster's name has 1 to {_LONGEST_LABEL} characters; write another.")
        if any(each.name == name and each.number != number for each in run.clusters):
            raise MapRefused(f"There is a cluster {name} already; choose another name.")
        changed = self.run(run.plan.corpus, run.id).named(number, name)
        self._runs.change(changed)
        self._publish(changed, self.points(changed))
        self._note(person, "map.rename", run, cluster=str(number + 1), name=name)
        return changed

    def set_threshold(self, person: Person, run: Run, threshold: float) -> Run:
        """Decide anew who is an outlier, here and where searches filter by it.

        Raises:
            Forbidden: If the person is no editor.
        """
        person.must_be(Role.EDITOR)
        run = self.run(run.plan.corpus, run.id)
        points = self.points(run)
        outliers = float(np.mean(points.labels(threshold) == OUTLIER)) if len(points) else 0.0
        changed = replace(run, plan=replace(run.plan, threshold=threshold), outliers=outliers)
        self._runs.change(changed)
        self._publish(changed, points)
        self._note(person, "map.threshold", run, threshold=str(threshold))
        return changed

    def drop(self, person: Person, run: Run) -> None:
        """Forget a map and its labels.

        Raises:
            Forbidden: If the person is no editor.
            MapRefused: If it is not there.
        """
        person.must_be(Role.EDITOR)
        self._runs.drop(self.run(run.plan.corpus, run.id))
        if self._label_set(run) is not None:
            self._labels.drop(run.plan.corpus, run.plan.name)
        self._note(person, "map.remove", run)

    def compare(self, first: Run, second: Run) -> Comparison:
        """Hold two maps against each other.

        Raises:
            MapRefused: If one is of passages and the other of documents.
        """
        if first.plan.unit is not second.plan.unit:
            raise MapRefused("One of the maps is of passages and the other of documents; compare two of one kind.")
        return compare(self._named_items(first), self._named_items(second))

    def _note(self, person: Person, action: str, run: Run, **details: str) -> None:
        self._audit.note(person, action, run.plan.name, corpus=run.plan.corpus, **details)

    def _named_items(self, run: Run) -> dict[str, str]:
        points = self.points(run)
        names = {each.number: each.name for each in run.clusters} | {OUTLIER: ""}
        labels = points.labels(run.plan.threshold)
        return {item: names[int(label)] for item, label in zip(points.column("id"), labels, strict=True)}

    def _items(self, plan: Plan, progress: OnProgress) -> tuple[int, Items]:
        live = self._catalog.corpus(plan.corpus).live
        if live is None:
            raise MapRefused(f"The corpus {plan.corpus} is not indexed yet; build its index first.")
        generation = self._catalog.generation(plan.corpus, live)
        only = self._members(plan) if plan.parent else None
        store = self._engine.named(generation.manifest.engine).open(plan.corpus, live)
        try:
            items = read_items(
                store,
                plan.unit,
                only,
                lambda done: progress(_READ * min(1.0, done / max(1, generation.chunks)), "reading"),
            )
        finally:
            store.close()
        if len(items.items) < _LEAST:
            raise MapRefused("There are fewer than two items to map; choose more of the corpus, or another unit.")
        return live, items

    def _members(self, plan: Plan) -> frozenset[str]:
        parent = self.run(plan.corpus, plan.parent)
        points = self.points(parent)
        labels = points.labels(parent.plan.threshold)
        ids = points.column("id")
        return frozenset(ids[place] for place in np.flatnonzero(labels == plan.parent_cluster))

    def _check(self, plan: Plan) -> None:
        if not _NAME.fullmatch(plan.name):
            raise MapRefused(
                "A map's name begins with a letter or digit and has up to 64 letters, digits, spaces, dots, hyphens, "
                "plus and & signs; write another."
            )
        if not 1 <= plan.count <= MOST_CLUSTERS or plan.least < _LEAST or not 0 <= plan.threshold <= 1:
            raise MapRefused(
                f"A map has 1 to {MOST_CLUSTERS} clusters of at least {_LEAST} items, and a threshold from 0 to 1."
            )
        if any(run.plan.name == plan.name for run in self.runs(plan.corpus)):
            raise MapRefused(f"There is a map {plan.name} already; choose another name, or delete that one first.")
        try:
            taken = self._labels.one(plan.corpus, plan.name)
        except LabelsRefused:
            return
        if taken.kind != KIND:
            raise MapRefused(f"The name {plan.name} is that of a {taken.kind}; choose another.")

    def _keep(self, run: Run, points: Points, corpus: Corpus) -> None:
        """Save a map and its labels, or neither. Whoever removes the corpus meanwhile takes away what is saved by then.

        Raises:
            CatalogError: If the corpus was removed, as MapRefused if another has its name since.
            LabelsRefused: If a classifier took the name meanwhile.
        """
        self._runs.save(run, points)
        try:
            if self._catalog.corpus(corpus.name).created != corpus.created:
                raise MapRefused(f"The corpus {corpus.name} was made anew while its map was made; make the map again.")
            self._publish(run, points)
        except AppError:
            self._runs.drop(run)
            raise

    def _publish(self, run: Run, points: Points) -> None:
        """Enter what the map says as labels, so that searches can filter by them; outliers have none."""
        labels: Labels = points.labels(run.plan.threshold)
        names = {each.number: each.name for each in run.clusters}
        entered = [
            Label(item, names[int(label)], float(fit))
            for item, label, fit in zip(points.column("id"), labels, points.fit, strict=True)
            if label != OUTLIER
        ]
        details = {"run": run.id, "generation": run.generation, "fingerprint": run.fingerprint}
        self._labels.put(run.plan.corpus, run.plan.name, KIND, run.plan.unit, details, entered)

    def _label_set(self, run: Run) -> LabelSet | None:
        sets = (found for found in self._labels.sets(run.plan.corpus, KIND) if found.name == run.plan.name)
        return next(sets, None)


def _made(plan: Plan, person: Person, generation: int, items: Items, progress: OnProgress) -> tuple[Run, Points]:
    """Lay out, cluster, measure and name."""
    progress(_READ, "layout")
    languages = [item.language for item in items.items]
    components = reduced(without_language(items.vectors, languages) if plan.is_aligned else items.vectors)
    places = layout(components, plan.seed)
    progress(_PLACED, "clusters")
    recipe = Recipe(plan.method, plan.count, plan.least, plan.seed)
    found = cluster(components, places, recipe)
    progress(_CLUSTERED, "quality")
    quality = measure(components, places, found.labels(plan.threshold), recipe)
    progress(_MEASURED, "names")
    # Named by all that is near them, so that moving the threshold later leaves no cluster without a name.
    names = name_clusters(items.items, found, found.nearest)
    silhouettes = [*quality.by_cluster, *[0.0] * len(names)]
    clusters = tuple(
        ClusterInfo(number, naming.name, silhouettes[number], naming.english, naming.chinese)
        for number, naming in enumerate(names)
    )
    run = Run(
        id=new_task_id()[:12],
        plan=plan,
        generation=generation,
        fingerprint=items.fingerprint(),
        items=len(items.items),
        total=items.total,
        clusters=clusters,
        silhouette=quality.silhouette,
        stability=quality.stability,
        outliers=quality.outliers,
        by=person.name,
        created=datetime.now(UTC),
    )
    return run, Points.of(items.items, places, found)
