"""``kalm index rebuild`` and what follows: versions of an index, checked, put in use, gone back from, cleaned up."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.table import Table

from app.bootstrap import services
from app.cli.output import build_progress, console
from indexer.upkeep.gate import Check, GoldenQuery, read_golden
from indexer.upkeep.versions import Version

_Name = Annotated[str, typer.Argument(help="The corpus.")]
_Golden = Annotated[
    Path | None,
    typer.Option(
        "--golden",
        help="JSON Lines of questions (query) and the file that answers each (uri); else what people judged relevant.",
    ),
]


def rebuild(
    name: _Name,
    golden: _Golden = None,
    model: Annotated[
        str | None, typer.Option(help="What to build it with: a name, a folder or a hub id; else what is configured.")
    ] = None,
    dim: Annotated[int | None, typer.Option(min=1, help="Width of its vectors; else the model's own.")] = None,
    hold: Annotated[bool, typer.Option("--hold", help="Leave the new version beside the one in use.")] = False,
    detach: Annotated[
        bool, typer.Option("--detach", help="Only write it down; kalm worker builds the version.")
    ] = False,
) -> None:
    """Build an index anew beside the one in use, check it, and only then put it in use.

    Searches go on, on one version or the other, never on both. What was in use is kept: kalm index rollback. Later
    builds extend it with the configured model, so after a rebuild with another one set KALM_MODEL to it.

    Example: kalm index rebuild handbook --golden questions.jsonl
    """
    if detach:
        services().indexing.submit(name, fresh=True, held=True, model=model, dim=dim)
        console.print(f"kalm worker builds the new version of {name}; kalm index swap {name} then puts it in use.")
        return
    _read(name, golden)  # before the work: a list that cannot be read should not cost it
    with build_progress(name) as on_progress:
        report = services().indexing.rebuild(name, model, dim, on_progress=on_progress)
    console.print(f"Version {report.generation} of {name}: {report.documents:,} documents, {report.chunks:,} passages.")
    if hold:
        _tell_checks(services().versions.check(name, _read(name, golden)))
    else:
        _swap(name, _read(name, golden), force=False)


def versions(
    name: _Name, as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False
) -> None:
    """List the versions of an index that are kept, newest first.

    Example: kalm index versions handbook
    """
    found = services().versions.all(name)
    if as_json:
        typer.echo(json.dumps([asdict(version) for version in found], default=str, ensure_ascii=False, indent=2))
        return
    table = Table("version", "", "built (UTC)", "model", "documents", "passages", "where", box=box.SIMPLE)
    for version in found:
        made = version.generation
        table.add_row(
            str(made.number),
            _standing(version),
            f"{made.created:%Y-%m-%d %H:%M}",
            made.manifest.model,
            f"{made.documents:,}",
            f"{made.chunks:,}",
            made.manifest.engine,
        )
    console.print(table)


def check(name: _Name, golden: _Golden = None) -> None:
    """Check the version that waits: is all of it there, and does it find what it should?

    Example: kalm index check handbook --golden questions.jsonl
    """
    _tell_checks(services().versions.check(name, _read(name, golden)))


def swap(
    name: _Name,
    golden: _Golden = None,
    force: Annotated[bool, typer.Option("--force", help="Without checking it.")] = False,
) -> None:
    """Put the version that waits in use, if it passes its checks.

    Example: kalm index swap handbook
    """
    _swap(name, _read(name, golden), force=force)


def rollback(
    name: _Name, to: Annotated[int | None, typer.Option(help="Which version; the one before if not given.")] = None
) -> None:
    """Go back to an earlier version of an index. The one in use then waits: kalm index swap, or discard.

    Example: kalm index rollback handbook
    """
    console.print(f"Version {services().versions.rollback(name, to)} of {name} is in use again.")


def discard(name: _Name) -> None:
    """Remove the versions of an index that wait to be put in use.

    Example: kalm index discard handbook
    """
    numbers = ", ".join(map(str, services().versions.discard(name)))
    console.print(f"Version {numbers} of {name} is removed.")


def clean(
    remove: Annotated[bool, typer.Option("--remove", help="Remove it; else it is only listed.")] = False,
) -> None:
    """List what nobody needs: indexes and uploads of no corpus, and what builds that were cut off left behind.

    Example: kalm index clean --remove
    """
    unused = services().storage.unused()
    for path, size in sorted(unused.items()):
        console.print(f"  {size / 1e6:,.1f} MB  {path}", soft_wrap=True)
    if not unused:
        console.print("Nothing is unused.")
    elif remove:
        console.print(f"{services().storage.drop_unused() / 1e6:,.1f} MB are free again.")
    else:
        console.print(f"{sum(unused.values()) / 1e6:,.1f} MB are unused; kalm index clean --remove removes them.")


def _read(name: str, golden: Path | None) -> list[GoldenQuery]:
    """The questions of a file; where none is named, those with results that people judged relevant."""
    return services().notes.golden(name) if golden is None else read_golden(golden)


def _swap(name: str, golden: Sequence[GoldenQuery], *, force: bool) -> None:
    number = services().versions.swap(name, golden, force=force)
    console.print(f"Version {number} of {name} is in use; kalm index rollback {name} goes back.", soft_wrap=True)


def _tell_checks(checks: Sequence[Check]) -> None:
    for made in checks:
        console.print(f"  {'passed' if made.passed else 'FAILED'}: {made.name}: {made.found}.", soft_wrap=True)


def _standing(version: Version) -> str:
    if version.is_live:
        return "in use"
    return "waits" if version.waits else "kept"
