"""Settings: environment (``KALM_...``), secret files, ``kalm.toml``, defaults. Command-line flags come before all.

Nothing else in the product reads the environment.
"""

import os
from enum import StrEnum
from functools import cached_property
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, IPvAnyNetwork, SecretStr, ValidationError
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SecretsSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)
from pydantic_settings import SettingsError as SourceError

from embedder.errors import AppError


class SettingsError(AppError):
    """A setting that cannot be what it is."""


def _server_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("it should begin with http:// or https:// and name a server")
    return url


RoleName = Literal["viewer", "editor", "admin"]


class Access(StrEnum):
    """Who gets to the pages while there are no accounts."""

    LOCAL = "local"
    OPEN = "open"
    OIDC = "oidc"


def _folders(value: object) -> object:
    """Several folders as one variable of the environment, separated as in PATH; a file has a list."""
    return [part for part in value.split(os.pathsep) if part] if isinstance(value, str) else value


def _networks(value: object) -> object:
    """Several networks as one variable of the environment; a file has a list."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


class Settings(BaseSettings):
    """What an installation can choose.

    Attributes:
        data_dir: Where everything is kept: catalog, indexes, vector cache. Relative paths start where the command
            is run, ``~`` is the home folder.
        model: A catalogue name, a folder or a hub id; None takes the default model.
        database_url: The catalog's database; None keeps it in ``data_dir``.
        secrets_dir: Folder of files that each hold the setting they are named after, such as
            ``kalm_database_url``; it need not be there.
        cache_gigabytes: Bound on the vector cache.
        download_gigabytes: Bound on what is kept of files fetched from elsewhere.
        kept_versions: Finished versions of each index that are kept, the one in use among them.
        ray_address: A Ray cluster for builds on one; None leaves it to Ray.
        ray_encoders: How many of its processes load the model; None takes one for each GPU or node.
        qdrant_url: A Qdrant server that keeps new indexes; None keeps them in ``data_dir``.
        qdrant_api_key: Its key; shown nowhere.
        qdrant_ca_file: Certificates to trust instead of the system's (PEM), for ``https://`` with one's own.
        qdrant_prefix: Before the names of collections, for installations that share a server.
        qdrant_quantization: What vectors are searched by first, on the server and in ``data_dir``; new indexes only.
        qdrant_strict: Whether the server refuses costly requests to new indexes.
        corpus_roots: Folders that corpora entered on the admin page have to lie in, separated by colons; any where
            there are none.
        upload_megabytes: Largest upload, all its files together.
        upload_files: Most files of one upload.
        host: Address the pages are served on; the default is this machine only.
        port: Port of the pages.
        chat_model: A chat model of LangChain's (``openai:gpt-4.1-mini``) that answers from documents; None leaves that
            page out.
        access: Who gets to the pages while there are no accounts: this machine only, everybody who can reach them, or
            whoever an OpenID Connect provider knows.
        oidc_claim: What of the provider's word about somebody decides on their role.
        oidc_roles: Roles by the values of that claim.
        oidc_default_role: Role of everybody else the provider knows; None turns them away.
        session_hours: How long somebody stays signed in.
        trusted_proxies: Addresses and networks of proxies, separated by commas, whose word counts on where a visitor
            comes from (``X-Forwarded-For``) and whether by HTTPS; by itself only that of this machine.
        rest_max_megabytes: Largest body of a REST request.
        rest_max_texts: Most texts of one such request.
        rest_max_characters: Longest of them.
        rest_max_waiting: Requests that may wait behind those being answered; the next is refused.
        rest_timeout_seconds: How long an answer may take.
    """

    model_config = SettingsConfigDict(env_prefix="KALM_", toml_file="kalm.toml", extra="forbid", env_ignore_empty=True)

    data_dir: Annotated[Path, AfterValidator(Path.expanduser)] = Path.home() / ".local" / "share" / "kalm"
    model: str | None = None
    database_url: SecretStr | None = None
    secrets_dir: Annotated[Path, AfterValidator(Path.expanduser)] = Path("/run/secrets")
    cache_gigabytes: float = Field(default=4.0, gt=0)
    download_gigabytes: float = Field(default=4.0, gt=0)
    kept_versions: int = Field(default=2, ge=2)
    ray_address: str | None = None
    ray_encoders: int | None = Field(default=None, ge=1)
    qdrant_url: Annotated[str, AfterValidator(_server_url)] | None = None
    qdrant_api_key: SecretStr | None = None
    qdrant_ca_file: Annotated[Path, AfterValidator(Path.expanduser)] | None = None
    qdrant_prefix: str = Field(default="", pattern=r"^[\w-]*$")
    qdrant_quantization: Literal["none", "int8", "binary"] = "none"
    qdrant_strict: bool = False
    corpus_roots: Annotated[tuple[Path, ...], NoDecode, BeforeValidator(_folders)] = ()
    upload_megabytes: float = Field(default=512.0, gt=0)
    upload_files: int = Field(default=5_000, ge=1)
    host: str = "127.0.0.1"
    port: int = Field(default=8501, ge=1, le=65535)
    chat_model: str | None = None
    access: Access = Access.LOCAL
    oidc_claim: str = "email"
    oidc_roles: dict[str, RoleName] = Field(default_factory=dict)
    oidc_default_role: RoleName | None = None
    session_hours: float = Field(default=12.0, gt=0, le=24 * 366)
    trusted_proxies: Annotated[tuple[IPvAnyNetwork, ...], NoDecode, BeforeValidator(_networks)] = (
        IPv4Network("127.0.0.1"),
        IPv6Network("::1"),
    )
    rest_max_megabytes: float = Field(default=8.0, gt=0)
    rest_max_texts: int = Field(default=2048, ge=1)
    rest_max_characters: int = Field(default=100_000, ge=1)
    rest_max_waiting: int = Field(default=128, ge=0)
    rest_timeout_seconds: float = Field(default=60.0, gt=0)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags, environment, secret files, ``kalm.toml``, defaults, in this order."""
        toml = TomlConfigSettingsSource(settings_cls)
        return init_settings, env_settings, _SecretFiles(settings_cls, toml), toml

    @cached_property
    def catalog_url(self) -> str:
        """Address of the catalog's database."""
        if self.database_url:
            return self.database_url.get_secret_value()
        return f"sqlite:///{(self.data_dir / 'catalog.sqlite').resolve()}"


