"""Dockerfile and docker-compose.yml: valid, hardened, and speaking of nothing that is not there."""

import re
import subprocess
import tomllib

import pytest
import typer
from deployment import COMPOSE, DOCKERFILE, MAKING_SECRETS, OURS, ROOT, SERVICES, program, read
from pydantic import SecretStr

from app.cli import application
from app.settings import Settings

DATABASES = [name for name in SERVICES if name not in OURS]


def sources(service, kind):
    """Names of the volumes, secrets or networks that a service uses."""
    return {
        entry["source"] if isinstance(entry, dict) else entry.split(":")[0] for entry in SERVICES[service].get(kind, [])
    }


def settings_of(environment):
    return {name.removeprefix("KALM_").lower() for name in environment if name.startswith("KALM_")}


# The files as such


def test_the_dockerfile_pleases_its_linter():
    looked = subprocess.run(
        [program("hadolint"), "--no-color", ROOT / "Dockerfile"], capture_output=True, text=True, check=False
    )
    assert (looked.returncode, looked.stdout, looked.stderr) == (0, "", "")


def test_the_compose_file_fits_the_official_schema():
    looked = subprocess.run(
        [program("check-jsonschema"), "--builtin-schema", "vendor.compose-spec", ROOT / "docker-compose.yml"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert looked.returncode == 0, looked.stdout


def test_what_the_image_is_built_from_is_there_and_nothing_else_is_sent_along():
    copied = DOCKERFILE.copied()
    assert {"constraints.txt", "pyproject.toml", "app"} <= set(copied)
    assert [source for source in copied if not (ROOT / source).exists()] == []
    rules = [line for line in read(".dockerignore").splitlines() if line and not line.startswith("#")]
    assert rules[0] == "*"
    assert {rule.removeprefix("!") for rule in rules if rule.startswith("!")} == set(copied)


@pytest.mark.parametrize(
    "place",
    ["Dockerfile", "Makefile", "README.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))],
)
def test_what_is_installed_is_an_extra_that_there_is(place):
    there = tomllib.loads(read("pyproject.toml"))["project"]["optional-dependencies"].keys()
    named = re.findall(r"(?:'\.|kalm-retrieval)\[([\w,]+)\]", read(place))
    assert {extra for extras in named for extra in extras.split(",")} <= there


def test_all_packages_are_in_the_image():
    packages = re.search(r"^packages = (.*)$", read("pyproject.toml"), flags=re.MULTILINE)[1]
    assert set(re.findall(r'"(\w+)"', packages)) <= set(DOCKERFILE.copied())


def test_the_image_has_the_versions_that_the_tests_have_run_with():
    installs = [rest for word, rest in DOCKERFILE.instructions if word == "RUN" and " install " in rest]
    (torch, application) = (rest for rest in installs if "pip" in rest)
    assert "grep '^torch==' constraints.txt > torch.txt" in torch
    assert re.search(r"^torch==\S+$", read("constraints.txt"), flags=re.MULTILINE)
    assert "-c constraints.txt" in application


def test_the_image_is_finished_without_tools_that_install_or_compile():
    assert re.match(r"python:[\d.]+-slim-\w+$", DOCKERFILE.last("FROM"))
    assert not re.search(r"\b(pip|apt-get|gcc|make)\b", "\n".join(rest for _, rest in DOCKERFILE.finished))


# What they speak of


@pytest.mark.parametrize(
    "command", [DOCKERFILE.words("CMD"), *(SERVICES[name]["command"] for name in OURS)], ids=" ".join
)
def test_what_is_started_is_a_command(command):
    assert command[0] == "kalm"
    assert command[1] in typer.main.get_command(application).commands


def test_what_is_set_are_settings():
    image = settings_of(DOCKERFILE.environment())
    assert image == {"data_dir", "host", "port"}
    for name in OURS:
        assert settings_of(SERVICES[name]["environment"]) <= Settings.model_fields.keys() - image


def test_secrets_are_settings_that_are_never_printed_and_come_by_file_only():
    secret = {name for name, field in Settings.model_fields.items() if field.annotation == SecretStr | None}
    assert "database_url" in secret
    for name in OURS:
        assert settings_of(value.upper() for value in SERVICES[name]["secrets"]) == secret
        assert not settings_of(SERVICES[name]["environment"]) & secret


def test_every_secret_is_a_file_that_the_page_makes_and_git_does_not_take():
    files = {secret["file"] for secret in COMPOSE["secrets"].values()}
    made = set(re.findall(r"> (\w+(?:\.\w+)?)$", MAKING_SECRETS, flags=re.MULTILINE))
    assert files == {f"./secrets/{name}" for name in made}
    assert {"/secrets/", "/documents/"} <= set(read(".gitignore").splitlines())


def test_every_variable_is_a_setting_or_in_the_table_of_the_page():
    variables = set(re.findall(r"\$\{(\w+)", read("docker-compose.yml")))
    assert variables
    assert variables == set(re.findall(r"^\| `(\w+)` \|", read("docs/deploy.md"), flags=re.MULTILINE))


@pytest.mark.parametrize("name", SERVICES)
def test_what_a_service_uses_is_declared(name):
    folders = {source for source in sources(name, "volumes") if source.startswith((".", "/"))}
    assert sources(name, "volumes") - folders <= COMPOSE["volumes"].keys()
    assert sources(name, "secrets") <= COMPOSE["secrets"].keys()
    assert sources(name, "networks") <= COMPOSE["networks"].keys()
    for other, how in SERVICES[name].get("depends_on", {}).items():
        assert how == {"condition": "service_healthy"}
        assert "test" in SERVICES[other]["healthcheck"]


# How they are locked up


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_can_do_little_and_take_little(name):
    service = SERVICES[name]
    assert re.match(r"[1-9]\d*:[1-9]\d*$", service["user"])
    assert service["read_only"] is True
    assert "/tmp" in service["tmpfs"]  # noqa: S108 - in the container
    assert service["cap_drop"] == ["ALL"]
    assert "cap_add" not in service
    assert "privileged" not in service
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["deploy"]["resources"]["limits"].keys() == {"cpus", "memory", "pids"}
    assert service["restart"] == "unless-stopped"


@pytest.mark.parametrize("name", OURS)
def test_ours_run_as_the_user_of_the_image_and_only_read_the_documents(name):
    assert SERVICES[name]["user"] == DOCKERFILE.last("USER") == "10001:10001"
    data, documents = SERVICES[name]["volumes"]
    assert data == f"data:{DOCKERFILE.environment()['KALM_DATA_DIR']}"
    assert (documents["type"], documents["read_only"]) == ("bind", True)


def test_only_the_page_has_a_port_and_it_is_on_this_machine():
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert published == {"app": [f"127.0.0.1:8501:{DOCKERFILE.environment()['KALM_PORT']}"]}
    assert DOCKERFILE.last("EXPOSE") == "8501"


@pytest.mark.parametrize("name", DATABASES)
def test_databases_are_of_one_version_and_reach_nobody_outside(name):
    assert re.match(r"[\w/]+:v?\d+\.\d+\S*$", SERVICES[name]["image"])
    assert SERVICES[name]["networks"]
    assert all(COMPOSE["networks"][network]["internal"] for network in SERVICES[name]["networks"])
