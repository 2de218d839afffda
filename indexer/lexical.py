"""Words into sparse vectors: the one lexical encoder of the index, for every engine and for LangChain.

A document's weights are the term-frequency half of BM25 (Robertson and Zaragoza, *The Probabilistic Relevance
Framework: BM25 and Beyond*, 2009, section 3.4). The engine multiplies each dimension by its inverse document frequency
when a query comes, so no vector changes because other documents arrive.

What becomes a term:

* a word of a script with spaces: NFKC, casefolded, Latin letters without accents, English snowball stem;
* a compound (``snake_case``, ``camelCase``, ``3.11``, ``C++``, ``.NET``, ``GPT-4``, ``a.b@c.org``): itself, and each
  of its parts;
* a run of Chinese, Japanese or Korean characters, each made simplified: every two neighbours, and every character.
  Any substring of two characters or more is thus found, without a dictionary that would have to know the word.

Documents keep their stop words, so that "to be or not to be" finds Hamlet; queries drop them unless nothing else
remains.

Not covered: further scripts without spaces (Thai, Khmer) are found by whole runs only; symbols and emoji are no terms,
so a query of nothing else has an empty vector; synonyms and misspellings are the dense vectors' work.
"""

import re
import threading
import unicodedata
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import pairwise
from typing import ClassVar, NamedTuple

import opencc
import Stemmer

# nDCG@10 without titles on XQuAD-en, XQuAD-zh, CMRC2018-dev, SciTLDR: 96.91, 97.22, 98.82, 95.37, mean 97.08
# (reference BM25: 96.35, 96.26, 98.03, 94.86). With titles 97.13, and from there one change at a time: K1 0.9 97.14,
# 2.0 96.95; B 0.5 97.07, 1.0 97.08; AVERAGE_WORDS 120 97.04, 300 97.11; PART_WEIGHT 0 96.97, 1 96.93;
# CHARACTER_WEIGHT 0 97.05, 0.5 97.14; no Chinese stop characters 96.89; no English stop words 97.16. The optimum is
# flat, so the textbook's K1 and B stay.
K1 = 1.2
"""How slowly further occurrences of a term stop counting."""

B = 0.75
"""How much long documents are held back: 0 not at all, 1 in full proportion to their length."""

AVERAGE_WORDS = 180.0
"""Length that is neither held back nor helped. A constant, about one chunk, because with the true mean every stored
vector would have to change with the corpus. Two Chinese characters count as one word, so that a chunk of either
language has about this length."""

PART_WEIGHT = 0.5
"""Of a query term that is less than a word: part of a compound, a pair of characters of which one is a stop character,
a character with no neighbour."""

CHARACTER_WEIGHT = 0.2
"""Of a single character of a longer Chinese query: enough to find 北京大学 by 北大,
too little to dominate its pairs."""

_LONGEST_CACHED_WORD = 64
"""Longer words are analysed anew each time: a file of encoded binary data must not fill the memory."""

# Iteration mark, zero, kana, bopomofo, Hangul, ideographs of all planes.
CJK = (
    "\u3005\u3007\u3041-\u3096\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff\u3105-\u312f\u31a0-\u31bf\u31f0-\u31ff"
    "\u1100-\u11ff\u3131-\u318e\uac00-\ud7a3\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af"
)
"""Characters of scripts without spaces, as the inside of a regular expression's set."""

