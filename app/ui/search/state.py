"""What the page shows, as a value, and its round trip through the address bar.

The URL is the only memory of the page: widgets write to it, every run reads it back. A copied URL therefore
reproduces the page, and the browser's Back button works.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from app.ui.i18n import LANGUAGES
from indexer.search import Mode

MAX_QUERY_CHARS = 1_000
MAX_PAGE = 1_000
UNDETERMINED = "und"
"""ISO 639-3 code that stands in the URL for documents whose language is not known (an empty string elsewhere)."""

_FILTER_VALUE = re.compile(r"[a-z0-9][a-z0-9._+-]{0,23}", re.ASCII)
_MAX_FILTER_VALUES = 32


@dataclass(frozen=True, slots=True)
class PageState:
    """Everything that decides what the page shows.

    Attributes:
        corpus: Name of the corpus; empty for the first one that can be searched.
        page: Number of the result page, from 1.
        file_types: Selected file types; empty means all.
        languages: Selected languages of documents; empty means all.
        interface: Language of the page itself; empty to follow the browser.
    """

    query: str = ""
    corpus: str = ""
    mode: Mode = Mode.HYBRID
    page: int = 1
    file_types: frozenset[str] = frozenset()
    languages: frozenset[str] = frozenset()
    interface: str = ""

    @classmethod
    def from_params(cls, params: Mapping[str, Sequence[str]]) -> Self:
        """Read URL parameters; whatever is missing or makes no sense becomes its default."""
        mode = _last(params, "mode")
        interface = _last(params, "lang")
        languages = _filter_values(params.get("doc_lang", ()))
        return cls(
            query=clean_query(_last(params, "q")),
            corpus=_last(params, "corpus").strip(),
            mode=Mode(mode) if mode in set(Mode) else Mode.HYBRID,
            page=_page_number(_last(params, "page")),
            file_types=_filter_values(params.get("type", ())),
            languages=frozenset("" if code == UNDETERMINED else code for code in languages),
            interface=interface if interface in LANGUAGES else "",
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
        }
        return {name: values for name, values in params.items() if any(values)}

    def changed(self, **changes: Any) -> Self:  # noqa: ANN401 - the fields of this class, checked by replace
        """This state with some fields changed, back on the first page unless the page is one of them."""
        if "corpus" in changes and changes["corpus"] != self.corpus:
            # What one corpus holds says nothing about the next.
            changes = {"file_types": frozenset(), "languages": frozenset()} | changes
        return replace(self, **({"page": 1} | changes))


def clean_query(text: str) -> str:
    """The query on one line, without control characters and of bearable length."""
    printable = "".join(" " if ord(char) < 32 or 0x7F <= ord(char) <= 0x9F else char for char in text)
    whole = "".join(char for char in printable if not 0xD800 <= ord(char) <= 0xDFFF)
    return " ".join(whole.split())[:MAX_QUERY_CHARS].strip()


def _last(params: Mapping[str, Sequence[str]], name: str) -> str:
    values = params.get(name, ())
    return values[-1] if values else ""


def _page_number(text: str) -> int:
    # The length first: int() is slow on, and in the end refuses, very long numbers.
    if len(text) > 6 or not (text.isascii() and text.isdecimal()):
        return 1
    return int(text) if 1 <= int(text) <= MAX_PAGE else 1


def _filter_values(values: Sequence[str]) -> frozenset[str]:
    wanted = (value.lower() for value in values[:_MAX_FILTER_VALUES])
    return frozenset(value for value in wanted if _FILTER_VALUE.fullmatch(value))
