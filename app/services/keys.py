"""API keys: entered, listed, revoked, recognised."""

import hashlib
import hmac
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from app.services.access import Role
from indexer.catalog.key_tables import KeyEntry, KeyRefused, KeyTable

_SECRET_BYTES = 32
_MARK = "kalm_"
"""Begins every key, so that people and secret scanners know one when they see it."""

_NAME = re.compile(r"[^\W_][\w.-]{0,63}")


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as people see it: everything but its secret.

    Attributes:
        used: When it was last used, to within a minute; None before the first time.
        revoked: When it ceased to be valid; None while it is.
    """

    id: int
    name: str
    role: Role
    created: datetime
    used: datetime | None
    revoked: datetime | None


class KeyRing:
    """The keys of one moment.

    Attributes:
        is_needed: Whether any key was ever entered. Revoking the last one locks up; it does not open the door.
    """

    def __init__(self, entries: Sequence[KeyEntry]) -> None:
        self.is_needed = bool(entries)
        self._entries = [entry for entry in entries if entry.revoked is None]

    def find(self, secret: str) -> ApiKey | None:
        """The valid key of a secret. Takes the same time whatever the secret, found or not."""
        digest, found = _digest(secret), None
        for entry in self._entries:
            if hmac.compare_digest(entry.digest, digest):
                found = entry
        return None if found is None else _api_key(found)


class KeyService:
    """The keys of an installation. Safe between threads."""

    def __init__(self, table: KeyTable) -> None:
        self._table = table

    def add(self, name: str, role: Role) -> str:
        """Enter a key and return its secret, which is kept nowhere and cannot be shown again.

        Raises:
            KeyRefused: If the name is not a name, or a valid key has it.
        """
        if not _NAME.fullmatch(name):
            raise KeyRefused(
                f"{name!r} cannot be the name of a key; use up to 64 letters, digits, dots, hyphens and underscores."
            )
        secret = _MARK + secrets.token_urlsafe(_SECRET_BYTES)
        self._table.add(name, role.value, _digest(secret))
        return secret

    def all(self) -> list[ApiKey]:
        """Every key, revoked ones too, in the order they were entered."""
        return [_api_key(entry) for entry in self._table.all()]

    def ring(self) -> KeyRing:
        """The keys as they are now."""
        return KeyRing(self._table.all())

    def revoke(self, name: str) -> None:
        """End a key.

        Raises:
            KeyRefused: If there is no valid key of that name.
        """
        self._table.revoke(name)

    def note_use(self, key: ApiKey) -> None:
        """Write down that a key was used now."""
        self._table.note_use(key.id)


def _digest(secret: str) -> str:
    """Without salt and quick: the secret is random, there is nothing to guess."""
    return hashlib.blake2b(secret.encode("utf-8", "replace"), digest_size=32).hexdigest()


def _api_key(entry: KeyEntry) -> ApiKey:
    return ApiKey(entry.id, entry.name, Role(entry.role), entry.created, entry.used, entry.revoked)
