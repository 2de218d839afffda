"""What the map page shows, as a value, and its round trip through the address bar."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self
from urllib.parse import quote, urlencode

from app.ui.i18n import LANGUAGES

_NAMES = ("corpus", "run", "against", "task")


@dataclass(frozen=True, slots=True)
class MapState:
    """Everything that decides what the page shows.

    Attributes:
        corpus: Name of the corpus; empty for the first one that can be searched.
        run: Id of the map; empty for the newest.
        cluster: The cluster looked into, from 1; 0 for none.
        against: Id of the map to compare with; empty for none.
        task: Id of the making of a map that is being watched; empty for none.
        interface: Language of the page itself; empty to follow the browser.
    """

    corpus: str = ""
    run: str = ""
    cluster: int = 0
    against: str = ""
    task: str = ""
    interface: str = ""

    @classmethod
    def from_params(cls, params: Mapping[str, str]) -> Self:
        """Read URL parameters; whatever is missing or makes no sense becomes its default."""
        number = params.get("cluster", "")
        language = params.get("lang", "")
        return cls(
            **{name: params.get(name, "").strip() for name in _NAMES},
            cluster=int(number) if number.isascii() and number.isdecimal() and len(number) < 6 else 0,
            interface=language if language in LANGUAGES else "",
        )

    def to_params(self) -> dict[str, str]:
        """URL parameters that ``from_params`` reads back to this state; defaults are left out."""
        cluster = str(self.cluster) if self.cluster else ""
        params = {name: getattr(self, name) for name in _NAMES} | {"cluster": cluster, "lang": self.interface}
        return {name: value for name, value in params.items() if value}

    def changed(self, **changes: Any) -> Self:  # noqa: ANN401 - the fields of this class, checked by replace
        """This state with some fields changed; another corpus or map forgets what was looked at in the one before."""
        if changes.get("corpus", self.corpus) != self.corpus:
            changes = {"run": "", "task": ""} | changes
        if changes.get("run", self.run) != self.run:
            changes = {"cluster": 0, "against": ""} | changes
        return replace(self, **changes)

    def link(self, **changes: Any) -> str:  # noqa: ANN401 - as above
        """Where this page shows a changed state, relative to itself."""
        return f"?{urlencode(self.changed(**changes).to_params())}"


def search_link(corpus: str, query: str, language: str, labels: str, value: str) -> str:
    """Where the search page shows, in a language, the results of a question to which a label set gives one value.

    The search page is the one at the root. The name of the set is quoted, since it ends at the first colon.
    """
    label = f"{quote(labels, safe='')}:{value}"
    return f"./?{urlencode({'corpus': corpus, 'q': query, 'label': label, 'lang': language})}"
