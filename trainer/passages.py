"""Passages out of longer texts, and questions for them: what a table of short pairs says nothing of.

A passage of some hundred tokens is told from its neighbours in the same text by what single words of it say. Two
kinds of rows teach that, with the other passages of the text as hard negatives:

- a sentence of the passage, or a part of one, asks for the passage, which has it no longer every other time: the
  inverse cloze task (Lee et al., arXiv 1906.00300) on overlapping crops (Contriever, arXiv 2112.09118);
- where the rows of a table follow one another as in a text, as the sentences that answer questions do, neighbours are
  joined into passages, and each row's own query asks for the one with its answer.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pyarrow as pa

from trainer.columns import InvalidData

_SENTENCE_END = re.compile(r"(?<=[。！？；])|(?<=[\u3400-\u9fff][.!?;])|(?<=[.!?;])\s+|\n+")
_HAN = re.compile(r"[\u3400-\u9fff]")
_PIECE = re.compile(r"[\u3400-\u9fff]|[^\s\u3400-\u9fff]+\s*|\s+")
"""What a crop is cut between: Chinese characters, and words of other scripts."""

_LETTERS_PER_TOKEN = 4
"""Of scripts with an alphabet; a Chinese character is a token of its own. Near enough to size passages."""

_EDGES = " \n,;:.，、；：。"
"""What a crop does not begin or end with."""

_SHORTEST_QUERY, _LONGEST_QUERY = 5, 40
_SHORTEST_PASSAGE = 32
_NEGATIVES = 4


@dataclass(frozen=True, slots=True)
class PassageSettings:
    """How texts are cut.

    Attributes:
        tokens: What a passage is filled up to, about.
        joined: Rows follow one another as in a text: their positives are joined, and their queries kept.
        per_passage: Crops that ask for one passage, where rows are not joined.
        seed: Of the crops.
    """

    tokens: int = 160
    joined: bool = False
    per_passage: int = 1
    seed: int = 0


def passage_table(table: pa.Table, settings: PassageSettings) -> pa.Table:
    """Rows ``query, positive, negatives`` out of a table with ``positive``, and ``query`` where rows are joined.

    Its licence, language and other metadata are kept.

    Raises:
        InvalidData: If a column is not there or holds no texts, or no text is long enough for a passage.
    """
    needed = ("query", "positive") if settings.joined else ("positive",)
    if missing := [name for name in needed if name not in table.column_names]:
        raise InvalidData(f"The table has no column {missing[0]!r}; passages are made of {' and '.join(needed)}.")
    for name in needed:
        if not (pa.types.is_string(table[name].type) or pa.types.is_large_string(table[name].type)):
            raise InvalidData(f"The column {name!r} holds {table[name].type}; passages are made of columns of text.")
    table = table.select(needed).drop_null()  # a row without a text says nothing
    answers: list[str] = table["positive"].to_pylist()
    rows = list(
        _joined(table["query"].to_pylist(), answers, settings) if settings.joined else _cropped(answers, settings)
    )
    if not rows:
        raise InvalidData("No text of the table is long enough for a passage; lower --tokens, or join its rows.")
    return pa.Table.from_pylist(rows).replace_schema_metadata(table.schema.metadata)


def _cropped(texts: Iterable[str], settings: PassageSettings) -> Iterator[dict[str, object]]:
    random = np.random.default_rng(settings.seed)
    for text in dict.fromkeys(text for text in texts if text):
        passages = list(_filled(sentences(text), settings.tokens))
        whole = ["".join(passage).strip() for passage in passages]
        for number, passage in enumerate(passages):
            others = _nearest(whole, number)
            for _ in range(settings.per_passage):
                if row := _crop(passage, random):
                    yield {"query": row[0], "positive": row[1], "negatives": others}


def _joined(queries: Sequence[str], answers: Sequence[str], settings: PassageSettings) -> Iterator[dict[str, object]]:
    following = list(dict.fromkeys(f"{answer.strip()} " for answer in answers))
    passages = list(_filled(following, settings.tokens))
    whole = ["".join(passage).strip() for passage in passages]
    home = {sentence.strip(): number for number, passage in enumerate(passages) for sentence in passage}
    for query, answer in zip(queries, answers, strict=True):
        number = home.get(answer.strip())
        if number is not None:
            yield {"query": query, "positive": whole[number], "negatives": _nearest(whole, number)}


def sentences(text: str) -> list[str]:
    """The sentences of a text, with what follows them; joined they are the text."""
    ends = [0, *(match.end() for match in _SENTENCE_END.finditer(text)), len(text)]
    return [text[start:end] for start, end in pairwise(ends) if start < end]


def about_tokens(text: str) -> int:
    """How many tokens a text has, about."""
    han = len(_HAN.findall(text))
    return han + (len(text) - han) // _LETTERS_PER_TOKEN


def _filled(parts: Iterable[str], tokens: int) -> Iterator[list[str]]:
    """Parts that follow one another, as many as fit; what is left at the end may be short, and is left out if it is."""
    passage: list[str] = []
    size = 0
    for part in parts:
        length = about_tokens(part)
        if passage and size + length > tokens:
            yield passage
            passage, size = [], 0
        passage.append(part)
        size += length
    if size >= _SHORTEST_PASSAGE:
        yield passage


def _nearest(passages: Sequence[str], number: int) -> list[str]:
    """The passages around one, the nearest first."""
    around = range(max(0, number - _NEGATIVES), min(len(passages), number + _NEGATIVES + 1))
    others = sorted(around, key=lambda other: abs(other - number))
    return [passages[other] for other in others if passages[other] != passages[number]][:_NEGATIVES]


def _crop(passage: Sequence[str], random: np.random.Generator) -> tuple[str, str] | None:
    """A part of a sentence and the passage, with or without that sentence; None if every sentence is too short."""
    asking = [number for number, sentence in enumerate(passage) if about_tokens(sentence) >= _SHORTEST_QUERY]
    if not asking or len(passage) < 2:
        return None
    chosen = int(random.choice(asking))
    pieces = _PIECE.findall(passage[chosen])
    length = int(random.integers(max(1, len(pieces) // 2), len(pieces), endpoint=True))
    length = min(length, _LONGEST_QUERY)
    start = int(random.integers(0, len(pieces) - length, endpoint=True))
    kept = [sentence for number, sentence in enumerate(passage) if number != chosen or random.random() < 0.5]
    query, answer = "".join(pieces[start : start + length]).strip(_EDGES), "".join(kept).strip()
    return (query, answer) if about_tokens(query) >= _SHORTEST_QUERY // 2 and answer else None