class _SecretFiles(SecretsSettingsSource):
    """Secret files in the folder that the other sources name, if there is one."""

    def __init__(self, settings: type[BaseSettings], toml: TomlConfigSettingsSource) -> None:
        super().__init__(settings)
        self._toml = toml

    def __call__(self) -> dict[str, Any]:
        named = self._toml() | self.current_state
        folder = Path(named.get("secrets_dir") or Settings.model_fields["secrets_dir"].default).expanduser()
        try:
            self.secrets_dir = folder if folder.is_dir() else None
            return super().__call__()
        except (OSError, SourceError) as error:
            cause = error.__cause__ or error
            reason = cause.strerror if isinstance(cause, OSError) else "it is not text"
            raise SettingsError(
                f"A secret in {folder} cannot be read ({reason}); mend the file, or remove it."
            ) from None


_kept_flags: dict[str, object] = {}


def keep_flags(**flags: object) -> None:
    """Have flags of the command hold for all of its process, wherever settings are loaded in it."""
    _kept_flags.update((name, value) for name, value in flags.items() if value is not None)


def origin(name: str, settings: Settings) -> str:
    """Where a setting comes from: ``flag``, ``environment``, ``secret``, ``file`` or ``default``."""
    if name in _kept_flags:
        return "flag"
    if name in EnvSettingsSource(Settings)():
        return "environment"
    if (settings.secrets_dir / f"kalm_{name}").is_file():
        return "secret"
    return "file" if name in TomlConfigSettingsSource(Settings)() else "default"


def load_settings(**flags: object) -> Settings:
    """Settings as they hold now; flags that are None were not given.

    Raises:
        SettingsError: If one has an impossible value, or ``kalm.toml`` cannot be read.
    """
    given = _kept_flags | {name: value for name, value in flags.items() if value is not None}
    try:
        return Settings(**given)  # type: ignore[arg-type]
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise SettingsError(f"The setting {where} is wrong ({first['msg']}); correct it or leave it out.") from error
    except ValueError as error:
        raise SettingsError(f"kalm.toml cannot be read: {str(error).splitlines()[0]}.") from error
