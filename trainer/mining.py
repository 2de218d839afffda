"""Hard negatives for a training table: texts near a query that do not answer it.

As KaLM-Embedding does it (arXiv 2506.20923): a trained model ranks the texts of the table, or of a pool, for every
query; negatives are drawn uniformly from the ranks 50 to 100, near enough to be hard and far enough not to be
unlabelled answers; rows whose positive the model does not find among the first 50 are dropped as noise
(ranking-consistency filter). Here a candidate is never an answer: what is listed as one for the same query in any
row, what is the same text, and what is nearly the same as a positive is left out, and a row that runs short stays
short.
"""

import logging
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from embedder.prompts import instruction_for
from embedder.protocol import TextEncoder, Vectors
from trainer.candidates import (
    Candidates,
    bare_query,
    by_class,
    open_pool,
    pool_texts,
    training_columns,
    training_rows,
)
from trainer.columns import Columns, Row
from trainer.draws import derive, sample
from trainer.mining_tables import InvalidMining, TableFile, identity, with_negatives
from trainer.neighbours import ExactSearch, Ids, NeighbourSearch, VectorFile

_logger = logging.getLogger(__name__)

_DEEPEST = 10_000
"""Lowest rank a window may reach: every query's list is as long."""

_SPARE = 100
"""Ranks searched beyond the window, for rows whose window holds too little."""

Progress = Callable[[str, int, int], None]
"""Takes what is being done (``documents`` or ``queries``), how many are done, and of how many."""

MakeSearch = Callable[[int, int], NeighbourSearch]
"""An empty search for a number of documents of a width."""


@dataclass(frozen=True, slots=True)
class MiningSettings:
    """What is mined.

    Attributes:
        negatives: How many a row has in the end.
        window: Ranks they are drawn from, the first included and the last not, from 0.
        filter_topk: Rows whose best positive is less similar than the document after this many are dropped; None
            drops none.
        ceiling: Candidates more similar to a positive than this are taken for it and left out.
        task: What the prompts are looked up by; with a task of classes, such as ``Classification``, a text of the
            same label is no negative either.
        seed: Of the draws; each row's draw depends on it and the row's texts alone.
        block: Queries and documents that are encoded at a time.
    """

    negatives: int = 7
    window: tuple[int, int] = (50, 100)
    filter_topk: int | None = 50
    ceiling: float = 0.95
    task: str = "Retrieval"
    seed: int = 42
    block: int = 4096

    def __post_init__(self) -> None:
        """Check them.

        Raises:
            InvalidMining: If one is impossible.
            UnknownTask: If the task is unknown.
        """
        start, end = self.window
        if not 0 <= start < end <= _DEEPEST:
            raise InvalidMining(f"The window {start}-{end} must go up and end at {_DEEPEST:,} or before.")
        if end - start < self.negatives:
            raise InvalidMining(f"The window {start}-{end} has fewer ranks than the {self.negatives} negatives asked.")
        if self.negatives < 1 or self.block < 1:
            raise InvalidMining("Ask for at least one negative, and at least one text at a time.")
        if self.filter_topk is not None and not 1 <= self.filter_topk <= _DEEPEST:
            raise InvalidMining(f"The filter looks at 1 to {_DEEPEST:,} documents, not {self.filter_topk}.")
        if not 0 < self.ceiling <= 1:
            raise InvalidMining(f"The ceiling is a cosine above 0 and at most 1, not {self.ceiling:g}.")
        instruction_for(self.task, "query")


@dataclass(slots=True)
class MiningReport:
    """What became of a table.

    Attributes:
        documents: Texts that were searched.
        rows: Rows read.
        dropped: Rows taken out by the ranking-consistency filter.
        kept: Negatives that the rows had.
        mined: Negatives that were added.
        short: Rows that still have fewer than asked.
    """

    documents: int = 0
    rows: int = 0
    dropped: int = 0
    kept: int = 0
    mined: int = 0
    short: int = 0


