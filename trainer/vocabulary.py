"""A smaller token table: the tokens a language pair needs, the rest left out, and no text read differently for it.

A multilingual model of a few hundred million parameters has most of them in its token table. What is cut here are
rows only. Two promises are kept:

- A text whose tokens are all kept gets the same tokens, in the same order, and so the same vector. For BPE that
  needs the merges that lead to each kept token: they are kept with their ranks, and so are the tokens between. For
  Unigram and WordPiece it holds of itself, as both choose the best among the pieces there are.
- Every other text is still read, in more and shorter tokens, and never as an unknown token where it was not before:
  the bytes, or where a tokenizer has none the single characters, all stay.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Set
from itertools import chain, islice, pairwise
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from transformers import PreTrainedModel, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from embedder.errors import AppError
from embedder.tokenization import clean

_TEXTS_AT_ONCE = 1000
_NAMED = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
_PLACEHOLDER = re.compile(r"unused|reserved|^\[PAD\d+\]$")
"""Special tokens that were put aside for later and never trained; Gemma has thousands."""

_SPACE = "\N{LOWER ONE EIGHTH BLOCK}"
"""Stands for a space in SentencePiece vocabularies; read as its bytes it would come back as itself."""

_BYTES = frozenset(f"<0x{byte:02X}>" for byte in range(256))

_Companions = Callable[[str], set[str] | None]
"""All that must be kept for a token to be made, itself included; None where no text makes it."""


class UnprunableVocabulary(AppError):
    """A tokenizer that cannot be made as small as asked."""


def prune_vocabulary(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, texts: Iterable[str], size: int
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Keep the tokens that texts use most.

    Args:
        model: Its token table is cut and its config renumbered in place.
        tokenizer: A fast one: BPE, Unigram or WordPiece; it is left as it is.
        texts: Where tokens are counted. Among tokens they do not use, those of low number go first.
        size: Tokens left over. Special tokens, bytes and whatever else must stay count among them.

    Returns:
        The same model, and a new tokenizer whose numbers go from 0 without a gap, in the old order.

    Raises:
        UnprunableVocabulary: If fewer tokens are asked for than must stay, or the tokenizer is of another kind.
    """
    source = json.loads(tokenizer.backend_tokenizer.to_str())
    numbers = _numbers(source)
    counts = _counts(tokenizer.backend_tokenizer, texts, max(numbers.values()) + 1)
    required = _required(source, numbers, counts, tokenizer)
    if len(required) > size:
        raise UnprunableVocabulary(
            f"{size} tokens are too few: {len(required)} of this tokenizer must stay for every text to be read."
        )
    kept = _chosen(source, numbers, counts, required, size)
    old_numbers = _cut(source, numbers, kept)
    smaller = rebuilt(tokenizer, json.dumps(source))
    _cut_table(model, old_numbers)
    return model, smaller


def rebuilt(tokenizer: PreTrainedTokenizerBase, source: str) -> PreTrainedTokenizerBase:
    """A tokenizer of the stock class around another backend, with the named tokens of the one given.

    Args:
        tokenizer: Gives the names (end of text, padding), the longest input and the model's inputs.
        source: The backend, as ``tokenizer.json`` has it.

    Returns:
        One that is read back from its folder as it was written; chat templates are left out.
    """
    backend = Tokenizer.from_str(source)
    named = {name: str(token) for name in _NAMED if (token := getattr(tokenizer, name, None)) is not None}
    # A named token that is not there would be added, and have no row in any table.
    named = {name: token for name, token in named.items() if backend.token_to_id(token) is not None}
    stock: PreTrainedTokenizerBase = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=backend,
        model_max_length=tokenizer.model_max_length,
        model_input_names=list(tokenizer.model_input_names),
        **named,
    )
    return stock


def _numbers(source: Mapping[str, Any]) -> dict[str, int]:
    """The number of every token, added ones included."""
    kind, vocabulary = source["model"]["type"], source["model"].get("vocab")
    if kind not in {"BPE", "Unigram", "WordPiece"}:
        raise UnprunableVocabulary(f"The vocabulary of a {kind} tokenizer cannot be cut; keep all of it.")
    affixes = (source["model"].get("continuing_subword_prefix"), source["model"].get("end_of_word_suffix"))
    if kind == "BPE" and any(affixes):
        raise UnprunableVocabulary("The vocabulary of a BPE tokenizer that marks parts of words cannot be cut.")
    if kind == "Unigram":
        numbers = {piece: number for number, (piece, _) in enumerate(vocabulary)}
    else:
        numbers = dict(vocabulary)
    return numbers | {token["content"]: token["id"] for token in source["added_tokens"]}


