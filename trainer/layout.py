"""Which text of a batch plays which part.

A batch's texts are encoded once each, however many rows they stand in; a :class:`Layout` says which vector is whose
query, positive and negative.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Layout:
    """Which of a batch's U texts plays which part in its B rows; all tensors are int64 unless said.

    Attributes:
        texts: ``(U,)`` key of each text, prompt left out: equal texts have equal keys.
        queries: ``(B,)`` position of each row's query among the texts.
        positives: ``(B,)`` of its positive.
        negatives: ``(B, M)`` of its hard negatives, those there are first, then -1.
        negative_labels: ``(B, M)`` key of each negative's class; 0 where unknown.
        labels: ``(B,)`` key of the row's class; 0 without one.
        known: ``(B, R)`` keys of texts that must not be negatives of the row: its query and all its positives.
        rows: ``(B,)`` identity of each row, which its random draws depend on.
        scores: ``(B,)`` float32, of graded pairs.
        graded: Whether the rows are graded pairs; else queries and positives.
        teachers: ``(B,)`` number of the row's teacher; -1 without one.
        taught: ``(B, 2 + M, E)`` float32 vectors by that teacher: query, positive, negatives. E is 0 without teachers.
    """

    texts: Tensor
    queries: Tensor
    positives: Tensor
    negatives: Tensor
    negative_labels: Tensor
    labels: Tensor
    known: Tensor
    rows: Tensor
    scores: Tensor
    graded: bool
    teachers: Tensor
    taught: Tensor

    def __len__(self) -> int:
        """B."""
        return len(self.queries)

    @property
    def counts(self) -> Tensor:
        """``(B,)`` hard negatives that are there."""
        return (self.negatives >= 0).sum(dim=1)

    def to(self, device: torch.device) -> Self:
        """The same on a device."""
        return self.with_tensors({name: value.to(device) for name, value in self.tensors().items()})

    def tensors(self) -> dict[str, Tensor]:
        """The tensor attributes by name."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if isinstance(value, Tensor)}

    @classmethod
    def joined(cls, parts: Sequence["Layout"], texts_per_part: int) -> "Layout":
        """The layouts of several processes as one, their texts standing one after the other.

        Args:
            parts: Layouts with the same M, R and E, and of equally many texts.
            texts_per_part: That number.
        """
        shifted = [part._shifted(i * texts_per_part) for i, part in enumerate(parts)]
        columns = [part.tensors() for part in shifted]
        return shifted[0].with_tensors({name: torch.cat([part[name] for part in columns]) for name in columns[0]})

    def with_tensors(self, tensors: Mapping[str, Any]) -> Self:
        """The same with some tensors replaced, by name."""
        return replace(self, **tensors)

    def _shifted(self, by: int) -> "Layout":
        negatives = torch.where(self.negatives >= 0, self.negatives + by, self.negatives)
        return replace(self, queries=self.queries + by, positives=self.positives + by, negatives=negatives)