def mine(
    source: Path,
    target: Path,
    encoder: TextEncoder,
    settings: MiningSettings,
    *,
    pool: Path | None = None,
    make_search: MakeSearch | None = None,
    progress: Progress | None = None,
    force: bool = False,
) -> MiningReport:
    """Write a copy of a training table with the negatives filled up; its other columns stay as they are.

    Vectors and texts are on disk beside ``target`` while it runs; in memory are the numbers of the positives, a few
    thousand rows, and one block of the comparison. ``target`` appears whole or not at all.

    Args:
        source: A ``.parquet`` or ``.jsonl`` table with queries and positives.
        target: A ``.parquet`` file.
        encoder: The model that ranks; a :class:`~embedder.cache.CachedEncoder` encodes a document once for ever.
        settings: What is mined.
        pool: A table with a column ``text`` to mine from; None mines from the table's own positives and negatives.
        make_search: Makes the search; None compares exactly.
        progress: Told now and then.
        force: Whether a ``target`` that exists may be replaced.

    Raises:
        InvalidMining: If the table, the pool or the target cannot be used.
        InvalidData: If the table has no queries and positives, or rows without them.
    """
    table, columns = check_files(source, target, pool, force=force)
    told = progress or (lambda what, done, of: None)
    part = target.with_name(f".{target.name}.part")
    try:
        with (
            tempfile.TemporaryDirectory(prefix=".mining-", dir=target.parent) as folder,
            Candidates(Path(folder) / "texts.arrow", by_class=by_class(settings.task)) as candidates,
        ):
            every_row = (row for _, rows in training_rows(table, columns) for row in rows)
            candidates.gather(every_row, None if pool is None else pool_texts(pool))
            miner = _Miner(encoder, candidates, settings, told)
            miner.read(Path(folder) / "vectors.f32", make_search or _exact)
            miner.write(table, columns, part)
        os.replace(part, target)
    except OSError as error:
        raise InvalidMining(f"{target} cannot be written ({error.strerror or error}); check the folder.") from error
    finally:
        with suppress(OSError):
            part.unlink()
    return miner.report


def check_files(source: Path, target: Path, pool: Path | None, *, force: bool) -> tuple[TableFile, Columns]:
    """Open the table, if nothing speaks against it, the pool and the target.

    Args:
        source: As in :func:`mine`.
        target: As there.
        pool: As there.
        force: As there.

    Raises:
        InvalidMining: If one of them cannot be used.
        InvalidData: If the table has no queries and positives.
    """
    if target.suffix != ".parquet":
        raise InvalidMining(f"{target.name} must end in .parquet.")
    if target.exists() and not force:
        raise InvalidMining(f"{target} is there already; give another name or --force.")
    if not target.parent.is_dir():
        raise InvalidMining(f"There is no folder {target.parent}; make it first.")
    if pool is not None:
        open_pool(pool)
    table = TableFile.open(source)
    return table, training_columns(table)


def preference(count: int, window: tuple[int, int], key: int) -> list[int]:
    """Ranks in the order in which negatives are taken: the window's shuffled, those below it, those above it.

    Those above come last, and the lowest of them first: they are the likeliest to be unlabelled answers.

    Args:
        count: Ranks there are.
        window: First rank and the one after the last.
        key: Of the shuffle.

    >>> preference(6, (2, 4), 0)[2:]
    [4, 5, 1, 0]
    """
    start, end = (min(bound, count) for bound in window)
    inside = [start + place for place in sample(key, 0, end - start, end - start)]
    return [*inside, *range(end, count), *range(start - 1, -1, -1)]


