import json
import stat
from concurrent.futures import ThreadPoolExecutor

import pytest
from argon2 import PasswordHasher

from app.services.access import Forbidden, Person, Role
from app.services.accounts import AccountRefused, Accounts
from app.services.throttle import FREE_TRIES, Throttle

PASSWORD = "correct horse 电池"


@pytest.fixture
def file(tmp_path):
    return tmp_path / "accounts.json"


@pytest.fixture
def accounts(file, tmp_path, monkeypatch):
    made = Accounts(file, tmp_path / "lock")
    cheap = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)  # what takes long is not what is tested
    monkeypatch.setattr(made, "_hasher", cheap)
    monkeypatch.setattr(made, "_nobody", cheap.hash(""))
    return made


def test_the_right_password_gives_the_person_and_nothing_else_does(accounts):
    accounts.add("ann", Role.ADMIN, PASSWORD)
    accounts.add("bob", Role.VIEWER, "another password")
    assert accounts.check("ann", PASSWORD) == Person("ann", Role.ADMIN)
    for name, password in [("ann", "another password"), ("ann", ""), ("bob", PASSWORD), ("", ""), ("eve", PASSWORD)]:
        assert accounts.check(name, password) is None


def test_the_file_holds_no_password_and_is_its_owners_alone(accounts, file):
    accounts.add("ann", Role.ADMIN, PASSWORD)
    assert PASSWORD not in file.read_text(encoding="utf-8")
    assert json.loads(file.read_text(encoding="utf-8"))["accounts"][0]["password"].startswith("$argon2id$")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_real_hashes_take_the_memory_that_makes_guessing_dear(file, tmp_path):
    accounts = Accounts(file, tmp_path / "lock")
    accounts.add("ann", Role.ADMIN, PASSWORD)
    assert "m=65536" in accounts.all()[0].password
    assert accounts.check("ann", PASSWORD)


def test_another_process_sees_what_was_changed(accounts, file, tmp_path):
    other = Accounts(file, tmp_path / "lock")
    assert other.find("ann") is None
    accounts.add("ann", Role.ADMIN, PASSWORD)
    accounts.add("bob", Role.VIEWER, PASSWORD)
    accounts.change("bob", role=Role.EDITOR)
    assert other.find("bob") == Person("bob", Role.EDITOR)
    accounts.remove("bob")
    assert other.find("bob") is None


def test_changes_at_once_lose_nobody(accounts):
    accounts.add("ann", Role.ADMIN, PASSWORD)
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda n: accounts.add(f"user{n}", Role.VIEWER, PASSWORD), range(24)))
    assert len(accounts.all()) == 25


@pytest.mark.parametrize("name", ["", " ", "a b", "../a", "a\0", "-a", "a" * 129, "a\n", "<b>"])
def test_what_is_no_name_is_refused(accounts, name):
    with pytest.raises(AccountRefused, match="cannot be the name of an account"):
        accounts.add(name, Role.ADMIN, PASSWORD)


@pytest.mark.parametrize("password", ["", "short", "x" * 1025])
def test_what_is_no_password_is_refused(accounts, password):
    with pytest.raises(AccountRefused, match=f"this has {len(password)}; choose another"):
        accounts.add("ann", Role.ADMIN, password)


def test_there_is_always_an_admin(accounts):
    with pytest.raises(AccountRefused, match="Nobody would be an admin"):
        accounts.add("bob", Role.EDITOR, PASSWORD)
    accounts.add("ann", Role.ADMIN, PASSWORD)
    for change in (lambda: accounts.remove("ann"), lambda: accounts.change("ann", role=Role.EDITOR)):
        with pytest.raises(AccountRefused, match="Nobody would be an admin"):
            change()
    with pytest.raises(AccountRefused, match="There is an account ann already"):
        accounts.add("ann", Role.ADMIN, PASSWORD)
    with pytest.raises(AccountRefused, match="There is no account eve"):
        accounts.remove("eve")


@pytest.mark.parametrize("spoilt", ["", "{}", '{"accounts": [{"name": "a"}]}', "\0", '{"accounts": 3}'])
def test_a_spoilt_file_opens_nothing(accounts, file, spoilt):
    accounts.add("ann", Role.ADMIN, PASSWORD)
    file.write_text(spoilt, encoding="utf-8")
    for ask in (accounts.all, lambda: accounts.find("ann"), lambda: accounts.check("ann", PASSWORD)):
        with pytest.raises(AccountRefused, match="cannot be read"):
            ask()


def test_guessing_gets_slower_and_success_clears_it():
    now = [0.0]
    throttle = Throttle(lambda: now[0])
    for _ in range(FREE_TRIES):
        assert throttle.wait_seconds("ann", "here") == 0
        throttle.failed("ann", "here")
    first = throttle.wait_seconds("ann")
    assert first > 0
    assert throttle.wait_seconds("bob", "here") == first
    now[0] += first
    assert throttle.wait_seconds("ann", "here") == 0
    throttle.failed("ann")
    assert throttle.wait_seconds("ann") > first
    for _ in range(100):
        throttle.failed("ann")
    assert throttle.wait_seconds("ann") <= 900
    throttle.succeeded("ann")
    assert throttle.wait_seconds("ann") == 0


def test_a_role_covers_those_before_it():
    editor = Person("bob", Role.EDITOR)
    editor.must_be(Role.VIEWER)
    editor.must_be(Role.EDITOR)
    with pytest.raises(Forbidden, match="needs the role admin, and bob is editor"):
        editor.must_be(Role.ADMIN)
