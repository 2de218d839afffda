"""What is deployed, as values: the Dockerfile, docker-compose.yml and the page that tells how to start them."""

import json
import re
import shlex
import sys
from pathlib import Path

import yaml
from conftest import skip_or_fail

ROOT = Path(__file__).parents[1]


class Dockerfile:
    """A Dockerfile's instructions, as pairs of a word and the rest of the line."""

    def __init__(self, text):
        lines = [line for line in text.splitlines() if line and not line.lstrip().startswith("#")]
        joined = re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines()
        self.instructions = [tuple(line.split(maxsplit=1)) for line in joined]
        stages = [n for n, (word, _) in enumerate(self.instructions) if word == "FROM"]
        self.finished = self.instructions[stages[-1] :]
        """Those of the last stage."""

    def copied(self):
        """What is copied out of the repository."""
        copies = [rest.split() for word, rest in self.instructions if word == "COPY" and not rest.startswith("--from=")]
        return [source for *sources, _ in copies for source in sources]

    def environment(self):
        """Variables of the finished image."""
        settings = [setting for word, rest in self.finished if word == "ENV" for setting in shlex.split(rest)]
        return dict(setting.split("=", 1) for setting in settings)

    def last(self, word):
        """What the last instruction of this kind says of the finished image."""
        return [rest for name, rest in self.finished if name == word][-1]

    def words(self, instruction):
        """Words of the command that CMD or HEALTHCHECK gives."""
        return yaml.safe_load(re.sub(r"^.*CMD ", "", self.last(instruction)))


def read(name):
    """A file of the repository."""
    return (ROOT / name).read_text(encoding="utf-8")


DOCKERFILE = Dockerfile(read("Dockerfile"))

COMPOSE = json.loads(re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", json.dumps(yaml.safe_load(read("docker-compose.yml")))))
"""Its variables are at their defaults."""

SERVICES = COMPOSE["services"]

OURS = [name for name, service in SERVICES.items() if "build" in service]
"""Services that run the application."""

MAKING_SECRETS = re.search(r"```sh\n(.*?mkdir -m 700 secrets.*?)```", read("docs/deploy.md"), flags=re.DOTALL)[1]
"""The commands of the page that are run once, before the first start."""


def program(name):
    """A tool of the environment that the tests run in."""
    path = Path(sys.executable).with_name(name)
    return path if path.exists() else skip_or_fail(f"{name} is not installed")
