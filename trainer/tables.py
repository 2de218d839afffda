"""Finding and opening the tables of a training run, without reading their rows.

Tables are opened through Hugging Face ``datasets``: written once as Arrow into its cache and mapped into memory, so
that a table of 10^8 rows costs no more than the rows that are visited.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from trainer.articles import article_tables
from trainer.columns import Columns, InvalidData, find_columns
from trainer.config import DataConfig, Source

if TYPE_CHECKING:
    from datasets import Dataset

_PARQUET = (".parquet",)
_JSONL = (".jsonl", ".jsonl.gz")
_HUB, _ARTICLES = "hub:", "articles:"
_DIGEST_ENDS = 2**20


@dataclass(frozen=True, slots=True)
class FoundTable:
    """Where a source's rows are: in files, or made already."""

    source: Source
    files: tuple[Path, ...] = ()
    made: pa.Table | None = None


@dataclass(frozen=True, slots=True)
class OpenTable:
    """A table whose rows can be fetched by number."""

    dataset: "Dataset"
    columns: Columns
    metadata: dict[str, str]
    """What the schema says of the table: ``task``, ``language``, ``licence``."""


def find_tables(config: DataConfig) -> list[FoundTable]:
    """The table of every source of a configuration; nothing is opened.

    With no sources listed all tables of the root are taken: a file at its top is a source named by its stem, a
    folder that holds files is one named by its path below the root. A source whose path does not exist is looked
    for among the root's entries by its letters and digits alone, whatever their case: published folders are
    not spelt as their papers spell them.

    Raises:
        InvalidData: If one is not there, or none at all.
    """
    if config.root.startswith(_ARTICLES):
        return _made(config, article_tables(Path(config.root.removeprefix(_ARTICLES))))
    if config.root.startswith(_HUB):
        root = _hub_folder(config.root.removeprefix(_HUB), config.sources)
    else:
        root = Path(config.root)
    if config.sources:
        return [FoundTable(source, _files_of(root, source)) for source in config.sources]
    if not config.root or not root.exists():
        raise InvalidData(f"There is no folder {config.root!r} to take training data from; set data.root.")
    return _discovered(root)


def _made(config: DataConfig, tables: dict[str, pa.Table]) -> list[FoundTable]:
    sources = config.sources or tuple(Source(name=name, path=name) for name in tables)
    for source in sources:
        if source.path not in tables:
            raise InvalidData(f"The articles make no source {source.path}; there are {', '.join(tables)}.")
    return [FoundTable(source, made=tables[source.path]) for source in sources]


def _discovered(root: Path) -> list[FoundTable]:
    groups: dict[str, list[Path]] = {}
    for file in _tables_below(root):
        below = file.relative_to(root) if file != root else Path(file.name)
        inside = below.parent.as_posix()
        groups.setdefault(_stem(file) if inside == "." else inside, []).append(file)
    if not groups:
        raise InvalidData(f"There is no parquet or JSONL file in {root}; set data.root to a folder of tables.")
    return [
        FoundTable(Source(name=name, path=str(files[0] if len(files) == 1 else files[0].parent)), tuple(files))
        for name, files in groups.items()
    ]


def _files_of(root: Path, source: Source) -> tuple[Path, ...]:
    path = root / source.path
    if not path.exists():
        alike = [entry for entry in _entries(root) if _plain(_stem(entry)) == _plain(source.path)]
        if len(alike) != 1:
            raise InvalidData(f"The source {source.name} is not at {path}; correct its path or leave it out.")
        path = alike[0]
    if not (files := tuple(_tables_below(path))):
        raise InvalidData(f"There is no parquet or JSONL file in {path}, where the source {source.name} should be.")
    return files