_LETTERS = rf"[^\W_{CJK}]+"
_CJK_RUN = re.compile(f"[{CJK}]+")
_WORD = re.compile(
    rf"(?:(?<![\w.])\.)?{_LETTERS}"  # .NET
    rf"(?:(?:[.@&'-]|_{{1,2}}|(?<=\d),(?=\d)){_LETTERS})*"  # R&D, O'Brien, e-mail, snake_case, 1,000
    r"(?:\+\+|\#(?!\w))?"  # C++, C#
)
_PIECE = re.compile(r"[^\W_]+")
_CAMEL = re.compile(r"[A-Z]{2,}(?=s(?![a-z]))|[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_INITIALS = re.compile(r"[^\W\d_](?:\.[^\W\d_])+")
_CONTRACTION = re.compile(r"([^\W_]+)'(?:s|t|re|ve|ll|d|m)", re.IGNORECASE)
_LATIN_ACCENTS = re.compile("(?<=[a-z])[\u0300-\u036f]+")
_JOINTS = str.maketrans("", "", ",'-")

_STOP_WORDS = frozenset(
    "a about an and any are as at be been but by can could did do does for from had has have he her his how i if in"
    " into is it its me my no not of on or our she should so some such than that the their them then there these they"
    " this those to was we were what when where which while who whom whose why will with would you your"
    " aren't can't didn't doesn't don't isn't wasn't weren't won't".split()
)
# Only characters that seldom belong to a longer word of content: 了 would spoil 了解, 在 存在, 都 首都.
_STOP_CHARACTERS = frozenset("的是吗呢吧啊么什怎哪谁些与及或")
_STOP_PHRASE = re.compile("怎样|多少|如何|为何|(?<!任)何时|哪里|哪个|请问")

Span = tuple[int, int]
"""Start and end character offsets within a text."""

_thread = threading.local()


@dataclass(frozen=True, slots=True)
class SparseVector:
    """The dimensions of a text that are not zero.

    Attributes:
        indices: Hashes of its terms, unsigned 32-bit, ascending, each once; shape (terms,).
        values: Weight of each; terms that share a hash are added up; shape (terms,).
    """

    indices: tuple[int, ...]
    values: tuple[float, ...]


class _Term(NamedTuple):
    """One term of one word of a text: its dimension, and where in the word it stands."""

    dimension: int
    start: int
    end: int
    stop: bool


class _QueryTerm(NamedTuple):
    """One term of a query: its dimension, what it weighs, and whether a result shows where it matched."""

    dimension: int
    weight: float
    stop: bool
    shown: bool


class LexicalEncoder:
    """Sparse vectors of documents and of queries, and where a query's words stand in a text.

    Without state: instances are alike, every method may be called from several threads, and the same text has the
    same vector in every process and on every machine.
    """

    version: ClassVar[str] = "lexical-1"
    """Changes whenever a text gets other terms or other weights; part of an index's manifest."""

    def encode_document(self, text: str) -> SparseVector:
        """The saturated term frequencies of a passage, all words and stop words included."""
        text = _normalised(text)
        words = _WORD.findall(text)
        length_words = float(len(words))
        counts: defaultdict[int, int] = defaultdict(int)
        for word, count in Counter(words).items():
            for index in _word_indices(word):
                counts[index] += count
        grams: Counter[str] = Counter()
        for run in () if text.isascii() else _CJK_RUN.findall(text):
            length_words += len(run) / 2
            grams.update(run)
            grams.update(map("".join, pairwise(run)))
        for gram, count in grams.items():
            counts[_index(gram)] += count
        norm = K1 * (1 - B + B * length_words / AVERAGE_WORDS)
        indices = sorted(counts)
        return SparseVector(
            tuple(indices), tuple([(K1 + 1) * count / (count + norm) for count in map(counts.__getitem__, indices)])
        )

    def encode_query(self, text: str) -> SparseVector:
        """The weight of each term of a question; empty where it has no word at all."""
        weights: defaultdict[int, float] = defaultdict(float)
        for term in _query_terms(text):
            weights[term.dimension] += term.weight
        indices = sorted(weights)
        return SparseVector(tuple(indices), tuple(weights[index] for index in indices))

    def highlight(self, query: str, text: str) -> tuple[Span, ...]:
        """Where the words of a query stand in a text.

        Returns:
            Offsets into ``text`` as given, ordered, neither overlapping nor touching. Stop words are left out unless
            the query has nothing else; of Chinese, pairs of characters count, and single ones that stand alone.
        """
        wanted = {term.dimension for term in _query_terms(query) if term.shown}
        if not wanted:
            return ()
        normalised, origins = _normalised_with_origins(text)
        found = sorted((start, end) for index, start, end in _located_terms(normalised) if index in wanted)
        merged: list[Span] = []
        for first, last in found:
            start, end = origins[first][0], origins[last - 1][1]
            if merged and start <= merged[-1][1]:
                merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
            else:
                merged.append((start, end))
        return tuple(merged)


def folded_text(text: str) -> str:
    """A text as it is compared with another letter by letter: case, width, script and white space make no difference.

    NFKC, traditional characters made simplified as in the terms, casefolded, white space collapsed. Accents stay.
    """
    return " ".join(_normalised(_normalised(text).casefold()).split())


def is_stop_word(word: str) -> bool:
    """Whether an English word is one of those that questions leave out."""
    return word.casefold() in _STOP_WORDS


def _query_terms(text: str) -> list[_QueryTerm]:
    """The terms of a question, stop words only if there is nothing else."""
    text = _normalised(text)
    terms: list[_QueryTerm] = []
    for word in _WORD.findall(text):
        for number, term in enumerate(_word_terms(word)):
            terms.append(_QueryTerm(term.dimension, PART_WEIGHT if number else 1.0, term.stop, True))
    for run in _CJK_RUN.findall(text):
        terms += _run_terms(run)
    kept = [term for term in terms if not term.stop]
    return kept if any(term.shown for term in kept) else terms


def _run_terms(run: str) -> Iterator[_QueryTerm]:
    """The characters and the pairs of a query's run of Chinese, Japanese or Korean.

    A pair with one stop character (是黑 of 什么是黑洞) weighs less and is not shown, unless it is the whole run (目的).
    Characters of a phrase that asks are stop characters within it: of 怎样酿蜜, 样酿 weighs less too.
    """
    stops = [character in _STOP_CHARACTERS for character in run]
    for phrase in _STOP_PHRASE.finditer(run):
        stops[phrase.start() : phrase.end()] = [True] * len(phrase[0])
    for character, stop, before, after in zip(run, stops, [True, *stops], [*stops[1:], True], strict=False):
        alone = len(run) == 1 or (before and after and not stop and len(run) > 2)
        yield _QueryTerm(_index(character), PART_WEIGHT if alone else CHARACTER_WEIGHT, stop, alone)
    for pair, (first, second) in zip(map("".join, pairwise(run)), pairwise(stops), strict=True):
        partly = first != second and len(run) > 2
        yield _QueryTerm(_index(pair), PART_WEIGHT if partly else 1.0, first and second, not partly)


def _located_terms(text: str) -> Iterator[tuple[int, int, int]]:
    """Index, start and end of all terms of a normalised text."""
    for match in _WORD.finditer(text):
        for term in _word_terms(match[0]):
            yield term.dimension, match.start() + term.start, match.start() + term.end
    for match in _CJK_RUN.finditer(text):
        start, run = match.start(), match[0]
        for place in range(len(run)):
            yield _index(run[place]), start + place, start + place + 1
        for place, pair in enumerate(pairwise(run)):
            yield _index("".join(pair)), start + place, start + place + 2


def _word_terms(word: str) -> tuple[_Term, ...]:
    """The terms of a word, first itself and then its parts, each index once."""
    return _analysed(word) if len(word) <= _LONGEST_CACHED_WORD else _analysed.__wrapped__(word)


def _word_indices(word: str) -> tuple[int, ...]:
    """The dimensions alone, which is all a document needs."""
    return _indices(word) if len(word) <= _LONGEST_CACHED_WORD else _indices.__wrapped__(word)


@lru_cache(maxsize=1 << 17)
def _indices(word: str) -> tuple[int, ...]:
    return tuple(term.dimension for term in _word_terms(word))


@lru_cache(maxsize=1 << 17)
def _analysed(word: str) -> tuple[_Term, ...]:
    folded = _folded(word)
    contraction = _CONTRACTION.fullmatch(folded)
    stop = folded in _STOP_WORDS or (contraction is not None and contraction[1] in _STOP_WORDS)
    plain = contraction or (word.isalpha() and (word.islower() or word.isupper() or word[1:].islower()))
    initials = _INITIALS.fullmatch(word)
    if plain or initials:
        whole = folded.replace(".", "") if initials else folded
        return (_Term(_index(_stem(whole)), 0, len(word), stop),)
    # E-mail is email, GPT-4 is GPT4, 1,000 is 1000.
    terms = [_Term(_index(_stem(folded.translate(_JOINTS))), 0, len(word), stop)]
    for start, end in _part_spans(word):
        part = _folded(word[start:end])
        terms.append(_Term(_index(_stem(part)), start, end, part in _STOP_WORDS))
    return tuple({term.dimension: term for term in reversed(terms)}.values())[::-1]


def _part_spans(word: str) -> Iterator[Span]:
    """The pieces between a compound's joints, and of each its camelCase humps and its numbers."""
    for piece in _PIECE.finditer(word):
        yield piece.span()
        if piece[0].isascii():
            for hump in _CAMEL.finditer(word, piece.start(), piece.end()):
                yield hump.span()


def _index(term: str) -> int:
    """Dimension of a term. CRC-32, because it is the same everywhere, unlike ``hash``, and quick."""
    return zlib.crc32(term.encode())


def _stem(word: str) -> str:
    # A stemmer works in a buffer of its own, which two threads must not share.
    if not hasattr(_thread, "stemmer"):
        _thread.stemmer = Stemmer.Stemmer("english", 0)
    stem: str = _thread.stemmer.stemWord(word)
    return stem


def _folded(word: str) -> str:
    folded = word.casefold()
    if folded.isascii():
        return folded
    return unicodedata.normalize("NFC", _LATIN_ACCENTS.sub("", unicodedata.normalize("NFKD", folded)))


@cache
def _simplified() -> dict[int, int]:
    """Code points of traditional characters to those of their simplified forms, one to one, so that offsets stay."""
    characters = [chr(code) for plane in (range(0x3400, 0xA000), range(0x20000, 0x323B0)) for code in plane]
    convert = opencc.OpenCC("t2s").convert
    # One a line, lest the dictionary see phrases; twice, because 薴 becomes 苧, which becomes 苎.
    simplified = convert(convert("\n".join(characters))).split("\n")
    pairs = zip(characters, simplified, strict=True)
    return {ord(old): ord(new) for old, new in pairs if old != new and len(new) == 1}


def _normalised(text: str) -> str:
    if text.isascii():
        return text
    return _one_to_one(unicodedata.normalize("NFKC", text))


def _one_to_one(text: str) -> str:
    return text.replace("\N{RIGHT SINGLE QUOTATION MARK}", "'").translate(_simplified())


def _normalised_with_origins(text: str) -> tuple[str, list[Span]]:
    """The normalised text, and for each of its characters the stretch of the given text that became it."""
    if text.isascii() or unicodedata.is_normalized("NFKC", text):
        return _one_to_one(text), [(place, place + 1) for place in range(len(text))]
    parts: list[str] = []
    origins: list[Span] = []
    for start, end in _clusters(text):
        part = unicodedata.normalize("NFKC", text[start:end])
        parts.append(part)
        origins += [(start, end)] * len(part)
    return _one_to_one("".join(parts)), origins


def _clusters(text: str) -> Iterable[Span]:
    """Cut a text where its two sides normalise independently: a letter and its accent stay together."""
    start, before = 0, ""
    for place, character in enumerate(text):
        alone = unicodedata.normalize("NFKC", character)
        joined = unicodedata.normalize("NFKC", text[start : place + 1])
        if place and joined == before + alone:
            yield start, place
            start, before = place, alone
        else:
            before = joined
    yield start, len(text)
