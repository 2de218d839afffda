"""``kalm backup`` and ``kalm restore``: all of a data folder that nobody could make again, in one verified file."""

from pathlib import Path
from typing import Annotated

import typer

from app.bootstrap import services
from app.cli.output import console
from app.settings import load_settings
from indexer.upkeep.backup import BackupReport, restore_backup


def backup(target: Annotated[Path, typer.Argument(help="The archive to write, as kalm.tar.gz.")]) -> None:
    """Write catalog, indexes, accounts, uploads, classifiers and maps to one archive, and read it back.

    Searches go on meanwhile. Documents in folders of your own are not in it, nor is the vector cache. Where the catalog
    or an index is on a server, nothing is packed: docs/deploy.md says what to do there.

    Example: kalm backup kalm-2026-11-21.tar.gz
    """
    _tell(f"{target} holds", services().backup(target))


def restore(source: Annotated[Path, typer.Argument(help="An archive that kalm backup wrote.")]) -> None:
    """Bring an archive back into the data folder (KALM_DATA_DIR), which must not hold an installation.

    Example: kalm restore kalm-2026-11-21.tar.gz
    """
    folder = load_settings().data_dir
    _tell(f"{folder} has again", restore_backup(source, folder))


def _tell(what: str, report: BackupReport) -> None:
    corpora = ", ".join(report.corpora) or "no corpora"
    console.print(f"{what} {corpora}: {report.files:,} files, {report.bytes / 1e6:,.1f} MB.", soft_wrap=True)
