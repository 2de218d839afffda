"""``kalm search``: ask a corpus a question."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from app.bootstrap import services
from app.cli.output import console
from app.services.exports import Format, exported
from indexer.retrieval.fusion import BALANCED
from indexer.search import Mode, SearchPage, SearchRefused, SearchRequest, SearchResult

_SHOWN_CHARACTERS = 300
_NAMED_DUPLICATES = 3


def search(
    corpus: Annotated[str, typer.Argument(help="The corpus.")],
    query: Annotated[str, typer.Argument(help="A question or a few words, in English or Chinese; operators below.")],
    mode: Annotated[Mode, typer.Option(help="By meaning, by words, or both.")] = Mode.HYBRID,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Documents to show.")] = 10,
    page: Annotated[int, typer.Option(min=1, help="Which page of them.")] = 1,
    file_type: Annotated[list[str] | None, typer.Option(help="Only this file type; repeatable.")] = None,
    language: Annotated[list[str] | None, typer.Option(help="Only this language (en, zh); repeatable.")] = None,
    balance: Annotated[
        float, typer.Option(min=0, max=1, help="What meaning counts in a hybrid search; words count the rest.")
    ] = BALANCED,
    folder: Annotated[list[str] | None, typer.Option(help="Only this folder and those below it; repeatable.")] = None,
    author: Annotated[list[str] | None, typer.Option(help="Only this author, by the whole name; repeatable.")] = None,
    label: Annotated[list[str] | None, typer.Option(help="Only this label, as SET=LABEL; repeatable.")] = None,
    varied: Annotated[bool, typer.Option("--varied", help="Let results differ from each other, too.")] = False,
    like: Annotated[list[str] | None, typer.Option(help="Look for what is like this document, by id.")] = None,
    unlike: Annotated[list[str] | None, typer.Option(help="Away from what is like this document, by id.")] = None,
    by_file: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="Search by the text of this file; QUERY may be ''.")
    ] = None,
    literal: Annotated[bool, typer.Option("--literal", help="Read quotes, minus and fields as plain text.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
    export: Annotated[
        Format | None, typer.Option(help="Print the first --limit documents in this format, whatever the page.")
    ] = None,
) -> None:
    """Search a corpus: the best passage of each document, best first.

    In the query, "..." and “...” ask for an exact phrase, -word and -"a phrase" leave out what holds it, and type:pdf,
    lang:zh, title:..., author:..., after:2024-01-31 and before:2025 filter. A query that begins with a minus stands
    behind --.

    Example: kalm search samples "how do bees make honey"

    Example: kalm search samples '"royal jelly" -wasp lang:en'

    Example: kalm search samples bees --folder en --limit 100 --export csv > bees.csv
    """
    search = services().search
    request = SearchRequest(
        corpus=corpus,
        query=query,
        mode=mode,
        page=page,
        page_size=limit,
        file_types=frozenset(file_type or ()),
        languages=frozenset(language or ()),
        operators=not literal,
        balance=balance,
        folders=frozenset(folder or ()),
        authors=frozenset(author or ()),
        labels=frozenset(map(_label, label or ())),
        diverse=varied,
        like=tuple(like or ()),
        unlike=tuple(unlike or ()),
        text=search.text_of(by_file.name, by_file.read_bytes()) if by_file else "",
    )
    if export is not None:
        typer.echo(exported(search.first(request, limit), export), nl=False)
        return
    found = search.search(request)
    if as_json:
        typer.echo(json.dumps([asdict(result) for result in found.results], ensure_ascii=False, indent=2))
    else:
        _show(found, first=(page - 1) * limit + 1)


def _label(choice: str) -> tuple[str, str]:
    """A set of labels and one of them."""
    name, is_there, value = choice.partition("=")
    if not is_there:
        raise SearchRefused(f"A label is written as SET=LABEL, which {choice} is not.")
    return name, value


def _show(found: SearchPage, first: int) -> None:
    if not found.results:
        console.print("Nothing was found; try other words, another mode or fewer filters.")
    for number, result in enumerate(found.results, start=first):
        console.print(Text(f"{number}. {result.title}", style="bold"), Text(f"  {_scores(result)}", style="dim"))
        console.print(Text(f"   {_place(result)}", style="cyan"), soft_wrap=True)
        console.print(_passage(result), soft_wrap=True)
        if result.duplicates:
            console.print(Text(f"   {_duplicates(result)}", style="dim"), soft_wrap=True)
        console.print()


def _scores(result: SearchResult) -> str:
    """The score, and where each leg put the passage."""
    legs = [
        f"{name} {standing.score:.{digits}f} #{standing.rank}"
        for name, standing, digits in (("cosine", result.dense, 3), ("BM25", result.lexical, 1))
        if standing is not None
    ]
    return f"{result.score:.3f}  ({', '.join(legs)})"


def _duplicates(result: SearchResult) -> str:
    """How many documents say nearly the same, and the first few of them."""
    count = len(result.duplicates)
    named = [f"{one.uri} {one.key}".strip() for one in result.duplicates[:_NAMED_DUPLICATES]]
    more = ", …" if count > len(named) else ""
    return f"+{count} near-duplicate{'s' if count > 1 else ''}: {', '.join(named)}{more}"


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
