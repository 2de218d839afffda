"""Names of clusters: the words that set each apart, by class-based TF-IDF (Grootendorst 2022, arXiv 2203.05794)."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from app.services.maps.clusters import Clustering, Labels
from app.services.maps.items import Item
from app.services.maps.words import Lexicon, is_chinese, overlap

_TEXTS = 6_000
"""Texts that words are looked for in: of each cluster those that fit best, an equal share each."""

_FEWEST_TEXTS = 2
"""A word of a name stands in so many texts of its cluster, at least, where the cluster has as many."""

_MOST_WORDS = 10
_NAME_WORDS = 3
_PAIR = 1.5
"""A pair of words says more than either of them: it comes first where the two mostly stand together."""

_MINORITY = 0.2
"""Share of a cluster's texts from which on their language has a word in its name."""


@dataclass(frozen=True, slots=True)
class Naming:
    """What a cluster is called.

    Attributes:
        name: Its foremost words, in the language of most of its texts first; unlike any other cluster's.
        english: The words of English that set it apart, best first.
        chinese: Those of Chinese.
    """

    name: str
    english: tuple[str, ...]
    chinese: tuple[str, ...]


def name_clusters(items: Sequence[Item], clustering: Clustering, labels: Labels) -> list[Naming]:
    """A name for each cluster from 0 to the last of ``labels``, of shape (items,)."""
    clusters = int(labels.max(initial=-1)) + 1
    if not clusters:
        return []
    texts = _typical_texts(items, clustering, labels, clusters)
    lexicon = Lexicon(text for each in texts for text in each)
    counted = [_counted(lexicon, each) for each in texts]
    totals: Counter[str] = Counter()
    for words, _ in counted:
        totals.update(words)
    average = totals.total() / clusters
    found: list[Naming] = []
    taken: set[str] = set()
    for number, (words, spread) in enumerate(counted):
        ranked = _ranked(words, spread, totals, average, min(_FEWEST_TEXTS, len(texts[number])))
        naming = _naming(ranked, texts[number], number, taken)
        taken.add(naming.name)
        found.append(naming)
    return found


def _typical_texts(items: Sequence[Item], clustering: Clustering, labels: Labels, clusters: int) -> list[list[str]]:
    share = max(1, _TEXTS // clusters)
    texts = []
    for number in range(clusters):
        members = np.flatnonzero(labels == number)
        best = members[np.argsort(-clustering.fit[members], kind="stable")[:share]]
        texts.append(_with_titles([items[place] for place in best]))
    return texts


def _with_titles(items: Sequence[Item]) -> list[str]:
    """Texts, and before the first of each document its title: passages must not repeat it."""
    titled: set[str] = set()
    texts = []
    for item in items:
        texts.append(item.text if item.document_id in titled else f"{item.title}\n{item.text}")
        titled.add(item.document_id)
    return texts


def _counted(lexicon: Lexicon, texts: Sequence[str]) -> tuple[Counter[str], Counter[str]]:
    """How often each word stands in some texts, and in how many of them."""
    words: Counter[str] = Counter()
    spread: Counter[str] = Counter()
    for text in texts:
        mine = Counter(lexicon.words(text))
        words.update(mine)
        spread.update(mine.keys())
    return words, spread


def _ranked(
    words: Counter[str], spread: Counter[str], totals: Counter[str], average: float, fewest: int
) -> dict[str, float]:
    """Words by what they say of a cluster: those in more of its texts before those that one text repeats."""
    length = words.total() or 1
    weights = {
        word: count
        / length
        * math.log(1 + average / totals[word])
        * math.sqrt(spread[word])
        * (_PAIR if " " in word else 1)
        for word, count in words.items()
        if spread[word] >= fewest
    }
    return dict(sorted(weights.items(), key=lambda pair: (-pair[1], pair[0])))


def _naming(ranked: Mapping[str, float], texts: Sequence[str], number: int, taken: set[str]) -> Naming:
    english = _distinct([word for word in ranked if not is_chinese(word)])
    chinese = _distinct([word for word in ranked if is_chinese(word)])
    share = sum(_mostly_chinese(text) for text in texts) / max(1, len(texts))
    first, second = (chinese, english) if share > 0.5 else (english, chinese)
    of_second = 1 if min(share, 1 - share) >= _MINORITY or not first else 0
    chosen = [*first[: _NAME_WORDS - of_second], *second[: of_second if first else _NAME_WORDS]]
    name = " · ".join(chosen) or f"#{number + 1}"
    for word in (*first[_NAME_WORDS:], *second[1:]):
        if name not in taken:
            break
        name = f"{name} · {word}"
    while name in taken:
        name = f"{name} #{number + 1}"
    return Naming(name, tuple(english), tuple(chinese))


def _distinct(words: Sequence[str]) -> list[str]:
    """The best words that do not say the same as a better one."""
    chosen: list[str] = []
    for word in words:
        if len(chosen) == _MOST_WORDS:
            break
        if not any(overlap(word, other) for other in chosen):
            chosen.append(word)
    return chosen


def _mostly_chinese(text: str) -> bool:
    return sum(is_chinese(character) for character in text) * 2 > len(text) / 2
