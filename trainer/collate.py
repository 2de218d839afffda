"""Examples into what the network and the objective get: each text once, as token ids, and who plays which part."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from embedder.tokenization import TextTokenizer, token_batches
from trainer.formats import Example
from trainer.layout import Layout


@dataclass(frozen=True, slots=True)
class TextBatch:
    """One process's share of a step's batch.

    Attributes:
        ids: Token ids of each of the U different texts, prompts included.
        layout: Which text plays which part in the rows.
        sources: Name of each row's source.
    """

    ids: list[list[int]]
    layout: Layout
    sources: list[str]

    @property
    def tokens(self) -> int:
        """Tokens to encode, padding left out."""
        return sum(len(row) for row in self.ids)


@dataclass(frozen=True, slots=True)
class Chunk:
    """Texts of one forward pass.

    Attributes:
        rows: ``(n,)`` their numbers among the batch's texts.
        input_ids: ``(n, T)`` int64, padded on the right.
        attention_mask: ``(n, T)`` int64.
    """

    rows: list[int]
    input_ids: Tensor
    attention_mask: Tensor


class Collator:
    """Makes batches of examples for one model."""

    def __init__(self, queries: TextTokenizer, documents: TextTokenizer, negatives_per_query: int) -> None:
        self._queries = queries
        self._documents = documents
        self._hard = negatives_per_query

    def __call__(self, examples: Sequence[Example]) -> TextBatch:
        """Tokenise each different text once and lay the rows out over them."""
        table = _Texts()
        rows = [self._row(example, table) for example in examples]
        ids = self._tokenize(table)
        known = max(len(row.known) for row in rows)
        layout = Layout(
            texts=torch.tensor(table.keys),
            queries=torch.tensor([row.query for row in rows]),
            positives=torch.tensor([row.positive for row in rows]),
            negatives=_padded([row.negatives for row in rows], self._hard, -1),
            negative_labels=_padded([row.negative_labels for row in rows], self._hard, 0),
            labels=torch.tensor([row.label for row in rows]),
            known=_padded([row.known for row in rows], known, 0),
            rows=torch.tensor([example.key for example in examples]),
            scores=torch.tensor([example.score or 0.0 for example in examples], dtype=torch.float32),
            graded=examples[0].source.form == "graded",
            teachers=torch.full((len(rows),), -1),
            taught=torch.zeros(len(rows), 2 + self._hard, 0),
        )
        return TextBatch(ids, layout, [example.source.name for example in examples])

    def _row(self, example: Example, table: "_Texts") -> "_Row":
        source, negatives = example.source, example.negatives[: self._hard]
        labels = (*example.negative_labels, *[None] * self._hard)[: len(negatives)]
        return _Row(
            query=table.place("query", source.query_prompt, example.query),
            positive=table.place("document", source.document_prompt, example.positive),
            negatives=[table.place("document", source.document_prompt, text) for text in negatives],
            negative_labels=[class_key(source.name, label) for label in labels],
            label=class_key(source.name, example.label),
            known=sorted({text_key(text) for text in (example.query, example.positive, *example.positives)}),
        )

    def _tokenize(self, table: "_Texts") -> list[list[int]]:
        """Token ids by place; the two sides differ in length limits only."""
        ids: list[list[int]] = [[] for _ in table.keys]
        for side, tokenizer in (("query", self._queries), ("document", self._documents)):
            places = [place for (of, _, _), place in table.places.items() if of == side]
            texts = [prompt + text for of, prompt, text in table.places if of == side]
            for place, row in zip(places, tokenizer.tokenize(texts), strict=True):
                ids[place] = row.ids
        return ids


def make_chunks(ids: Sequence[Sequence[int]], budget_tokens: int, pad_id: int, at_least: int = 1) -> list[Chunk]:
    """The texts as forward passes within a budget of tokens, each padded to its longest.

    Args:
        ids: Token ids of each text.
        budget_tokens: Most that rows times longest row of a chunk may be.
        pad_id: What fills short rows up.
        at_least: Fewest chunks wanted: with sharded weights every process has to make equally many passes.
    """
    groups = token_batches([len(row) for row in ids], budget_tokens)
    while len(groups) < at_least and (largest := max(groups, key=len)) and len(largest) > 1:
        half = len(largest) // 2
        groups.remove(largest)
        groups += [largest[:half], largest[half:]]
    return [_chunk(ids, rows, pad_id) for rows in groups]


def text_key(text: str) -> int:
    """63 bits that texts share if they differ in case and spacing at most; never 0."""
    digest = hashlib.blake2b(" ".join(text.casefold().split()).encode("utf-8", "replace"), digest_size=8)
    return int.from_bytes(digest.digest(), "little") >> 1 | 1


def class_key(source: str, label: str | None) -> int:
    """63 bits of a class of a source; 0 for none."""
    return 0 if label is None else text_key(f"{len(source)} {source} {label}")


@dataclass(frozen=True, slots=True)
class _Row:
    query: int
    positive: int
    negatives: list[int]
    negative_labels: list[int]
    label: int
    known: list[int]


class _Texts:
    """The different texts of a batch in the order they were met."""

    def __init__(self) -> None:
        self.places: dict[tuple[str, str, str], int] = {}
        self.keys: list[int] = []

    def place(self, side: str, prompt: str, text: str) -> int:
        """Number of a text on one side behind one prompt."""
        place = self.places.setdefault((side, prompt, text), len(self.places))
        if place == len(self.keys):
            self.keys.append(text_key(text))
        return place


def _padded(rows: Sequence[Sequence[int]], width: int, fill: int) -> Tensor:
    table = np.full((len(rows), width), fill, dtype=np.int64)
    for i, row in enumerate(rows):
        table[i, : len(row)] = row
    return torch.from_numpy(table)


def _chunk(ids: Sequence[Sequence[int]], rows: list[int], pad_id: int) -> Chunk:
    longest = max(len(ids[row]) for row in rows)
    table = _padded([ids[row] for row in rows], longest, pad_id)
    mask = _padded([[1] * len(ids[row]) for row in rows], longest, 0)
    return Chunk(rows, table, mask)
