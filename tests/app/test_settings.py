import os
from pathlib import Path

import pytest

from app.settings import SettingsError, load_settings


@pytest.fixture(autouse=True)
def clean(tmp_path, monkeypatch):
    """A folder without settings, and an environment without."""
    for name in os.environ:
        if name.startswith("KALM_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def toml(tmp_path):
    return (tmp_path / "kalm.toml").write_text


def test_defaults_need_nothing_and_stay_on_this_machine():
    settings = load_settings()
    assert (settings.host, settings.port, settings.model) == ("127.0.0.1", 8501, None)
    assert settings.data_dir == Path.home() / ".local/share/kalm"
    assert settings.catalog_url == f"sqlite:///{Path.home()}/.local/share/kalm/catalog.sqlite"


def test_flags_win_over_the_environment_over_the_file_over_defaults(toml, monkeypatch):
    toml('port = 1111\nhost = "10.0.0.1"\nmodel = "kalm-v2"')
    monkeypatch.setenv("KALM_PORT", "2222")
    monkeypatch.setenv("KALM_HOST", "10.0.0.2")
    settings = load_settings(port=3333, host=None)
    assert (settings.port, settings.host, settings.model, settings.cache_gigabytes) == (3333, "10.0.0.2", "kalm-v2", 4)


def test_empty_variables_are_not_set(toml, monkeypatch):
    toml('data_dir = "here"')
    monkeypatch.setenv("KALM_DATA_DIR", "")
    monkeypatch.setenv("KALM_PORT", "")
    assert (load_settings().data_dir, load_settings().port) == (Path("here"), 8501)


def test_a_tilde_is_the_home_folder(toml):
    toml('data_dir = "~/kalm"')
    assert load_settings().data_dir == Path.home() / "kalm"


def test_the_catalog_may_be_elsewhere(monkeypatch):
    monkeypatch.setenv("KALM_DATABASE_URL", "postgresql+psycopg://db/kalm")
    assert load_settings().catalog_url == "postgresql+psycopg://db/kalm"


def test_secrets_come_from_files_which_the_environment_may_override(toml, tmp_path, monkeypatch):
    toml('database_url = "postgresql://toml/kalm"\nport = 1111')
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "kalm_database_url").write_text("postgresql://file/kalm\n")
    (tmp_path / "secrets" / "postgres_password").write_text("not one of ours")
    assert load_settings().catalog_url == "postgresql://toml/kalm"
    monkeypatch.setenv("KALM_SECRETS_DIR", str(tmp_path / "secrets"))
    assert (load_settings().catalog_url, load_settings().port) == ("postgresql://file/kalm", 1111)
    monkeypatch.setenv("KALM_DATABASE_URL", "postgresql://environment/kalm")
    assert load_settings().catalog_url == "postgresql://environment/kalm"


def test_secrets_are_not_printed_with_the_settings(monkeypatch):
    monkeypatch.setenv("KALM_DATABASE_URL", "postgresql://kalm:s3cret@db/kalm")
    assert "s3cret" not in f"{load_settings()} {load_settings()!r} {load_settings().model_dump_json()}"


@pytest.mark.parametrize("name", ["secrets", "~/secrets"])
def test_the_folder_of_secrets_may_be_named_in_the_file(toml, tmp_path, monkeypatch, name):
    monkeypatch.setenv("HOME", str(tmp_path))
    toml(f'secrets_dir = "{name}"')
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "KALM_DATABASE_URL").write_text("postgresql://file/kalm")
    assert load_settings().catalog_url == "postgresql://file/kalm"


def test_a_secret_that_is_not_text_is_refused_without_quoting_it(tmp_path, monkeypatch):
    (tmp_path / "kalm_database_url").write_bytes(b"s3cret \xff\xfe")
    monkeypatch.setenv("KALM_SECRETS_DIR", str(tmp_path))
    with pytest.raises(SettingsError, match=r"^A secret in .* cannot be read \(it is not text\); [^3]*\.$"):
        load_settings()


def test_a_secret_of_somebody_else_is_refused(tmp_path, monkeypatch):
    (tmp_path / "kalm_database_url").write_text("postgresql://file/kalm")

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_text", refuse)
    monkeypatch.setenv("KALM_SECRETS_DIR", str(tmp_path))
    with pytest.raises(SettingsError, match=r"cannot be read \(Permission denied\); mend the file, or remove it\.$"):
        load_settings()


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("colour = 'red'", "colour"),
        ("[search]\nlimit = 3", "search"),
        ("port = 'many'", "port"),
        ("port = 0", "port"),
        ("cache_gigabytes = -1", "cache_gigabytes"),
        ("kept_versions = 1", "kept_versions"),
        ('qdrant_url = "localhost:6333"', "qdrant_url"),
        ('qdrant_url = "https://"', "qdrant_url"),
        ('qdrant_prefix = "a/b"', "qdrant_prefix"),
        ('qdrant_quantization = "int4"', "qdrant_quantization"),
        ("model = 7", "model"),
        ("port = = 3", "kalm.toml"),
        ("data_dir = ", "kalm.toml"),
    ],
)
def test_what_makes_no_sense_in_the_file_is_refused_by_name(toml, content, named):
    toml(content)
    with pytest.raises(SettingsError) as refused:
        load_settings()
    assert named in str(refused.value)
    assert "\n" not in str(refused.value)
    assert str(refused.value).endswith(".")


def test_a_file_that_is_not_text_is_refused(tmp_path):
    (tmp_path / "kalm.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SettingsError, match=r"^kalm\.toml cannot be read: .*\.$"):
        load_settings()


def test_a_wrong_variable_is_refused_by_name(monkeypatch):
    monkeypatch.setenv("KALM_PORT", "eighty")
    with pytest.raises(SettingsError, match="^The setting port is wrong"):
        load_settings()


def test_the_key_of_the_server_is_shown_nowhere(monkeypatch):
    monkeypatch.setenv("KALM_QDRANT_URL", "https://qdrant.example.org")
    monkeypatch.setenv("KALM_QDRANT_API_KEY", "s3cret")
    settings = load_settings()
    assert settings.qdrant_api_key.get_secret_value() == "s3cret"
    assert "s3cret" not in f"{settings!r} {settings}"
