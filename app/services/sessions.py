"""Signing in and out, and who is at the page."""

import hashlib
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from app.services.access import OWNER, Person
from app.services.accounts import Accounts
from app.services.audit import AuditLog
from app.services.throttle import Throttle
from embedder.errors import AppError
from indexer.catalog.session_tables import SessionTable

COOKIE = "kalm_session"
"""The cookie that holds a session's secret; scripts in the page cannot read it."""

_SECRET_BYTES = 32
_MANY_TRIES = 100
"""Wrong tries that an address may have whatever the names, and a name whatever the addresses, before they wait.

So many that nobody is kept out by the mistakes of others at their address, such as a gateway's.
"""


class SignInRefused(AppError):
    """A name and a password that do not belong together, or a try that came too soon.

    Attributes:
        wait_seconds: How long until the next try is looked at; 0 for now.
    """

    def __init__(self, message: str, wait_seconds: float = 0.0) -> None:
        super().__init__(message)
        self.wait_seconds = wait_seconds


class NotSignedIn(AppError):
    """Somebody asks without being signed in, or no longer."""


class Sessions:
    """The sessions of an installation. Safe between threads."""

    def __init__(self, accounts: Accounts, table: SessionTable, audit: AuditLog, hours: float) -> None:
        """Make it.

        Args:
            accounts: Who may sign in.
            table: Who is signed in.
            audit: Where it is written down.
            hours: How long a session lasts.
        """
        self._accounts = accounts
        self._table = table
        self._audit = audit
        self._hours = hours
        self._throttle = Throttle()
        self._wide_throttle = Throttle(free_tries=_MANY_TRIES)

    @property
    def is_needed(self) -> bool:
        """Whether there are accounts, so that nobody gets in without signing in."""
        return bool(self._accounts.all())

    def sign_in(self, name: str, password: str, address: str) -> str:
        """Begin a session and return its secret, for the cookie.

        Args:
            name: As it was typed.
            password: As it was typed.
            address: Where it came from.

        Raises:
            SignInRefused: If the two do not belong together, or too many tries came before.
        """
        pair, each = f"{name!r} at {address}", (f"name {name}", f"address {address}")
        wait = max(self._throttle.wait_seconds(pair), self._wide_throttle.wait_seconds(*each))
        if wait > 0:
            raise SignInRefused(f"There were too many tries; try again in {wait:.0f} seconds.", wait)
        person = self._accounts.check(name, password)
        if person is None:
            self._throttle.failed(pair)
            self._wide_throttle.failed(*each)
            raise SignInRefused("This name and this password do not belong together; check both and try again.")
        self._throttle.succeeded(pair)
        self._wide_throttle.succeeded(*each)
        secret = secrets.token_urlsafe(_SECRET_BYTES)
        self._table.add(_digest(secret), person.name, datetime.now(UTC) + timedelta(hours=self._hours))
        self._audit.note(person, "session.begin", person.name, address=address)
        return secret

    def sign_out(self, cookies: Mapping[str, str]) -> None:
        """End the session of a browser, if it has one."""
        if secret := cookies.get(COOKIE):
            self._table.drop(_digest(secret))

    def person(self, cookies: Mapping[str, str]) -> Person:
        """Who is at a browser: whoever owns the installation while there are no accounts.

        Raises:
            NotSignedIn: If there are accounts and this is none of theirs, or no longer.
        """
        if not self.is_needed:
            return OWNER
        secret = cookies.get(COOKIE)
        name = self._table.name_of(_digest(secret)) if secret else None
        person = self._accounts.find(name) if name else None
        if person is None:
            raise NotSignedIn("You are not signed in, or no longer; sign in again.")
        return person

    def end_all_of(self, name: str) -> None:
        """End every session of somebody, e.g. because their password changed."""
        self._table.drop_all_of(name)


def _digest(secret: str) -> str:
    """Without salt and quick: the secret is random, there is nothing to guess."""
    return hashlib.blake2b(secret.encode("utf-8", "replace"), digest_size=32).hexdigest()
