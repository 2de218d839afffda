"""Evaluation tasks as values: texts, and how their vectors become one number. ``task_files.py`` reads them."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from embedder.protocol import Side, Vectors
from trainer.measures import average_precision, classify, kmeans, ndcg, spearman, v_measure

Kind = Literal["retrieval", "reranking", "sts", "pair", "bitext", "classification", "clustering"]

TYPES: Mapping[Kind, str] = {
    "retrieval": "Retrieval",
    "reranking": "Reranking",
    "sts": "STS",
    "pair": "PairClassification",
    "bitext": "BitextMining",
    "classification": "Classification",
    "clustering": "Clustering",
}
"""MTEB's name of each kind, by which prompts are looked up."""

_BLOCK = 256
_DEPTH = 10
_CLUSTERINGS = 5


@dataclass(frozen=True, slots=True)
class Task(ABC):
    """One task: two lists of texts, and a measure over their vectors.

    Attributes:
        name: Name of its folder.
        kind: What is measured.
        language: ``en``, ``zh``, or ``x`` for cross-lingual.
        first: Queries, first texts of pairs, training texts or items.
        second: Documents, second texts of pairs or test texts; empty for a clustering.
    """

    name: str
    kind: Kind
    language: str
    first: tuple[str, ...]
    second: tuple[str, ...]

    @property
    def task_type(self) -> str:
        """MTEB's name of the kind: what its prompts are looked up by."""
        return TYPES[self.kind]

    @property
    def first_side(self) -> Side:
        """The prompt of ``first``."""
        return "query"

    @property
    def second_side(self) -> Side:
        """The prompt of ``second``: pairs and test texts are asked like the texts they are compared with."""
        return "document" if self.kind in ("retrieval", "reranking") else "query"

    @property
    def texts(self) -> list[tuple[str, Side]]:
        """All its texts, each with the side it is encoded on."""
        return [(text, self.first_side) for text in self.first] + [(text, self.second_side) for text in self.second]

    @property
    def size(self) -> int:
        """Characters to encode: how much work it is."""
        return sum(len(text) for text, _ in dict.fromkeys(self.texts))

    @abstractmethod
    def score(self, first: Vectors, second: Vectors) -> float:
        """The measure, 1 at best.

        Args:
            first: Unit vectors of ``first``, shape (N, D).
            second: Unit vectors of ``second``, shape (M, D).
        """


@dataclass(frozen=True, slots=True)
class RetrievalTask(Task):
    """Queries against all documents.

    Attributes:
        grades: By query: grade of each relevant document, by its number.
    """

    grades: tuple[Mapping[int, float], ...]

    def score(self, first: Vectors, second: Vectors) -> float:
        """Mean nDCG@10."""
        ranked = (row for rows in _blocks(first, second) for row in np.argsort(-rows, axis=1, kind="stable"))
        gains = (
            ndcg([grades.get(int(found), 0) for found in row[:_DEPTH]], list(grades.values()), _DEPTH)
            for row, grades in zip(ranked, self.grades, strict=True)
        )
        return float(np.mean(list(gains)))


@dataclass(frozen=True, slots=True)
class RerankingTask(Task):
    """Queries against their own candidates.

    Attributes:
        grades: By query: grade of each candidate, by its number; 0 for one that is not relevant.
    """

    grades: tuple[Mapping[int, float], ...]

    def score(self, first: Vectors, second: Vectors) -> float:
        """Mean average precision."""
        parts = (
            average_precision(np.array(list(grades.values())) > 0, second[list(grades)] @ query)
            for query, grades in zip(first, self.grades, strict=True)
        )
        return float(np.mean(list(parts)))


@dataclass(frozen=True, slots=True)
class PairTask(Task):
    """Pairs with a score (``sts``) or with a class, 1 for equivalent (``pair``).

    Attributes:
        gold: Of each pair.
    """

    gold: tuple[float, ...]

    def score(self, first: Vectors, second: Vectors) -> float:
        """Spearman's correlation or average precision of the cosines."""
        cosines = (first * second).sum(1)
        if self.kind == "sts":
            return spearman(cosines, self.gold)
        return average_precision(np.array(self.gold) > 0, cosines)


@dataclass(frozen=True, slots=True)
class BitextTask(Task):
    """Sentences and their translations."""

    def score(self, first: Vectors, second: Vectors) -> float:
        """Share of sentences whose translation is the nearest of all, mean of both directions."""
        return (_nearest_is_own(first, second) + _nearest_is_own(second, first)) / 2


@dataclass(frozen=True, slots=True)
class ClassificationTask(Task):
    """Training and test texts of classes.

    Attributes:
        draws: Samples of the training texts, as numbers into ``first``: a few of each class.
        train: Class of each training text.
        test: Class of each test text.
    """

    draws: tuple[tuple[int, ...], ...]
    train: tuple[int, ...]
    test: tuple[int, ...]

    def score(self, first: Vectors, second: Vectors) -> float:
        """Mean accuracy of a classifier fitted to each draw."""
        train, test = np.array(self.train), np.array(self.test)
        right = [(classify(first[list(draw)], train[list(draw)], second) == test).mean() for draw in self.draws]
        return float(np.mean(right))


@dataclass(frozen=True, slots=True)
class ClusteringTask(Task):
    """Texts to be put into groups.

    Attributes:
        labels: True group of each text.
    """

    labels: tuple[int, ...]

    def score(self, first: Vectors, second: Vectors) -> float:
        """Mean V-measure of k-means over several starts, with the true number of groups."""
        groups = len(set(self.labels))
        found = (v_measure(self.labels, kmeans(first, groups, seed)) for seed in range(_CLUSTERINGS))
        return float(np.mean(list(found)))


def _blocks(first: Vectors, second: Vectors) -> Iterator[Vectors]:
    """Cosines of a few rows of ``first`` at a time with all of ``second``, each (B, M)."""
    return (first[start : start + _BLOCK] @ second.T for start in range(0, len(first), _BLOCK))


def _nearest_is_own(first: Vectors, second: Vectors) -> float:
    nearest = np.concatenate([rows.argmax(1) for rows in _blocks(first, second)])
    return float((nearest == np.arange(len(first))).mean())
