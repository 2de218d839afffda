"""Accounts: who may sign in, in a file of names, roles and hashed passwords."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from app.services.access import Person, Role
from embedder.errors import AppError
from indexer.locks import locked

MIN_PASSWORD_CHARACTERS = 8
MAX_PASSWORD_CHARACTERS = 1024
"""Hashing takes longer for longer ones, and anybody may try."""

_NAME = re.compile(r"[^\W_][\w.@+-]{0,127}")


class AccountRefused(AppError):
    """An account that cannot be made, changed or found."""


@dataclass(frozen=True, slots=True)
class Account:
    """An account as it is kept.

    Attributes:
        name: What somebody signs in as.
        password: What their password hashes to, with its salt and parameters (argon2id, RFC 9106).
    """

    name: str
    role: Role
    password: str


class Accounts:
    """The password file. Read anew when it changes, so that every process follows what one of them writes."""

    def __init__(self, path: Path, lock: Path) -> None:
        """Nothing is read or written yet.

        Args:
            path: The file; it need not be there.
            lock: A file to lock while it is written.
        """
        self._path = path
        self._lock = lock
        self._hasher = PasswordHasher()
        self._read: tuple[tuple[int, int], dict[str, Account]] = ((0, 0), {})
        # Whoever tries a name that is not there must wait as long as for one that is.
        self._nobody = self._hasher.hash("")

    def all(self) -> Sequence[Account]:
        """Every account, by name.

        Raises:
            AccountRefused: If the file cannot be read; nobody gets in by spoiling it.
        """
        return sorted(self._accounts().values(), key=lambda account: account.name)

    def find(self, name: str) -> Person | None:
        """Who has that name."""
        account = self._accounts().get(name)
        return None if account is None else Person(account.name, account.role)

    def check(self, name: str, password: str) -> Person | None:
        """Who has that name and that password. Takes as long for a name that is not there."""
        account = self._accounts().get(name)
        try:
            self._hasher.verify(account.password if account else self._nobody, password[:MAX_PASSWORD_CHARACTERS])
        except (VerificationError, InvalidHashError):
            return None
        return Person(account.name, account.role) if account else None

    def add(self, name: str, role: Role, password: str) -> None:
        """Enter an account.

        Raises:
            AccountRefused: If the name is not a name, is taken, the password is too short or too long, or nobody would
                be an admin.
        """
        if not _NAME.fullmatch(name):
            raise AccountRefused(
                f"{name!r} cannot be the name of an account; use up to 128 letters, digits and the signs . @ + - _."
            )
        hashed = self._hashed(password)
        with locked(self._lock):
            accounts = self._accounts()
            if name in accounts:
                raise AccountRefused(f"There is an account {name} already; choose another name, or change that one.")
            changed = accounts | {name: Account(name, role, hashed)}
            self._keep_an_admin(changed)
            self._write(changed)

    def change(self, name: str, *, role: Role | None = None, password: str | None = None) -> None:
        """Give an account another role, another password, or both.

        Raises:
            AccountRefused: If there is no such account, the password will not do, or no admin would be left.
        """
        hashed = None if password is None else self._hashed(password)
        with locked(self._lock):
            accounts = self._accounts()
            old = self._known(accounts, name)
            changed = Account(name, role or old.role, hashed or old.password)
            self._keep_an_admin(accounts | {name: changed})
            self._write(accounts | {name: changed})

    def remove(self, name: str) -> None:
        """Forget an account.

        Raises:
            AccountRefused: If there is none, or nobody would be an admin.
        """
        with locked(self._lock):
            accounts = self._accounts()
            self._known(accounts, name)
            rest = {other: account for other, account in accounts.items() if other != name}
            self._keep_an_admin(rest)
            self._write(rest)

    def _accounts(self) -> dict[str, Account]:
        try:
            status = self._path.stat()
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise AccountRefused(self._unreadable(error.strerror or "unknown reason")) from error
        stamp = (status.st_mtime_ns, status.st_ino)
        if self._read[0] != stamp:
            self._read = (stamp, self._parsed())
        return self._read[1]

    def _parsed(self) -> dict[str, Account]:
        try:
            entries = json.loads(self._path.read_text(encoding="utf-8"))["accounts"]
            accounts = [Account(one["name"], Role(one["role"]), one["password"]) for one in entries]
        except OSError as error:
            raise AccountRefused(self._unreadable(error.strerror or "unknown reason")) from error
        except (ValueError, KeyError, TypeError) as error:
            raise AccountRefused(self._unreadable("it is not a list of accounts")) from error
        return {account.name: account for account in accounts}

    def _unreadable(self, reason: str) -> str:
        return f"The accounts in {self._path} cannot be read ({reason}); mend the file, or put back a copy."

    def _write(self, accounts: dict[str, Account]) -> None:
        entries = [{"name": one.name, "role": one.role.value, "password": one.password} for one in accounts.values()]
        new = self._path.with_suffix(".new")
        new.touch(mode=0o600)
        new.write_text(json.dumps({"accounts": entries}, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
        new.replace(self._path)

    def _hashed(self, password: str) -> str:
        if not MIN_PASSWORD_CHARACTERS <= len(password) <= MAX_PASSWORD_CHARACTERS:
            raise AccountRefused(
                f"A password has {MIN_PASSWORD_CHARACTERS} to {MAX_PASSWORD_CHARACTERS} characters and this has "
                f"{len(password)}; choose another."
            )
        return self._hasher.hash(password)

    @staticmethod
    def _known(accounts: dict[str, Account], name: str) -> Account:
        if name not in accounts:
            raise AccountRefused(f"There is no account {name}; kalm user list shows which there are.")
        return accounts[name]

    def _keep_an_admin(self, accounts: dict[str, Account]) -> None:
        if not any(account.role is Role.ADMIN for account in accounts.values()):
            raise AccountRefused(
                f"Nobody would be an admin; make somebody one first, or remove {self._path} to do without accounts."
            )
