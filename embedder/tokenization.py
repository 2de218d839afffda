"""Texts into token ids: cut before they are tokenised, counted, never failing on a strange character."""

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from tokenizers import Encoding, Tokenizer
from tokenizers.models import WordPiece
from transformers import PreTrainedTokenizerBase

from embedder.protocol import TokenSpans

_SPACE = re.compile(r"\s")
_SURROGATES = re.compile("[\ud800-\udfff]")
_CHARACTERS_PER_TOKEN = 12
"""First guess of how much text fills one token; doubled until the tokens are enough."""

_LONGEST_WORD = 128
"""WordPiece reads a word of more than 100 characters as one unknown token: a cut must not leave less of one."""

_MARGIN_TOKENS = 16
"""Tokens near a cut may differ from those of the whole text; this many are thrown away."""


@dataclass(frozen=True, slots=True)
class Tokenized:
    """One text as the model gets it.

    Attributes:
        ids: Token ids, special tokens included, at most ``max_tokens`` and at least one.
        truncated: Whether the text was longer than that.
    """

    ids: list[int]
    truncated: bool


class TextTokenizer:
    """A checkpoint's fast tokenizer at one maximal length. Safe to share between threads."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, max_tokens: int, vocabulary: int | None = None) -> None:
        """Copy a tokenizer, which stays as it is.

        Args:
            tokenizer: The checkpoint's.
            max_tokens: Longest text in tokens.
            vocabulary: Tokens that the model has vectors for. Transformers gives some tokenizers a token more than
                their checkpoint has; a text that holds it is read as if there were none. None where that is no matter.
        """
        source: Tokenizer = tokenizer.backend_tokenizer
        self._whole = _copy(source, vocabulary)
        self._cutting = _copy(source, vocabulary)
        # On the right, and room left for special tokens, as sentence-transformers does.
        self._cutting.enable_truncation(max_tokens)
        self._max_tokens = max_tokens
        # WordPiece makes one unknown token of a long word, so a cut inside a word can change the word's first token.
        self._by_words = isinstance(source.model, WordPiece)
        fallback = (tokenizer.eos_token_id, tokenizer.pad_token_id, 0)
        self._blank = next(int(token) for token in fallback if token is not None)
        self.pad_id = int(tokenizer.pad_token_id or 0)

    def tokenize(self, texts: Sequence[str]) -> list[Tokenized]:
        """Token ids of each text; a text without any token becomes one end-of-text token."""
        texts = [clean(text) for text in texts]
        bounds = [self._max_tokens * _CHARACTERS_PER_TOKEN] * len(texts)
        done: list[Tokenized | None] = [None] * len(texts)
        open_rows = list(range(len(texts)))
        while open_rows:
            cut = [_beginning(texts[row], bounds[row]) for row in open_rows]
            encodings = self._cutting.encode_batch(cut)
            again = []
            for row, encoding in zip(open_rows, encodings, strict=True):
                spare = sum(len(part.ids) for part in encoding.overflowing)
                doubtful = spare < _MARGIN_TOKENS or (self._by_words and _ends_in_last_word(encoding))
                if bounds[row] < len(texts[row]) and doubtful:
                    bounds[row] *= 2
                    again.append(row)
                else:
                    truncated = spare > 0 or bounds[row] < len(texts[row])
                    done[row] = Tokenized(list(encoding.ids) or [self._blank], truncated)
            open_rows = again
        return [row for row in done if row is not None]

    def token_spans(self, text: str) -> TokenSpans:
        """Character offsets of all tokens of a text, special tokens left out; shape (T, 2)."""
        encoding = self._whole.encode(clean(text), add_special_tokens=False)
        return np.asarray(encoding.offsets, dtype=np.int64).reshape(-1, 2)


def _copy(source: Tokenizer, vocabulary: int | None) -> Tokenizer:
    """A tokenizer of the same parts, without truncation and padding; sharing the vocabulary, it costs no time."""
    copied = Tokenizer(source.model)
    for part in ("normalizer", "pre_tokenizer", "post_processor", "decoder"):
        if (value := getattr(source, part)) is not None:
            setattr(copied, part, value)
    tokens_by_id = sorted(source.get_added_tokens_decoder().items())
    added = [token for id, token in tokens_by_id if vocabulary is None or id < vocabulary]
    for is_special, tokens in itertools.groupby(added, key=lambda token: token.special):
        (copied.add_special_tokens if is_special else copied.add_tokens)(list(tokens))
    copied.encode_special_tokens = source.encode_special_tokens
    return copied


def _beginning(text: str, characters: int) -> str:
    """About so many characters of a text: to the end of the word there, or as much of it as decides how it is read."""
    end = _SPACE.search(text, characters, characters + _LONGEST_WORD)
    return text[: end.start() if end else characters + _LONGEST_WORD]


def _ends_in_last_word(encoding: Encoding) -> bool:
    """Whether the tokens kept reach into the last word of the text that was tokenised."""
    kept, all_words = (
        max((word for part in parts for word in part.word_ids if word is not None), default=-1)
        for parts in ([encoding], [encoding, *encoding.overflowing])
    )
    return kept == all_words


def clean(text: str) -> str:
    """The text with each lone surrogate, which no encoding has, replaced by U+FFFD; offsets stay."""
    return text if text.isascii() else _SURROGATES.sub("\N{REPLACEMENT CHARACTER}", text)


def token_batches(lengths: Sequence[int], budget_tokens: int, overhead_tokens: int = 64) -> list[list[int]]:
    """Group texts into forward passes that cost least: neighbours in length, little padded, none too small.

    The cheapest partition of the texts sorted by length, where a batch costs its rows times its longest row, plus
    what every pass costs however little is in it.

    Args:
        lengths: Tokens of each text.
        budget_tokens: Most that rows times longest row of a batch may be; a longer text is a batch of its own.
        overhead_tokens: Cost of one more pass, in tokens.

    Returns:
        Row numbers per batch, longest texts first: a batch that does not fit in memory fails at once and not at
        the end.
    """
    order = np.argsort(-np.asarray(lengths, dtype=np.int64), kind="stable")
    longest = np.asarray(lengths, dtype=np.int64)[order]
    count = len(order)
    cost = np.full(count + 1, np.iinfo(np.int64).max, dtype=np.int64)
    cost[0] = 0
    start_of = np.zeros(count + 1, dtype=np.int64)
    for start in range(count):  # cheapest cost of the first ``end`` texts, for every end that a batch from here reaches
        rows = np.arange(1, min(max(1, budget_tokens // max(1, longest[start])), count - start) + 1)
        reached = cost[start] + rows * longest[start] + overhead_tokens
        ends = slice(start + 1, start + 1 + len(rows))
        better = reached < cost[ends]
        cost[ends][better] = reached[better]
        start_of[ends][better] = start
    batches: list[list[int]] = []
    end = count
    while end:
        batches.append(order[start_of[end] : end].tolist())
        end = int(start_of[end])
    return batches[::-1]
