"""The terms of the objective as pure functions: similarities in, one loss per query out.

Sources: KaLM-Embedding-V2 (arXiv 2506.20923) for InfoNCE over three kinds of negatives, focal reweighting, online
hard-negative mixing and contrastive distillation; Matryoshka representation learning (arXiv 2205.13147); CoSENT
(Su, 2022). How they are put together is in ``objective.py``.

B queries, C candidates, M hard negatives of a query, D dimensions. All vectors are unit rows, so a product is a cosine.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from embedder.vectors import truncate_and_normalize
from trainer.draws import uniforms


def info_nce(positives: Tensor, negatives: Tensor, *, temperature: float, allowed: Tensor | None = None) -> Tensor:
    """Negative log-probability of each query's positive among its candidates (InfoNCE; KaLM-V2, contrastive loss).

    ``-log(exp(s+ / t) / (exp(s+ / t) + sum_c exp(s_c / t)))``.

    Args:
        positives: ``(B,)`` similarity of each query to its positive.
        negatives: ``(B, C)`` similarities to everything that may be a negative: in-batch, hard, mixed.
        temperature: t.
        allowed: ``(B, C)``, False where a candidate is no negative of that query; None allows all.

    Returns:
        ``(B,)``; 0 for a query without any negative.
    """
    if allowed is not None:
        negatives = negatives.masked_fill(~allowed, -torch.inf)
    logits = torch.cat([positives[:, None], negatives], dim=1) / temperature  # (B, 1 + C)
    return logits.logsumexp(dim=1) - logits[:, 0]


def false_negatives(positives: Tensor, negatives: Tensor, margin: float) -> Tensor:
    """Candidates that look too good to be negatives: more similar than the positive by more than a margin.

    The rule of Qwen3-Embedding (arXiv 2506.05176, loss mask), with the margin a parameter. No gradient.

    Args:
        positives: ``(B,)`` similarity of each query to its positive.
        negatives: ``(B, C)`` similarities to the candidates.
        margin: How much above the positive is too much.

    Returns:
        ``(B, C)`` bool.
    """
    return negatives.detach() > positives.detach()[:, None] + margin


def focal_weight(losses: Tensor, gamma: float, *, detached: bool = True) -> Tensor:
    """``(1 - p)^gamma`` with ``p = exp(-loss)``: hard queries weigh more (KaLM-V2, focal-style reweighting).

    Args:
        losses: ``(B,)`` from :func:`info_nce`.
        gamma: 0 weighs all alike.
        detached: Whether the weight is a constant to the gradient.

    Returns:
        ``(B,)`` between 0 and 1.
    """
    if gamma == 0:
        return torch.ones_like(losses)
    if detached:
        losses = losses.detach()
    # A floor above 0: the slope of x^gamma at 0 is infinite for gamma < 1.
    return (-torch.expm1(-losses)).clamp(min=1e-12) ** gamma


def mix_pairs(negatives: Tensor, counts: Tensor, keys: Tensor, draw: int = 0) -> Tensor:
    """One synthetic negative per query from two of its own (KaLM-V2, pair-wise online hard-negative mixing).

    ``h = normalize(l n_j + (1 - l) n_k)`` with ``l ~ Beta(2, 2)`` and ``j != k``.

    Args:
        negatives: ``(B, M, D)`` unit rows, those that are there first.
        counts: ``(B,)`` how many are there.
        keys: ``(B,)`` int64 identity of each row: all draws depend on it and on ``draw`` alone, so neither on the
            chunk nor on the process a row is in.
        draw: Number of the draw, for several of a row.

    Returns:
        ``(B, D)`` unit rows; without meaning where fewer than two are there.
    """
    rows = torch.arange(len(counts), device=negatives.device)
    chance = uniforms(keys, 5, salt=draw)  # (B, 5)
    first = (chance[:, 0] * counts).long().clamp(max=negatives.shape[1] - 1)
    step = 1 + (chance[:, 1] * (counts - 1)).long()
    second = (first + step) % counts.clamp(min=1)
    # The median of three uniform numbers has the distribution Beta(2, 2).
    share = chance[:, 2:].median(dim=1).values.to(negatives.dtype)[:, None]  # (B, 1)
    return truncate_and_normalize(share * negatives[rows, first] + (1 - share) * negatives[rows, second])


def mix_list(queries: Tensor, negatives: Tensor, counts: Tensor, temperature: float) -> Tensor:
    """One synthetic negative per query from all of its own (KaLM-V2, list-wise online hard-negative mixing).

    ``s = normalize(sum_m l_m n_m)`` with ``l = softmax(q n_m / t)``: the weights follow the similarity and sum to 1.

    Args:
        queries: ``(B, D)`` unit rows.
        negatives: ``(B, M, D)`` unit rows, those that are there first.
        counts: ``(B,)`` how many are there.
        temperature: t.

    Returns:
        ``(B, D)`` unit rows; without meaning where none is there.
    """
    there = torch.arange(negatives.shape[1], device=negatives.device) < counts.clamp(min=1)[:, None]  # (B, M)
    similarities = torch.einsum("bd,bmd->bm", queries, negatives) / temperature
    weights = similarities.masked_fill(~there, -torch.inf).softmax(dim=1)
    return truncate_and_normalize(torch.einsum("bm,bmd->bd", weights, negatives))


def distillation(teacher: Tensor, student: Tensor, *, temperature: float, allowed: Tensor | None = None) -> Tensor:
    """``KL(P_teacher || P_student)`` over each query's candidates (KaLM-V2.5, contrastive distillation).

    Args:
        teacher: ``(B, C)`` similarities by the teacher.
        student: ``(B, C)`` similarities by the student, of the same candidates.
        temperature: Of both softmaxes.
        allowed: ``(B, C)``, False where a candidate takes no part; every row needs one that does. None allows all.

    Returns:
        ``(B,)``.
    """
    if allowed is not None:
        teacher, student = teacher.masked_fill(~allowed, -torch.inf), student.masked_fill(~allowed, -torch.inf)
    wanted, found = (teacher / temperature).log_softmax(dim=1), (student / temperature).log_softmax(dim=1)
    difference = wanted - found
    if allowed is not None:
        difference = difference.masked_fill(~allowed, 0.0)  # -inf less -inf
    return (wanted.exp() * difference).sum(dim=1)


def cosent(similarities: Tensor, scores: Tensor, scale: float) -> Tensor:
    """Rank loss for graded pairs (CoSENT): a pair scored lower should not be more similar than one scored higher.

    ``log(1 + sum_{score_i > score_j} exp(scale (s_j - s_i)))``, which is one number for the whole batch.

    Args:
        similarities: ``(B,)`` of the two texts of each pair.
        scores: ``(B,)`` what people gave the pair.
        scale: Inverse temperature.

    Returns:
        ``(B,)``, every row the batch's number, so that its mean is that number.
    """
    gaps = scale * (similarities[None, :] - similarities[:, None])  # (B, B): row i, column j
    gaps = gaps.masked_fill(scores[:, None] <= scores[None, :], -torch.inf)
    total = torch.cat([gaps.new_zeros(1), gaps.flatten()]).logsumexp(dim=0)
    return total.expand(len(similarities))


def matryoshka(loss_at: Callable[[int], Tensor], dims: Sequence[int], weights: Sequence[float]) -> Tensor:
    """``sum_d w_d L_d``: the same loss at nested widths (arXiv 2205.13147; KaLM-V2 with 1, .3, .2, .1, .1).

    Args:
        loss_at: Gives the ``(B,)`` losses of the vectors cut to a width.
        dims: Widths.
        weights: One per width. The sum is not divided by theirs, as in the released training code.

    Returns:
        ``(B,)``.
    """
    total = weights[0] * loss_at(dims[0])
    for dim, weight in zip(dims[1:], weights[1:], strict=True):
        total = total + weight * loss_at(dim)
    return total
