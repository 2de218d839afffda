"""What the admin page shows, as a value, and its round trip through the address bar."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Self

from app.services.access import Role
from app.ui.i18n import LANGUAGES

_MAX_CHARS = 200


class Section(StrEnum):
    """Parts of the page, in their order."""

    CORPORA = "corpora"
    JOBS = "jobs"
    VERSIONS = "versions"
    MODELS = "models"
    STORAGE = "storage"
    HEALTH = "health"
    SETTINGS = "settings"
    AUDIT = "audit"


_FOR_EDITORS = (Section.CORPORA, Section.JOBS)


def sections_for(role: Role) -> tuple[Section, ...]:
    """The parts that a role has anything to do in. The services check it again."""
    if role.covers(Role.ADMIN):
        return tuple(Section)
    return _FOR_EDITORS if role.covers(Role.EDITOR) else ()


@dataclass(frozen=True, slots=True)
class AdminState:
    """Everything that decides what the page shows.

    Attributes:
        corpus: Name of the chosen corpus; empty for the first.
        words: What entries of the audit log have to hold.
        interface: Language of the page; empty to follow the browser.
    """

    section: Section = Section.CORPORA
    corpus: str = ""
    words: str = ""
    interface: str = ""

    @classmethod
    def from_params(cls, params: Mapping[str, Sequence[str]]) -> Self:
        """Read URL parameters; whatever is missing or makes no sense becomes its default."""
        section, interface = _last(params, "section"), _last(params, "lang")
        return cls(
            section=Section(section) if section in set(Section) else Section.CORPORA,
            corpus=_last(params, "corpus"),
            words=_last(params, "words"),
            interface=interface if interface in LANGUAGES else "",
        )

    def to_params(self) -> dict[str, list[str]]:
        """URL parameters that ``from_params`` reads back to this state; defaults are left out."""
        params = {
            "section": self.section.value if self.section is not Section.CORPORA else "",
            "corpus": self.corpus,
            "words": self.words,
            "lang": self.interface,
        }
        return {name: [value] for name, value in params.items() if value}

    def changed(self, **changes: Any) -> Self:  # noqa: ANN401 - the fields of this class, checked by replace
        """This state with some fields changed."""
        return replace(self, **changes)


def _last(params: Mapping[str, Sequence[str]], name: str) -> str:
    values = params.get(name, ())
    text = values[-1] if values else ""
    return "".join(char for char in text if char.isprintable())[:_MAX_CHARS].strip()
