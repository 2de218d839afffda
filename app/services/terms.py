"""The words of a corpus: the frequent ones to offer before anybody types, and the right ones for those mistyped.

Words are Latin ones, and stretches of two to four Chinese characters. Those offered stand in the title of a document
and several times in how it begins: that is what it is about. Nothing here needs a dictionary.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from indexer.catalog.documents import Beginning

SAMPLED_DOCUMENTS = 500
SAMPLED_CHARACTERS = 2_000
"""What is looked at of a corpus: enough for its frequent words, in a fraction of a second."""

_MOST_WORDS = 5_000
"""Words that a mistyped one is compared with, the most frequent of the corpus."""

_LEAST_DOCUMENTS = 2
"""A word of one document alone may itself be mistyped."""

_LEAST_TIMES = 3
"""In the beginning of a document, for a word of its title to be what it is about."""

_MOST_SHARE = 0.5
"""A word of more documents than this says nothing about the corpus; in small corpora it may be in four."""

_SHORTEST, _SHORTEST_TYPO = 4, 5
"""Letters of a word that is offered, and of one that may be mistyped."""

_HAN = "\u3400-\u4dbf\u4e00-\u9fff"
_WORD = re.compile(r"[a-zA-Z]{2,40}")
_RUN = re.compile(f"[{_HAN}]{{2,60}}")
_LONGEST_GRAM = 4
_COMMON = frozenset(
    "about after again also always among another because been before being between both come comes could does doing"
    " done down during each every find first from gets give gives goes going have having here into just keep keeps know"
    " last less like likely made make makes making many might more most much must need needs never next often once only"
    " other others over part parts people rather really same should since some something still such take takes than"
    " that their them then there these they thing things this those through time times together under until upon used"
    " uses using very want well were what when where whether which while whose will with within without work works"
    " would year years your chapter introduction page section untitled".split()
)
_COMMON_CHARACTERS = frozenset(
    "的是吗呢吧啊么什怎样哪谁些与及或了在和为有不这那就都而被把对从到也很将还会能要我你他她它们之其以于"
)


@dataclass(frozen=True, slots=True)
class TermList:
    """The words of one corpus.

    Attributes:
        frequent: What it is about, the most frequent first.
        known: Every Latin word seen, in lower case.
        likely: Words that a mistyped one may stand for, by what is left when a letter is left out.
    """

    frequent: tuple[str, ...]
    known: frozenset[str]
    likely: Mapping[str, Sequence[str]]

    def beginning_with(self, prefix: str, limit: int) -> list[str]:
        """Frequent words that begin with something, whatever the case; with nothing, simply the first."""
        wanted = prefix.strip().casefold()
        found = (word for word in self.frequent if word.casefold().startswith(wanted))
        return [word for word, _ in zip(found, range(limit), strict=False)]

    def corrected(self, word: str) -> str | None:
        """The most frequent word that is one slip away; None for words that are known, short, or like no other.

        Two words are one slip apart when leaving out at most one letter of each makes them the same: a letter too
        many, one missing, a wrong one, two in the wrong order.
        """
        typed = word.lower()
        if len(typed) < _SHORTEST_TYPO or typed in self.known or not _WORD.fullmatch(typed):
            return None
        near = {each for left in _with_one_left_out(typed) for each in self.likely.get(left, ())}
        # Few mistype the first letter; and of equals the more frequent one comes first in ``likely``.
        order = {each: number for number, each in enumerate(self.likely.get("", ()))}
        return min(near, key=lambda each: (each[0] != typed[0], order[each]), default=None)

    def correction(self, query: str, passages: Collection[str] = ()) -> str | None:
        """The question with its mistyped words put right; None where there is nothing to put right.

        Args:
            query: As it was typed.
            passages: What it found: a word that stands there is right.
        """
        there = {match[0].lower() for text in passages for match in _WORD.finditer(text)}

        def right(match: re.Match[str]) -> str:
            fixed = None if match[0].lower() in there else self.corrected(match[0])
            if fixed is None:
                return match[0]
            return fixed.capitalize() if match[0][0].isupper() else fixed

        fixed = _WORD.sub(right, query)
        return fixed if fixed != query else None


def collect(documents: Sequence[Beginning]) -> TermList:
    """The words of a sample of a corpus."""
    counts: Counter[str] = Counter()
    for document in documents:
        counts.update(set(_latin(document.title)) | set(_latin(document.text)))
    words = [word for word, count in counts.most_common(_MOST_WORDS) if count >= _LEAST_DOCUMENTS]
    likely: defaultdict[str, list[str]] = defaultdict(list)
    for word in words:
        if len(word) >= _SHORTEST:
            likely[""].append(word)
            for left in _with_one_left_out(word):
                likely[left].append(word)
    scores = _word_scores(documents, counts) + _gram_scores(documents)
    frequent = sorted(scores, key=lambda word: (-scores[word], word))
    return TermList(tuple(frequent), frozenset(counts), dict(likely))


def _word_scores(documents: Sequence[Beginning], counts: Mapping[str, int]) -> Counter[str]:
    """Latin words that documents are about, and how often those documents say them."""
    forms: defaultdict[str, Counter[str]] = defaultdict(Counter)
    scores: Counter[str] = Counter()
    for document in documents:
        said = Counter(_latin(document.text))
        for form in set(_WORD.findall(document.title)):
            word = form.lower()
            if len(word) >= _SHORTEST and word not in _COMMON and said[word] >= _LEAST_TIMES:
                forms[word][form] += 1
                scores[word] += said[word]
    most = max(4, _MOST_SHARE * len(documents))
    return Counter({_shown(forms[word]): score for word, score in scores.items() if counts[word] <= most})


def _gram_scores(documents: Sequence[Beginning]) -> Counter[str]:
    """The same of Chinese; of two stretches that nearly always go together only the longer one."""
    scores: Counter[str] = Counter()
    for document in documents:
        for gram in set(_grams(document.title)):
            times = document.text.count(gram)
            if times >= _LEAST_TIMES:
                scores[gram] += times
    parts = {part for gram, score in scores.items() for part in (gram[:-1], gram[1:]) if scores[part] <= score * 1.25}
    return Counter({gram: score for gram, score in scores.items() if gram not in parts})


def _latin(text: str) -> Iterator[str]:
    return (match[0].lower() for match in _WORD.finditer(text))


def _grams(text: str) -> Iterator[str]:
    for match in _RUN.finditer(text):
        run = match[0]
        for length in range(2, _LONGEST_GRAM + 1):
            for start in range(len(run) - length + 1):
                gram = run[start : start + length]
                if not _COMMON_CHARACTERS.intersection(gram):
                    yield gram


def _shown(forms: Counter[str]) -> str:
    """How a word is written: in small letters unless titles know it in capitals only, such as NASA."""
    form = max(forms, key=lambda each: (forms[each], each))
    return form if form.isupper() else form.lower()


def _with_one_left_out(word: str) -> set[str]:
    return {word, *(word[:place] + word[place + 1 :] for place in range(len(word)))}
