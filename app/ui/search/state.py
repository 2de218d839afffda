"""What the page shows, as a value, and its round trip through the address bar.

The URL is the only memory of the page: widgets write to it, every run reads it back. A copied URL therefore
reproduces the page, and the browser's Back button works. Only a whole text as the question is too long for it.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any, Self
from urllib.parse import quote, unquote, urlencode

from app.ui.i18n import LANGUAGES
from indexer.retrieval.query_text import parse_query
from indexer.retrieval.results import LabelChoice
from indexer.search import Mode, SearchRequest

PAGE_SIZE = 10
MAX_QUERY_CHARS = 1_000
MAX_PAGE = 1_000
MAX_EXAMPLES = 8
"""Documents that results may be asked to be like, and as many that they may be unlike."""

BALANCED = 50
UNDETERMINED = "und"
"""ISO 639-3 code that stands in the URL for documents whose language is not known (an empty string elsewhere)."""

FIRST_DAY, LAST_DAY = date(1000, 1, 1), date(2999, 12, 31)

_FILTER_VALUE = re.compile(r"[a-z0-9][a-z0-9._+-]{0,23}", re.ASCII)
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_MAX_FILTER_VALUES = 32
_MAX_NAME_CHARS = 200


@dataclass(frozen=True, slots=True)
class PageState:
    """Everything that decides what the page shows.

    Attributes:
        corpus: Name of the corpus; empty for the first one that can be searched.
        page: Number of the result page, from 1.
        file_types: Selected file types; empty means all.
        languages: Selected languages of documents; empty means all.
        interface: Language of the page itself; empty to follow the browser.
        balance: What meaning counts in a hybrid search, in percent; words count the rest.
        folders: Selected folders; empty means all.
        authors: Selected authors; empty means all.
        labels: Selected labels, each with the name of its set; empty means all.
        after: First day of documents.
        before: The day after their last.
        diverse: Whether results are to differ from each other.
        like: Ids of documents that results should be like.
        unlike: Ids of documents that they should not be like, none of which is among ``like``.
    """

    query: str = ""
    corpus: str = ""
    mode: Mode = Mode.HYBRID
    page: int = 1
    file_types: frozenset[str] = frozenset()
    languages: frozenset[str] = frozenset()
    interface: str = ""
    balance: int = BALANCED
    folders: frozenset[str] = frozenset()
    authors: frozenset[str] = frozenset()
    labels: frozenset[LabelChoice] = frozenset()
    after: date | None = None
    before: date | None = None
    diverse: bool = False
    like: tuple[str, ...] = ()
    unlike: tuple[str, ...] = ()

    @classmethod
    def from_params(cls, params: Mapping[str, Sequence[str]]) -> Self:
        """Read URL parameters; whatever is missing or makes no sense becomes its default."""
        mode = _last(params, "mode")
        interface = _last(params, "lang")
        languages = _filter_values(params.get("doc_lang", ()))
        like = _ids(params.get("like", ()))
        return cls(
            query=clean_query(_last(params, "q")),
            corpus=_last(params, "corpus").strip(),
            mode=Mode(mode) if mode in set(Mode) else Mode.HYBRID,
            page=_number(_last(params, "page"), 1, MAX_PAGE, 1),
            file_types=_filter_values(params.get("type", ())),
            languages=frozenset("" if code == UNDETERMINED else code for code in languages),
            interface=interface if interface in LANGUAGES else "",
            balance=_number(_last(params, "balance"), 0, 100, BALANCED),
            folders=_names(params.get("folder", ())),
            authors=_names(params.get("author", ())),
            labels=frozenset(_labels(params.get("label", ()))),
            after=_day(_last(params, "after")),
            before=_day(_last(params, "before")),
            diverse=_last(params, "diverse") == "1",
            like=like,
            unlike=tuple(id for id in _ids(params.get("unlike", ())) if id not in like),
        )

    def to_params(self) -> dict[str, list[str]]:
        """URL parameters that ``from_params`` reads back to this state; defaults are left out."""
        params = {
            "q": [self.query],
            "corpus": [self.corpus],
            "mode": [self.mode.value] if self.mode is not Mode.HYBRID else [],
            "page": [str(self.page)] if self.page > 1 else [],
            "type": sorted(self.file_types),
            "doc_lang": sorted(code or UNDETERMINED for code in self.languages),
            "lang": [self.interface],
            "balance": [str(self.balance)] if self.balance != BALANCED else [],
            "folder": sorted(self.folders),
            "author": sorted(self.authors),
            "label": sorted(f"{quote(name, safe='')}:{value}" for name, value in self.labels),
            "after": [self.after.isoformat()] if self.after else [],
            "before": [self.before.isoformat()] if self.before else [],
            "diverse": ["1"] if self.diverse else [],
            "like": list(self.like),
            "unlike": list(self.unlike),
        }
        return {name: values for name, values in params.items() if any(values)}

    @property
    def way_back(self) -> str:
        """The address of these results but for the question, the corpus and the language, for pages opened from it."""
        params = self.to_params()
        rest = {name: values for name, values in params.items() if name not in ("q", "corpus", "lang")}
        return urlencode(rest, doseq=True, errors="replace")

    def changed(self, **changes: Any) -> Self:  # noqa: ANN401 - the fields of this class, checked by replace
        """This state with some fields changed, back on the first page unless the page is one of them."""
        if "corpus" in changes and changes["corpus"] != self.corpus:
            # What one corpus holds says nothing about the next.
            changes = {**NO_FILTERS, "like": (), "unlike": (), **changes}
        return replace(self, **({"page": 1} | changes))

    def with_example(self, document_id: str, *, liked: bool) -> dict[str, tuple[str, ...]]:
        """The changes that make a document an example, of one side only; the oldest gives way to one too many."""
        like, unlike = ([id for id in ids if id != document_id] for ids in (self.like, self.unlike))
        (like if liked else unlike).append(document_id)
        return {"like": tuple(like[-MAX_EXAMPLES:]), "unlike": tuple(unlike[-MAX_EXAMPLES:])}

    def without_example(self, document_id: str) -> dict[str, tuple[str, ...]]:
        """The changes that make a document no example any more."""
        like, unlike = (tuple(id for id in ids if id != document_id) for ids in (self.like, self.unlike))
        return {"like": like, "unlike": unlike}

    @property
    def is_narrowed(self) -> bool:
        """Whether a filter is chosen."""
        return any(getattr(self, name) for name in NO_FILTERS)

    @property
    def has_words(self) -> bool:
        """Whether something is typed that is not a condition alone."""
        return bool(parse_query(self.query).text.strip())

    def request(self, text: str = "", page_size: int = PAGE_SIZE) -> SearchRequest:
        """What is asked of the search.

        Args:
            text: A whole text as the question; words that are typed come before it.
            page_size: Results on a page.
        """
        return SearchRequest(
            corpus=self.corpus,
            query=self.query,
            mode=self.mode,
            page=self.page,
            page_size=page_size,
            file_types=self.file_types,
            languages=self.languages,
            balance=self.balance / 100,
            folders=self.folders,
            authors=self.authors,
            labels=self.labels,
            after=self.after,
            before=self.before,
            diverse=self.diverse,
            like=self.like,
            unlike=self.unlike,
            text="" if self.has_words else text,
        )


NO_FILTERS: Mapping[str, Any] = {
    **dict.fromkeys(("file_types", "languages", "folders", "authors", "labels"), frozenset()),
    **dict.fromkeys(("after", "before"), None),
}
"""The changes that take all filters away."""


def clean_query(text: str) -> str:
    """The query on one line, without control characters and of bearable length."""
    return _line(text, MAX_QUERY_CHARS)


def _line(text: str, limit: int) -> str:
    printable = "".join(" " if ord(char) < 32 or 0x7F <= ord(char) <= 0x9F else char for char in text)
    whole = "".join(char for char in printable if not 0xD800 <= ord(char) <= 0xDFFF)
    return " ".join(whole.split())[:limit].strip()


def _last(params: Mapping[str, Sequence[str]], name: str) -> str:
    values = params.get(name, ())
    return values[-1] if values else ""


def _number(text: str, least: int, most: int, otherwise: int) -> int:
    # The length first: int() is slow on, and in the end refuses, very long numbers.
    if len(text) > 6 or not (text.isascii() and text.isdecimal()):
        return otherwise
    return int(text) if least <= int(text) <= most else otherwise


def _day(text: str) -> date | None:
    try:
        day = date.fromisoformat(text) if _DAY.fullmatch(text) else None
    except ValueError:  # the 31st of February
        return None
    return day if day and FIRST_DAY <= day <= LAST_DAY else None


def _filter_values(values: Sequence[str]) -> frozenset[str]:
    wanted = (value.lower() for value in values[:_MAX_FILTER_VALUES])
    return frozenset(value for value in wanted if _FILTER_VALUE.fullmatch(value))


def _names(values: Sequence[str]) -> frozenset[str]:
    """Names as they are, since a folder may be called anything; those that cannot be sent or are too long are left."""
    return frozenset(value for value in values[:_MAX_FILTER_VALUES] if _is_name(value))


def _is_name(value: str) -> bool:
    return 0 < len(value) <= _MAX_NAME_CHARS and not any(
        ord(char) < 32 or 0xD800 <= ord(char) <= 0xDFFF for char in value
    )


def _labels(values: Sequence[str]) -> Iterable[LabelChoice]:
    for text in values[:_MAX_FILTER_VALUES]:
        quoted, _, value = text.partition(":")
        name = unquote(quoted)
        if _is_name(name) and _is_name(value):
            yield name, value


def _ids(values: Sequence[str]) -> tuple[str, ...]:
    known = dict.fromkeys(value.lower() for value in values if _UUID.fullmatch(value.lower()))
    return tuple(known)[:MAX_EXAMPLES]
