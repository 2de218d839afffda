"""What a build enters in the catalog before it is live, as steps of a transaction that the caller holds open.

At every moment the rows of a generation say what it holds, whether it is finished or not: what a file brought is
entered, and what it replaced is retired, in the same transaction. So nothing is left to be carried to the end of a
build, and doing a file again is harmless.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from itertools import product

from sqlalchemy import and_, delete, func, or_, select, update
from sqlalchemy.orm import InstrumentedAttribute, Session
from sqlalchemy.sql.elements import ColumnElement

from embedder.errors import AppError
from indexer.catalog.duplicate_tables import add_signatures
from indexer.catalog.tables import CatalogError, CorpusRow, DocumentRow, FileRow, GenerationRow, in_lists
from indexer.duplicates import Signature, signature
from indexer.records import FileOutcome, IndexedDocument, Manifest

_Versioned = type[FileRow] | type[DocumentRow]
_TABLES: tuple[_Versioned, ...] = (FileRow, DocumentRow)


class VersionWaits(AppError):
    """A finished generation beside the live one, which another one would sweep away."""


def in_generation(table: _Versioned, number: int) -> ColumnElement[bool]:
    """Whether a row belongs to a generation."""
    return and_(table.first <= number, or_(table.retired.is_(None), table.retired > number))


def begin(session: Session, corpus: str, manifest: Manifest, base: int | None) -> int:
    """Enter a new generation, and sweep away what others began beyond the live one. Returns its number.

    Args:
        session: Where a transaction is open that writes.
        corpus: Its name.
        manifest: What the generation is made with.
        base: The generation it extends; with None it starts with nothing.

    Raises:
        VersionWaits: If one of those is finished and only waits to be put in use.
        CatalogError: If the one it extends is not live any more.
    """
    row = session.get_one(CorpusRow, corpus, with_for_update=True)
    if base not in (None, row.live):
        raise CatalogError(
            f"Another version of {corpus} was put in use meanwhile; nothing was changed, run this again."
        )
    unfinished = and_(GenerationRow.corpus == corpus, GenerationRow.number > (row.live or 0))
    waiting = session.scalar(select(func.max(GenerationRow.number)).where(unfinished, GenerationRow.sealed))
    if waiting is not None:
        raise VersionWaits(
            f"Version {waiting} of {corpus} is finished and not in use; put it in use with kalm index swap {corpus}, "
            f"or discard it with kalm index discard {corpus}."
        )
    for number in session.scalars(select(GenerationRow.number).where(unfinished)):
        sweep(session, corpus, number)
    session.execute(delete(GenerationRow).where(unfinished))
    row.counter += 1
    now = datetime.now(UTC)
    session.add(GenerationRow(corpus=corpus, number=row.counter, manifest=asdict(manifest), created=now))
    if base is None:
        for table in _TABLES:
            _retire_all(session, corpus, row.counter, table, table.corpus == corpus)
    return row.counter


def sweep(session: Session, corpus: str, number: int) -> None:
    """Undo everything that was entered for a generation that is not live."""
    generation = session.get(GenerationRow, (corpus, number))
    if generation is not None:
        generation.sealed = False
    for table in _TABLES:
        session.execute(delete(table).where(table.corpus == corpus, table.first == number))
        retired_here = and_(table.corpus == corpus, table.retired == number)
        session.execute(update(table).where(retired_here).values(retired=None))


def stage(
    session: Session,
    corpus: str,
    number: int,
    base: int | None,
    outcomes: Mapping[str, FileOutcome],
    signatures: Mapping[str, Signature | None] | None = None,
) -> None:
    """Enter what came of files; once or again, the result is the same.

    Args:
        session: Where a transaction is open that writes.
        corpus: Its name.
        number: The generation.
        base: The generation it extends, if any.
        outcomes: What came of each file.
        signatures: Of its documents, as ``signatures_of`` makes them before the database is locked; None makes them.
    """
    known = {uri: (outcome, outcome.state) for uri, outcome in outcomes.items() if outcome.state is not None}
    documents = [document for outcome, _ in known.values() for document in outcome.documents]
    removed = (id for outcome, _ in known.values() for id in outcome.removed)
    _restore(session, corpus, number, base, list(known))
    _retire(session, corpus, number, FileRow, FileRow.uri, list(known))
    _retire(
        session,
        corpus,
        number,
        DocumentRow,
        DocumentRow.document_id,
        sorted({*removed, *(document.id for document in documents)}),
    )
    session.add_all(
        FileRow(corpus=corpus, uri=uri, first=number, retired=None, **asdict(state))
        for uri, (_, state) in known.items()
    )
    rows = [_document_row(corpus, number, document) for document in documents]
    session.add_all(rows)
    if signatures is None:
        signatures = signatures_of(outcomes.values())
    add_signatures(session, rows, [signatures[row.document_id] for row in rows])


def signatures_of(outcomes: Iterable[FileOutcome]) -> dict[str, Signature | None]:
    """The signatures of all documents that files brought, by the documents' ids."""
    return {indexed.id: signature(indexed.document.text) for outcome in outcomes for indexed in outcome.documents}


