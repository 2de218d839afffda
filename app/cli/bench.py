"""``kalm bench``: measurements anyone can repeat, as JSON with the machine they were made on."""

import json
from pathlib import Path
from typing import Annotated

import typer

from app.bootstrap import services

commands = typer.Typer(help="Measure speed; prints JSON.", no_args_is_help=True)


@commands.command()
def encode(
    texts: Annotated[Path, typer.Option(help="Folder whose documents are encoded.")] = Path("samples"),
    model: Annotated[str, typer.Option(help="A model, or qwen2-0.5b-random for that shape.")] = "qwen2-0.5b-random",
    tokens: Annotated[int, typer.Option(min=1000, help="Tokens of text in a round.")] = 12_000,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds, in each of which every contestant runs once.")] = 3,
) -> None:
    """Compare tokens per second of this encoder and of sentence-transformers on the same weights and texts.

    Example: kalm bench encode --tokens 12000 --rounds 3
    """
    from app.benchmarks.encoding import bench_encode

    typer.echo(json.dumps(bench_encode(texts, model, tokens, rounds), indent=2))


@commands.command()
def search(
    corpus: Annotated[str, typer.Argument(help="A corpus that is built.")],
    queries: Annotated[int, typer.Option(min=10, help="How many questions to ask in each mode.")] = 200,
) -> None:
    """Measure warm search through the service: query encoding and store apart, in all three modes.

    Example: kalm bench search samples
    """
    from app.benchmarks.searching import bench_search

    typer.echo(json.dumps(bench_search(services(), corpus, queries), indent=2))
