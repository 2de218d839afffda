"""The whole objective of a stage over a batch of vectors: which text is whose negative, and the terms put together.

The losses of some rows need all the batch's vectors but only those rows' queries, so a batch of any size is worked
off in blocks of rows, and each of several processes takes its own rows (``gradcache.py``, ``distributed.py``).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from embedder.vectors import truncate_and_normalize
from trainer.config import LossConfig
from trainer.layout import Layout
from trainer.losses import (
    cosent,
    distillation,
    false_negatives,
    focal_weight,
    info_nce,
    matryoshka,
    mix_list,
    mix_pairs,
)

_BLOCK_SIMILARITIES = 2**21
"""Similarities of one block: what bounds the memory of the loss, whatever the batch."""


@dataclass(frozen=True, slots=True)
class RowLosses:
    """Losses of some rows.

    Attributes:
        total: ``(b,)`` what is minimised; carries the gradient.
        hardness: ``(b,)`` 1 - p of the contrastive term at full width, no gradient; 0 for graded pairs.
    """

    total: Tensor
    hardness: Tensor


@dataclass(frozen=True, slots=True)
class Space:
    """A batch at one width d, as unit rows.

    Attributes:
        queries: ``(B, d)``.
        candidates: ``(C, d)``: the B positives, then B x M hard negatives, then B for each synthetic negative of a row;
            of graded pairs the second texts alone.
    """

    queries: Tensor
    candidates: Tensor


class Objective:
    """The terms of a stage's :class:`~trainer.config.LossConfig` at all its widths."""

    def __init__(self, config: LossConfig, width: int) -> None:
        self._config = config
        self._dims = config.dims or (width,)
        self._weights = config.weights or (1.0,)

    def __call__(self, vectors: Tensor, layout: Layout, rows: slice | None = None) -> RowLosses:
        """Losses of some rows of a batch among all its texts.

        Args:
            vectors: ``(U, D)`` pooled vectors of the batch's texts, of any length.
            layout: Who plays which part.
            rows: The rows wanted; None takes all.
        """
        return self.losses(self.spaces(vectors, layout), layout, rows or slice(0, len(layout)))

    def spaces(self, vectors: Tensor, layout: Layout) -> list[Space]:
        """The batch at each width, widest first; what all blocks of rows share."""
        return [_space(truncate_and_normalize(vectors, dim), layout, self._config) for dim in self._dims]

    def losses(self, spaces: Sequence[Space], layout: Layout, rows: slice) -> RowLosses:
        """Losses of some rows, ``spaces`` being those of the whole batch."""
        by_dim = dict(zip(self._dims, spaces, strict=True))
        if layout.graded:
            total = matryoshka(lambda dim: self._graded(by_dim[dim], layout)[rows], self._dims, self._weights)
            return RowLosses(total, torch.zeros_like(total))
        own = torch.arange(len(layout), device=layout.rows.device)[rows]
        fixed = _never_negatives(layout, own, self._config)
        similarities = {dim: _Similarities(space, layout, rows, self._config) for dim, space in by_dim.items()}
        terms = {dim: self._contrastive(part, fixed) for dim, part in similarities.items()}
        total = matryoshka(lambda dim: terms[dim][0], self._dims, self._weights) * self._config.contrastive_weight
        if self._config.distill_weight:
            taught = _TeacherTargets(layout, own, self._config, total.dtype)
            total = total + self._config.distill_weight * matryoshka(
                lambda dim: taught.loss(similarities[dim]), self._dims, self._weights
            )
        return RowLosses(total, terms[self._dims[0]][1])

    def blocks(self, layout: Layout, rows: slice) -> list[slice]:
        """The rows cut so that the similarities of each block stay within a bound; graded pairs need them all."""
        if layout.graded:
            return [rows]
        columns = len(layout) * (3 + layout.negatives.shape[1] + self._config.pair_mixes + self._config.list_mixes)
        size = max(1, _BLOCK_SIMILARITIES // columns)
        return [slice(start, min(start + size, rows.stop)) for start in range(rows.start, rows.stop, size)]

    def _graded(self, space: Space, layout: Layout) -> Tensor:
        similarities = (space.queries * space.candidates).sum(dim=1)
        return cosent(similarities, layout.scores.to(similarities.dtype), self._config.graded_scale)

    def _contrastive(self, similarities: "_Similarities", fixed: Tensor) -> tuple[Tensor, Tensor]:
        """Focal InfoNCE ``(b,)`` at one width, and 1 - p."""
        config = self._config
        allowed = ~fixed
        if config.false_negative_margin is not None:
            allowed &= ~false_negatives(similarities.positives, similarities.others, config.false_negative_margin)
        losses = info_nce(similarities.positives, similarities.others, temperature=config.temperature, allowed=allowed)
        weights = focal_weight(losses, config.focal_gamma, detached=config.focal_detached)
        return weights * losses, -torch.expm1(-losses.detach())


class _Similarities:
    """Products of b queries with their positives and with every candidate at one width.

    The columns of ``others`` are the candidates and then, for the two optional directions, B queries and B positives.
    """

    def __init__(self, space: Space, layout: Layout, rows: slice, config: LossConfig) -> None:
        queries, positives = space.queries, space.candidates[: len(layout)]
        self.positives = (queries[rows] * positives[rows]).sum(dim=1)  # (b,)
        self.candidates = queries[rows] @ space.candidates.T  # (b, C)
        directions = []
        if config.query_query or config.distill_candidates == "texts":
            self.queries = queries[rows] @ queries.T  # (b, B)
        if config.query_query:
            directions.append(self.queries)
        if config.positive_positive:
            directions.append(positives[rows] @ positives.T)
        self.others = torch.cat([self.candidates, *directions], dim=1) if directions else self.candidates


def _space(unit: Tensor, layout: Layout, config: LossConfig) -> Space:
    """Queries and candidates out of the unit vectors ``(U, d)`` of a batch's texts."""
    queries, positives = unit[layout.queries], unit[layout.positives]
    if layout.graded:
        return Space(queries, positives)
    negatives = unit[layout.negatives.clamp(min=0)]  # (B, M, d)
    mixed = _mixed(queries, negatives, layout, config)
    return Space(queries, torch.cat([positives, negatives.flatten(0, 1), *mixed]))


def _mixed(queries: Tensor, negatives: Tensor, layout: Layout, config: LossConfig) -> list[Tensor]:
    """Synthetic negatives of all rows, each ``(B, d)``, in the order of their columns."""
    counts = layout.counts
    mixed = [mix_pairs(negatives, counts, layout.rows, draw) for draw in range(config.pair_mixes)]
    mixed += [mix_list(queries, negatives, counts, config.list_temperature)] * config.list_mixes
    return [part.detach() for part in mixed] if config.mix_detached else mixed


def _never_negatives(layout: Layout, own: Tensor, config: LossConfig) -> Tensor:
    """``(b, columns)`` bool: what is no negative of a row, whatever the vectors are.

    Its own positive; places where there is nothing; texts known to be its query or one of its positives; texts of
    its own class; positives of a row with the same query; with ``in_batch`` off, everything of other rows.
    """
    hard = layout.negatives.shape[1]
    mine = own[:, None] == torch.arange(len(layout), device=own.device)  # (b, B)
    away = torch.zeros_like(mine) if config.in_batch else ~mine
    query_texts, positive_texts = layout.texts[layout.queries], layout.texts[layout.positives]
    same_query = query_texts[own][:, None] == query_texts
    answers = _same(layout, own, positive_texts, layout.labels) | mine | same_query
    there = layout.negatives >= 0  # (B, M)
    negative_texts = layout.texts[layout.negatives.clamp(min=0)]
    related = _same(layout, own, negative_texts.flatten(), layout.negative_labels.flatten()) & there.flatten()
    blocked = [answers | away, related | ~there.flatten() | away.repeat_interleave(hard, dim=1)]
    if mixes := config.pair_mixes + config.list_mixes:
        # A mix of what is no negative of mine is none either.
        impure = related.view(len(own), -1, hard).any(dim=2) | (layout.counts < 2) | away
        blocked.append(impure.repeat(1, mixes))
    if config.query_query:
        blocked.append(_same(layout, own, query_texts, layout.labels) | mine)
    if config.positive_positive:
        blocked.append(answers)
    return torch.cat(blocked, dim=1)


def _same(layout: Layout, own: Tensor, texts: Tensor, labels: Tensor) -> Tensor:
    """``(b, C)`` bool: candidates that are a known positive of a row, or of its class.

    Args:
        layout: The batch.
        own: ``(b,)`` numbers of the rows.
        texts: ``(C,)`` text keys of the candidates.
        labels: ``(C,)`` class keys of the candidates, 0 where unknown.
    """
    same = (layout.labels[own][:, None] == labels) & (labels != 0)
    for known in layout.known[own].T:
        same |= known[:, None] == texts
    return same


class _TeacherTargets:
    """The teachers' similarities of b rows and the candidates they are about."""

    def __init__(self, layout: Layout, own: Tensor, config: LossConfig, dtype: torch.dtype) -> None:
        self._temperature = config.distill_temperature
        self._own = own if config.distill_candidates == "group" else None
        self._layout = layout
        self._has_teacher = layout.teachers[own] >= 0
        self._other_queries: tuple[Tensor, Tensor] | None = None
        taught = layout.taught.to(dtype)
        queries, candidates = taught[:, 0], taught[:, 1:]  # (B, E), (B, 1 + M, E)
        there = torch.cat([layout.positives[:, None] >= 0, layout.negatives >= 0], dim=1)  # (B, 1 + M)
        if self._own is not None:
            self._teacher = torch.einsum("be,bme->bm", queries[own], candidates[own])
            self._allowed = there[own]
            return
        same_teacher = layout.teachers[own][:, None] == layout.teachers  # (b, B)
        hard = layout.negatives.shape[1]
        self._teacher = queries[own] @ _positives_first(candidates).T
        negatives_there = there[:, 1:].flatten() & same_teacher.repeat_interleave(hard, dim=1)
        self._allowed = torch.cat([same_teacher, negatives_there], dim=1)
        if config.distill_candidates == "texts":
            others = same_teacher & (own[:, None] != torch.arange(len(layout), device=own.device))
            self._has_others = others.any(dim=1)
            # A row with no others compares with all, to no effect: a softmax over nothing has no gradient.
            self._other_queries = queries[own] @ queries.T, others | ~self._has_others[:, None]

    def loss(self, similarities: _Similarities) -> Tensor:
        """KL divergence ``(b,)`` from the student's similarities at one width; 0 for rows without a teacher."""
        rows, hard = self._layout.negatives.shape
        student = similarities.candidates[:, : rows * (1 + hard)]  # the synthetic ones have no teacher
        if self._own is not None:
            columns = rows + self._own[:, None] * hard + torch.arange(hard, device=self._own.device)
            student = torch.cat([similarities.positives[:, None], student.gather(1, columns)], dim=1)
        losses = distillation(self._teacher, student, temperature=self._temperature, allowed=self._allowed)
        if self._other_queries is not None:
            teacher, others = self._other_queries
            among = distillation(teacher, similarities.queries, temperature=self._temperature, allowed=others)
            losses = (losses + among.where(self._has_others, 0.0)) / 2
        return losses.where(self._has_teacher, 0.0)


def _positives_first(candidates: Tensor) -> Tensor:
    """``(B, 1 + M, E)`` as rows in the order of the columns of similarities: all positives, then all negatives."""
    return torch.cat([candidates[:, 0], candidates[:, 1:].flatten(0, 1)])
