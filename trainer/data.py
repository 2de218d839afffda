"""The training data of a run: sources opened once, rows fetched as they are visited."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np

from trainer.batches import BatchPlan, SourceSize, Visit
from trainer.columns import Columns, Row, RowForm, check_table, prompts_of, read_rows, tell_form, with_metadata
from trainer.config import DataConfig, Source, StageConfig
from trainer.draws import Permutation, derive, mix
from trainer.formats import (
    Example,
    LabelIndex,
    SourceInfo,
    by_example,
    class_example,
    contrastive_example,
    graded_example,
    label_example,
)
from trainer.tables import FoundTable, digest, find_tables, open_table

if TYPE_CHECKING:
    from datasets import Dataset

_TEXT_BLOCK = 256
"""Rows read at a time where texts are wanted in no order."""


@dataclass(frozen=True, slots=True)
class SourceDescription:
    """How a source enters a run, for a person to read before it starts."""

    source: str
    form: str
    rows: int | None
    """None where they are neither counted nor declared."""
    visits: int | None
    """Of one epoch, leftovers that fill the last batch aside."""
    weight: float
    query_prompt: str
    document_prompt: str
    languages: tuple[str, ...]
    licence: str


class OpenSource:
    """One source: its table, and how a row of it becomes an example.

    Attributes:
        source: The configured source, completed by what its table says of itself.
        info: What its examples share.
        rows: Rows of the table.
        form: How they are read.
    """

    def __init__(self, source: Source, dataset: "Dataset", columns: Columns, form: RowForm, draws: "_Draws") -> None:
        query_prompt, document_prompt = prompts_of(source) if draws.instructions else ("", "")
        self.source = source
        self.form = form
        self.rows = len(dataset)
        self.info = SourceInfo(
            name=source.name,
            query_prompt=query_prompt,
            document_prompt=document_prompt,
            languages=frozenset(source.languages),
            form="graded" if form == "graded" else "contrastive",
            task=source.task,
            instruction=source.instruction,
        )
        self._table = dataset.with_format("arrow")
        self._queries = self._table.select_columns([columns.query])
        self._dataset = dataset
        self._columns = columns
        self._draws = draws
        self._key = derive(draws.seed, "example", source.name)

    @property
    def size(self) -> SourceSize:
        """What the plan needs to know of it."""
        return SourceSize(self.info.name, self.rows, self.info.form, self.source.weight, self.source.cap)

    def examples(self, visits: Sequence[Visit]) -> list[Example]:
        """The examples of some visits to this source, in their order."""
        numbers = [visit.row for visit in visits]
        keys = [mix(mix(self._key ^ visit.row) ^ visit.visit) >> 1 for visit in visits]
        rows = self.read(numbers)
        if self.form == "labelled":
            return self._labelled(numbers, keys, rows)
        if self.form == "graded":
            return [graded_example(self.info, key, row) for key, row in zip(keys, rows, strict=True)]
        count = self._draws.negatives_per_query
        return [contrastive_example(self.info, key, row, count) for key, row in zip(keys, rows, strict=True)]

    def read(self, numbers: Sequence[int]) -> list[Row]:
        """Rows by number; reads these alone."""
        return read_rows(self._table[list(numbers)], self._columns)

    def _texts_of(self, numbers: Sequence[int]) -> list[str]:
        return self._queries[numbers][self._columns.query].to_pylist() if numbers else []

    @cached_property
    def _labels(self) -> LabelIndex:
        return LabelIndex(self.info.name, self._dataset.data.table[self._columns.label])

    @cached_property
    def _label_names(self) -> list[str]:
        """What each label is called: the positive of a row that bears it, where positives are names of labels."""
        if not self._positives_are_names:
            return self._labels.names
        return [row.positives[0] for row in self.read(self._labels.firsts)]

    @property
    def _positives_are_names(self) -> bool:
        return self._columns.positive is not None and "Clustering" not in self.source.task

    def _labelled(self, numbers: Sequence[int], keys: Sequence[int], rows: Sequence[Row]) -> list[Example]:
        count = self._draws.negatives_per_query
        drawn: dict[int, tuple[list[int], list[int]]] = {}
        for at, (number, key) in enumerate(zip(numbers, keys, strict=True)):
            if by_example(key, self._draws.example_share):
                drawn[at] = self._labels.peers(number, key), self._labels.strangers(number, key, count)
        wanted = sorted({number for pair in drawn.values() for part in pair for number in part})
        texts = dict(zip(wanted, self._texts_of(wanted), strict=True))
        examples = []
        for at, (number, key, row) in enumerate(zip(numbers, keys, rows, strict=True)):
            example = None
            if at in drawn:
                peers, strangers = drawn[at]
                classes = {texts[other]: self._labels.names[self._labels.codes[other]] for other in strangers}
                example = self._by_class(key, self._named(number, row), row, [texts[peer] for peer in peers], classes)
            examples.append(example or self._by_name(number, key, row))
        return examples

    def _named(self, number: int, row: Row) -> Row:
        """The row with the name of its label among its positives."""
        name = self._label_names[int(self._labels.codes[number])]
        return replace(row, positives=tuple(dict.fromkeys((name, *row.positives))))

    def _by_class(
        self, key: int, named: Row, row: Row, peers: Sequence[str], strangers: Mapping[str, str]
    ) -> Example | None:
        given = () if self._positives_are_names else row.positives  # texts of the class, for a row alone in its own
        return class_example(self.info, key, named, (*peers, *given), strangers, self._draws.negatives_per_query)

    def _by_name(self, number: int, key: int, row: Row) -> Example:
        count = self._draws.negatives_per_query
        code = int(self._labels.codes[number])
        named = replace(row, positives=(self._label_names[code],))
        if not self._positives_are_names:
            named = replace(named, negatives=())  # they are texts here, not names
        others = [self._label_names[other] for other in self._labels.other_labels(code, key, count)]
        example = label_example(self.info, key, named, others, count)
        return replace(example, positives=self._named(number, row).positives)

    def texts(self, seed: int) -> Iterator[str]:
        """Every text of every row, rows in a shuffled order."""
        order = Permutation(self.rows, derive(seed, "texts", self.info.name))
        for start in range(0, self.rows, _TEXT_BLOCK):
            block = order(np.arange(start, min(start + _TEXT_BLOCK, self.rows)))
            for row in self.read(block.tolist()):
                yield row.query
                yield from row.positives
                yield from row.negatives

    def description(self) -> SourceDescription:
        """How it enters a run."""
        return _description(self.source, self.form, self.rows)


@dataclass(frozen=True, slots=True)
class _Draws:
    """What decides the draws of a row."""

    seed: int
    negatives_per_query: int
    example_share: float
    instructions: bool


class TrainingData:
    """All sources of a run. Holds no rows: each is read when it is visited.

    Attributes:
        sources: In the order that ``Visit.source`` counts.
    """

    def __init__(self, config: DataConfig, seed: int, tables: Sequence[tuple[FoundTable, OpenSource]]) -> None:
        self.sources = tuple(source for _, source in tables)
        self._config = config
        self._seed = seed
        self._found = tuple(found for found, _ in tables)

    @classmethod
    def of_stage(cls, config: StageConfig) -> Self:
        """The data of a stage; raises as :meth:`open` does."""
        negatives, instructions = config.loss.negatives_per_query, config.variant.instructions
        return cls.open(config.data, seed=config.seed, negatives_per_query=negatives, instructions=instructions)

    @classmethod
    def open(
        cls,
        config: DataConfig,
        *,
        seed: int,
        negatives_per_query: int,
        instructions: bool = True,
        cache_dir: Path | None = None,
    ) -> Self:
        """Open and check all tables; nothing is read but their shapes, labels aside.

        Args:
            config: Where the texts are.
            seed: Of all draws.
            negatives_per_query: Most negatives of an example.
            instructions: Whether texts are introduced by their tasks' prompts.
            cache_dir: Where tables are kept as Arrow; None takes the place that ``datasets`` uses anyway.

        Raises:
            InvalidData: If a table is missing, empty, unreadable or lacks what its form needs.
            UnknownTask: If the task of a source is unknown.
        """
        draws = _Draws(seed, negatives_per_query, config.example_share, instructions)
        return cls(config, seed, [(found, _open(found, draws, cache_dir)) for found in find_tables(config)])

    def plan(self, batch_size: int) -> BatchPlan:
        """The batches of the run.

        Raises:
            EmptyPlan: If no source has a visit.
        """
        return BatchPlan(
            [source.size for source in self.sources],
            batch_size=batch_size,
            seed=self._seed,
            homogeneous_share=self._config.homogeneous_share,
        )

    def examples(self, visits: Sequence[Visit]) -> list[Example]:
        """The examples of some visits, in their order; rows are fetched source by source.

        Raises:
            InvalidData: If a row has no text where it needs one.
        """
        groups: dict[int, list[int]] = {}
        for at, visit in enumerate(visits):
            groups.setdefault(visit.source, []).append(at)
        made: dict[int, Example] = {}
        for number, places in groups.items():
            made |= zip(places, self.sources[number].examples([visits[at] for at in places]), strict=True)
        return [made[at] for at in range(len(visits))]

    def texts(self, limit: int) -> Iterator[str]:
        """At most ``limit`` texts, one of each source in turn until each is exhausted; for counting tokens."""
        return islice(_in_turn([source.texts(self._seed) for source in self.sources]), limit)

    def digests(self) -> dict[str, str]:
        """A content hash of every source, by name: see :func:`trainer.tables.digest` for what it covers."""
        return {
            source.info.name: digest(found, source.rows)
            for found, source in zip(self._found, self.sources, strict=True)
        }

    def describe(self) -> list[SourceDescription]:
        """How each source enters the run."""
        return [source.description() for source in self.sources]


def describe_declared(config: DataConfig) -> list[SourceDescription]:
    """How the listed sources would enter a run, from what is declared of them: no data is needed.

    Raises:
        UnknownTask: If the task of a source is unknown.
    """
    return [
        _description(source, "contrastive" if source.form == "auto" else source.form, source.rows)
        for source in config.sources
    ]


def _description(source: Source, form: RowForm, rows: int | None) -> SourceDescription:
    query_prompt, document_prompt = prompts_of(source)
    size = None if rows is None else SourceSize(source.name, rows, "contrastive", source.weight, source.cap)
    return SourceDescription(
        source=source.name,
        form=form,
        rows=rows,
        visits=None if size is None else size.visits,
        weight=source.weight,
        query_prompt=query_prompt,
        document_prompt=document_prompt,
        languages=source.languages,
        licence=source.licence,
    )


def _open(found: FoundTable, draws: _Draws, cache_dir: Path | None) -> OpenSource:
    opened = open_table(found, cache_dir)
    source = with_metadata(found.source, opened.metadata, opened.columns)
    table = opened.dataset.data.table
    form = tell_form(source, table, opened.columns)
    check_table(source.name, table, opened.columns, form)
    return OpenSource(source, opened.dataset, opened.columns, form, draws)


def _in_turn(streams: Sequence[Iterator[str]]) -> Iterator[str]:
    waiting = list(streams)
    while waiting:
        for stream in list(waiting):
            text = next(stream, None)
            if text is None:
                waiting.remove(stream)
            else:
                yield text
