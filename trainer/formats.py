"""The examples made of training rows.

A contrastive row is a query and what answers it, with or without texts that do not; a graded row is a pair and its
score; a labelled row is a text and its class, of which triplets are made. Every draw is keyed by the row, so the
same visit gives the same example whatever was read before it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pyarrow as pa

from trainer.batches import BatchForm
from trainer.columns import InvalidData, Row
from trainer.draws import Integers, below, sample, share

_DRAW_POSITIVE, _DRAW_NEGATIVES, _DRAW_SHARE, _DRAW_PEER, _DRAW_CLASSES, _DRAW_MEMBER = range(6)
"""Purposes of the draws of one visit."""

_PEERS = 4
"""Texts of the class that are looked at for one that differs from the query: duplicates are rare."""


@dataclass(frozen=True, slots=True)
class SourceInfo:
    """What every example of a source shares."""

    name: str
    query_prompt: str
    document_prompt: str
    languages: frozenset[str]
    """ISO 639-1 codes; empty where nothing is known."""
    form: BatchForm
    task: str
    """MTEB task type or name, by which a teacher prompts the same texts."""
    instruction: str | None = None
    """What the query is told instead of the task's; empty where the texts go bare or are prompted already."""


@dataclass(frozen=True, slots=True)
class Example:
    """One visit to one row, as the collator gets it; texts are bare, prompts are in ``source``."""

    key: int
    """63 bits from seed, source, row and visit: all random draws of this visit are keyed by it."""
    source: SourceInfo
    query: str
    positive: str
    negatives: tuple[str, ...]
    """At most ``negatives_per_query``, never the query or a positive, none twice."""
    positives: tuple[str, ...]
    """All known positives of the row, ``positive`` among them: never to act as its negatives."""
    label: str | None
    """Class of the query and the positive, for sources with classes."""
    score: float | None
    """Of graded pairs, in [0, 1]."""
    negative_labels: tuple[str | None, ...] = ()
    """Class of each negative where it is known; none given where none is."""


def contrastive_example(info: SourceInfo, key: int, row: Row, negatives_per_query: int) -> Example:
    """One of the row's positives and some of its negatives, drawn without repeats; fewer where there are fewer.

    Raises:
        InvalidData: If all its positives are empty.
    """
    if not row.positives:
        raise InvalidData(f"The source {info.name} has a row without a positive, to the query {row.query[:80]!r}.")
    positive = row.positives[below(key, _DRAW_POSITIVE, len(row.positives))]
    negatives = _choose(row, key, negatives_per_query)
    return Example(key, info, row.query, positive, negatives, tuple(dict.fromkeys(row.positives)), None, None)


def _choose(row: Row, key: int, count: int) -> tuple[str, ...]:
    barred = {row.query, *row.positives}
    candidates = [text for text in dict.fromkeys(row.negatives) if text not in barred]
    return tuple(candidates[place] for place in sample(key, _DRAW_NEGATIVES, len(candidates), count))


def graded_example(info: SourceInfo, key: int, row: Row) -> Example:
    """A pair and its score.

    Raises:
        InvalidData: If the second text is empty.
    """
    if not row.positives:
        raise InvalidData(f"The source {info.name} has a row without a second text, beside {row.query[:80]!r}.")
    positive = row.positives[0]
    return Example(key, info, row.query, positive, (), (positive,), None, row.score)


class LabelIndex:
    """Which rows bear which label: made once from the label column, two integers a row."""

    def __init__(self, source: str, labels: pa.ChunkedArray) -> None:
        """Sort the rows by label.

        Args:
            source: What messages call the table.
            labels: One label a row, none missing.

        Raises:
            InvalidData: If there is only one label: no row of another could be a negative.
        """
        encoded = labels.combine_chunks().dictionary_encode()
        encoded = encoded.combine_chunks() if isinstance(encoded, pa.ChunkedArray) else encoded
        self.names = [str(name) for name in encoded.dictionary.to_pylist()]
        if len(self.names) < 2:
            raise InvalidData(f"The source {source} has the single label {self.names[0]!r}; labels need a second one.")
        self.codes: Integers = encoded.indices.to_numpy(zero_copy_only=False)
        self._rows = np.argsort(self.codes, kind="stable").astype(np.int64)
        self._ends = np.cumsum(np.bincount(self.codes, minlength=len(self.names)))

    @cached_property
    def firsts(self) -> list[int]:
        """The first row of each label."""
        return [int(self._rows[self._start(code)]) for code in range(len(self.names))]

    def peers(self, row: int, key: int) -> list[int]:
        """Some other rows of the row's label, none twice; none where it is alone."""
        code = int(self.codes[row])
        start, size = self._start(code), self._size(code)
        place = int(np.searchsorted(self._rows[start : start + size], row))
        drawn = sample(key, _DRAW_PEER, size - 1, _PEERS)
        return [int(self._rows[start + (at if at < place else at + 1)]) for at in drawn]

    def other_labels(self, code: int, key: int, count: int) -> list[int]:
        """Labels but ``code``, shuffled, none twice; fewer than ``count`` where there are fewer."""
        return [at if at < code else at + 1 for at in sample(key, _DRAW_CLASSES, len(self.names) - 1, count)]

    def strangers(self, row: int, key: int, count: int) -> list[int]:
        """Rows of other labels, each of another one as far as there are."""
        if not count:
            return []
        labels = self.other_labels(int(self.codes[row]), key, count)
        drawn = []
        for number in range(count):
            code = labels[number % len(labels)]
            place = below(key, _DRAW_MEMBER + number, self._size(code))
            drawn.append(int(self._rows[self._start(code) + place]))
        return list(dict.fromkeys(drawn))

    def _start(self, code: int) -> int:
        return int(self._ends[code - 1]) if code else 0

    def _size(self, code: int) -> int:
        return int(self._ends[code]) - self._start(code)


def by_example(key: int, example_share: float) -> bool:
    """Whether this visit to a labelled row takes another text of the class for its positive."""
    return share(key, _DRAW_SHARE) < example_share


def label_example(info: SourceInfo, key: int, row: Row, names: Sequence[str], negatives_per_query: int) -> Example:
    """A text and the name of its label, against the names of others: label-based triplets.

    Args:
        info: The source.
        key: Of the visit.
        row: Its positives are the name of its label.
        names: Names of other labels, in the order they are taken; the row's own negatives go before them.
        negatives_per_query: Most negatives.
    """
    given = row if row.negatives else replace(row, negatives=tuple(names))
    return replace(contrastive_example(info, key, given, negatives_per_query), label=row.label)


def class_example(
    info: SourceInfo,
    key: int,
    row: Row,
    peers: Sequence[str],
    strangers: Mapping[str, str],
    negatives_per_query: int,
) -> Example | None:
    """A text and another one of its class, against texts of others: example-based triplets (arXiv 2506.20923).

    Args:
        info: The source.
        key: Of the visit.
        row: Its positives are known ones beside the peers.
        peers: Texts of the class; the first that differs from the query becomes the positive.
        strangers: Texts of other classes, and the class of each.
        negatives_per_query: Most negatives.

    Returns:
        The example, or None where no peer differs from the query.
    """
    positive = next((text for text in peers if text and text != row.query), None)
    if positive is None:
        return None
    known = tuple(dict.fromkeys((positive, *row.positives)))
    negatives = _choose(replace(row, positives=known, negatives=tuple(strangers)), key, negatives_per_query)
    labels = tuple(strangers.get(text) for text in negatives)
    return Example(key, info, row.query, positive, negatives, known, row.label, None, labels)
