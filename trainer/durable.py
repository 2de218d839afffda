"""Files that are whole or not there: written beside their place, forced to the disk and renamed into it."""

import json
import os
from pathlib import Path


def write_text(path: Path, text: str) -> None:
    """Put a text in place of a file at once; a reader, or a power cut, meets the old one or the new one."""
    beside = path.with_name(f".{path.name}.tmp")
    with beside.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
    sync(path.parent)


def write_json(path: Path, value: object) -> None:
    """The same for a value, indented for people."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def sync(path: Path) -> None:
    """Force a file's bytes, or a folder's names, to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
