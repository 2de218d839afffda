"""``kalm doctor``: is everything as the catalog says?"""

import json
from dataclasses import asdict
from typing import Annotated

import typer

from app.bootstrap import services
from app.cli.output import build_progress, console
from app.services.health import Remedy, remedy_for
from indexer.upkeep.doctor import Finding


def doctor(
    name: Annotated[str | None, typer.Argument(help="A corpus; all of them if not given.")] = None,
    repair: Annotated[
        bool, typer.Option("--repair", help="Build an index anew whose passages are not those of the catalog.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Hold sources, catalog and indexes against each other, both ways. Ends with 1 where something is wrong.

    Repairing keeps the model and the width of an index and costs little: the vectors are in the cache, and searches go
    on meanwhile.

    Example: kalm doctor handbook
    """
    findings = []
    for finding in services().health.examine(name):
        findings.append(finding)
        if not as_json:
            _tell(finding)
    drifted = [finding.subject for finding in findings if remedy_for(finding) is Remedy.FRESH] if repair else []
    for corpus in drifted:
        again = _repaired(corpus)
        findings = [finding for finding in findings if finding.subject != corpus] + again
        if not as_json:
            console.print(f"{corpus} is built anew.", soft_wrap=True)
            for finding in again:
                _tell(finding)
    if as_json:
        typer.echo(json.dumps([asdict(finding) for finding in findings], ensure_ascii=False, indent=2))
    if not all(finding.is_well for finding in findings):
        raise typer.Exit(1)


def _repaired(corpus: str) -> list[Finding]:
    """Build an index anew as it was made, and look at it again."""
    with build_progress(corpus) as on_progress:
        services().indexing.repair(corpus, on_progress=on_progress)
    return [finding for finding in services().health.examine(corpus) if finding.subject == corpus]


def _tell(finding: Finding) -> None:
    mark = "ok  " if finding.is_well else "WARN"
    remedy = "" if finding.is_well else f"; {finding.remedy}"
    console.print(f"{mark} {finding.subject}: {finding.name}: {finding.found}{remedy}", soft_wrap=True)
