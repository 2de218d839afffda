"""The settings as they hold, each with where it comes from, and no secret."""

import re
from dataclasses import dataclass

from pydantic import SecretStr

from app.settings import Settings, origin

_PASSWORD = re.compile("//.*@")
"""In an address: who signs in there, and by what."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting as people see it.

    Attributes:
        value: As text, empty where nothing is set; of a secret only whether it is.
        origin: ``flag``, ``environment``, ``secret``, ``file`` or ``default``.
    """

    name: str
    value: str
    origin: str
    is_secret: bool


def listed(settings: Settings) -> list[Setting]:
    """All settings, in the order in which they are declared."""
    return [_setting(name, getattr(settings, name), origin(name, settings)) for name in type(settings).model_fields]


def _setting(name: str, value: object, where: str) -> Setting:
    if isinstance(value, SecretStr):
        return Setting(name, "•" * 8, where, is_secret=True)
    return Setting(name, _shown(value), where, is_secret=False)


def _shown(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, tuple):
        return ", ".join(map(_shown, value))
    return str(value).lower() if isinstance(value, bool) else _PASSWORD.sub("//", str(value))