def _entries(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _tables_below(path: Path) -> list[Path]:
    if path.is_file():
        return [path] if path.name.endswith(_PARQUET + _JSONL) else []
    files = (file for file in path.rglob("*") if file.name.endswith(_PARQUET + _JSONL) and file.is_file())
    return sorted(file for file in files if not any(part[0] == "." for part in file.relative_to(path).parts))


def _stem(path: Path) -> str:
    ending = next((ending for ending in _PARQUET + _JSONL if path.name.endswith(ending)), "")
    return path.name.removesuffix(ending)


def _plain(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())


def _hub_folder(repository: str, sources: Sequence[Source]) -> Path:
    """A local copy of a dataset repository, of the listed sources alone where there are some."""
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import OfflineModeIsEnabled

    wanted = {_plain(source.path) for source in sources}
    try:
        try:
            tree = list(HfApi().list_repo_tree(repository, repo_type="dataset"))
        except OfflineModeIsEnabled:  # what an earlier run has fetched must do
            return Path(snapshot_download(repository, repo_type="dataset", local_files_only=True))
        tops = [entry.path for entry in tree if not wanted or _plain(_stem(Path(entry.path))) in wanted]
        patterns = [pattern for top in tops for pattern in (top, f"{top}/*")]
        return Path(snapshot_download(repository, repo_type="dataset", allow_patterns=patterns))
    except Exception as error:  # the client lets its transport's own errors out, and they change with its releases
        raise InvalidData(
            f"The dataset {repository} cannot be fetched from the hub; download it and set data.root to its folder."
        ) from error


def open_table(found: FoundTable, cache_dir: Path | None = None) -> OpenTable:
    """Map a table into memory; a table seen for the first time is written into the cache once.

    Args:
        found: Where it is.
        cache_dir: Where the Arrow files are kept; None takes the place that ``datasets`` uses anyway.

    Raises:
        InvalidData: If it cannot be read, is empty, or lacks a column.
    """
    from datasets import Dataset
    from datasets.exceptions import DatasetsError

    name = found.source.name
    if found.made is not None:
        return OpenTable(Dataset(found.made), find_columns(found.made.column_names, name), _metadata(found.made.schema))
    files = [str(file) for file in found.files]
    cache = str(cache_dir) if cache_dir else None
    metadata: dict[str, str] = {}
    try:
        with _no_progress_bars():
            if all(file.endswith(_PARQUET) for file in files):
                schema, rows = pq.read_schema(files[0]), sum(pq.read_metadata(file).num_rows for file in files)
                _check_rows(name, rows)
                columns, metadata = find_columns(schema.names, name), _metadata(schema)
                dataset = Dataset.from_parquet(files, cache_dir=cache, columns=columns.names)
            elif all(file.endswith(_JSONL) for file in files):
                _check_rows(name, sum(Path(file).stat().st_size for file in files))
                dataset = Dataset.from_json(files, cache_dir=cache)
                columns = find_columns(dataset.column_names, name)
            else:
                raise InvalidData(f"The source {name} mixes parquet and JSONL files; keep them in folders apart.")
    except (DatasetsError, pa.ArrowException, OSError, ValueError) as error:
        raise InvalidData(
            f"The source {name} cannot be read ({_reason(error)}); check the files at {found.files[0]}."
        ) from error
    _check_rows(name, len(dataset))
    return OpenTable(dataset, columns, metadata)


def _check_rows(name: str, size: int) -> None:
    if not size:
        raise InvalidData(f"The source {name} is empty; leave it out.")


def _reason(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")


def _metadata(schema: pa.Schema) -> dict[str, str]:
    return {key.decode(): value.decode("utf-8", "replace") for key, value in (schema.metadata or {}).items()}


@contextmanager
def _no_progress_bars() -> Iterator[None]:
    from datasets import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    were_disabled = are_progress_bars_disabled()
    disable_progress_bars()
    try:
        yield
    finally:
        if not were_disabled:
            enable_progress_bars()


def digest(found: FoundTable, rows: int) -> str:
    """A hash of the row count and of the size, the first and the last MiB of each file.

    A change inside a large file that keeps its size goes unseen: reading all of it would take longer than opening
    it. Made tables are hashed whole.
    """
    state = hashlib.blake2b(str(rows).encode(), digest_size=16)
    if found.made is not None:
        state.update(json.dumps(found.made.to_pylist(), ensure_ascii=False).encode())
    for part in _ends(found.files):
        state.update(part)
    return state.hexdigest()


def _ends(files: Iterable[Path]) -> Iterator[bytes]:
    for path in files:
        size = path.stat().st_size
        yield size.to_bytes(8, "little")
        with path.open("rb") as file:
            yield file.read(_DIGEST_ENDS)
            file.seek(max(size - _DIGEST_ENDS, file.tell()))
            yield file.read()
