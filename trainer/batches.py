"""Which rows make up which step: a function of the seed and the row counts, with no state but the step number.

A source's visits of one epoch are cut into batches of its own; what is left over of all sources of a form is
shuffled into mixed batches. The order of batches and of rows are keyed permutations (``draws.py``), so that any
step is found in the time of one batch and nothing is held per row: 10^8 rows plan as fast as ten.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from embedder.errors import AppError
from trainer.draws import Integers, Permutation, derive

BatchForm = Literal["contrastive", "graded"]
"""What the rows of a batch are trained by: a query and what answers it, or a scored pair."""


class EmptyPlan(AppError):
    """Data that makes no batch."""


class Visit(NamedTuple):
    """One reading of one row."""

    source: int
    """Number of the source among those given to the plan."""
    row: int
    visit: int
    """Counts the readings of this row over the whole run: another visit, another draw of positives and negatives."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What one step trains on."""

    step: int
    epoch: int
    form: BatchForm
    visits: list[Visit]


@dataclass(frozen=True, slots=True)
class SourceSize:
    """What the plan needs to know of a source.

    Attributes:
        name: Keys the draws, so that a source keeps its order of rows when others join.
        rows: Rows it has.
        form: What its rows are trained by.
        weight: Visits to a row in one epoch.
        cap: Most rows used, drawn by the seed; None uses all.
    """

    name: str
    rows: int
    form: BatchForm
    weight: float = 1.0
    cap: int | None = None

    @property
    def used(self) -> int:
        """Rows that are ever visited."""
        return self.rows if self.cap is None else min(self.rows, self.cap)

    @property
    def visits(self) -> int:
        """Visits of one epoch."""
        return round(self.used * self.weight)


class BatchPlan:
    """Random access to the batches of a run."""

    def __init__(
        self, sources: Sequence[SourceSize], *, batch_size: int, seed: int, homogeneous_share: float = 1.0
    ) -> None:
        """Lay out one epoch; all epochs have the same layout and other permutations.

        Args:
            sources: All sources, in the order that ``Visit.source`` counts.
            batch_size: Visits of a batch.
            seed: Of every permutation.
            homogeneous_share: Share of a full contrastive batch that stays with its source; the rest is exchanged
                between such batches (semi-homogeneous batches of KaLM-Embedding V1, arXiv 2501.01028).

        Raises:
            EmptyPlan: If no source has a visit.
        """
        self._sources = tuple(sources)
        self._batch_size = batch_size
        self._seed = seed
        forms: tuple[BatchForm, ...] = ("contrastive", "graded")
        self._layouts = [_Layout.of(form, sources, batch_size) for form in forms]
        self._exchanged = round((1 - homogeneous_share) * batch_size)
        self.steps_per_epoch = sum(layout.batches for layout in self._layouts)
        if not self.steps_per_epoch:
            raise EmptyPlan("No source has a row to visit; raise a weight or add a source.")

    def batch(self, step: int) -> Batch:
        """The batch of a step, counted from 0 over all epochs: always ``batch_size`` visits of one form."""
        epoch, place = divmod(step, self.steps_per_epoch)
        order = Permutation(self.steps_per_epoch, derive(self._seed, "order", epoch))
        number = int(order(np.array([place]))[0])
        layout = self._layouts[0]
        if number >= layout.batches:
            number -= layout.batches
            layout = self._layouts[1]
        slots = number * self._batch_size + np.arange(self._batch_size)
        if layout.form == "contrastive" and number < layout.full_batches and self._exchanged:
            self._exchange(slots, number, layout, epoch)
        sources, positions, cycles = layout.find(slots, epoch, self._seed)
        return Batch(step, epoch, layout.form, self._visits(layout, epoch, sources, positions, cycles))

    def _exchange(self, slots: Integers, number: int, layout: "_Layout", epoch: int) -> None:
        """Put slots of other full batches in the last places, one permutation deciding for all batches at once."""
        given = self._exchanged
        pool = Permutation(layout.full_batches * given, derive(self._seed, "exchange", epoch))
        taken = pool(number * given + np.arange(given))
        slots[-given:] = taken // given * self._batch_size + (self._batch_size - given) + taken % given

    def _visits(
        self, layout: "_Layout", epoch: int, sources: Integers, positions: Integers, cycles: Integers
    ) -> list[Visit]:
        rows = np.empty_like(positions)
        visits = np.empty_like(positions)
        for number in np.unique(sources):
            here = np.flatnonzero(sources == number)
            source = self._sources[number]
            passes = math.ceil(source.visits / source.used)
            pass_number, place = np.divmod(positions[here], source.used)
            rows[here] = self._rows(source, epoch, pass_number, place)
            visits[here] = (epoch * (1 + layout.cycles) + cycles[here]) * passes + pass_number
        return [Visit(*found) for found in zip(sources.tolist(), rows.tolist(), visits.tolist(), strict=True)]

    def _rows(self, source: SourceSize, epoch: int, pass_numbers: Integers, places: Integers) -> Integers:
        rows = np.empty_like(places)
        for number in np.unique(pass_numbers):
            here = pass_numbers == number
            shuffled = Permutation(source.used, derive(self._seed, "rows", source.name, epoch, int(number)))
            rows[here] = shuffled(places[here])
        if source.used < source.rows:
            rows = Permutation(source.rows, derive(self._seed, "cap", source.name))(rows)
        return rows