def _counts(backend: Tokenizer, texts: Iterable[str], rows: int) -> NDArray[np.int64]:
    """How often each token occurs, by number; shape ``(rows,)``."""
    counting = Tokenizer.from_str(backend.to_str())
    counting.no_truncation()
    counting.no_padding()
    counts = np.zeros(rows, dtype=np.int64)
    remaining = (clean(text) for text in texts)
    while batch := list(islice(remaining, _TEXTS_AT_ONCE)):
        found = chain.from_iterable(item.ids for item in counting.encode_batch_fast(batch, add_special_tokens=False))
        counts += np.bincount(np.fromiter(found, dtype=np.int64), minlength=rows)
    return counts


def _required(
    source: Mapping[str, Any],
    numbers: Mapping[str, int],
    counts: NDArray[np.int64],
    tokenizer: PreTrainedTokenizerBase,
) -> set[str]:
    """What stays whatever the texts: named and special tokens, and what every text can be spelt with."""
    named = {str(getattr(tokenizer, name)) for name in _NAMED if getattr(tokenizer, name, None) is not None}
    named |= set(_processor_tokens(source["post_processor"]))
    if source["model"].get("unk_token") is not None:
        named.add(source["model"]["unk_token"])
    special = {
        token["content"]
        for token in source["added_tokens"]
        if token["special"] and not (_PLACEHOLDER.search(token["content"]) and not counts[token["id"]])
    }
    never_spelt = {token["content"] for token in source["added_tokens"] if token["special"]} - _BYTES
    spelling = _spelling(source["model"], numbers.keys() - never_spelt)
    return (named | special | spelling | {_SPACE}) & numbers.keys()


def _processor_tokens(processor: Any) -> Iterable[str]:  # noqa: ANN401 - nested JSON
    """Tokens that a post processor puts around a text."""
    if isinstance(processor, dict):
        for name, value in processor.items():
            if name in {"sep", "cls"}:
                yield value[0]
            elif name == "tokens":
                yield from value
            else:
                yield from _processor_tokens(value)
    elif isinstance(processor, list):
        for part in processor:
            yield from _processor_tokens(part)


def _spelling(tokens: Mapping[str, Any], pieces: Set[str]) -> set[str]:
    """Bytes or characters that spell every text, and the pieces that cannot be spelt with them."""
    anchors: set[str] = set()
    if tokens["type"] == "Unigram":
        # An unknown character scores a constant below the lowest piece: that one stays, or unknown ones would move.
        anchors.add(min(tokens["vocab"], key=lambda piece: float(piece[1]))[0])
        if tokens["unk_id"] is not None:
            anchors.add(tokens["vocab"][tokens["unk_id"]][0])
    if tokens.get("byte_fallback") and pieces >= _BYTES:
        return anchors | _BYTES
    prefix = tokens.get("continuing_subword_prefix") or ""
    single = {token for token in pieces if len(token.removeprefix(prefix) or token) == 1}
    if tokens["type"] == "BPE":  # its longer tokens are made of single ones by definition
        return single
    return single | anchors | {token for token in pieces if not _letters(token, prefix) <= single}


def _letters(token: str, prefix: str) -> set[str]:
    """The single pieces that spell a piece, as it stands in a word."""
    bare = token.removeprefix(prefix)
    continued = {prefix + letter for letter in bare[1:]}
    return continued | {(prefix if bare != token else "") + bare[:1]}


def _chosen(
    source: Mapping[str, Any],
    numbers: Mapping[str, int],
    counts: NDArray[np.int64],
    required: set[str],
    size: int,
) -> set[str]:
    """The required tokens and the most frequent others with all it takes to make them, at most ``size``."""
    added = {token["content"]: token["special"] for token in source["added_tokens"]}
    companions = _merge_companions(source["model"]) if source["model"]["type"] == "BPE" else _alone
    kept: set[str] = set()
    for token in required:
        kept |= (None if token in added else companions(token)) or {token}
    for token in sorted(numbers, key=lambda token: (-counts[numbers[token]], numbers[token])):
        if len(kept) >= size:
            break
        if token in kept or added.get(token):  # a special token that is not required is a placeholder
            continue
        needed = {token} if token in added else companions(token)  # added tokens are found before any merging
        if needed is not None and len(kept | needed) <= size:
            kept |= needed
    return kept


