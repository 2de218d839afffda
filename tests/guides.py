"""README and the guides as values: their fenced blocks, the commands in them, and how ``kalm`` reads a command."""

import re
import shlex
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

import typer

from app.cli import application

ROOT = Path(__file__).parents[1]
DOCUMENTS = ["README.md", *sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md"))]

_BLOCK = re.compile(
    r"^(?:<!-- not run: (?P<reason>[^\n]+) -->\n\n?)?```(?P<language>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)
_SETS = re.compile(r"[A-Z_]+=")
_PREPARES = ("export", "source")
_BEFORE_KALM = ("app", "--no-python")
"""Words after which another program starts it: ``docker compose exec app``, ``torchrun --no-python``."""


@dataclass(frozen=True)
class Block:
    """A fenced block; ``reason`` is what the document says why it cannot be run, where it does."""

    document: str
    line: int
    language: str
    text: str
    reason: str

    def __str__(self):
        return f"{self.document}:{self.line}"

    @property
    def is_shell(self):
        return self.language in ("sh", "console")

    @property
    def commands(self):
        """Its lines as words, without comments; none where a quotation goes over several lines."""
        lines = self.text.replace("\\\n", " ").splitlines()
        try:
            return [words for line in lines if (words := shlex.split(line, comments=True))]
        except ValueError:
            return []

    @property
    def kalm(self):
        """Settings and arguments of each command that starts our command line."""
        return [found for words in self.commands if (found := started(words))] if self.is_shell else []

    @property
    def is_ours(self):
        """Whether there is nothing in it but our commands and what prepares them."""
        return (
            self.is_shell
            and bool(self.commands)
            and all(words[0] in _PREPARES or started(words) for words in self.commands)
        )


def started(words):
    """What is set for a command alone, and what follows the word ``kalm``; None if it starts something else."""
    settings = dict(word.split("=", 1) for word in takewhile(_SETS.match, words))
    for place, word in enumerate(words):
        if word == "kalm" and (place == len(settings) or words[place - 1] in _BEFORE_KALM):
            return settings, words[place + 1 :]
    return None


def read(document):
    """A document's text."""
    return (ROOT / document).read_text(encoding="utf-8")


def blocks(document):
    """The blocks of a document, in their order."""
    text = read(document)
    return [
        Block(
            document, text.count("\n", 0, found.start("text")), found["language"], found["text"], found["reason"] or ""
        )
        for found in _BLOCK.finditer(text)
    ]


def parse(words):
    """Have the command line read a command as it does to run it.

    Raises:
        TyperException: What a person would see, where there is no such command, argument, option or value.
    """
    command, name, context = typer.main.get_command(application), "kalm", None
    while isinstance(command, typer.core.TyperGroup):
        context = command.make_context(name, list(words), parent=context)
        rest = [*context._protected_args, *context.args]
        if not rest:
            return
        name, command, words = command.resolve_command(context, rest)
    command.make_context(name, list(words), parent=context)


def unknown(mention):
    """The first command or option named in prose, where arguments may be left out, that there is not; else None."""
    command = typer.main.get_command(application)
    for word in mention.split():
        if isinstance(command, typer.core.TyperGroup):
            if word not in command.commands:
                return word
            command = command.commands[word]
        elif word.startswith("--") and word not in {name for option in command.params for name in option.opts}:
            return word
    return None
