"""``kalm doctor``: is everything as the catalog says?"""

import json
from dataclasses import asdict
from typing import Annotated

import typer

from app.bootstrap import services
from app.cli.output import build_progress, console
from indexer.doctor import Finding


def doctor(
    name: Annotated[str | None, typer.Argument(help="A corpus; all of them if not given.")] = None,
    repair: Annotated[
        bool, typer.Option("--repair", help="Build an index anew whose passages are not those of the catalog.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Hold sources, catalog and indexes against each other, both ways. Ends with 1 where something is wrong.

    Repairing costs little: the vectors are in the cache, and searches go on meanwhile.

    Example: kalm doctor handbook
    """
    findings = list(services().doctor.examine(name))
    if as_json:
        typer.echo(json.dumps([asdict(finding) for finding in findings], ensure_ascii=False, indent=2))
    else:
        for finding in findings:
            _tell(finding)
    drifted = [finding.subject for finding in findings if finding.name in ("passages", "index") and not finding.is_well]
    if repair:
        for corpus in drifted:
            with build_progress(corpus) as on_progress:
                services().indexing.build(corpus, fresh=True, on_progress=on_progress)
            console.print(f"{corpus} is built anew.")
        findings = [finding for finding in findings if finding.subject not in drifted]
    if not all(finding.is_well for finding in findings):
        raise typer.Exit(1)


def _tell(finding: Finding) -> None:
    mark = "ok  " if finding.is_well else "WARN"
    remedy = "" if finding.is_well else f"; {finding.remedy}"
    console.print(f"{mark} {finding.subject}: {finding.name}: {finding.found}{remedy}", soft_wrap=True)
