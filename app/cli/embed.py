"""``kalm embed``: a file of texts into a file of vectors."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Annotated

import typer

from app.cli.output import errors
from app.settings import load_settings
from embedder.errors import AppError


class NoInput(AppError):
    """An input file that is not there."""


def embed(
    source: Annotated[str, typer.Argument(help="A file of lines, a .jsonl file, or - for standard input.")],
    target: Annotated[Path, typer.Argument(help="Where the vectors go: a .npy or .parquet file.")],
    model: Annotated[str | None, typer.Option(help="A name from kalm models, a folder or a hub id.")] = None,
    side: Annotated[str, typer.Option(help="Which side of the task the texts are: query or document.")] = "document",
    task: Annotated[str, typer.Option(help="An MTEB task type or task name.")] = "Retrieval",
    instruction: Annotated[str | None, typer.Option(help="Your own instruction for queries.")] = None,
    dim: Annotated[int | None, typer.Option(help="One of the model's widths.")] = None,
    dtype: Annotated[str, typer.Option(help="auto, float32, bfloat16, int8 or int8-float32.")] = "auto",
    field: Annotated[str, typer.Option(help="Field of a .jsonl line that holds the text.")] = "text",
    jsonl: Annotated[bool, typer.Option("--jsonl", help="Standard input is JSON lines.")] = False,
) -> None:
    """Embed every line of a file. Row n of the output is line n of the input.

    Example: kalm embed questions.txt questions.npy --side query
    """
    from app.services.embedding import InputRefused, embed_rows, read_jsonl, read_lines
    from embedder.encoder import Embedder

    if side not in ("query", "document"):
        raise InputRefused(f"A text is a query or a document, not {side!r}; use --side query or --side document.")
    encoder = Embedder.load(model or load_settings().model, dim=dim, dtype=dtype)
    with _lines(source) as lines:
        is_jsonl = jsonl or source.endswith(".jsonl")
        rows = read_jsonl(lines, field) if is_jsonl else read_lines(lines)
        usage = embed_rows(
            encoder,
            rows,
            target,
            side="query" if side == "query" else "document",
            task=task,
            instruction=instruction,
        )
    errors.print(
        f"{usage.texts:,} texts, {usage.tokens:,} tokens, {usage.truncated:,} cut at {encoder.max_tokens} tokens, "
        f"written to {target} as {encoder.dim} dimensions.",
        soft_wrap=True,
    )


@contextmanager
def _lines(source: str) -> Iterator[IO[str]]:
    """The text of a file or of standard input, undecodable bytes replaced."""
    if source == "-":
        sys.stdin.reconfigure(encoding="utf-8", errors="replace")  # type: ignore[union-attr]
        yield sys.stdin
        return
    try:
        with Path(source).open(encoding="utf-8", errors="replace", newline="\n") as file:
            yield file
    except OSError as error:
        raise NoInput(f"{source} cannot be opened ({error.strerror}); check the path.") from error
