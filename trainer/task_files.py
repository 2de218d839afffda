"""Evaluation tasks on disk: folders of tables, read into tasks.

A folder of tasks has one folder per task, in the layout of MTEB's own data:

=============== ================================================================= =========================
type            files                                                             score
=============== ================================================================= =========================
retrieval       corpus (id, title, text), queries (id, text),                     nDCG@10
                qrels (query_id, doc_id, score)
reranking       the same; the judged documents of a query are its candidates      mean average precision
sts             pairs (text1, text2, score)                                       Spearman's correlation
pair            pairs (text1, text2, label)                                       average precision
bitext          pairs (text1, text2)                                              accuracy of both directions
classification  train, test (text, label)                                         accuracy, 8 shots, 10 draws
clustering      items (text, label)                                               V-measure, 5 seeds
=============== ================================================================= =========================

``task.json`` names type and language (``{"type": ..., "lang": ...}``); without it the type is told from the files.
"""

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from embedder.errors import AppError
from trainer.tasks import (
    TYPES,
    BitextTask,
    ClassificationTask,
    ClusteringTask,
    Kind,
    PairTask,
    RerankingTask,
    RetrievalTask,
    Task,
)

_NAMED: Mapping[str, Kind] = {
    "rerank": "reranking",  # before retrieval, which many a task of this kind is called too
    "bitext": "bitext",
    "retrieval": "retrieval",
    "sts": "sts",
    "pair": "pair",
    "classif": "classification",
    "cluster": "clustering",
}
_About = dict[str, Any]
"""What all tasks have: name, kind, language."""

_SHOTS, _DRAWS, _DRAW_SEED = 8, 10, 42
_SAMPLE_SEED = 0
_MAY_LACK = {"title", "text", "text1", "text2"}


class BadTasks(AppError):
    """A folder that holds no tasks, or a task whose files are not what its type needs."""


def load_tasks(folder: Path, max_texts: int, only: Collection[str] | None = None) -> list[Task]:
    """Read the tasks of a folder, by name.

    Args:
        folder: A folder with a folder per task.
        max_texts: Most queries, pairs, items or test texts of a task, drawn by a fixed seed; documents are never
            left out, since fewer of them would make another task.
        only: Names of the tasks wanted; None reads all.

    Raises:
        BadTasks: If the folder or a wanted task is not there, or a task cannot be read.
    """
    return [_load(place, max_texts) for place in find_tasks(folder, only)]


def find_tasks(folder: Path, only: Collection[str] | None = None) -> list[Path]:
    """Folders of the tasks in a folder, by name; ``only`` and errors as in ``load_tasks``."""
    if not folder.is_dir():
        raise BadTasks(f"There is no evaluation folder {folder}; correct the path or leave the evaluation out.")
    places = {place.name: place for place in sorted(folder.iterdir()) if any(place.glob("*.parquet"))}
    wanted = list(places) if only is None else sorted(only)
    if missing := [name for name in wanted if name not in places]:
        raise BadTasks(f"{folder} has no task {missing[0]}; it has {', '.join(places) or 'none'}.")
    if not wanted:
        raise BadTasks(f"{folder} holds no tasks; each is a folder with parquet files, such as pairs.parquet.")
    return [places[name] for name in wanted]


def kind_and_language(place: Path) -> tuple[Kind, str]:
    """What a task's folder holds, and in which language: ``en``, ``zh``, or ``x`` for cross-lingual.

    Raises:
        BadTasks: If that cannot be told.
    """
    declared = _declared(place)
    return _kind(place, str(declared.get("type", ""))), _language(declared)


def _load(place: Path, max_texts: int) -> Task:
    kind, language = kind_and_language(place)
    readers: Mapping[Kind, Callable[[Path, _About, int], Task]] = {
        "retrieval": partial(_ranking, RetrievalTask),
        "reranking": partial(_ranking, RerankingTask),
        "sts": _pairs,
        "pair": _pairs,
        "bitext": _bitext,
        "classification": _classification,
        "clustering": _clustering,
    }
    about = {"name": place.name, "kind": kind, "language": language}
    return readers[kind](place, about, max_texts)


