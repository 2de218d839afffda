"""Documents into passages: cut at headings, pages and sentence ends, counted in the model's own tokens.

The path from a document to its chunks:

1. the text is tokenised once, in slices of bounded size, so that any stretch of it is counted by binary search;
2. each section becomes atoms, which no chunk cuts: a small section is one, a longer one is its sentences, and a
   sentence longer than a chunk is cut between two tokens;
3. atoms are packed greedily. A chunk leaves its section only for a neighbour on the same page and under the same
   heading, and holds text of at most one section that is not small;
4. a chunk that goes on inside a section begins with the last whole sentences of the chunk before.

Not covered: lines wrapped at a fixed width are not joined, every line break ends a sentence; a reader that knows better
unwraps them first.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from embedder.protocol import Tokenizer, TokenSpans
from indexer.records import Chunk, Document, Section

_SLICE_CHARACTERS = 200_000
"""Text tokenised at once: while it works, a tokenizer keeps some hundred bytes per token."""

_SMALL_SHARE = 4
"""A section is small when it fills no more than one in so many parts of a chunk."""

_MARGIN_TOKENS = 16
"""Stretches this close to the limit are tokenised again on their own: cut out of its document a text can have some
tokens more, because its first word has lost the space before it."""

_CONTEXT_CHARACTERS = 200
"""Longest title or heading put before a passage: a row whose title is a paragraph must leave room for its text."""

_SOFT_ENDS = frozenset("，、：；,:;)）")
"""Where to cut a sentence that is too long, white space aside."""

_CLOSER = r"(?:[\"'”’»)\]}）】》」』〕〉］｝*_`]|\[\d{1,3}\])"
_ASIAN = "\u3041-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3"
# The lookbehinds let a run of marks be tried once, from its first; else a page of dots would take quadratic time.
_END = re.compile(
    r"(?P<line>[\n\r\v\f\x85\u2028\u2029]+)"
    rf"|(?<![。！？；｡．…])(?:[。！？；｡]|．(?!\d)|…{{2}})[。！？；｡．!?…]*+(?P<closers>{_CLOSER}*+)(?![，、：,:])"
    rf"|(?<![.!?…])(?P<mark>[.!?…]++){_CLOSER}*+(?=\s|\Z|(?P<glued>[{_ASIAN}“‘「『《（【]))"
)
_IS_ASIAN = re.compile(f"[{_ASIAN}]")
_CLOSING = re.compile(r"([\"']|([*_`])\2*)|.")
_NEXT_WORD = re.compile(r"[^\S\n]*[(\[\"'“‘«*_`]*(\w+)")
_LAST_WORD = re.compile(r"[\w.]+\Z")
_LIST_MARKER = re.compile(r"[\s>#*•(-]*(?:\d{1,3}|[A-Za-z]|[ivxIVX]{1,4})")
_VISIBLE = re.compile(r"\S")
_INITIALS = re.compile(r"[a-z]|[a-z]{1,2}(?:\.[a-z])+")

_NEVER_LAST = frozenset(
    "dr mr mrs ms prof rev gen sen rep gov capt lt col sgt maj hon messrs mme mlle st mt ft vs cf viz ca approx e.g i.e"
    " eg ie fig figs eq eqs vol vols chap pp ed eds resp".split()
)
_BEFORE_NUMBERS = frozenset("no nos art sec ch p tab ref refs op pt".split())
_SELDOM_LAST = frozenset("etc inc ltd co corp jr sr al dept est jan feb apr jun jul aug sep sept oct nov dec".split())
_STARTERS = frozenset(
    "The This That These Those It He She We They You In On At But And However There When While If As For Its His Her"
    " Their Our My What Who How Why Where Although After Before".split()
)


class _Tokens(NamedTuple):
    """Where the tokens of a document start and end; both ascending, shape (T,)."""

    starts: NDArray[np.int64]
    ends: NDArray[np.int64]

    def within(self, start: int, end: int) -> tuple[int, int]:
        """Numbers of the first token that reaches into a stretch, and of the first one after it."""
        return int(self.ends.searchsorted(start, "right")), int(self.starts.searchsorted(end, "left"))


class _Atom(NamedTuple):
    """A stretch that no chunk cuts.

    Attributes:
        start: Offset of its first character.
        end: Offset after its last one.
        section: Number of its section.
        whole: Whether it is a sentence, or a small section, and not a piece of a sentence.
        small: Whether it is a small section.
        first_token: Number of its first token in the document.
        end_token: Number of the token after it.
    """

    start: int
    end: int
    section: int
    whole: bool
    small: bool
    first_token: int
    end_token: int


CHUNKING = "sentences-1"
"""Name of the algorithm; changed whenever its passages do."""


@dataclass(frozen=True, slots=True)
class Chunker:
    """Cuts documents into passages of at most ``max_tokens``, in time linear in their length.

    Attributes:
        tokenizer: Whose tokens are counted.
        max_tokens: Longest passage, special tokens, prompt and title not counted.
        overlap_tokens: Most that a passage repeats of the one before it.

    Raises:
        ValueError: If ``max_tokens`` is not positive or ``overlap_tokens`` is not less than it.
    """

    tokenizer: Tokenizer
    max_tokens: int = 256
    overlap_tokens: int = 32

    def __post_init__(self) -> None:
        if not 0 <= self.overlap_tokens < self.max_tokens:
            raise ValueError(
                f"A chunk of {self.max_tokens} tokens cannot overlap by {self.overlap_tokens}: choose a positive size"
                " and a smaller overlap that is not negative."
            )

    @property
    def version(self) -> str:
        """Names the algorithm and its settings; a manifest keeps it, beside the model that owns the tokenizer."""
        return f"{CHUNKING}:{self.max_tokens}:{self.overlap_tokens}"

    def chunks(self, document: Document) -> list[Chunk]:
        """The passages of a document, in order; none where its sections are blank.

        Every character of a section that is not white space is in some passage. A passage neither begins nor ends
        with white space; only a single character of more tokens than ``max_tokens`` makes it longer than that.
        """
        packer = _Packer(self, document)
        return [packer.chunk(first, last) for first, last in packer.ranges()]


class _Packer:
    """The work on one document."""

    def __init__(self, settings: Chunker, document: Document) -> None:
        self._settings = settings
        self._text = document.text
        self._sections: Sequence[Section] = document.sections
        self._tokens = self._tokenized()
        self._atoms = [atom for number in range(len(self._sections)) for atom in self._section_atoms(number)]

    def chunk(self, first: int, last: int) -> Chunk:
        """The passage from one atom to another, both included."""
        start, end = self._atoms[first].start, self._atoms[last].end
        section = self._sections[self._atoms[first].section]
        return Chunk(start, end, self._text[start:end], section.headings, section.page)

    def ranges(self) -> Iterator[tuple[int, int]]:
        """Numbers of the first and last atom of each chunk; both ascend strictly."""
        first = 0
        while first < len(self._atoms):
            last = self._last(first)
            yield first, last
            first = self._next_first(first, last) if last + 1 < len(self._atoms) else len(self._atoms)

    def _last(self, first: int) -> int:
        """The last atom of a chunk that begins with a given one: as far as limit and headings allow."""
        atoms = self._atoms
        limit = atoms[first].first_token + self._settings.max_tokens
        last, large = first, not atoms[first].small
        while last + 1 < len(atoms) and atoms[last + 1].end_token <= limit and self._joins(first, last + 1, large):
            last += 1
            large = large or not atoms[last].small
        while last > first and not self._fits(atoms[first].start, atoms[last].end):
            last -= 1
        return last

    def _joins(self, first: int, new: int, large: bool) -> bool:
        """Whether an atom may stand in the chunk before it, which holds a section that is not small or does not."""
        atoms, sections = self._atoms, self._sections
        number = atoms[new].section
        if number == atoms[new - 1].section:
            return True
        if not _related(sections[atoms[first].section], sections[number]):
            return False
        if not large:
            return True
        # A lone heading goes with what it stands above, not with what it stands below.
        heads_next = new + 1 < len(atoms) and _is_under(sections[atoms[new + 1].section], sections[number])
        return atoms[new].small and not heads_next

    def _next_first(self, first: int, last: int) -> int:
        """The atom that begins the next chunk: back over whole sentences, as far as the overlap allows."""
        atoms, new = self._atoms, last + 1
        start = new
        while start - 1 > first:
            atom = atoms[start - 1]
            repeated = atoms[last].end_token - atom.first_token
            if not atom.whole or atom.section != atoms[new].section or repeated > self._settings.overlap_tokens:
                break
            if not self._fits(atom.start, atoms[new].end):
                break
            start -= 1
        return start

    def _section_atoms(self, number: int) -> Iterator[_Atom]:
        section = self._sections[number]
        start, end = _trimmed(self._text, section.start, section.end)
        if start == end:
            return
        first, after = self._tokens.within(start, end)
        if after - first <= self._settings.max_tokens // _SMALL_SHARE and self._fits(start, end):
            yield _Atom(start, end, number, True, True, first, after)
            return
        for sentence_start, sentence_end in sentence_spans(self._text[start:end]):
            span = (start + sentence_start, start + sentence_end)
            whole = self._fits(*span)
            for piece in [span] if whole else self._pieces(*span):
                yield _Atom(*piece, number, whole, False, *self._tokens.within(*piece))

    def _pieces(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """Cut a sentence that is longer than a chunk."""
        while start < end:
            cut = self._cut(start, end)
            yield _trimmed(self._text, start, cut)
            further = _VISIBLE.search(self._text, cut, end)
            start = further.start() if further else end

    def _cut(self, start: int, end: int) -> int:
        """Where to end a piece: a token's border, at white space or a comma if there is one in the second half."""
        limit = self._settings.max_tokens
        first, after = self._tokens.within(start, end)
        if first + limit < after:
            borders = self._tokens.starts[first + limit // 2 : first + limit + 1].tolist()
            end = max(borders[-1], start + 1)
            soft = (place for place in reversed(borders) if place > start and _is_soft(self._text, place))
            end = next(soft, end)
        while not self._fits(start, end) and end > start + 1:
            own = self._own_tokens(start, end)
            end = max(start + 1, min(end - 1, start + int(own[min(limit, len(own) - 1), 0])))
        return end

    def _fits(self, start: int, end: int) -> bool:
        first, after = self._tokens.within(start, end)
        limit = self._settings.max_tokens
        if after - first <= limit - _MARGIN_TOKENS:
            return True
        return after - first <= limit and len(self._own_tokens(start, end)) <= limit

    def _own_tokens(self, start: int, end: int) -> TokenSpans:
        """Tokens of a stretch on its own, as the encoder will see it."""
        return self._settings.tokenizer.token_spans(self._text[slice(*_trimmed(self._text, start, end))])

    def _tokenized(self) -> _Tokens:
        parts = [np.empty((0, 2), dtype=np.int64)]
        start = 0
        while start < len(self._text):
            end = start + _SLICE_CHARACTERS
            if end < len(self._text):
                # Between lines or words if possible, so that the cut changes no token.
                end = 1 + max(self._text.rfind(border, start + 1, end) for border in "\n ") or end
            parts.append(self._settings.tokenizer.token_spans(self._text[start:end]) + start)
            start = end
        starts, ends = np.maximum.accumulate(np.concatenate(parts), axis=0).T
        return _Tokens(np.ascontiguousarray(starts), np.ascontiguousarray(ends))


def sentence_spans(text: str) -> list[tuple[int, int]]:
    """Start and end offsets of the sentences of a text, in order, without the white space around them.

    A line break always ends a sentence, and so do 。！？； and ……, and ``.``, ``!``, ``?`` before white space, each
    with the quotes and brackets that close after it. Not so the full stop of a list number, of an abbreviation, or
    before a word in lower case. Every character that is not white space is in exactly one sentence.
    """
    ends, start = [], 0
    for match in _END.finditer(text):
        end = _sentence_end(text, start, match)
        if end is not None:
            ends.append(end)
            start = end
    spans = [_trimmed(text, start, end) for start, end in pairwise([0, *ends, len(text)])]
    return [(start, end) for start, end in spans if start < end]


def passage_for_embedding(document: Document, chunk: Chunk) -> str:
    """What the encoder sees of a chunk: what it is about, then its text.

    The title is the first line, the headings joined by `` > `` are the second, the text follows::

        Guide
        Setup > Windows
        Run the installer as an administrator.

    The title and headings that are among the first lines of the chunk already are left out, and so is a heading that
    repeats the title. Titles and headings are cut to 200 characters.
    """
    lines = 2 * (len(chunk.headings) + 1)
    seen = {_bare(line) for line in chunk.text.split("\n", lines)[:lines]}
    title = "" if _bare(document.title) in seen else _shortened(document.title)
    seen.add(_bare(document.title))
    path = " > ".join(_shortened(heading) for heading in chunk.headings if _bare(heading) not in seen)
    return "\n".join(part for part in (title, path, chunk.text) if part)


def _sentence_end(text: str, start: int, match: re.Match[str]) -> int | None:
    """Where the sentence from ``start`` ends, if it does at this mark."""
    if match["line"]:
        return match.end()
    if match["mark"]:
        return match.end() if _ends_sentence(text, start, match) else None
    end = match.start("closers")
    for closer in _CLOSING.finditer(text, end, match.end()):
        # A straight quote looks the same on either side: the second, fourth, ... of a sentence closes.
        if closer[1] and text.count(closer[0], start, end) % 2 == 0:
            break
        end = closer.end()
    return end


def _ends_sentence(text: str, start: int, match: re.Match[str]) -> bool:
    """Whether a full stop, exclamation or question mark ends the sentence that began at ``start``."""
    mark = match.start("mark")
    if match["glued"] and not set(match["mark"]) & set("!?"):
        return mark > start and _IS_ASIAN.match(text, mark - 1) is not None
    following = _NEXT_WORD.match(text, match.end())
    after = following[1] if following else ""
    if after[:1].islower():
        return False
    if match["mark"] != ".":
        return True
    if mark - start < 16 and _LIST_MARKER.fullmatch(text, start, mark):
        return False
    preceding = _LAST_WORD.search(text, max(start, mark - 24), mark)
    word = preceding[0].lower() if preceding else ""
    if word in _NEVER_LAST or (word in _BEFORE_NUMBERS and after[:1].isdigit()):
        return False
    return after in _STARTERS or not after or not (word in _SELDOM_LAST or _INITIALS.fullmatch(word))


def _trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    """The stretch without the white space around it; empty where it is nothing else."""
    stretch = text[start:end]
    return end - len(stretch.lstrip()), max(start + len(stretch.rstrip()), end - len(stretch.lstrip()))


def _is_soft(text: str, place: int) -> bool:
    return place < len(text) and (text[place].isspace() or text[place - 1].isspace() or text[place - 1] in _SOFT_ENDS)


def _is_under(section: Section, above: Section) -> bool:
    """Whether a section stands under the heading of another one on its page."""
    depth = len(above.headings)
    return section.page == above.page and len(section.headings) > depth and section.headings[:depth] == above.headings


def _related(first: Section, later: Section) -> bool:
    """Whether a chunk that begins in one section may go on in another."""
    siblings = first.page == later.page and first.headings[:-1] == later.headings[:-1]
    return siblings or _is_under(later, first)


def _bare(line: str) -> str:
    """Letters and digits only, to compare a heading with a line that has its markup."""
    return "".join(filter(str.isalnum, line.casefold())) or line.strip()


def _shortened(line: str) -> str:
    line = " ".join(line.split())
    return line if len(line) <= _CONTEXT_CHARACTERS else line[: _CONTEXT_CHARACTERS - 1] + "…"
