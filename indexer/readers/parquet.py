"""Parquet: each row is a document, as in CSV."""

from collections.abc import Iterator
from typing import Any

from indexer.readers.columns import Row
from indexer.readers.decoding import EMPTY
from indexer.readers.errors import UnreadableFile
from indexer.readers.source import Source
from indexer.readers.tables import object_row, row_documents
from indexer.records import Document

_BATCH_ROWS = 256
_DAMAGED = "The Parquet file is damaged, encrypted or cut off; get a complete copy and index again."
_MAGIC = (b"PAR1", b"PARE")


def read_parquet(source: Source) -> Iterator[Document]:
    """Read each row of a Parquet file as one document; columns of lists and structures are left out.

    Raises:
        UnreadableFile: If the file is empty, damaged or not Parquet, or has no rows or no text; perhaps only after
            some rows.
        OSError: If the file cannot be opened.
    """
    head = source.head(1024)
    if not head.strip():
        raise UnreadableFile(EMPTY)
    if not head.startswith(_MAGIC):
        raise UnreadableFile(
            "The file is named .parquet but is not a Parquet file; give it the suffix of what it is and index again."
        )
    return row_documents(_rows(source), source.uri, "parquet")


def _rows(source: Source) -> Iterator[Row]:
    # Here, not above: only this reader needs the library, which is large.
    import pyarrow.lib
    import pyarrow.parquet

    with source.open() as file:
        try:
            table = pyarrow.parquet.ParquetFile(file, pre_buffer=False)
            names = [field.name for field in table.schema_arrow if not pyarrow.types.is_nested(field.type)]
            batches = iter(table.iter_batches(_BATCH_ROWS, columns=names, use_threads=False))
        except (pyarrow.lib.ArrowException, OSError, ValueError, OverflowError, KeyError) as error:
            raise UnreadableFile(_DAMAGED) from error
        while rows := _next(batches):
            yield from map(object_row, rows)


def _next(batches: Iterator[Any]) -> list[dict[str, object]]:
    import pyarrow.lib

    try:
        for batch in batches:
            if batch.num_rows:
                rows: list[dict[str, object]] = batch.to_pylist()
                return rows
    except (pyarrow.lib.ArrowException, OSError, ValueError, OverflowError, KeyError) as error:
        raise UnreadableFile(_DAMAGED) from error
    return []