def _declared(place: Path) -> Mapping[str, Any]:
    """What ``task.json`` says, or nothing."""
    try:
        declared = json.loads((place / "task.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise BadTasks(f"{place / 'task.json'} cannot be read ({error}); correct it.") from error
    if not isinstance(declared, dict):
        raise BadTasks(f'{place / "task.json"} is no task: write it as {{"type": ..., "lang": ...}}.')
    return declared


def _kind(place: Path, declared: str) -> Kind:
    for part, kind in _NAMED.items():
        if part in declared.lower():
            return kind
    files = {path.stem for path in place.glob("*.parquet")}
    if "qrels" in files:
        return "retrieval"
    if {"train", "test"} <= files:
        return "classification"
    if "items" in files:
        return "clustering"
    if "pairs" in files:
        columns = column_names(place, "pairs")
        return "sts" if "score" in columns else "pair" if "label" in columns else "bitext"
    raise BadTasks(f"{place} is a task of no known type; name it in its task.json, as one of {', '.join(TYPES)}.")


def _language(declared: Mapping[str, Any]) -> str:
    language = str(declared.get("lang", "en")).lower()
    chinese = "zh" in language or "cmn" in language
    if chinese and "en" in language:
        return "x"
    return "zh" if chinese else "x" if "-" in language and language.endswith("-en") else "en"


def column_names(place: Path, table: str) -> list[str]:
    """Columns of a table of a task; raises BadTasks if it cannot be read."""
    return list(_open(place, table).schema_arrow.names)


def _open(place: Path, table: str) -> pq.ParquetFile:
    path = place / f"{table}.parquet"
    try:
        return pq.ParquetFile(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise BadTasks(f"{path} cannot be read ({str(error).splitlines()[0]}); put the task's file there.") from error


def read_columns(place: Path, table: str, *columns: str) -> list[list[Any]]:
    """Columns of a table as lists; an empty text stands for one that is missing.

    Raises:
        BadTasks: If the table cannot be read, has no rows, lacks a column, or lacks values other than texts.
    """
    file = _open(place, table)
    if missing := [column for column in columns if column not in file.schema_arrow.names]:
        raise BadTasks(f"{place / table}.parquet has no column {missing[0]!r}; it needs {', '.join(columns)}.")
    read = file.read(columns=list(columns))
    if not read.num_rows:
        raise BadTasks(f"{place / table}.parquet is empty; remove the task or fill it.")
    if unset := [name for name in columns if read[name].null_count and name not in _MAY_LACK]:
        raise BadTasks(f"{place / table}.parquet has rows without a {unset[0]}; take them out.")
    return [["" if value is None else value for value in read[name].to_pylist()] for name in columns]


def _ranking(kind: type[RetrievalTask] | type[RerankingTask], place: Path, about: _About, limit: int) -> Task:
    titled = "title" in column_names(place, "corpus")
    ids, texts, *titles = read_columns(place, "corpus", "id", "text", *(["title"] if titled else []))
    if titled:
        texts = [f"{title}\n{text}".strip() if title else text for title, text in zip(titles[0], texts, strict=True)]
    number = {str(id_): row for row, id_ in enumerate(ids)}
    grades: dict[str, dict[int, float]] = {}
    for query, document, grade in zip(*read_columns(place, "qrels", "query_id", "doc_id", "score"), strict=True):
        if str(document) not in number:
            raise BadTasks(f"{place.name} judges the document {document!r}, which its corpus does not have.")
        if grade > 0 or kind is RerankingTask:
            grades.setdefault(str(query), {})[number[str(document)]] = float(grade)
    asked = [(str(id_), text) for id_, text in zip(*read_columns(place, "queries", "id", "text"), strict=True)]
    asked = [(id_, text) for id_, text in asked if any(grade > 0 for grade in grades.get(id_, {}).values())]
    if not asked:
        raise BadTasks(f"{place.name} has no query with a relevant document; check the ids in qrels.parquet.")
    asked = [asked[row] for row in _sample(len(asked), limit)]
    return kind(
        **about,
        first=tuple(text for _, text in asked),
        second=tuple(texts),
        grades=tuple(grades[id_] for id_, _ in asked),
    )


def _pairs(place: Path, about: _About, limit: int) -> Task:
    first, second, gold = read_columns(place, "pairs", "text1", "text2", "score" if about["kind"] == "sts" else "label")
    rows = _sample(len(gold), limit)
    return PairTask(**about, first=_take(first, rows), second=_take(second, rows), gold=_take(gold, rows))


def _bitext(place: Path, about: _About, limit: int) -> Task:
    first, second = read_columns(place, "pairs", "text1", "text2")
    rows = _sample(len(first), limit)
    return BitextTask(**about, first=_take(first, rows), second=_take(second, rows))


def _classification(place: Path, about: _About, limit: int) -> Task:
    texts, labels = read_columns(place, "train", "text", "label")
    tested, expected = read_columns(place, "test", "text", "label")
    rows = _sample(len(tested), limit)
    names = sorted({str(label) for label in labels})
    if unknown := {str(label) for label in expected}.difference(names):
        raise BadTasks(f"{place.name} tests the class {min(unknown)!r}, which no training text has.")
    number = {name: n for n, name in enumerate(names)}
    classes = np.array([number[str(label)] for label in labels])
    members = [np.flatnonzero(classes == n) for n in range(len(names))]
    random = np.random.default_rng(_DRAW_SEED)
    draws = [
        np.concatenate([random.choice(rows_, min(_SHOTS, len(rows_)), replace=False) for rows_ in members])
        for _ in range(_DRAWS)
    ]
    used, among = np.unique(np.concatenate(draws), return_inverse=True)  # only what is drawn has to be encoded
    ends = np.cumsum([len(draw) for draw in draws])[:-1]
    return ClassificationTask(
        **about,
        first=_take(texts, used),
        second=_take(tested, rows),
        draws=tuple(tuple(draw.tolist()) for draw in np.split(among, ends)),
        train=_take(classes.tolist(), used),
        test=tuple(number[str(expected[row])] for row in rows),
    )


def _clustering(place: Path, about: _About, limit: int) -> Task:
    texts, labels = read_columns(place, "items", "text", "label")
    rows = _sample(len(texts), limit)
    number = {name: n for n, name in enumerate(sorted({str(label) for label in labels}))}
    kept = tuple(number[str(labels[row])] for row in rows)
    return ClusteringTask(**about, first=_take(texts, rows), second=(), labels=kept)


def _sample(count: int, limit: int) -> list[int]:
    """All row numbers, or ``limit`` of them drawn by a fixed seed, in order."""
    if count <= limit:
        return list(range(count))
    return sorted(np.random.default_rng(_SAMPLE_SEED).choice(count, limit, replace=False).tolist())


def _take(values: Sequence[Any], rows: Iterable[int]) -> tuple[Any, ...]:
    return tuple(values[row] for row in rows)