class _Miner:
    """The two steps after the texts are gathered: rank them, and choose for every row."""

    def __init__(
        self, encoder: TextEncoder, candidates: Candidates, settings: MiningSettings, progress: Progress
    ) -> None:
        self.report = MiningReport(documents=candidates.searchable)
        self._encoder = encoder
        self._candidates = candidates
        self._settings = settings
        self._progress = progress

    def read(self, path: Path, make_search: MakeSearch) -> None:
        """Encode all candidates into a file, and let the search have those that are searched."""
        total, count = len(self._candidates.texts), self._candidates.searchable
        self._vectors = VectorFile(path, total, self._encoder.dim)
        self._search = make_search(count, self._encoder.dim)
        done = 0
        for texts in self._candidates.blocks(self._settings.block):
            written = self._vectors.write(done, self._encoder.encode_documents(texts, task=self._settings.task))
            if done < count:
                self._search.add(written)
            done += len(texts)
            self._progress("documents", done, total)
        if count < self._settings.window[1]:
            _logger.warning(
                "There are only %d texts to mine from: negatives are drawn from all behind the best positive.", count
            )

    def write(self, table: TableFile, columns: Columns, target: Path) -> None:
        """Choose for every row, and write the rows that stay."""
        name = columns.negative or ("neg" if columns.positive == "pos" else "negatives")
        schema = with_negatives(table.schema.empty_table(), name, []).schema
        size = self._settings.block
        with pq.ParquetWriter(target, schema, compression="zstd") as writer:
            for batch, rows in training_rows(table, columns):
                blocks = (self._block(rows[start : start + size]) for start in range(0, len(rows), size))
                chosen = [negatives for block in blocks for negatives in block]
                stays = pa.array([negatives is not None for negatives in chosen], pa.bool_())
                filled = [negatives for negatives in chosen if negatives is not None]
                writer.write_table(with_negatives(batch.filter(stays), name, filled).cast(schema))
                self._progress("queries", self.report.rows, self._candidates.rows)

    def _block(self, rows: Sequence[Row]) -> list[list[str] | None]:
        """The negatives of some rows; None for a row that is dropped."""
        queries = self._encode(rows)
        needed = max(self._settings.window[1], (self._settings.filter_topk or 0) + 1)
        cosines, found = self._search.search(queries, min(needed + _SPARE, self._candidates.searchable))
        return [self._row(row, *about) for row, *about in zip(rows, queries, cosines, found, strict=True)]

    def _encode(self, rows: Sequence[Row]) -> Vectors:
        """Vectors of the queries, shape (N, D), with the instruction that the table or the task gives them."""
        split = [bare_query(row.query) for row in rows]
        vectors = np.empty((len(rows), self._encoder.dim), dtype=np.float32)
        for instruction in dict.fromkeys(instruction for instruction, _ in split):
            places = [place for place, (own, _) in enumerate(split) if own == instruction]
            texts = [split[place][1] for place in places]
            vectors[places] = self._encoder.encode_queries(texts, task=self._settings.task, instruction=instruction)
        return vectors

    def _row(self, row: Row, query: Vectors, cosines: Vectors, found: Ids) -> list[str] | None:
        settings, report = self._settings, self.report
        report.rows += 1
        own = np.array([self._candidates.number(text) for text in row.positives], dtype=np.int64)
        best = float((self._vectors.read(own) @ query).max())
        ranks = np.flatnonzero(np.isin(found, own))
        rank = int(ranks[0]) if len(ranks) else int((cosines > best).sum())
        if settings.filter_topk is not None and rank > settings.filter_topk:
            report.dropped += 1
            return None
        window = settings.window if self._candidates.searchable >= settings.window[1] else (rank + 1, len(found))
        kept = self._kept(row)
        key = derive(settings.seed, row.query, *row.positives)
        order = (int(found[rank]) for rank in preference(len(found), window, key) if found[rank] >= 0)
        mined = self._fitting(row, order, kept, settings.negatives - len(kept))
        report.kept += len(kept)
        report.mined += len(mined)
        report.short += len(kept) + len(mined) < settings.negatives
        return [*kept, *(self._candidates.texts[number] for number in mined)]

    def _kept(self, row: Row) -> list[str]:
        """The negatives that the row brings along, without repeats, its query and what answers it."""
        query = bare_query(row.query)[1]
        answers = set(self._candidates.answers(query).tolist())
        seen = {identity(query)}
        kept = []
        for text in row.negatives:
            key = identity(text)
            if key not in seen and self._candidates.number(text) not in answers:
                kept.append(text)
            seen.add(key)
        return kept[: self._settings.negatives]

    def _fitting(self, row: Row, order: Iterator[int], kept: Sequence[str], count: int) -> list[int]:
        """The first ``count`` candidates that are neither an answer, nor nearly one, nor there already."""
        query = bare_query(row.query)[1]
        answers = self._candidates.answers(query)
        vectors = self._vectors.read(answers)
        barred = {*answers.tolist(), *(self._candidates.number(text) for text in (query, *kept))}
        free = (
            number for number in order if number not in barred and not self._candidates.is_of_class(number, row.label)
        )
        chosen: list[int] = []
        while len(chosen) < count and (some := list(islice(free, 2 * count))):
            nearest = (self._vectors.read(np.array(some)) @ vectors.T).max(1)
            chosen += [number for number, cosine in zip(some, nearest, strict=True) if cosine <= self._settings.ceiling]
        return chosen[:count]


def _exact(count: int, dim: int) -> ExactSearch:
    return ExactSearch()
