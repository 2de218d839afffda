"""Settings as the admin page lists them."""

import pytest

from app import settings as module
from app.services.configuration import listed
from app.settings import keep_flags, load_settings


@pytest.fixture(autouse=True)
def clean(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(module, "_kept_flags", {})
    for name in ("KALM_MODEL", "KALM_DATA_DIR"):
        monkeypatch.delenv(name, raising=False)


def test_each_setting_says_where_it_comes_from_and_no_secret_is_shown(tmp_path, monkeypatch):
    (tmp_path / "kalm.toml").write_text('model = "kalm-v2"\ncorpus_roots = ["/srv", "/data"]\n')
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "kalm_qdrant_api_key").write_text("s3cret")
    monkeypatch.setenv("KALM_SECRETS_DIR", str(tmp_path / "secrets"))
    monkeypatch.setenv("KALM_DATABASE_URL", "postgresql+psycopg://kalm:s3cret@db/kalm")
    monkeypatch.setenv("KALM_QDRANT_URL", "http://me:s3cret@qdrant:6333")
    keep_flags(port=8600, host=None)
    shown = {each.name: (each.value, each.origin) for each in listed(load_settings())}
    assert shown["model"] == ("kalm-v2", "file")
    assert shown["corpus_roots"] == ("/srv, /data", "file")
    assert shown["port"] == ("8600", "flag")
    assert shown["host"] == ("127.0.0.1", "default")
    assert shown["qdrant_url"] == ("http://qdrant:6333", "environment")
    assert shown["database_url"][1] == "environment"
    assert shown["qdrant_api_key"][1] == "secret"
    assert "s3cret" not in str(shown)


def test_folders_are_separated_as_in_path(monkeypatch):
    monkeypatch.setenv("KALM_CORPUS_ROOTS", "/srv/a:/srv/b")
    assert [str(root) for root in load_settings().corpus_roots] == ["/srv/a", "/srv/b"]
