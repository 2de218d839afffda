"""Readable words of English and Chinese texts, for the names of clusters.

Chinese is written without spaces. Words are found in the texts themselves, without a dictionary: a string of two to
four characters is a word where its parts stand together far more often than chance would have them (cohesion), and
where what stands beside it varies (freedom). The dictionary segmenters were not taken: the well-known one has had no
release for years, and none knows the words of somebody's own documents.
"""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

from indexer.lexical import CJK, is_stop_word

_RUN = re.compile(f"[{CJK}]+")
_ENGLISH = re.compile(r"[A-Za-z][A-Za-z'’-]*[A-Za-z]")
_LONGEST = 4
_FEWEST_TIMES = 3
_COHESION = 6.0
"""How many times as often as by chance the parts of a word stand together, at least."""

_NEARLY_ALWAYS = 0.8
"""Share of the times of both its parts that a string makes up, to be a word even of a text that repeats little else."""

_FREEDOM = 0.8
"""Entropy, in nats, of the characters beside a word, at least; the ends of a run count as ever new ones."""

_NO_EDGE = frozenset(
    "的了着过是在和与及或而但并且也都就才又还很最更太把被让使对于从向到为因所以其之这那此该每各某些个们不没无有可能会要"
    "将已曾等上下里中内外前后时者地得你我他她它谁什么怎哪几多少一二三四五六七八九十百千万年月日只再比如若则虽然却乃即便叫说"
)
"""Characters that hardly ever begin or end a word that names something."""

_KEEP_EDGE = frozenset("上下中内外前后地时年月日一二三四五六七八九十百千万无有不能会为对要过里多少")
"""Of these, the ones that do where the word is an established one: it must then be far more cohesive."""

_ESTABLISHED = 60.0


_VAGUE = frozenset(
    "one two three four five six seven eight nine ten first second last next each every most more many much few less"
    " least only even also just too very still again often always never ever once twice almost nearly through around"
    " across along among between without within under above below after before during until since while because"
    " though although however therefore both either neither other another others same own whole half several both"
    " away back down off out over up onto upon toward towards here now later soon ago yet per via like unlike near"
    " far long short new old big small large great good better best well made make makes making take takes took get"
    " gets got give gives given come comes came go goes went gone keep keeps kept let lets put say says said see seen"
    " saw use used uses using call called know known find found finding become becomes became seem seems may might"
    " must shall cannot need needs something anything nothing everything someone anyone everyone thing things way ways"
    " kind kinds part parts lot lots percent example am being having doing done".split()
)
"""Words of English that name nothing; more than the stop words of a question, in which they may matter."""


class Lexicon:
    """The Chinese words of a collection of texts, and texts cut into words by it."""

    def __init__(self, texts: Iterable[str]) -> None:
        runs = [run for text in texts for run in _RUN.findall(text)]
        self._words = frozenset(_found_words(runs))

    def words(self, text: str) -> Iterator[str]:
        """The words of a text in order: English ones that are no stop words and their pairs, and Chinese ones."""
        yield from _english(text)
        for run in _RUN.findall(text):
            place = 0
            while place < len(run):
                word = self._longest(run, place)
                if word:
                    yield word
                place += len(word) or 1

    def __contains__(self, word: str) -> bool:
        return word in self._words

    def _longest(self, run: str, place: int) -> str:
        for length in range(_LONGEST, 1, -1):
            if (word := run[place : place + length]) in self._words and len(word) == length:
                return word
        return ""


def _english(text: str) -> Iterator[str]:
    """Words as they stand in the text, in small letters unless they are names; pairs of words that are neighbours."""
    before, end = "", 0
    for match in _ENGLISH.finditer(text):
        word = match[0] if match[0].isupper() else match[0].lower()
        if is_stop_word(word) or word.lower() in _VAGUE or len(word) < 3:
            before = ""
            continue
        yield word
        if before and text[end : match.start()] == " ":
            yield f"{before} {word}"
        before, end = word, match.end()


def _found_words(runs: Sequence[str]) -> Iterator[str]:
    grams: Counter[str] = Counter()
    for run in runs:
        for length in range(1, _LONGEST + 1):
            grams.update(run[place : place + length] for place in range(len(run) - length + 1))
    characters = sum(map(len, runs))
    candidates = {
        gram: cohesion
        for gram, times in grams.items()
        if len(gram) > 1 and times >= _FEWEST_TIMES and (cohesion := _cohesion(gram, grams, characters)) >= _COHESION
    }
    named = {gram for gram, cohesion in candidates.items() if _may_name(gram, cohesion)}
    for gram, (left, right) in _neighbours(runs, named).items():
        if min(_entropy(left), _entropy(right)) >= _FREEDOM:
            yield gram


def _cohesion(gram: str, grams: Counter[str], characters: int) -> float:
    """How many times as often the weakest joint holds as chance would have it; enough where it nearly always does."""
    times, weakest = grams[gram], math.inf
    for cut in range(1, len(gram)):
        left, right = grams[gram[:cut]], grams[gram[cut:]]
        ratio = times * characters / (left * right)
        weakest = min(weakest, max(ratio, _COHESION) if times >= _NEARLY_ALWAYS * max(left, right) else ratio)
    return weakest


def _may_name(gram: str, cohesion: float) -> bool:
    edges = {gram[0], gram[-1]} & _NO_EDGE
    return not edges or (edges <= _KEEP_EDGE and cohesion >= _ESTABLISHED)


def _neighbours(runs: Sequence[str], wanted: set[str]) -> dict[str, tuple[Counter[str], Counter[str]]]:
    """What stands before and after each of some strings; every end of a run is one of a kind."""
    beside: defaultdict[str, tuple[Counter[str], Counter[str]]] = defaultdict(lambda: (Counter(), Counter()))
    for number, run in enumerate(runs):
        for place in range(len(run)):
            for length in range(2, _LONGEST + 1):
                gram = run[place : place + length]
                if len(gram) == length and gram in wanted:
                    left, right = beside[gram]
                    left[run[place - 1] if place else f"<{number}"] += 1
                    end = place + length
                    right[run[end] if end < len(run) else f"{number}>"] += 1
    return beside


def _entropy(counts: Counter[str]) -> float:
    total = counts.total()
    return -sum(count / total * math.log(count / total) for count in counts.values())


def is_chinese(word: str) -> bool:
    """Whether a word is one of a script without spaces."""
    return bool(_RUN.match(word))


def overlap(first: str, second: str) -> bool:
    """Whether two words say partly the same: one holds the other, they share an English word or two characters."""
    if first in second or second in first:
        return True
    if is_chinese(first) != is_chinese(second):
        return False
    if is_chinese(first):
        return bool(set(pairwise(first)) & set(pairwise(second)))
    return bool({_stem(word) for word in first.split()} & {_stem(word) for word in second.split()})


def _stem(word: str) -> str:
    """Singular and plural alike."""
    return word.lower().removesuffix("es").removesuffix("s")