@dataclass(frozen=True, slots=True)
class _Layout:
    """The slots of all batches of a form: first the full batches, source by source, then the mixed ones.

    Attributes:
        form: The form.
        batch_size: Slots of a batch.
        visits: Visits of each source, 0 for those of the other form.
    """

    form: BatchForm
    batch_size: int
    visits: Integers

    @classmethod
    def of(cls, form: BatchForm, sources: Sequence[SourceSize], batch_size: int) -> "_Layout":
        visits = [source.visits if source.form == form else 0 for source in sources]
        return cls(form, batch_size, np.array(visits, dtype=np.int64))

    @property
    def full_batches(self) -> int:
        return int((self.visits // self.batch_size).sum())

    @property
    def leftover(self) -> int:
        return int((self.visits % self.batch_size).sum())

    @property
    def mixed_batches(self) -> int:
        return -(-self.leftover // self.batch_size)

    @property
    def batches(self) -> int:
        return self.full_batches + self.mixed_batches

    @property
    def cycles(self) -> int:
        """How often all visits are begun again to fill the mixed batches up: more than once with very few rows."""
        total = int(self.visits.sum())
        return -(-(self.mixed_batches * self.batch_size - self.leftover) // total) if total else 0

    def find(self, slots: Integers, epoch: int, seed: int) -> tuple[Integers, Integers, Integers]:
        """Source, position among the source's visits of the epoch, and cycle of each slot; each of shape (B,).

        The slots are those of one batch, or of several full ones.
        """
        in_full = self.full_batches * self.batch_size
        if slots[0] < in_full:
            sources, positions = _locate(slots, self.visits // self.batch_size * self.batch_size)
            return sources, positions, np.zeros_like(slots)
        pool = Permutation(self.mixed_batches * self.batch_size, derive(seed, "mixed", self.form, epoch))
        return self._pooled(pool(slots - in_full), epoch, seed)

    def _pooled(self, places: Integers, epoch: int, seed: int) -> tuple[Integers, Integers, Integers]:
        """The leftover visits stand first in the pool, further visits after them."""
        sources, positions, cycles = (np.zeros_like(places) for _ in range(3))
        ours = places < self.leftover
        if ours.any():
            owner, position = _locate(places[ours], self.visits % self.batch_size)
            sources[ours] = owner
            positions[ours] = position + self.visits[owner] // self.batch_size * self.batch_size
        if not ours.all():
            total = int(self.visits.sum())
            cycle, place = np.divmod(places[~ours] - self.leftover, total)
            further = Permutation(total, derive(seed, "further", self.form, epoch))(place)
            sources[~ours], positions[~ours] = _locate(further, self.visits)
            cycles[~ours] = cycle + 1
        return sources, positions, cycles


def _locate(places: Integers, widths: Integers) -> tuple[Integers, Integers]:
    """The interval each place falls into, the intervals laid end to end, and the place inside it."""
    ends = np.cumsum(widths)
    owners = np.searchsorted(ends, places, side="right")
    return owners, places - (ends - widths)[owners]
