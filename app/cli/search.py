"""``kalm search``: ask a corpus a question."""

import json
from dataclasses import asdict
from typing import Annotated

import typer
from rich.text import Text

from app.bootstrap import services
from app.cli.output import console
from indexer.search import Mode, SearchPage, SearchRequest, SearchResult

_SHOWN_CHARACTERS = 300


def search(
    corpus: Annotated[str, typer.Argument(help="The corpus.")],
    query: Annotated[str, typer.Argument(help="A question or a few words, in English or Chinese.")],
    mode: Annotated[Mode, typer.Option(help="By meaning, by words, or both.")] = Mode.HYBRID,
    limit: Annotated[int, typer.Option(min=1, max=100, help="Documents to show.")] = 10,
    page: Annotated[int, typer.Option(min=1, help="Which page of them.")] = 1,
    file_type: Annotated[list[str] | None, typer.Option(help="Only this file type; repeatable.")] = None,
    language: Annotated[list[str] | None, typer.Option(help="Only this language (en, zh); repeatable.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Search a corpus: the best passage of each document, best first.

    Example: kalm search samples "how do bees make honey"
    """
    request = SearchRequest(
        corpus=corpus,
        query=query,
        mode=mode,
        page=page,
        page_size=limit,
        file_types=frozenset(file_type or ()),
        languages=frozenset(language or ()),
    )
    found = services().search.search(request)
    if as_json:
        typer.echo(json.dumps([asdict(result) for result in found.results], ensure_ascii=False, indent=2))
    else:
        _show(found, first=(page - 1) * limit + 1)


def _show(found: SearchPage, first: int) -> None:
    if not found.results:
        console.print("Nothing was found; try other words, another mode or fewer filters.")
    for number, result in enumerate(found.results, start=first):
        console.print(Text(f"{number}. {result.title}", style="bold"), Text(f"  {result.score:.3f}", style="dim"))
        console.print(Text(f"   {_place(result)}", style="cyan"), soft_wrap=True)
        console.print(_passage(result), soft_wrap=True)
        console.print()


def _place(result: SearchResult) -> str:
    parts = [result.uri]
    if result.key:
        parts.append(result.key)
    if result.page is not None:
        parts.append(f"page {result.page}")
    return " · ".join((*parts, *result.headings[1:]))


def _passage(result: SearchResult) -> Text:
    """The passage's beginning, or the part around its first match, on one line."""
    start = max(0, result.highlights[0][0] - _SHOWN_CHARACTERS // 3) if result.highlights else 0
    text = Text(result.text.replace("\n", " "))
    for begin, end in result.highlights:
        text.stylize("bold yellow", begin, end)
    shown = text[start : start + _SHOWN_CHARACTERS]
    return Text("   ") + ("…" if start else "") + shown + ("…" if start + _SHOWN_CHARACTERS < len(text) else "")
