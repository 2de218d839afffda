"""What a person types, read: free words, exact phrases, words to leave out, filters by field.

======================= ===============================================================================
``"black hole"``        passages that hold exactly this; also ``“黑洞”``, ``「黑洞」`` and ``『黑洞』``
``-cat``, ``-"big cat"`` passages that do not
``type:pdf,docx``       documents of these types
``lang:zh``             documents in this language (ISO 639-1)
``title:bees``          documents with this in their title; a phrase in quotes too
``author:"Li Bai"``     the same of their author
``after:2024-01-31``    documents of that day or later; ``2024-01`` and ``2024`` are their first days
``before:2024``         documents of an earlier day
======================= ===============================================================================

Everything else is text, and whatever cannot be meant so is text too: a quote that nothing closes, a straight quote
inside or after a word (5"), a colon in a word (http://, 12:30, std::x), a field that does not exist, a date that is
none, a minus before a digit or another minus (-40, --help). So nothing typed is an error.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from functools import lru_cache

from indexer.dates import parse_day
from indexer.lexical import CJK, folded_text

_QUOTES = {'"': '"', "\u201c": "\u201d", "\u300c": "\u300d", "\u300e": "\u300f"}
_FIELD = re.compile(r"(type|lang|title|author|after|before)[:\uff1a]", re.IGNORECASE)
_TYPES = re.compile(r"[^\W_][\w-]*(?:,[^\W_][\w-]*)*")
_LANGUAGES = re.compile(r"[a-z]{2}(?:,[a-z]{2})*", re.IGNORECASE)
_SPACED = rf"[^\W_{CJK}]"
"""A letter or digit of a script that puts spaces between words: such a word is found whole."""

_IN_WORD = re.compile(_SPACED)
_TOKEN = re.compile(r"\S+")
_SENTENCE_MARKS = ",.;!?\uff0c\u3002\uff1b\uff01\uff1f\u3001"


@dataclass(frozen=True, slots=True)
class ParsedQuery:
    """A question, taken apart.

    Attributes:
        text: What the passages are ranked by: the free words and those of the phrases, as typed.
        phrases: What a passage or its title must hold.
        excluded: What neither may hold.
        titles: What the document's title must hold.
        authors: What its author must hold.
        file_types: Its allowed types, lower case; empty means all.
        languages: Its allowed languages; empty means all.
        after: Its first allowed day.
        before: The day after its last allowed one.
    """

    text: str
    phrases: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()
    titles: tuple[str, ...] = ()
    authors: tuple[str, ...] = ()
    file_types: frozenset[str] = frozenset()
    languages: frozenset[str] = frozenset()
    after: date | None = None
    before: date | None = None

    @property
    def is_checked(self) -> bool:
        """Whether passages found have to be looked at, because the engine cannot judge them."""
        return bool(self.phrases or self.excluded or self.titles or self.authors)

    def allows(self, text: str, title: str, author: str) -> bool:
        """Whether a passage meets all that the engine cannot judge.

        Args:
            text: The passage.
            title: Of its document.
            author: Of its document; empty where nobody is named.
        """
        if not self.is_checked:
            return True
        name, passage, person = folded_text(title), folded_text(text), folded_text(author)
        return (
            all(_holds(phrase, passage) or _holds(phrase, name) for phrase in self.phrases)
            and not any(_holds(phrase, passage) or _holds(phrase, name) for phrase in self.excluded)
            and all(_holds(phrase, name) for phrase in self.titles)
            and all(_holds(phrase, person) for phrase in self.authors)
        )


def parse_query(query: str) -> ParsedQuery:
    """Read a question; never an error."""
    words: list[str] = []
    found: dict[str, list[str]] = {name: [] for name in ("phrase", "exclude", *_FIELDS)}
    for kind, value, source in _parts(query):
        if kind == "text" or not _is_meant(kind, value):
            words.append(source)
            continue
        found[kind].append(value)
        if kind == "phrase":
            words.append(value)
    return ParsedQuery(
        text=" ".join(words) if any(found.values()) else query,
        phrases=tuple(found["phrase"]),
        excluded=tuple(found["exclude"]),
        titles=tuple(found["title"]),
        authors=tuple(found["author"]),
        file_types=_listed(found["type"]),
        languages=_listed(found["lang"]),
        after=max(filter(None, map(parse_day, found["after"])), default=None),
        before=min(filter(None, map(parse_day, found["before"])), default=None),
    )


_FIELDS = ("type", "lang", "title", "author", "after", "before")


def _parts(query: str) -> Iterator[tuple[str, str, str]]:
    """The parts of a question in order: what each is, its value, and how it was typed."""
    place = 0
    while place < len(query):
        if query[place].isspace():
            place += 1
            continue
        kind, start = _opening(query, place)
        quoted = _quoted(query, start)
        if quoted is not None:
            value, end = quoted
        elif kind == "phrase":  # no quote opens here after all
            kind, end = "text", _end_of_text(query, place)
            value = query[place:end]
        else:
            end = _end_of_word(query, start)
            value = query[start:end].rstrip(_SENTENCE_MARKS)
        yield kind, value, query[place:end]
        place = end


def _opening(query: str, place: int) -> tuple[str, int]:
    """What may begin at a place, and where its value does."""
    if _begins_word(query, place):
        if query[place] == "-" and query[place + 1 : place + 2] not in ("", "-", *"0123456789"):
            return "exclude", place + 1
        if field := _FIELD.match(query, place):
            return field[1].lower(), field.end()
    return "phrase", place


def _begins_word(query: str, place: int) -> bool:
    return place == 0 or query[place - 1].isspace()


def _quoted(query: str, place: int) -> tuple[str, int] | None:
    """What stands in quotes at a place, and where they end; None where no quotes do."""
    closing = _QUOTES.get(query[place : place + 1])
    if closing is None or (closing == '"' and place and _IN_WORD.match(query[place - 1])):
        return None
    end = query.find(closing, place + 1)
    return (query[place + 1 : end], end + 1) if end > 0 else None


def _end_of_word(query: str, place: int) -> int:
    match = _TOKEN.match(query, place)
    return match.end() if match else place


def _end_of_text(query: str, place: int) -> int:
    """Where text ends: with its word, or where quotes open in the middle of it, as in 什么是“黑洞”."""
    end = _end_of_word(query, place)
    return next((at for at in range(place + 1, end) if _quoted(query, at)), end)


def _is_meant(kind: str, value: str) -> bool:
    """Whether a part can be what it looks like."""
    if kind in ("after", "before"):
        return parse_day(value) is not None
    if kind == "type":
        return _TYPES.fullmatch(value) is not None
    if kind == "lang":
        return _LANGUAGES.fullmatch(value) is not None
    return any(character.isalnum() for character in value)


def _listed(values: list[str]) -> frozenset[str]:
    return frozenset(name for value in values for name in value.lower().split(","))


def _holds(phrase: str, folded: str) -> bool:
    """Whether a folded text holds a phrase; words of scripts with spaces are found whole."""
    return _pattern(phrase).search(folded) is not None


@lru_cache(maxsize=1024)
def _pattern(phrase: str) -> re.Pattern[str]:
    wanted = folded_text(phrase)
    before = rf"(?<!{_SPACED})" if _IN_WORD.match(wanted[:1]) else ""
    after = rf"(?!{_SPACED})" if _IN_WORD.match(wanted[-1:]) else ""
    return re.compile(before + re.escape(wanted) + after)