def remove(session: Session, corpus: str, number: int, uris: Sequence[str]) -> int:
    """Take files out with their documents. Returns how many documents there were."""
    for table in _TABLES:
        _retire(session, corpus, number, table, table.uri, uris)
    count = 0
    for listed in in_lists(uris):
        mine = and_(DocumentRow.corpus == corpus, DocumentRow.uri.in_(listed), DocumentRow.retired == number)
        count += session.scalar(select(func.count()).select_from(DocumentRow).where(mine)) or 0
    return count


def seal(session: Session, corpus: str, number: int, chunks: int) -> None:
    """Note that a generation is written and complete; it is not live yet.

    Args:
        session: Where a transaction is open that writes.
        corpus: Its name.
        number: The generation.
        chunks: Passages in the store, as counted there.
    """
    generation = session.get_one(GenerationRow, (corpus, number))
    generation.sealed, generation.chunks = True, chunks
    held = and_(DocumentRow.corpus == corpus, in_generation(DocumentRow, number))
    generation.documents = session.scalar(select(func.count()).select_from(DocumentRow).where(held)) or 0


def unseal(session: Session, corpus: str, number: int) -> None:
    """Note that a generation is to hold more than was written."""
    session.get_one(GenerationRow, (corpus, number)).sealed = False


def make_live(session: Session, corpus: str, number: int) -> None:
    """Flip the one row that decides what is searched; the generation has to be sealed.

    Raises:
        ValueError: If it is not.
    """
    if not session.get_one(GenerationRow, (corpus, number)).sealed:
        raise ValueError(f"generation {number} of {corpus} is not sealed")
    session.get_one(CorpusRow, corpus).live = number


def _restore(session: Session, corpus: str, number: int, base: int | None, uris: Sequence[str]) -> None:
    """Undo what an earlier look at files entered for this generation."""
    for table, listed in product(_TABLES, in_lists(uris)):
        mine = and_(table.corpus == corpus, table.uri.in_(listed))
        session.execute(delete(table).where(mine, table.first == number))
        if base is not None:  # where there is none, everything is retired from the beginning
            session.execute(update(table).where(mine, table.retired == number).values(retired=None))


def _retire(
    session: Session,
    corpus: str,
    number: int,
    table: _Versioned,
    column: InstrumentedAttribute[str],
    values: Sequence[str],
) -> None:
    """End rows that were made before this generation and have one of some values in a column."""
    for listed in in_lists(values):
        _retire_all(session, corpus, number, table, column.in_(listed))


def _retire_all(session: Session, corpus: str, number: int, table: _Versioned, which: ColumnElement[bool]) -> None:
    earlier = and_(table.corpus == corpus, table.first < number, table.retired.is_(None))
    session.execute(update(table).where(earlier, which).values(retired=number))


def _document_row(corpus: str, number: int, indexed: IndexedDocument) -> DocumentRow:
    document = indexed.document
    return DocumentRow(
        corpus=corpus,
        document_id=indexed.id,
        uri=document.uri,
        key=document.key,
        title=document.title,
        text=document.text,
        sections=[[section.start, section.end, section.page, *section.headings] for section in document.sections],
        file_type=document.file_type,
        language=document.language,
        details=dict(document.metadata),
        digest=indexed.digest,
        chunks=[[chunk.id, chunk.start, chunk.end] for chunk in indexed.chunks],
        first=number,
        retired=None,
    )
