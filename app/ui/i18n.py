"""The interface in English and Chinese: wording, numbers, times and dates.

Chinese is the only second language, so plural forms are the two of English, and both languages group digits alike.
"""

import json
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from importlib.resources import files

LANGUAGES = {"en": "English", "zh": "中文"}
"""Languages of the interface, by their own names."""

_OWN_NAMES = LANGUAGES | {
    "ar": "العربية",
    "de": "Deutsch",
    "es": "Español",
    "fr": "Français",
    "hi": "हिन्दी",
    "it": "Italiano",
    "ja": "日本語",
    "ko": "한국어",
    "nl": "Nederlands",
    "pl": "Polski",
    "pt": "Português",
    "ru": "Русский",
    "th": "ไทย",
    "tr": "Türkçe",
    "uk": "Українська",
    "vi": "Tiếng Việt",
}


@cache
def catalogue(language: str) -> dict[str, str]:
    """All wording of the interface in one of ``LANGUAGES``, by key: the files of its folder, one for each page."""
    wording: dict[str, str] = {}
    for part in files("app").joinpath("locale", language).iterdir():
        wording |= json.loads(part.read_text(encoding="utf-8"))
    return wording


def browser_language(locale: str | None) -> str:
    """The interface language for a browser's locale such as ``zh-CN``; English where there is no better one."""
    primary = (locale or "").replace("_", "-").split("-")[0].lower()
    return primary if primary in LANGUAGES else "en"


@dataclass(frozen=True, slots=True)
class Translator:
    """Wording in one language. Everything it returns is plain text: escape it where it becomes HTML."""

    language: str

    def __call__(self, key: str, /, **values: str) -> str:
        """The wording under ``key`` with its placeholders filled in.

        Raises:
            KeyError: If there is no such key, or a placeholder has no value.
        """
        return catalogue(self.language)[key].format(**values)

    def count(self, key: str, n: int) -> str:
        """The wording for ``n`` of something, in the singular or the plural."""
        return self(f"{key}.one" if n == 1 else f"{key}.other", n=self.number(n))

    def number(self, n: int) -> str:
        """A whole number with its digits grouped."""
        return f"{n:,}"

    def seconds(self, seconds: float) -> str:
        """A duration in milliseconds, or in seconds from one second on."""
        if seconds >= 0.9995:
            return self("time.seconds", n=f"{seconds:,.1f}")
        return self("time.milliseconds", n=str(max(1, round(seconds * 1000))))

    def date(self, moment: datetime) -> str:
        """A day: 5 March 2026, 2026年3月5日."""
        month = self(f"month.{moment.month}")
        return self("date", day=str(moment.day), month=month, year=str(moment.year))

    def document_language(self, code: str) -> str:
        """A document's language by its own name; the bare code where that is not known."""
        if not code:
            return self("language.unknown")
        return _OWN_NAMES.get(code) or _OWN_NAMES.get(code.split("-")[0]) or code

    def file_type(self, name: str) -> str:
        """A file type as people call it."""
        return catalogue(self.language).get(f"type.{name}") or name.upper()
