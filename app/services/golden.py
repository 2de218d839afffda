"""Judgments as files: a retrieval task in the layout of MTEB, and rows to train on."""

import json
import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from embedder.errors import AppError
from indexer.catalog.note_tables import Judgment
from indexer.readers.language import detect_language
from indexer.records import IndexedDocument


class ExportRefused(AppError):
    """Judgments that cannot be written."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What all who judged a passage say together.

    Attributes:
        grade: The mean of their grades, rounded; 0 is not relevant.
    """

    query: str
    passage_id: str
    title: str
    text: str
    grade: int


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written."""

    queries: int
    judgments: int
    passages: int


def verdicts(judgments: Iterable[Judgment]) -> list[Verdict]:
    """One verdict for each question and passage, in the order they were first judged.

    Where as many call it relevant as do not, there is none.
    """
    grouped: defaultdict[tuple[str, str], list[Judgment]] = defaultdict(list)
    for judgment in judgments:
        grouped[judgment.query, judgment.passage_id].append(judgment)
    agreed: list[Verdict] = []
    for (query, passage_id), group in grouped.items():
        relevant = [each.grade for each in group if each.is_relevant]
        balance = 2 * len(relevant) - len(group)
        if balance:
            grade = max(1, round(sum(relevant) / len(relevant))) if balance > 0 else 0
            agreed.append(Verdict(query, passage_id, group[-1].title, group[-1].text, grade))
    return agreed


def write_pairs(judgments: Sequence[Judgment], target: Path) -> Exported:
    """Write JSON Lines to train on: ``query``, ``positive`` and ``negative``, the last two lists of texts.

    Questions without a relevant passage are left out: nothing can be learned from them alone.

    Raises:
        ExportRefused: If no question has one, or the file cannot be written.
    """
    rows: dict[str, dict[str, list[str]]] = {}
    for verdict in verdicts(judgments):
        sides = rows.setdefault(verdict.query, {"positive": [], "negative": []})
        sides["positive" if verdict.grade else "negative"].append(verdict.text)
    rows = {query: sides for query, sides in rows.items() if sides["positive"]}
    _check(rows)
    lines = [json.dumps({"query": query, **sides}, ensure_ascii=False) + "\n" for query, sides in rows.items()]
    part = target.with_name(f".{target.name}.part")
    try:
        part.write_text("".join(lines), encoding="utf-8")
        os.replace(part, target)
    except OSError as error:
        raise _unwritable(target, error) from error
    texts = [text for sides in rows.values() for side in sides.values() for text in side]
    return Exported(len(rows), len(texts), len(set(texts)))


def write_mteb(judgments: Sequence[Judgment], documents: Iterable[IndexedDocument], target: Path) -> Exported:
    """Write a retrieval task: a folder with corpus, queries, qrels and ``task.json``, for kalm train's evaluation.

    The corpus is every passage of the documents, and those judged that the index no longer has.

    Args:
        judgments: What people said.
        documents: Those of the index.
        target: The folder, which must not be there yet or be empty.

    Raises:
        ExportRefused: If no question has a relevant passage, or the folder is in use or cannot be written.
    """
    agreed = verdicts(judgments)
    queries = list(dict.fromkeys(each.query for each in agreed if each.grade))
    _check(queries)
    kept = [each for each in agreed if each.query in set(queries)]
    passages = {
        place.id: (one.document.title, one.document.text[place.start : place.end])
        for one in documents
        for place in one.chunks
    }
    passages = {each.passage_id: (each.title, each.text) for each in kept} | passages
    ids = {query: f"q{number}" for number, query in enumerate(queries, start=1)}
    tables: Mapping[str, dict[str, list[str] | list[int]]] = {
        "corpus": {
            "id": list(passages),
            "title": [title for title, _ in passages.values()],
            "text": [text for _, text in passages.values()],
        },
        "queries": {"id": list(ids.values()), "text": list(ids)},
        "qrels": {
            "query_id": [ids[each.query] for each in kept],
            "doc_id": [each.passage_id for each in kept],
            "score": [each.grade for each in kept],
        },
    }
    try:
        target.mkdir(parents=True, exist_ok=True)
        if any(target.iterdir()):
            raise ExportRefused(f"The folder {target} is not empty; name another one.")
        for name, columns in tables.items():
            pq.write_table(pa.table(columns), target / f"{name}.parquet")
        declared = {
            "type": "retrieval",
            "lang": "-".join(sorted({detect_language(query) or "en" for query in queries})),
        }
        (target / "task.json").write_text(json.dumps(declared), encoding="utf-8")
    except OSError as error:
        raise _unwritable(target, error) from error
    return Exported(len(queries), len(kept), len(passages))


def _check(queries: Iterable[str]) -> None:
    if not list(queries):
        raise ExportRefused(
            "No question has a result that was judged relevant; judge some results on the search page first."
        )


def _unwritable(target: Path, error: OSError) -> ExportRefused:
    return ExportRefused(f"{target} cannot be written ({error.strerror or error}); check the path.")
