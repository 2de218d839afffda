"""Addresses of the document page. They are relative, so that the pages may stand under any path."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self
from urllib.parse import parse_qsl, urlencode

from app.ui.i18n import LANGUAGES, Translator
from app.ui.markup import plain

PATH = "document"

_ID = re.compile(r"[0-9a-fA-F-]{1,64}", re.ASCII)
_NUMBER = re.compile(r"[0-9]{1,9}", re.ASCII)
_LONGEST = 1_000
_LONGEST_BACK = 8_000
"""A part of it would be other filters than were chosen, so what is longer counts for nothing."""


@dataclass(frozen=True, slots=True)
class Place:
    """What an address of the document page asks for.

    Attributes:
        document: Id of the document; empty where the address names none.
        passage: Id of the passage to show; empty for the beginning.
        page: Number of a page; None for the passage's.
        start: Offset in the text to begin at; None for a little before the passage.
        query: The question that led here; empty where none did.
        interface: Language of the page; empty to follow the browser.
        back: The rest of the address of the results that led here: filters and whatever else they were made by.
    """

    corpus: str = ""
    document: str = ""
    passage: str = ""
    page: int | None = None
    start: int | None = None
    query: str = ""
    interface: str = ""
    back: str = ""

    @classmethod
    def from_params(cls, params: Mapping[str, Sequence[str]]) -> Self:
        """Read URL parameters; whatever is missing or makes no sense is left out."""

        def last(name: str) -> str:
            return (params.get(name) or [""])[-1][:_LONGEST]

        def matching(name: str, pattern: re.Pattern[str]) -> str:
            return last(name) if pattern.fullmatch(last(name)) else ""

        page, start = matching("page", _NUMBER), matching("from", _NUMBER)
        back = (params.get("back") or [""])[-1]
        return cls(
            corpus=last("corpus").strip(),
            document=matching("doc", _ID),
            passage=matching("passage", _ID),
            page=int(page) if page else None,
            start=int(start) if start else None,
            query=last("q"),
            interface=last("lang") if last("lang") in LANGUAGES else "",
            back=back if len(back) <= _LONGEST_BACK else "",
        )

    def to_params(self) -> dict[str, str]:
        """URL parameters that ``from_params`` reads back to this place."""
        params = {
            "corpus": self.corpus,
            "doc": self.document,
            "passage": self.passage,
            "page": "" if self.page is None else str(self.page),
            "from": "" if self.start is None else str(self.start),
            "q": self.query,
            "lang": self.interface,
            "back": self.back,
        }
        return {name: value for name, value in params.items() if value}


def document_address(place: Place) -> str:
    """The address of a place, seen from any page."""
    return f"{PATH}?{urlencode(place.to_params(), errors='replace')}"


def document_link(corpus: str, document_id: str, passage_id: str, query: str, t: Translator, back: str = "") -> str:
    """A link as HTML that opens a document at a passage; ``back`` as in ``Place``."""
    place = Place(corpus, document_id, passage_id, query=query, interface=t.language, back=back)
    return f'<a class="kalm-open" href="{plain(document_address(place))}">{plain(t("document.open"))}</a>'


def results_address(place: Place) -> str:
    """The address of the results that led to a place. The search page checks what it says."""
    params = {"q": place.query, "corpus": place.corpus, "lang": place.interface}
    known = [(name, value) for name, value in params.items() if value]
    rest = [(name, value) for name, value in parse_qsl(place.back) if name not in params]
    return f"./?{urlencode([*known, *rest], errors='replace')}"
