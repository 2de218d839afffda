"""Folders of tables as tasks of mteb, so that mteb computes their scores.

The layout is that of ``trainer.task_files``. A folder that is called like a task of mteb is measured by that task's
main score; the others by the one that is usual for their type. Nothing is sampled.
"""

import hashlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import mteb
from datasets import Dataset, DatasetDict
from mteb.abstasks import (
    AbsTask,
    AbsTaskBitextMining,
    AbsTaskClassification,
    AbsTaskClustering,
    AbsTaskPairClassification,
    AbsTaskRetrieval,
    AbsTaskSTS,
)
from mteb.abstasks.task_metadata import TaskMetadata

from trainer.task_files import BadTasks, column_names, find_tasks, kind_and_language, read_columns
from trainer.tasks import TYPES, Kind

_LANGUAGES: Mapping[str, list[str]] = {"en": ["eng-Latn"], "zh": ["cmn-Hans"], "x": ["cmn-Hans", "eng-Latn"]}
_SPLIT = "test"


@dataclass(frozen=True, slots=True)
class _Shape:
    """How mteb takes tasks of a kind.

    Attributes:
        base: Its class for them.
        score: Its usual main score of them.
        read: Makes the data it wants of a task's folder.
    """

    base: type[AbsTask]
    score: str
    read: Callable[[Path], Any]


def local_tasks(folder: Path, only: Collection[str] | None = None) -> list[AbsTask]:
    """The tasks of a folder, or of a folder that is one itself, as mteb takes them; read when they are run.

    Args:
        folder: A folder with a folder per task, or a task's own.
        only: Names of the tasks wanted; None takes all.

    Raises:
        BadTasks: If the folder or a wanted task is not there, or is no task.
    """
    if folder.is_dir() and any(folder.glob("*.parquet")):
        return [_task(folder.resolve())]
    return [_task(place) for place in find_tasks(folder, only)]


def _task(place: Path) -> AbsTask:
    kind, language = kind_and_language(place)
    shape = _SHAPES[kind]
    known = _known(place.name, TYPES[kind])
    metadata = TaskMetadata(
        name=place.name,
        description=f"The tables of the folder {place.name}.",
        dataset={"path": place.name, "revision": _digest(place)},
        type=TYPES[kind],  # type: ignore[arg-type]  # the names are mteb's own
        category="t2c" if kind in ("classification", "clustering") else "t2t",
        prompt=known.prompt if known else None,
        eval_splits=[_SPLIT],
        eval_langs=_LANGUAGES[language],
        main_score=known.main_score if known else shape.score,
    )

    def load_data(self: AbsTask, num_proc: int | None = None, **_: object) -> None:
        self.dataset = shape.read(place)
        self.data_loaded = True
        if isinstance(self, AbsTaskClustering):
            self.max_fraction_of_documents_to_embed = None
            rows = len(cast(DatasetDict, self.dataset)[_SPLIT])
            self.max_documents_per_cluster = min(self.max_documents_per_cluster, rows)

    # A class of its own: mteb keeps a task's description on its class.
    made = type(place.name, (shape.base,), {"metadata": metadata, "load_data": load_data, "__module__": __name__})
    return cast(AbsTask, made())


def _known(name: str, task_type: str) -> TaskMetadata | None:
    """What mteb itself says of a task of this name and type, if it has one."""
    try:
        metadata = mteb.get_task(name).metadata
    except KeyError:
        return None
    return metadata if metadata.type == task_type else None


def _digest(place: Path) -> str:
    """Changes when any table does: results of other tables are not taken for results of these."""
    digest = hashlib.blake2b(digest_size=8)
    for path in sorted(place.glob("*.parquet")):
        digest.update(path.name.encode())
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "blake2b").digest())
    return digest.hexdigest()


def _ranking(place: Path, *, is_reranking: bool) -> dict[str, dict[str, dict[str, Any]]]:
    titled = ["title"] if "title" in column_names(place, "corpus") else []
    ids, texts, *titles = read_columns(place, "corpus", "id", "text", *titled)
    known = {str(id_) for id_ in ids}
    grades: dict[str, dict[str, int]] = {}
    for query, document, grade in zip(*read_columns(place, "qrels", "query_id", "doc_id", "score"), strict=True):
        if str(document) not in known:
            raise BadTasks(f"{place.name} judges the document {document!r}, which its corpus does not have.")
        if grade != int(grade):
            raise BadTasks(f"{place.name} has the grade {grade} in qrels.parquet; mteb takes whole numbers.")
        if grade > 0 or is_reranking:
            grades.setdefault(str(query), {})[str(document)] = int(grade)
    grades = {query: judged for query, judged in grades.items() if any(grade > 0 for grade in judged.values())}
    asked = zip(*read_columns(place, "queries", "id", "text"), strict=True)
    queries = [{"id": str(id_), "text": text} for id_, text in asked if str(id_) in grades]
    if not queries:
        raise BadTasks(f"{place.name} has no query with a relevant document; check the ids in qrels.parquet.")
    corpus = {"id": [str(id_) for id_ in ids], "title": titles[0] if titles else [""] * len(ids), "text": texts}
    split = {
        "corpus": Dataset.from_dict(corpus),
        "queries": Dataset.from_list(queries),
        "relevant_docs": {query["id"]: grades[query["id"]] for query in queries},
        "top_ranked": {query["id"]: list(grades[query["id"]]) for query in queries} if is_reranking else None,
    }
    return {"default": {_SPLIT: split}}


def _pairs(place: Path, gold: str | None, column: str = "") -> DatasetDict:
    first, second, *golds = read_columns(place, "pairs", "text1", "text2", *([gold] if gold else []))
    columns = {"sentence1": first, "sentence2": second}
    return DatasetDict({_SPLIT: Dataset.from_dict(columns | ({column: golds[0]} if gold else {}))})


def _classification(place: Path) -> DatasetDict:
    train, test = (read_columns(place, table, "text", "label") for table in ("train", "test"))
    names = sorted({str(label) for label in train[1]})
    if unknown := {str(label) for label in test[1]}.difference(names):
        raise BadTasks(f"{place.name} tests the class {min(unknown)!r}, which no training text has.")
    return DatasetDict(
        {
            split: Dataset.from_dict({"text": texts, "label": [names.index(str(label)) for label in labels]})
            for split, (texts, labels) in (("train", train), (_SPLIT, test))
        }
    )


def _clustering(place: Path) -> DatasetDict:
    texts, labels = read_columns(place, "items", "text", "label")
    names = sorted({str(label) for label in labels})
    columns = {"sentences": texts, "labels": [names.index(str(label)) for label in labels]}
    return DatasetDict({_SPLIT: Dataset.from_dict(columns)})


_SHAPES: Mapping[Kind, _Shape] = {
    "retrieval": _Shape(AbsTaskRetrieval, "ndcg_at_10", lambda place: _ranking(place, is_reranking=False)),
    "reranking": _Shape(AbsTaskRetrieval, "map_at_1000", lambda place: _ranking(place, is_reranking=True)),
    "sts": _Shape(AbsTaskSTS, "cosine_spearman", lambda place: _pairs(place, "score", "score")),
    "pair": _Shape(AbsTaskPairClassification, "max_ap", lambda place: _pairs(place, "label", "labels")),
    "bitext": _Shape(AbsTaskBitextMining, "f1", lambda place: _pairs(place, None)),
    "classification": _Shape(AbsTaskClassification, "accuracy", _classification),
    "clustering": _Shape(AbsTaskClustering, "v_measure", _clustering),
}
