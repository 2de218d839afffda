"""A password is in no message, no log and on no page, however its address is wrong; it may come out of a file."""

import logging
from pathlib import Path
from urllib.parse import quote

import pytest
from postgres import PASSWORD
from pydantic import SecretStr
from streamlit.testing.v1 import AppTest

import app.ui
from app.asgi import _warm_up
from app.bootstrap import close_services, services
from app.settings import Settings, load_settings

SECRET = "s3cret"
PLACE = "127.0.0.1:1"
"""Where nobody listens."""

WRONG = {
    "nobody listens": f"postgresql+psycopg://kalm:{SECRET}@{PLACE}/kalm",
    "as an option": f"postgresql+psycopg://{PLACE}/kalm?user=kalm&password={SECRET}",
    "option misspelt": f"postgresql+psycopg://{PLACE}/kalm?user=kalm&passwort={SECRET}",
    "option without a value": f"postgresql+psycopg://kalm:{SECRET}@{PLACE}/kalm?sslmode",
    "with an @": f"postgresql+psycopg://kalm:{SECRET}@{SECRET}@{PLACE}/kalm",
    "with a slash": f"postgresql+psycopg://kalm:{SECRET}/{SECRET}@{PLACE}/kalm",
    "with a colon": f"postgresql+psycopg://kalm:{SECRET}:{SECRET}@{PLACE}/kalm",
    "with a bracket": f"postgresql+psycopg://kalm:{SECRET}]{SECRET}@{PLACE}/kalm",
    "without a user": f"postgresql+psycopg://:{SECRET}@{PLACE}/kalm",
    "in the place of the port": f"postgresql+psycopg://kalm@127.0.0.1:{SECRET}/kalm",
    "another database": f"mysql://kalm:{SECRET}@{PLACE}/kalm",
    "another driver": f"postgresql+asyncpg://kalm:{SECRET}@{PLACE}/kalm",
    "in the place of the driver": f"postgresql+{SECRET}://kalm@{PLACE}/kalm",
    "a password alone": SECRET,
    "no protocol": f"kalm:{SECRET}@{PLACE}/kalm",
}


@pytest.fixture
def wrong_password(postgres):
    """An address of a server that runs, which refuses it."""
    return f"postgresql+psycopg://tests:{SECRET}@127.0.0.1:{postgres.port}/postgres"


@pytest.fixture
def installation(monkeypatch, tmp_path, tiny_model):
    """Settings of an installation in this process."""
    monkeypatch.setenv("KALM_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("KALM_MODEL", str(tiny_model))
    services.cache_clear()
    yield lambda **settings: [monkeypatch.setenv(name, value) for name, value in settings.items()]
    close_services()
    services.cache_clear()


@pytest.mark.parametrize("url", WRONG.values(), ids=WRONG)
def test_an_address_that_is_wrong_is_told_without_its_password(cli, caplog, url):
    with caplog.at_level(logging.DEBUG):
        refusal = cli("corpus", "list", KALM_DATABASE_URL=url).refusal
    assert refusal.startswith("The catalog ")
    assert refusal.endswith("; check KALM_DATABASE_URL.")
    assert SECRET not in refusal + caplog.text


def test_a_wrong_password_is_told_without_it_whether_from_the_environment_or_a_file(cli, tmp_path, wrong_password):
    (tmp_path / "kalm_database_url").write_text(f"{wrong_password}\n")
    by_environment = cli("corpus", "list", KALM_DATABASE_URL=wrong_password).refusal
    assert cli("corpus", "list", KALM_SECRETS_DIR=tmp_path).refusal == by_environment
    assert "authentication failed" in by_environment
    assert "tests:***@127.0.0.1" in by_environment
    assert SECRET not in by_environment


def test_a_right_password_is_not_logged_either(cli, tmp_path, postgres, caplog):
    (tmp_path / "kalm_database_url").write_text(postgres.new_schema())
    with caplog.at_level(logging.DEBUG):
        listed = cli("corpus", "list", KALM_SECRETS_DIR=tmp_path)
    assert listed.code == 0
    assert caplog.text
    said = listed.out + listed.err + caplog.text
    assert PASSWORD not in said
    assert quote(PASSWORD, safe="") not in said


def test_the_page_tells_that_the_catalog_is_away_without_the_password(installation, caplog, wrong_password):
    installation(KALM_DATABASE_URL=wrong_password)
    page = AppTest.from_file(str(Path(app.ui.__path__[0]) / "main.py"), default_timeout=60).run()
    shown = "".join(element.value for element in page.get("html"))
    assert "cannot be opened" in shown
    assert SECRET not in f"{shown} {page.main} {caplog.text}"


def test_the_server_logs_that_the_catalog_is_away_without_the_password(installation, caplog, wrong_password):
    installation(KALM_DATABASE_URL=wrong_password)
    _warm_up()
    assert "Could not warm up: The catalog " in caplog.text
    assert SECRET not in caplog.text


def test_every_secret_may_come_out_of_a_file(monkeypatch, tmp_path):
    secret = [name for name, field in Settings.model_fields.items() if field.annotation == SecretStr | None]
    assert {"database_url", "qdrant_api_key"} <= set(secret)
    for name in secret:
        monkeypatch.delenv(f"KALM_{name.upper()}", raising=False)
        (tmp_path / f"kalm_{name}").write_text(f"{SECRET} of {name}\n")
    monkeypatch.setenv("KALM_SECRETS_DIR", str(tmp_path))
    settings = load_settings()
    assert [getattr(settings, name).get_secret_value() for name in secret] == [f"{SECRET} of {name}" for name in secret]
    assert SECRET not in repr(settings)