def _alone(token: str) -> set[str] | None:
    return {token}


def _merge_companions(model: Mapping[str, Any]) -> _Companions:
    """The tokens between single characters and a token, as BPE makes it of its own text.

    Inside a longer text the same merges make it: one across its border that came first would have taken it apart.
    """
    ranks = {tuple(pair): rank for rank, pair in enumerate(model["merges"])}
    vocabulary = model["vocab"]
    whole_words = bool(model.get("ignore_merges"))  # Llama 3 looks a word up before it merges

    def companions(token: str) -> set[str] | None:
        parts = list(token)
        passed = set(parts)
        while len(parts) > 1:
            rank, place = min((ranks.get(pair, len(ranks)), i) for i, pair in enumerate(pairwise(parts)))
            if rank == len(ranks):
                break
            parts[place : place + 2] = ["".join(parts[place : place + 2])]
            passed.add(parts[place])
        if len(parts) > 1 or not passed <= vocabulary.keys():
            return {token} if whole_words else None
        return passed

    return companions


def _cut(source: dict[str, Any], numbers: Mapping[str, int], kept: set[str]) -> list[int]:
    """Take all other tokens out of a tokenizer's JSON, in place; the old numbers of those left, in their new order."""
    model = source["model"]
    inside = {piece for piece, _ in model["vocab"]} if model["type"] == "Unigram" else model["vocab"].keys()
    # Tokens outside the model's vocabulary are numbered after it, so they come last.
    order = sorted(kept, key=lambda token: (token not in inside, numbers[token]))
    renumbered = {token: number for number, token in enumerate(order)}
    if model["type"] == "Unigram":
        if model["unk_id"] is not None:
            model["unk_id"] = renumbered[model["vocab"][model["unk_id"]][0]]
        model["vocab"] = [[piece, score] for piece, score in model["vocab"] if piece in kept]
    else:
        model["vocab"] = {token: renumbered[token] for token in order if token in inside}
    if model["type"] == "BPE":
        model["merges"] = [pair for pair in model["merges"] if kept.issuperset((*pair, "".join(pair)))]
    source["added_tokens"] = [
        token | {"id": renumbered[token["content"]]} for token in source["added_tokens"] if token["content"] in kept
    ]
    source["added_tokens"].sort(key=lambda token: int(token["id"]))
    source["padding"] = source["truncation"] = None  # they are the caller's
    _renumber_processor(source["post_processor"], renumbered)
    return [numbers[token] for token in order]


def _renumber_processor(processor: Any, renumbered: Mapping[str, int]) -> None:  # noqa: ANN401 - nested JSON
    """Give the tokens of a post processor their new numbers, in place."""
    if isinstance(processor, dict):
        for name, value in processor.items():
            if name in {"sep", "cls"}:
                value[1] = renumbered[value[0]]
            elif name == "ids":
                processor[name] = [renumbered[token] for token in processor["tokens"]]
            else:
                _renumber_processor(value, renumbered)
    elif isinstance(processor, list):
        for part in processor:
            _renumber_processor(part, renumbered)


def _cut_table(model: PreTrainedModel, old_numbers: list[int]) -> None:
    """Keep these rows of the token table, in this order, and renumber what the config says of tokens."""
    renumbered = {old: new for new, old in enumerate(old_numbers)}
    table = cast(torch.nn.Embedding, model.get_input_embeddings())  # Gemma's own subclass scales what it looks up
    rows = table.weight.detach()[torch.tensor(old_numbers, device=table.weight.device)]
    table.weight = torch.nn.Parameter(rows, requires_grad=table.weight.requires_grad)
    table.num_embeddings = len(old_numbers)
    if table.padding_idx is not None:
        table.padding_idx = renumbered.get(table.padding_idx)
    model.config.vocab_size = len(old_numbers)
    for key, value in list(vars(model.config).items()):
        if key.endswith("_token_id") and isinstance(value, int):
            setattr(model.config, key, renumbered.get(value))
        elif key.endswith("_token_id") and isinstance(value, list):
            setattr(model.config, key, [renumbered[number] for number in value if number in renumbered])
