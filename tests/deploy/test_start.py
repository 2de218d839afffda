"""The very commands that are deployed, without the containers: secrets, start and health checks."""

import http.server
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from deployment import DOCKERFILE, MAKING_SECRETS, SERVICES
from ports import free_port
from postgres import programs

PROGRAMS = Path(sys.executable).parent
_START_SECONDS = 90


@pytest.fixture(scope="module")
def secrets(tmp_path_factory):
    """The folder of secrets, made as the page says."""
    folder = tmp_path_factory.mktemp("deployed")
    made = subprocess.run(["sh", "-c", MAKING_SECRETS], cwd=folder, capture_output=True, text=True, check=False)
    assert (made.returncode, made.stdout, made.stderr) == (0, "", "")
    return folder / "secrets"


def kept(folder):
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_secrets_are_made_once_and_fit_each_other(secrets):
    files = kept(secrets)
    password, key = files["postgres_password"], files["kalm_qdrant_api_key"]
    assert password != key
    assert re.fullmatch(r"[A-Za-z0-9]{32,}", password)
    assert re.fullmatch(r"[A-Za-z0-9]{32,}", key)
    assert files["kalm_database_url"] == f"postgresql+psycopg://kalm:{password}@postgres/kalm"
    assert files["qdrant_config.yaml"] == f"service:\n  api_key: {key}\n"
    again = subprocess.run(["sh", "-c", MAKING_SECRETS], cwd=secrets.parent, capture_output=True, check=False)
    assert again.returncode != 0
    assert kept(secrets) == files


def test_secrets_are_for_their_owner_and_for_containers_that_are_given_them(secrets):
    assert secrets.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in secrets.iterdir()} == {0o444}
    assert (secrets.parent / "documents").is_dir()


class Deployed:
    """One installation: the services' commands and environments, their paths and addresses being this machine's."""

    def __init__(self, folder, secrets, postgres):
        self.folder, self.postgres = folder, postgres
        self.passwords = {text.split()[-1] for text in kept(secrets).values()}
        self.port = free_port()
        (folder / "secrets").mkdir()
        for name, text in kept(secrets).items():
            (folder / "secrets" / name).write_text(text.replace("@postgres/", f"@127.0.0.1:{postgres.port}/"))

    def environment(self, name):
        wanted = DOCKERFILE.environment() | SERVICES[name]["environment"]
        inside = {variable: value.replace("/data", str(self.folder / "data")) for variable, value in wanted.items()}
        outside = {variable: value for variable, value in os.environ.items() if not variable.startswith("KALM_")}
        here = {"KALM_HOST": "127.0.0.1", "KALM_PORT": self.port, "KALM_SECRETS_DIR": self.folder / "secrets"}
        rest = {"PATH": os.environ["PATH"], "OMP_NUM_THREADS": 1}
        return outside | inside | {variable: str(value) for variable, value in (here | rest).items()}

    @contextmanager
    def running(self, name):
        """A service for the length of a block; ends by SIGTERM, having said nothing of its secrets."""
        said = self.folder / f"{name}.log"
        with said.open("wb") as log:
            process = subprocess.Popen(
                [PROGRAMS / SERVICES[name]["command"][0], *SERVICES[name]["command"][1:]],
                cwd=self.folder / "data",
                env=self.environment(name),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
            try:
                yield lambda: process.poll() is None
                process.send_signal(signal.SIGTERM)
                assert process.wait(timeout=30) in (0, -signal.SIGTERM), said.read_text()
            finally:
                process.kill()
                process.wait()
        assert not any(password in said.read_text() for password in self.passwords)

    def said(self, name):
        return (self.folder / f"{name}.log").read_text()

    def is_up(self):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/healthz", timeout=10) as answer:
                return answer.status == 200
        except OSError:
            return False

    def clients(self):
        """How many connections there are to the database."""
        return self.postgres.execute("SELECT count(*) FROM pg_stat_activity WHERE datname = 'kalm'")[0][0]

    def checked(self):
        """What the image's own health check says."""
        words = [word.replace(":8501/", f":{self.port}/") for word in DOCKERFILE.words("HEALTHCHECK")]
        return subprocess.run([PROGRAMS / words[0], *words[1:]], capture_output=True, check=False).returncode


def wait_until(ready, alive, what):
    deadline = time.monotonic() + _START_SECONDS
    while not ready():
        assert alive(), what()
        assert time.monotonic() < deadline, what()
        time.sleep(0.1)


@pytest.fixture(scope="module")
def deployed(tmp_path_factory, secrets, postgres):
    """An installation on a database made as the image of PostgreSQL makes it, but of a role that owns only that."""
    password = (secrets / "postgres_password").read_text()
    postgres.execute(f"CREATE ROLE kalm LOGIN PASSWORD '{password}'")
    postgres.execute("CREATE DATABASE kalm OWNER kalm")
    folder = tmp_path_factory.mktemp("machine")
    (folder / "data").mkdir()
    return Deployed(folder, secrets, postgres)


def test_page_and_worker_start_together_on_an_empty_database_and_end_when_told(deployed):
    assert deployed.checked() != 0
    with ExitStack() as services:
        alive = {name: services.enter_context(deployed.running(name)) for name in ("app", "worker")}
        wait_until(deployed.is_up, alive["app"], lambda: deployed.said("app"))
        assert deployed.checked() == 0
        wait_until(lambda: "Waiting" in deployed.said("worker"), alive["worker"], lambda: deployed.said("worker"))
        wait_until(lambda: deployed.clients() == len(alive), alive["app"], lambda: deployed.said("app"))
    assert "warm up" not in deployed.said("app")
    assert deployed.postgres.execute("SELECT count(*) FROM corpora", database="kalm") == [(0,)]
    assert not (deployed.folder / "data" / "catalog.sqlite").exists()


# Health checks of the databases


def test_the_health_check_of_postgres_tells_whether_it_is_up(postgres):
    _, name, *flags = SERVICES["postgres"]["healthcheck"]["test"]

    def asked(port):
        return subprocess.run(
            [programs() / name, *flags], env={"PGPORT": str(port)}, capture_output=True, check=False
        ).returncode

    assert asked(postgres.port) == 0
    assert asked(free_port()) != 0


@pytest.mark.parametrize(("status", "is_well"), [(200, True), (503, False)])
def test_the_health_check_of_qdrant_tells_whether_it_is_ready(status, is_well):
    asked = []

    class Ready(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_):
            """Quietly."""

    with http.server.HTTPServer(("127.0.0.1", 0), Ready) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        _, *words = SERVICES["qdrant"]["healthcheck"]["test"]
        command = shlex.join(words).replace("/6333", f"/{server.server_port}")
        outcome = subprocess.run(shlex.split(command), capture_output=True, check=False)
        thread.join()
    assert asked == ["/readyz"]
    assert (outcome.returncode == 0) is is_well
